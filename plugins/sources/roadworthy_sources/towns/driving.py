r"""How everyone in a town moves: one compiled loop over the steps of a log.

Right of way, signals, lane changes and motion are those of the bundled simulators
(`roadworthy_simulators.traffic`). What is added here makes drivers differ and err as people do:

- Each has an intelligent driver model of their own, $\dot v = a[1 - (v/v_0)^4 - (s^*/s)^2]$ with
  $s^* = s_0 + vT + v\,\Delta v / 2\sqrt{ab}$ (Treiber, Hennecke and Helbing, Physical Review E 62
  (2000) 1805), behind whoever is ahead in their lane.
- An error of acceleration, correlated in time, is added to what they want (Treiber, Kesting and
  Helbing, Physica A 360 (2006) 71), and they cannot change it at once: jerk is bounded.
- They wander within their lane.
- People on foot wait for a gap before they step on a crosswalk; drivers who can, stop for them.
- Commands make single drivers do what one should not: brake for nothing, cut in, run a red.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.scenario import AgentKind, LaneKind, StateIndex
from roadworthy_simulators.traffic.following import follow, lane_pose, leader, move, wish_on
from roadworthy_simulators.traffic.idm import idm_acceleration
from roadworthy_simulators.traffic.lane_kernels import project
from roadworthy_simulators.traffic.lanes import Lanes
from roadworthy_simulators.traffic.mobil import change_lane
from roadworthy_simulators.traffic.occupancy import (
    Occupancy,
    Reason,
    announce,
    clear,
    insert,
    reach_into,
)
from roadworthy_simulators.traffic.paths import path_pose, pedestrian_rate, vehicle_rate, walk
from roadworthy_simulators.traffic.state import Mode, Records

__all__ = ["KNOT", "Cast", "Command", "Style", "drive"]

_DT = 0.1
KNOT = 5
"""Steps between two knots of a driver's error."""
_THINK = 10
_MOVED = 0.15
_HARDEST = 8.0
_TOO_FAST = -3.0
_JERK_UP = 4.0
_JERK_DOWN = 6.0
_JERK_EMERGENCY = 30.0
_EMERGENCY = -3.0
_BAD_ERROR = -2.0
_COMFORTABLE = 2.0
_PATIENCE = 2.5
_CROSSING_AHEAD = 30.0
_CROSSING_BEHIND = 10.0
_HALF_PERSON = 0.8


class Style(IntEnum):
    """Columns of a driver's style."""

    HEADWAY = 0
    """T [s]."""
    ACCEL = 1
    """a [m/s²]."""
    DECEL = 2
    """b [m/s²]."""
    GAP = 3
    """s_0 [m]."""
    ERROR = 4
    """Standard deviation of the error of acceleration [m/s²]."""
    SWAY = 5
    """Standard deviation of the wandering across the lane [m]."""
    BIAS = 6
    """Where in the lane the driver keeps, left positive [m]."""


class Command(IntEnum):
    """What a driver is made to do from one step to another."""

    NONE = 0
    BRAKE = 1
    """Brake at the command's value [m/s²], to a stand."""
    CUT_IN = 2
    """Change to the lane on the left (value 1) or right (value -1) at the first step, at once."""
    BLIND = 3
    """Keep the speed of the command's value [m/s] whatever is ahead."""


