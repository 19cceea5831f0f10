"""Driving the logged path: how far a log is to be relied on, and how one moves along it.

Logs are compatible with one another: what everyone did, they did together. So two who are both
where their logs have them do not react to each other, and traffic around an ego that does what
it did in the log does what it did in the log. Who is off its log is reacted to by everyone, and
reacts to everyone. A log in which someone drives through someone else is not relied on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.scenario import StateIndex
from roadworthy.vehicle import EgoIndex

from .arrivals import match
from .idm import ACCELERATION
from .kernel import kernel
from .lane_kernels import project
from .occupancy import next_lane
from .paths import path_pose
from .state import BLIND_TRUST, FULL_TRUST, Mode

if TYPE_CHECKING:
    from .lanes import Lanes
    from .state import Batch, Records

__all__ = ["drive_trail", "read_doubts", "trust_ego", "trust_in"]

_TOUCH = 0.2
_SKIP = 20
_SPEED_TIME = 1.0
_FASTER = 0.1
_CAUGHT_UP = 0.005
_STANDING_PACE = 0.1
_STANDING_STEP = 0.01
_ASTRAY = 1.5
_AGAINST = 0.3
_WIDE = 0.3
_STEEPEST = 0.5


@kernel
def _pose(b: Batch, s: int, a: int, row: int) -> tuple[float, float, float]:
    """Logged box centre and yaw of agent `a`, or of the ego where `a` is the number of agents."""
    if a < b.scene[s].agents:
        log = b.log[s, a, row]
        return log[StateIndex.X], log[StateIndex.Y], log[StateIndex.YAW]
    log, middle = b.ego_log[s, row], b.scene[s].middle
    return log[0] + middle * math.cos(log[2]), log[1] + middle * math.sin(log[2]), log[2]


@kernel
def _touch(b: Batch, s: int, i: int, j: int, first: int, reach: float, fast: float) -> bool:
    """Whether the logged boxes of two overlap by more than 0.2 m on either side at any row.

    Rows at which they cannot are passed over, given the sum of their top speeds, `fast`.
    """
    agents, count, rows = b.agent[s], b.scene[s].agents, b.scene[s].rows
    long, wide = b.scene[s].half_length, b.scene[s].half_width
    if i < count:
        long, wide, rows = agents[i].half_length, agents[i].half_width, agents[i].last + 1
    rows = min(rows, agents[j].last + 1)
    long, wide = max(0.05, long - _TOUCH), max(0.05, wide - _TOUCH)
    its_long = max(0.05, agents[j].half_length - _TOUCH)
    its_wide = max(0.05, agents[j].half_width - _TOUCH)
    r = first
    while r < rows:
        if not b.log_valid[s, j, r] or (i < count and not b.log_valid[s, i, r]):
            r += 1
            continue
        x, y, yaw = _pose(b, s, i, r)
        its_x, its_y, its_yaw = _pose(b, s, j, r)
        room = math.sqrt((x - its_x) ** 2 + (y - its_y) ** 2) - reach
        if room > 0.0:
            r += max(1, min(_SKIP, int(room / (0.1 * fast + 0.05))))
            continue
        if boxes_intersect(
            x, y, math.cos(yaw), math.sin(yaw), long, wide,
            its_x, its_y, math.cos(its_yaw), math.sin(its_yaw), its_long, its_wide,
        ):  # fmt: skip
            return True
        r += 1
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def read_doubts(b: Batch, s: int, first: int) -> None:
    """Find the agents of scenario `s` that drive through someone, or are driven through, in the
    log from row `first` on, and write `doubt`. Two who stand may overlap.
    """
    agents, count = b.agent[s], b.scene[s].agents
    bounds = np.empty((count + 1, 5))
    for i in range(count + 1):
        low_x, low_y, high_x, high_y, fast2 = np.inf, np.inf, -np.inf, -np.inf, 0.0
        for r in range(first, b.scene[s].rows):
            if i < count and not b.log_valid[s, i, r]:
                continue
            x, y, _ = _pose(b, s, i, r)
            low_x, high_x = min(low_x, x), max(high_x, x)
            low_y, high_y = min(low_y, y), max(high_y, y)
            if i < count:
                vx, vy = b.log[s, i, r, StateIndex.VX], b.log[s, i, r, StateIndex.VY]
                fast2 = max(fast2, vx * vx + vy * vy)
            else:
                fast2 = max(fast2, b.ego_log[s, r, 3] ** 2)
        bounds[i, 0], bounds[i, 1], bounds[i, 2], bounds[i, 3] = low_x, low_y, high_x, high_y
        bounds[i, 4] = math.sqrt(fast2)
    for i in range(count + 1):
        long, wide, stands = b.scene[s].half_length, b.scene[s].half_width, 0
        if i < count:
            long, wide, stands = agents[i].half_length, agents[i].half_width, agents[i].stands
        mine = math.sqrt(long * long + wide * wide)
        for j in range(min(i, count)):
            it = agents[j]
            if stands == 1 and it.stands == 1:
                continue
            reach = mine + math.sqrt(it.half_length * it.half_length + it.half_width**2)
            if (
                bounds[i, 0] > bounds[j, 2] + reach or bounds[j, 0] > bounds[i, 2] + reach
                or bounds[i, 1] > bounds[j, 3] + reach or bounds[j, 1] > bounds[i, 3] + reach
            ):  # fmt: skip
                continue
            if i < count and it.doubt == 1 and agents[i].doubt == 1:
                continue
            if _touch(b, s, i, j, first, reach, bounds[i, 4] + bounds[j, 4]):
                it.doubt = 1
                if i < count:
                    agents[i].doubt = 1


@kernel
def trust_in(b: Batch, s: int, a: int, row: int) -> float:
    """How far an agent's state at `row` can be told from its log [m], `FULL_TRUST` at most."""
    me = b.agent[s, a]
    if me.doubt == 1:
        return 0.0
    if me.mode == Mode.REPLAY or me.mode == Mode.PARKED:
        return FULL_TRUST
    if me.mode == Mode.LANE and me.trail == 0:
        return 0.0
    if me.clock == row and me.rate == 1.0:
        return FULL_TRUST
    if row > me.last:
        return 0.0
    log = b.log[s, a, row]
    off = math.sqrt((me.x - log[StateIndex.X]) ** 2 + (me.y - log[StateIndex.Y]) ** 2)
    vx, vy = log[StateIndex.VX], log[StateIndex.VY]
    off += _SPEED_TIME * abs(me.speed - math.sqrt(vx * vx + vy * vy))
    return max(0.0, FULL_TRUST - off)


