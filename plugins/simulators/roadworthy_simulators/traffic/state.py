"""What the traffic kernels work on: one record per agent, and the arrays of a batch."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["AGENT", "BODY", "HINTS", "PLACE", "PLACES", "SCENE", "Batch", "Mode", "Records"]

Records = NDArray[Any]
"""An array of one of the record types below; kernels read and write fields by name."""

HINTS = 16
"""Lanes remembered per agent from its logged track, the best supported first."""
PLACES = 4
"""Lanes that an agent off the lanes can reach into at once."""


class Mode(IntEnum):
    """How an agent moves."""

    ABSENT = 0
    REPLAY = 1
    """Exactly as logged: static objects, and agents that are not reactive."""
    LANE = 2
    """Follows lanes: IDM along, MOBIL across."""
    PATH = 3
    """Follows its own logged path, and yields: pedestrians, and vehicles off the lanes."""
    PARKED = 4
    """Never moves."""
    GONE = 5
    """Has left, and does not come back."""


AGENT = np.dtype(
    [
        ("mode", np.int64),  # Mode
        ("kind", np.int64),  # AgentKind
        ("last", np.int64),  # last valid row of its log, -1 for none
        ("reactive", np.int64),  # may deviate from its log
        ("stands", np.int64),  # its log never moves it
        ("half_length", np.float64),  # [m]
        ("half_width", np.float64),  # [m]
        ("x", np.float64),  # box centre, world [m]
        ("y", np.float64),
        ("yaw", np.float64),
        ("cos", np.float64),  # of the yaw
        ("sin", np.float64),
        ("speed", np.float64),  # [m/s]
        ("accel", np.float64),  # chosen for this step [m/s^2]
        # On a lane:
        ("lane", np.int64),
        ("before", np.int64),  # the lane it came from, -1 for none
        ("leaving", np.int64),  # the lane it is leaving sideways, -1 for none
        ("rest", np.int64),  # steps until the next lane change may be thought of
        ("s", np.float64),  # arc length of its centre
        ("d", np.float64),  # lateral offset, left positive
        ("slope", np.float64),  # tangent of its heading relative to the lane
        ("target", np.float64),  # lateral offset wanted
        ("factor", np.float64),  # desired speed over the limit, 0 to want `wish` instead
        ("wish", np.float64),  # desired speed where there is no limit [m/s]
        ("entry", np.int64),  # its entry of this step in its lane's list
        ("leaving_entry", np.int64),  # and in that of the lane it is leaving, -1 for none
        # On a path:
        ("clock", np.float64),  # row of the log at which it is
        ("rate", np.float64),  # rows walked per step, 0 to 1
        # Anywhere but on a lane:
        ("places", np.int64),  # lanes it reaches into
        ("seen_x", np.float64),  # where it was when they were looked up
        ("seen_y", np.float64),
    ],
    align=True,
)
"""One agent."""

PLACE = np.dtype(
    [
        ("lane", np.int64),
        ("middle", np.float64),  # arc lengths of the agent's box on it
        ("rear", np.float64),
        ("front", np.float64),
        ("along", np.float64),  # cosine of the angle between its heading and the lane
        ("offset", np.float64),  # lateral, left positive
    ],
    align=True,
)
"""A lane into whose corridor a box reaches."""

BODY = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("cos", np.float64),
        ("sin", np.float64),
        ("half_length", np.float64),
        ("half_width", np.float64),
        ("speed", np.float64),
        ("agent", np.int64),
    ],
    align=True,
)
"""A box that moves, as path followers see it; the ego's `agent` is -1."""

SCENE = np.dtype(
    [
        ("map", np.int64),  # which map of `Lanes`
        ("agents", np.int64),  # how many
        ("signals", np.int64),  # how many
        ("rows", np.int64),  # of the log
        ("half_length", np.float64),  # of the ego's box
        ("half_width", np.float64),
        ("middle", np.float64),  # rear axle to the centre of the ego's box [m]
    ],
    align=True,
)
"""What is fixed for one scenario."""


class Batch(NamedTuple):
    """S scenarios of up to A agents, G signals and R rows of time; row 15 is the start.

    The first block is constant, the second changes from step to step, the third is the
    record that is written row by row and holds nothing of the future.

    Attributes:
        scene: `SCENE` [S].
        log: [S, A, R, 5] `StateIndex`; log_valid: bool [S, A, R].
        signal_lane: int64 [S, G], -1 padded; signal_log: int8 [S, G, R].
        vehicle: [S, 6] `VehicleIndex`.
        hints: int64 [S, A + 1, HINTS], lanes on the logged track, -1 padded; the ego's last.
        agent: `AGENT` [S, A].
        place: `PLACE` [S, A, PLACES].
        ego: [S, R, 11]; agents: [S, A, R, 5]; valid: bool [S, A, R]; signals: int8 [S, G, R].
    """

    scene: Records
    log: NDArray[np.float64]
    log_valid: NDArray[np.bool_]
    signal_lane: NDArray[np.int64]
    signal_log: NDArray[np.int8]
    vehicle: NDArray[np.float64]
    hints: NDArray[np.int64]
    agent: Records
    place: Records
    ego: NDArray[np.float64]
    agents: NDArray[np.float64]
    valid: NDArray[np.bool_]
    signals: NDArray[np.int8]