class Cast(NamedTuple):
    """Everyone in a log: A agents, P of them with a path, R steps.

    Attributes:
        agents: `AGENT` [A].
        place: `PLACE` [A, PLACES].
        hints: int64 [A, HINTS], lanes of the way that each takes.
        style: [A, 7] `Style`.
        error, sway: [A, R / KNOT + 2], unit normal, correlated in time.
        path_of: int64 [A], the row of each one's path, -1 for none.
        path: [P, R, 5] `StateIndex`, what those on paths do if nobody hinders them.
        seen: bool [P, R], when those that replay their path are there.
        cross_lane: int64 [P, M], lanes that a path crosses on a crosswalk, -1 padded.
        cross_s: [P, M] arc length on that lane [m]; cross_row: [P, M] row of the path.
        go: int64 [P], the first step at which one may step on the crosswalk; 0 for the others.
        command: int64 [A, 3], `Command`, first step, step after the last.
        value: [A].
    """

    agents: Records
    place: Records
    hints: NDArray[np.int64]
    style: NDArray[np.float64]
    error: NDArray[np.float64]
    sway: NDArray[np.float64]
    path_of: NDArray[np.int64]
    path: NDArray[np.float64]
    seen: NDArray[np.bool_]
    cross_lane: NDArray[np.int64]
    cross_s: NDArray[np.float64]
    cross_row: NDArray[np.float64]
    go: NDArray[np.int64]
    command: NDArray[np.int64]
    value: NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(lanes: Lanes, occ: Occupancy, cast: Cast) -> None:
    """Enter everyone into the lists of the lanes that they are on or reach into."""
    agents = cast.agents
    for a in range(len(agents)):
        me = agents[a]
        mode = me.mode
        if mode == Mode.LANE:
            half, s, speed = me.half_length, me.s, me.speed
            me.entry = insert(occ, me.lane, a, s, s - half, s + half, speed, 0.0, Reason.BODY)
            if me.leaving >= 0:
                near = int(s / lanes.lane[me.lane].spacing)
                t, _, _, _ = project(lanes.lane, lanes.sample, me.leaving, near, me.x, me.y)
                me.leaving_entry = insert(
                    occ, me.leaving, a, t, t - half, t + half, speed, 0.0, Reason.BODY
                )
            if s < half and me.before >= 0:
                t = s + lanes.lane[me.before].length
                insert(occ, me.before, a, t, t - half, t + half, speed, 0.0, Reason.BODY)
            continue
        if mode == Mode.ABSENT or mode == Mode.GONE:
            continue
        if not (me.x - me.seen_x) ** 2 + (me.y - me.seen_y) ** 2 < _MOVED * _MOVED:
            me.seen_x, me.seen_y = me.x, me.y
            me.places = reach_into(
                lanes, 0, me.x, me.y, me.cos, me.sin, me.half_length, me.half_width, me.speed,
                cast.place[a],
            )  # fmt: skip
        for k in range(me.places):
            p = cast.place[a, k]
            insert(occ, p.lane, a, p.middle, p.rear, p.front, me.speed * p.along, 0.0, Reason.BODY)
        row = cast.path_of[a]
        if mode != Mode.PATH or me.clock <= 0.0:
            continue
        for k in range(cast.cross_lane.shape[1]):
            l, at = cast.cross_lane[row, k], cast.cross_row[row, k]
            if l >= 0 and -_CROSSING_BEHIND < at - me.clock < _CROSSING_AHEAD:
                s = cast.cross_s[row, k]
                insert(occ, l, a, s, s - _HALF_PERSON, s + _HALF_PERSON, 0.0, 0.0, Reason.BODY)


@njit(cache=True, nogil=True, error_model="numpy")
def _own_idm(
    style: NDArray[np.float64], speed: float, wish: float, gap: float, lead: float
) -> float:
    """Acceleration that a driver of a style wants behind a leader [m/s²]."""
    accel, decel = style[1], style[2]
    ratio = speed / max(wish, 0.1)
    square = ratio * ratio
    free = max(_TOO_FAST, accel * (1.0 - square * square))
    if gap == np.inf:
        return free
    if gap <= 0.0:
        return -_HARDEST
    root = 2.0 * math.sqrt(accel * decel)
    want = style[3] + max(0.0, speed * style[0] + speed * (speed - lead) / root)
    ratio = want / gap
    return max(-_HARDEST, free - accel * ratio * ratio)