@kernel
def trust_ego(b: Batch, s: int, row: int) -> float:
    """The same of the ego."""
    log, ego = b.ego_log[s, row], b.ego[s, row]
    off = math.sqrt((ego[EgoIndex.X] - log[0]) ** 2 + (ego[EgoIndex.Y] - log[1]) ** 2)
    return max(0.0, FULL_TRUST - off - _SPEED_TIME * abs(ego[EgoIndex.VX] - log[3]))


@kernel
def _relocate(
    lanes: Lanes, hints: NDArray[np.int64], b: Batch, s: int, a: int, pose: NDArray[np.float64]
) -> None:
    """Bring an agent's place on the lanes up to its pose [5]: to the next lane at the end of
    one, to the one beside where it leaves it sideways, off the lanes where there is none."""
    me = b.agent[s, a]
    l = me.lane
    near = int(me.s / lanes.lane[l].spacing)
    at, d, c, t = project(lanes.lane, lanes.sample, l, near, me.x, me.y)
    ended = False
    while at > lanes.lane[l].length:
        n = next_lane(lanes, hints, a, l)
        if n < 0:
            ended = at > lanes.lane[l].length + me.half_length
            break
        me.before, l = l, n
        at, d, c, t = project(lanes.lane, lanes.sample, l, 0, me.x, me.y)
    along, across = me.cos * c + me.sin * t, me.sin * c - me.cos * t
    half = lanes.lane[l].half_width
    if ended or abs(d) > half or along < _AGAINST:
        n = match(lanes, b, s, a, pose)
        if n >= 0:
            if n != l:
                me.before = -1
            me.lane = n
            half, d = lanes.lane[n].half_width, me.d
            me.wide = abs(d) + me.half_width + abs(me.slope) * me.half_length > half + _WIDE
            return
        if ended or abs(d) > half + _ASTRAY or along < _AGAINST:
            me.mode, me.trail, me.seen_x = Mode.PATH, 0, np.inf
            me.rate = min(1.0, me.rate)
            return
    me.lane, me.s, me.d = l, max(0.0, at), d
    me.slope = min(_STEEPEST, max(-_STEEPEST, across / along))
    me.wide = abs(d) + me.half_width + abs(me.slope) * me.half_length > half + _WIDE


