"""What the traffic kernels work on: one record per agent, and the arrays of a batch."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AGENT",
    "BLIND_TRUST",
    "BODY",
    "FULL_TRUST",
    "HINTS",
    "MOSTLY_TRUST",
    "PLACE",
    "PLACES",
    "SCENE",
    "Batch",
    "Mode",
    "Records",
]

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
    """On lanes. Drives the logged path while its `trail` lasts, then the lanes: IDM along,
    MOBIL across."""
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
        ("doubt", np.int64),  # its log drives through someone, and is not to be relied on
        ("trust", np.float64),  # `FULL_TRUST` less how far it is off its log, at least 0 [m]
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
        # On its logged path, on a lane or off:
        ("trail", np.int64),  # on a lane: it drives its logged path
        ("clock", np.float64),  # row of the log at which it is
        ("rate", np.float64),  # rows driven per step
        ("pace", np.float64),  # logged speed there [m/s]
        # Anywhere but on a lane, and on one where it reaches beyond:
        ("wide", np.int64),  # it reaches beyond its lane
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
        ("low", np.float64),  # lateral extent of the box, and of what it will soon sweep
        ("high", np.float64),
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
        ("trust", np.float64),  # as in `AGENT`
    ],
    align=True,
)
"""A box that moves, as path followers see it; the ego's `agent` is -1."""

FULL_TRUST = 3.0
"""Trust in someone who is exactly where the log has them [m]; whoever is off by this much, one
second of a difference in speed counted in, is not trusted at all."""
BLIND_TRUST = 2.75
"""Two who are trusted this much do not react to each other: what they do, the log did."""
MOSTLY_TRUST = 2.0
"""Two who are trusted this much react only to keep a safe distance; below, ever more."""

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
        ego_log: [S, R, 4] x, y, yaw and speed of the ego's rear axle.
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
    ego_log: NDArray[np.float64]
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