@njit(cache=True, nogil=True, error_model="numpy")
def _choose(lanes: Lanes, occ: Occupancy, cast: Cast, a: int, row: int) -> None:
    """Write the acceleration of a lane follower.

    What the simulators' drivers would do behind the same leader is replaced by what this one
    does; where something else holds them (signals, right of way, curves), it holds this one.
    """
    agents, style = cast.agents, cast.style[a]
    me = agents[a]
    before = me.accel if me.speed > 0.0 else max(me.accel, 0.0)
    common = follow(lanes, occ, cast.hints, agents, a)
    front = me.s + me.half_length
    gap, lead, e = leader(lanes, occ, cast.hints, a, me.lane, me.entry, front)
    if e >= 0 and occ.entry[e].reason != Reason.BODY:
        gap = np.inf
    wish = wish_on(lanes, me.lane, me.factor, me.wish)
    own = _own_idm(style, me.speed, wish, gap, lead)
    held = idm_acceleration(me.speed, wish, gap, lead) > common + 1e-9
    if held:
        own = min(own, common)
    if me.leaving >= 0:
        front = occ.entry[me.leaving_entry].front
        gap, lead, _ = leader(lanes, occ, cast.hints, a, me.leaving, me.leaving_entry, front)
        own = min(own, _own_idm(style, me.speed, wish, gap, lead))
    if not held and own > _BAD_ERROR and me.speed > 0.3:
        k = row // KNOT
        share = (row - k * KNOT) / KNOT
        own += style[4] * (cast.error[a, k] + share * (cast.error[a, k + 1] - cast.error[a, k]))
    command = cast.command[a]
    if command[0] != Command.NONE and command[1] <= row < command[2]:
        if command[0] == Command.BRAKE:
            me.accel = max(-cast.value[a], before - _JERK_EMERGENCY * _DT)
            return
        if command[0] == Command.BLIND:
            me.accel = min(1.5, max(-1.5, cast.value[a] - me.speed))
            return
    down = _JERK_EMERGENCY if held or own < _EMERGENCY else _JERK_DOWN
    up = _JERK_EMERGENCY if before < _EMERGENCY else _JERK_UP
    me.accel = min(max(own, before - down * _DT), before + up * _DT)


@njit(cache=True, nogil=True, error_model="numpy")
def _cut_in(lanes: Lanes, cast: Cast, a: int, side: float) -> None:
    """Begin a change to the lane beside, whoever is there."""
    me = cast.agents[a]
    lane = lanes.lane[me.lane]
    target = lane.left if side > 0.0 else lane.right
    if target < 0 or me.leaving >= 0 or lane.kind != LaneKind.LANE:
        return
    near = int(me.s / lane.spacing)
    s, d, _, _ = project(lanes.lane, lanes.sample, target, near, me.x, me.y)
    me.leaving, me.lane, me.s, me.d, me.before = me.lane, target, s, d, -1
    me.rest = 1000


@njit(cache=True, nogil=True, error_model="numpy")
def _may_cross(lanes: Lanes, occ: Occupancy, cast: Cast, row: int) -> bool:
    """Whether every driver on the lanes of a crosswalk is past it, far, slow, or can stop."""
    for k in range(cast.cross_lane.shape[1]):
        l = cast.cross_lane[row, k]
        if l < 0:
            continue
        e = occ.slot[l].head
        while e >= 0:
            it = occ.entry[e]
            room = cast.cross_s[row, k] - it.front - 1.0
            if it.reason == Reason.BODY and it.speed > 0.3 and it.rear < cast.cross_s[row, k] + 1.0:
                soon = cast.cross_row[row, k] * _DT + _PATIENCE
                stops = room > 0.0 and it.speed * it.speed < 2.0 * _COMFORTABLE * room
                if not stops and room < it.speed * soon:
                    return False
            e = it.next
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _choose_rates(
    lanes: Lanes, occ: Occupancy, cast: Cast, bodies: Records, pose: NDArray[np.float64], row: int
) -> None:
    """Rates of those on paths, given the vehicles that move."""
    agents, used = cast.agents, 0
    for a in range(len(agents)):
        me = agents[a]
        moves = me.mode == Mode.LANE or me.mode == Mode.REPLAY or me.mode == Mode.PATH
        if moves and me.kind != AgentKind.PEDESTRIAN:
            it = bodies[used]
            it.x, it.y, it.cos, it.sin = me.x, me.y, me.cos, me.sin
            it.half_length, it.half_width = me.half_length, me.half_width
            it.speed, it.agent = me.speed, a
            used += 1
    for a in range(len(agents)):
        me = agents[a]
        if me.mode != Mode.PATH:
            continue
        p = cast.path_of[a]
        if me.kind != AgentKind.PEDESTRIAN:
            me.rate = vehicle_rate(cast.path[p], cast.seen[p], agents, a, bodies, used, pose)
        elif me.clock <= 0.0 and cast.go[p] > 0:
            ready = row >= cast.go[p] and _may_cross(lanes, occ, cast, p)
            me.rate = 1.0 if ready else 0.0
        else:
            me.rate = pedestrian_rate(cast.path[p], cast.seen[p], agents, a, bodies, used, pose)