@kernel
def drive_trail(lanes: Lanes, hints: NDArray[np.int64], b: Batch, s: int, a: int, row: int) -> None:
    """Move an agent along its logged path from `row` to the next row, and record it.

    It goes on at the logged pace where nothing hinders it (`accel` at least `ACCELERATION`), else
    as its acceleration says, but never faster than logged; if it is late, up to a tenth faster,
    and it does not stand about again where it is to have left. At the end of its log it is gone, as
    in the log, unless it is off it: then it goes on along its lane.

    Args:
        lanes: the lanes.
        hints: int64 [A + 1, HINTS].
        b: the batch; agent `a` of scenario `s` is changed.
        s, a: which agent.
        row: the present row.
    """
    me, log = b.agent[s, a], b.log[s, a]
    out = b.agents[s, a, row + 1]
    b.valid[s, a, row + 1] = True
    late = row - me.clock
    before, pace = me.rate, me.pace
    top = 1.0 + _FASTER * min(1.0, max(0.0, late))
    rate = min(top, before + 0.1 * ACCELERATION / max(pace, _STANDING_PACE))
    if late == 0.0 and before == 1.0 and me.accel >= ACCELERATION:
        me.clock = row + 1
        for c in range(5):
            out[c] = log[row + 1, c]
        _face(me, out)
        _go_on(lanes, hints, b, s, a, row)
        return
    hindered = me.accel < ACCELERATION
    wanted = max(0.0, me.speed + 0.1 * me.accel)
    if hindered:
        rate = min(rate, wanted / max(pace, _STANDING_PACE))
    me.clock += 0.5 * (before + rate)
    if row + 1 - me.clock < _CAUGHT_UP:
        me.clock = row + 1
        rate = min(rate, 1.0)
    for _ in range(_SKIP if me.accel > 0.0 else 0):
        i = int(me.clock)
        if i + 1 > min(row, me.last):
            break
        gap = abs(log[i + 1, StateIndex.X] - log[i, StateIndex.X])
        if gap + abs(log[i + 1, StateIndex.Y] - log[i, StateIndex.Y]) > _STANDING_STEP:
            break
        me.clock += 1.0
    path_pose(log, b.log_valid[s, a], me.last, me.clock, out)
    if hindered and rate != 1.0:
        vx, vy = out[StateIndex.VX], out[StateIndex.VY]
        rate = min(top, wanted / max(math.sqrt(vx * vx + vy * vy), _STANDING_PACE))
    me.rate = rate
    _face(me, out)
    out[StateIndex.VX] *= rate
    out[StateIndex.VY] *= rate
    _go_on(lanes, hints, b, s, a, row)


@kernel
def _face(me: Records, pose: NDArray[np.float64]) -> None:
    """Put an agent at a pose [5], at its rate of the pose's speed. Cosine and sine of the yaw are
    turned on from the last ones by series where that is accurate to 1e-13."""
    turn = pose[StateIndex.YAW] - me.yaw
    if abs(turn) < 0.03:
        square = turn * turn
        c = 1.0 - square * (0.5 - square * (1.0 / 24.0 - square / 720.0))
        t = turn * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0 - square / 5040.0)))
        me.cos, me.sin = me.cos * c - me.sin * t, me.sin * c + me.cos * t
    else:
        me.cos, me.sin = math.cos(pose[StateIndex.YAW]), math.sin(pose[StateIndex.YAW])
    me.x, me.y, me.yaw = pose[StateIndex.X], pose[StateIndex.Y], pose[StateIndex.YAW]
    vx, vy = pose[StateIndex.VX], pose[StateIndex.VY]
    me.speed = me.rate * math.sqrt(vx * vx + vy * vy)


@kernel
def _go_on(lanes: Lanes, hints: NDArray[np.int64], b: Batch, s: int, a: int, row: int) -> None:
    """What follows a move along the logged path to the row after `row`: the place on the lanes,
    the pace there, or the end of the log."""
    me, log = b.agent[s, a], b.log[s, a]
    _relocate(lanes, hints, b, s, a, b.agents[s, a, row + 1])
    if me.clock < me.last:
        ahead = log[min(int(me.clock) + 1, me.last)]
        vx, vy = ahead[StateIndex.VX], ahead[StateIndex.VY]
        me.pace = math.sqrt(vx * vx + vy * vy)
    elif me.trust >= BLIND_TRUST:
        me.mode = Mode.GONE
    elif me.mode == Mode.LANE:
        me.trail = 0
