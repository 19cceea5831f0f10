"""Lane followers: desired speed, leaders, signals, and how they move along and across."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.scenario import SignalState

from .idm import DECELERATION, EMERGENCY, advance, free_acceleration, idm_acceleration
from .occupancy import next_lane
from .state import Mode, Real, Whole

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy

__all__ = ["LOOKAHEAD", "follow", "lane_pose", "leader", "move", "wish_on"]

LOOKAHEAD = 80.0
"""How far along the lanes a leader is looked for [m]."""
_HOPS = 12
_YELLOW_BRAKING = 3.0
_BEFORE_LINE = 1.0
_MAX_SLOPE = 0.25
_CURVATURE = 0.1
_SIDEWAYS_ACCELERATION = 1.5
_CURVE_BRAKING = 1.5

_RED, _YELLOW = int(SignalState.RED), int(SignalState.YELLOW)


@njit(cache=True, nogil=True, error_model="numpy")
def wish_on(lanes: Lanes, l: int, factor: float, wish: float) -> float:
    """Desired speed on a lane [m/s]: its limit times `factor`, or `wish` where it has none."""
    limit = lanes.limit[l]
    return limit * factor if limit > 0.0 else wish


@njit(cache=True, nogil=True, error_model="numpy")
def leader(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    agent: int,
    l: int,
    entry: int,
    front: float,
) -> tuple[float, float, int]:
    """The next body ahead on a lane or on the lanes after it, within `LOOKAHEAD`.

    Args:
        lanes, occ: lanes and who is on them.
        hints: where this agent goes.
        agent: its number.
        l: the lane to look on.
        entry: entry of that lane after which to look; -1 for the whole lane.
        front: arc length of its front bumper on that lane.

    Returns:
        Gap [m], infinite for none; the leader's speed [m/s]; its entry.
    """
    e = occ.what[entry, 0] if entry >= 0 else occ.head[l]
    base = 0.0
    for _ in range(_HOPS):
        while e >= 0:
            if occ.what[e, 2] != agent and occ.what[e, 3] != 2:
                return base + occ.where[e, 1] - front, occ.where[e, 3], e
            e = occ.what[e, 0]
        base += lanes.length[l]
        if base - front > LOOKAHEAD:
            break
        l = next_lane(lanes, hints, l)
        if l < 0:
            break
        e = occ.head[l]
    return np.inf, 0.0, -1


@njit(cache=True, nogil=True, error_model="numpy")
def _ends_beside_lane(lanes: Lanes, l: int) -> bool:
    """Whether a lane without successors ends beside one that goes on."""
    for k in range(2):
        m = lanes.side[l, k]
        if m >= 0 and lanes.next_start[m + 1] > lanes.next_start[m]:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def follow(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    agent: int,
    l: int,
    entry: int,
    s: float,
    half_length: float,
    speed: float,
    factor: float,
    fallback: float,
) -> float:
    """IDM acceleration [m/s^2] behind whatever is ahead first.

    That is: the next body; everyone who is already inside, or will sooner be inside, an
    overlap ahead with another lane; the stop line of a signal that is red, or yellow where
    braking at 3 m/s^2 suffices; the end of a lane that ends beside another; and curves. A
    signal before which stopping would take more than `EMERGENCY` is passed.

    Args:
        lanes, occ, hints, agent: as in `leader`.
        l, entry, s: its lane, its entry there, its arc length.
        half_length: [m].
        speed: [m/s].
        factor, fallback: its desired speed, as in `wish_on`.
    """
    front = s + half_length
    wish = wish_on(lanes, l, factor, fallback)
    k = lanes.first[l] + min(
        lanes.first[l + 1] - lanes.first[l] - 1, max(0, int(s / lanes.spacing[l]))
    )
    out = free_acceleration(speed, min(wish, lanes.sample[k, 5]))
    e = occ.what[entry, 0]
    base = 0.0
    curved = False
    for _ in range(_HOPS):
        found = False
        while e >= 0:
            if occ.what[e, 2] != agent:
                gap = base + occ.where[e, 1] - front
                kind = occ.what[e, 3]
                if kind == 0:
                    out = min(out, idm_acceleration(speed, wish, gap, occ.where[e, 3]))
                    found = True
                    break
                until = gap / max(speed, 1.0) if gap > 0.0 else gap
                theirs = occ.where[e, 4]
                first = theirs < until or (theirs == until and occ.what[e, 2] < agent)
                if first and (kind == 1 or gap > 0.0):
                    out = min(out, idm_acceleration(speed, wish, gap - 1.0, occ.where[e, 3]))
            e = occ.what[e, 0]
        if found:
            break
        length = lanes.length[l]
        if base + length - front > LOOKAHEAD:
            break
        n = next_lane(lanes, hints, l)
        if n < 0:
            if _ends_beside_lane(lanes, l):
                out = min(out, idm_acceleration(speed, wish, base + length - front, 0.0))
            break
        signal = occ.signal[n]
        if signal >= _YELLOW:
            room = base + lanes.stop[l] - front
            if room > -0.5:
                needed = speed * speed / (2.0 * max(room, 1e-3))
                bound = EMERGENCY if signal == _RED else _YELLOW_BRAKING
                if needed <= bound or speed < 0.5:
                    out = min(out, idm_acceleration(speed, wish, room + _BEFORE_LINE, 0.0))
                    break
        base += length
        l = n
        if not curved:
            curved = True
            cap = lanes.sample[lanes.first[l], 5]
            limit = math.sqrt(cap * cap + 2.0 * _CURVE_BRAKING * max(0.0, base - s))
            if speed > limit:
                out = min(out, free_acceleration(speed, limit), -DECELERATION)
        e = occ.head[l]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def lane_pose(lanes: Lanes, real: NDArray[np.float64], whole: NDArray[np.int64], a: int) -> None:
    """Write the world pose of a lane follower from its arc length, offset and slope.

    Args:
        lanes: the lanes.
        real: [A, *], whole: int64 [A, *], one scenario's agents; row `a` is changed.
        a: the agent.
    """
    l = whole[a, Whole.LANE]
    base, n = lanes.first[l], lanes.first[l + 1] - lanes.first[l]
    u = real[a, Real.S] / lanes.spacing[l]
    i = min(n - 2, max(0, math.floor(u)))
    f, k = u - i, base + i
    g = min(1.0, max(0.0, f))
    p = lanes.sample[k]
    q = lanes.sample[k + 1]
    c, s = p[3] + g * (q[3] - p[3]), p[4] + g * (q[4] - p[4])
    over = (f - g) * lanes.spacing[l]
    d, slope = real[a, Real.D], real[a, Real.SLOPE]
    real[a, Real.X] = p[0] + g * (q[0] - p[0]) + over * c - d * s
    real[a, Real.Y] = p[1] + g * (q[1] - p[1]) + over * s + d * c
    norm = 1.0 / math.sqrt((c * c + s * s) * (1.0 + slope * slope))
    real[a, Real.COS] = (c - slope * s) * norm
    real[a, Real.SIN] = (s + slope * c) * norm
    yaw = p[2] + g * (q[2] - p[2])
    real[a, Real.YAW] = yaw + math.atan(slope) if slope != 0.0 else yaw


@njit(cache=True, nogil=True, error_model="numpy")
def move(
    lanes: Lanes,
    hints: NDArray[np.int64],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    a: int,
    dt: float,
) -> None:
    """Advance a lane follower by `dt` at its acceleration; at the end of its route it is gone.

    Across, the slope of its path relative to the lane seeks the wanted offset with bounded
    curvature (0.1 1/m, or 1.5 m/s^2 of lateral acceleration), so that it changes lanes
    smoothly and never slides sideways while standing.

    Args:
        lanes, hints: as in `leader`.
        real, whole: one scenario's agents; row `a` is changed.
        a: the agent.
        dt: [s].
    """
    speed = real[a, Real.SPEED]
    path, after = advance(speed, real[a, Real.ACCEL], dt)
    real[a, Real.SPEED] = after
    if path > 0.0:
        slope, d = real[a, Real.SLOPE], real[a, Real.D] - real[a, Real.TARGET]
        if d != 0.0 or slope != 0.0:
            aim = -d / max(8.0, 1.6 * speed)
            aim = min(_MAX_SLOPE, max(-_MAX_SLOPE, aim))
            turn = path * min(_CURVATURE, _SIDEWAYS_ACCELERATION / max(1.0, speed * speed))
            slope += min(turn, max(-turn, aim - slope))
            along = path / math.sqrt(1.0 + slope * slope)
            d += slope * along
            path = along
            if abs(d) < 1e-3 and abs(slope) < 1e-4:
                d, slope = 0.0, 0.0
            real[a, Real.SLOPE], real[a, Real.D] = slope, d + real[a, Real.TARGET]
            if whole[a, Whole.LEFT_LANE] >= 0 and abs(d) < 1.2:
                whole[a, Whole.LEFT_LANE] = -1
        s = real[a, Real.S] + path
        l = whole[a, Whole.LANE]
        while s > lanes.length[l]:
            n = next_lane(lanes, hints, l)
            if n < 0:
                if s > lanes.length[l] + real[a, Real.HALF_LENGTH]:
                    whole[a, Whole.MODE] = Mode.GONE
                break
            left = whole[a, Whole.LEFT_LANE]
            if left >= 0:
                k = 0 if left == lanes.side[l, 0] else 1
                whole[a, Whole.LEFT_LANE] = lanes.side[n, k]
            whole[a, Whole.BEFORE] = l
            s -= lanes.length[l]
            l = n
        whole[a, Whole.LANE] = l
        real[a, Real.S] = s
    lane_pose(lanes, real, whole, a)
