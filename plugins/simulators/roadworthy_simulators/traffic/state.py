"""What the traffic kernels work on: columns of the per-agent arrays, and the batch itself."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["HINTS", "Batch", "Mode", "Real", "Whole"]

HINTS = 16
"""Lanes remembered per agent from its logged track, the best supported first."""


class Mode(IntEnum):
    """How an agent moves."""

    ABSENT = 0
    REPLAY = 1
    """Exactly as logged: static objects, and every agent in replay traffic."""
    LANE = 2
    """Follows lanes: IDM along, MOBIL across."""
    PATH = 3
    """Follows its own logged path, and yields: pedestrians, and vehicles off the lanes."""
    PARKED = 4
    """Never moves."""
    GONE = 5
    """Has left, and does not come back."""


class Real(IntEnum):
    """Columns of `Batch.real`. Lengths in metres, box centres in the world frame."""

    S = 0
    """LANE: arc length on its lane."""
    D = 1
    """LANE: lateral offset from the centreline, left positive."""
    SLOPE = 2
    """LANE: tangent of the heading relative to the lane."""
    SPEED = 3
    FACTOR = 4
    """LANE: desired speed over the lane's limit, or the desired speed itself [m/s] where the
    lane has no limit (column `WISH`)."""
    WISH = 5
    HALF_LENGTH = 6
    HALF_WIDTH = 7
    X = 8
    Y = 9
    YAW = 10
    COS = 11
    SIN = 12
    CLOCK = 13
    """PATH: row of the log, a fraction included, at which the agent is."""
    RATE = 14
    """PATH: log rows walked per step, 0 to 1."""
    TARGET = 15
    """LANE: lateral offset wanted."""
    SEEN_X = 16
    """Where the agent was when its lanes were last looked up."""
    SEEN_Y = 17
    ACCEL = 18


class Whole(IntEnum):
    """Columns of `Batch.whole`."""

    MODE = 0
    LANE = 1
    BEFORE = 2
    """The lane it came from, -1 for none."""
    LEFT_LANE = 3
    """The lane it is leaving sideways, -1 for none."""
    REST = 4
    """Steps until the next lane change may be thought of."""
    PLACES = 5
    """LANE no, others: rows of `place` in use."""


class Batch(NamedTuple):
    """S scenarios of up to A agents, G signals and R rows of time; row 15 is the start.

    The first block is constant, the second the agents' state, the third the record that is
    written row by row. `agents` and `signals` hold nothing of the future.

    Attributes:
        map: int64 [S], which map of `Lanes`.
        count: int64 [S], agents.
        rows: int64 [S], rows of the log.
        kind: int8 [S, A], `AgentKind`.
        size: [S, A, 3].
        log: [S, A, R, 5], log_valid: bool [S, A, R].
        hints: int64 [S, A + 1, HINTS], lanes on the logged track, -1 padded; the ego's last.
        last: int64 [S, A], last logged row.
        stands: bool [S, A], whether the log never moves it.
        signal_lane: int64 [S, G], -1 padded.
        signal_log: int8 [S, G, R].
        vehicle: [S, 6], `Vehicle.as_array`.
        real: [S, A, len(Real)], whole: int64 [S, A, len(Whole)].
        place_lane: int64 [S, A, 4], place: [S, A, 4, 3]: lanes that an agent off the lanes
            reaches into, and there its middle, rear and front arc length.
        ego: [S, R, 11]; agents: [S, A, R, 5]; valid: bool [S, A, R]; signals: int8 [S, G, R].
    """

    map: NDArray[np.int64]
    count: NDArray[np.int64]
    rows: NDArray[np.int64]
    kind: NDArray[np.int8]
    size: NDArray[np.float64]
    log: NDArray[np.float64]
    log_valid: NDArray[np.bool_]
    hints: NDArray[np.int64]
    last: NDArray[np.int64]
    stands: NDArray[np.bool_]
    signal_lane: NDArray[np.int64]
    signal_log: NDArray[np.int8]
    vehicle: NDArray[np.float64]
    real: NDArray[np.float64]
    whole: NDArray[np.int64]
    place_lane: NDArray[np.int64]
    place: NDArray[np.float64]
    ego: NDArray[np.float64]
    agents: NDArray[np.float64]
    valid: NDArray[np.bool_]
    signals: NDArray[np.int8]