@njit(cache=True, nogil=True, error_model="numpy")
def _write(
    me: Records, a: int, row: int, out: NDArray[np.float64], lane: NDArray[np.int64]
) -> None:
    state = out[a, row]
    state[StateIndex.X], state[StateIndex.Y], state[StateIndex.YAW] = me.x, me.y, me.yaw
    state[StateIndex.VX], state[StateIndex.VY] = me.speed * me.cos, me.speed * me.sin
    lane[a, row] = me.lane if me.mode == Mode.LANE else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _advance(
    lanes: Lanes,
    cast: Cast,
    row: int,
    pose: NDArray[np.float64],
    out: NDArray[np.float64],
    lane: NDArray[np.int64],
    present: NDArray[np.bool_],
) -> None:
    """Move everyone from `row` to the next one and record it."""
    agents = cast.agents
    k = row // KNOT
    share = (row - k * KNOT) / KNOT
    for a in range(len(agents)):
        me = agents[a]
        mode, p = me.mode, cast.path_of[a]
        if mode == Mode.LANE:
            drift = cast.sway[a, k] + share * (cast.sway[a, k + 1] - cast.sway[a, k])
            me.target = cast.style[a, 6] + cast.style[a, 5] * drift
            move(lanes, cast.hints, agents, a, _DT)
        elif mode == Mode.PATH:
            me.clock += me.rate
            if me.clock > me.last:
                me.mode = Mode.GONE
            else:
                path_pose(cast.path[p], cast.seen[p], me.last, me.clock, pose)
                walk(agents, a, pose)
        elif p >= 0 and mode != Mode.PARKED:
            me.mode = Mode.REPLAY if cast.seen[p, row + 1] else Mode.ABSENT
            if me.mode == Mode.REPLAY:
                walk(agents, a, cast.path[p, row + 1])
        if me.mode != Mode.GONE and me.mode != Mode.ABSENT:
            _write(me, a, row + 1, out, lane)
            present[a, row + 1] = True


@njit(cache=True, nogil=True, error_model="numpy")
def drive(
    lanes: Lanes,
    occ: Occupancy,
    bodies: Records,
    cast: Cast,
    signal_lane: NDArray[np.int64],
    signal: NDArray[np.int8],
    out: NDArray[np.float64],
    lane: NDArray[np.int64],
    present: NDArray[np.bool_],
    first: int,
    last: int,
) -> None:
    """Drive a log from step `first` to step `last`.

    Args:
        lanes: of one map.
        occ: empty lists.
        bodies: `BODY` [A].
        cast: everyone, changed.
        signal_lane: int64 [G]; signal: int8 [G, R].
        out: [A, R, 5] `StateIndex`, written with the centres of the boxes.
        lane: int64 [A, R], written with the lane that each follows, -1 for none.
        present: bool [A, R], written.
        first, last: steps; `first` itself is written too.
    """
    agents, hints = cast.agents, cast.hints
    pose = np.zeros(5)
    for a in range(len(agents)):
        if agents[a].mode == Mode.LANE:
            lane_pose(lanes.lane, lanes.sample, agents, a)
        if agents[a].mode != Mode.ABSENT and agents[a].mode != Mode.GONE:
            _write(agents[a], a, first, out, lane)
            present[a, first] = True
    for row in range(first, last):
        for g in range(len(signal_lane)):
            occ.slot[signal_lane[g]].signal = signal[g, row]
        _enter(lanes, occ, cast)
        for a in range(len(agents)):
            me = agents[a]
            if me.mode == Mode.LANE:
                rear, front = me.s - me.half_length, me.s + me.half_length
                announce(lanes, occ, hints, a, me.lane, rear, front, me.speed, True)
        for a in range(len(agents)):
            if agents[a].mode == Mode.LANE:
                _choose(lanes, occ, cast, a, row)
        for a in range(len(agents)):
            me = agents[a]
            if me.mode != Mode.LANE or me.kind != AgentKind.VEHICLE:
                continue
            if cast.command[a, 0] == Command.CUT_IN and cast.command[a, 1] == row:
                _cut_in(lanes, cast, a, cast.value[a])
            elif me.rest > 0:
                me.rest -= 1
            elif (row + a) % _THINK == 0 and cast.command[a, 0] == Command.NONE:
                change_lane(lanes, occ, hints, agents, a)
        _choose_rates(lanes, occ, cast, bodies, pose, row)
        clear(occ)
        _advance(lanes, cast, row, pose, out, lane, present)
    for g in range(len(signal_lane)):
        occ.slot[signal_lane[g]].signal = 0
