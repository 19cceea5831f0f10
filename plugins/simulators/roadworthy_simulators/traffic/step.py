"""One step of traffic: who is where, what everyone does, and the next row of the record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.polylines import wrap_angle
from roadworthy.scenario import DT, HISTORY, AgentKind, StateIndex
from roadworthy.vehicle import EgoIndex

from .arrivals import arrive, read_log
from .following import follow, leader, move, wish_on
from .idm import ACCELERATION, idm_acceleration
from .kernel import kernel
from .lane_kernels import project
from .mobil import change_lane
from .occupancy import (
    Occupancy,
    Reason,
    announce,
    clear,
    insert,
    make_occupancy,
    reach_into,
)
from .paths import path_pose, pedestrian_rate, vehicle_rate, walk
from .state import BLIND_TRUST, BODY, MOSTLY_TRUST, PLACE, Mode
from .trail import drive_trail, read_doubts, trust_ego, trust_in

if TYPE_CHECKING:
    from .lanes import Lanes
    from .state import Batch, Records

__all__ = ["Scratch", "begin_traffic", "make_scratch", "replay_traffic", "step_traffic"]

_THINK_STEPS = 10
_NOW = HISTORY - 1
_MOVED = 0.15
_ALIGNED = 0.7
_FAR = 100.0
_CORRIDOR = 2.2
"""Bodies are entered into the lanes to whose centrelines they come as near as this [m]; whether
they are in someone's way is for that one to find out."""


@njit(cache=True, nogil=True, error_model="numpy")
def begin_traffic(lanes: Lanes, b: Batch, scenarios: NDArray[np.int64]) -> None:
    """Read the logs of `scenarios` and let everyone who is valid at the start appear."""
    score = np.zeros(len(lanes.lane))
    for s in scenarios:
        read_log(lanes, b, s, score)
        read_doubts(b, s, _NOW)
        for a in range(b.scene[s].agents):
            if b.log_valid[s, a, _NOW]:
                arrive(lanes, b, s, a, _NOW, False, 0.0)


@kernel
def replay_traffic(b: Batch, scenarios: NDArray[np.int64], row: int, steps: int) -> None:
    """Write `steps` rows after `row` as logged."""
    for s in scenarios:
        end = min(b.scene[s].rows, row + steps + 1)
        for g in range(b.scene[s].signals):
            for r in range(row + 1, end):
                b.signals[s, g, r] = b.signal_log[s, g, r]
        for a in range(b.scene[s].agents):
            for r in range(row + 1, end):
                b.valid[s, a, r] = b.log_valid[s, a, r]
                for c in range(5):
                    b.agents[s, a, r, c] = b.log[s, a, r, c]


class Scratch(NamedTuple):
    """What `step_traffic` works in; one for each thread.

    Attributes:
        occ: empty lists.
        bodies: `BODY` [A + 1].
        place: `PLACE` [8], for the ego.
        pose: [5].
    """

    occ: Occupancy
    bodies: Records
    place: Records
    pose: NDArray[np.float64]


def make_scratch(lanes: int, agents: int) -> Scratch:
    """Room for that many lanes and agents."""
    occ = make_occupancy(lanes, agents)
    return Scratch(occ, np.zeros(agents + 1, BODY), np.zeros(8, PLACE), np.zeros(5))


@kernel
def step_traffic(
    lanes: Lanes,
    b: Batch,
    scratch: Scratch,
    scenarios: NDArray[np.int64],
    row: int,
    steps: int,
) -> None:
    """Advance the reactive traffic of `scenarios` from `row` by `steps` rows.

    The ego's rows must have been written that far.

    Args:
        lanes, b: the lanes and the batch, which is changed.
        scratch: from `make_scratch`.
        scenarios: int64, which of them.
        row, steps: see above.
    """
    for s in scenarios:
        for r in range(row, min(row + steps, b.scene[s].rows - 1)):
            _step(lanes, b, scratch, s, r)
        for g in range(b.scene[s].signals):
            scratch.occ.slot[b.signal_lane[s, g]].signal = 0


@kernel
def _step(lanes: Lanes, b: Batch, scratch: Scratch, s: int, row: int) -> None:
    agents, hints, count = b.agent[s], b.hints[s], b.scene[s].agents
    occ = Occupancy(scratch.occ.slot, scratch.occ.entry, scratch.occ.used, b.log[s])
    for g in range(b.scene[s].signals):
        occ.slot[b.signal_lane[s, g]].signal = b.signal_log[s, g, row]
        b.signals[s, g, row + 1] = b.signal_log[s, g, row + 1]
    for a in range(count):
        agents[a].trust = trust_in(b, s, a, row)
    ego_trust = trust_ego(b, s, row)
    walkers = _enter_all(lanes, occ, agents, b.place[s], b.scene[s].map, count)
    _enter_ego(lanes, b, occ, scratch.place, s, row, ego_trust)
    _announce_all(lanes, occ, hints, agents, count)
    loose = _gather_loose(b, scratch.bodies, s, row, ego_trust)
    _choose_accelerations(lanes, occ, hints, agents, count, scratch.bodies, loose)
    for a in range(count):
        me = agents[a]
        if me.mode == Mode.LANE and me.kind == AgentKind.VEHICLE:
            if me.rest > 0:
                me.rest -= 1
            elif (row + a) % _THINK_STEPS == 0:
                change_lane(lanes, occ, hints, agents, a)
    clear(occ)
    if walkers:
        _choose_rates(b, scratch.bodies, scratch.pose, s, row, ego_trust)
    _move_all(lanes, b, s, row)
    for a in range(count):
        if agents[a].mode == Mode.ABSENT and b.log_valid[s, a, row + 1]:
            arrive(lanes, b, s, a, row + 1, True, ego_trust)
            if agents[a].mode == Mode.LANE and agents[a].trail == 0:
                _write(b, s, a, row + 1)
            elif agents[a].mode != Mode.ABSENT:
                b.valid[s, a, row + 1] = True
                for c in range(5):
                    b.agents[s, a, row + 1, c] = b.log[s, a, row + 1, c]


@kernel
def _enter_all(
    lanes: Lanes, occ: Occupancy, agents: Records, places: Records, m: int, count: int
) -> bool:
    """Enter every agent into the lists of its lanes; whether any of them walks a path, or is on
    a path of its own beyond its lane."""
    walkers = False
    for a in range(count):
        me = agents[a]
        mode = me.mode
        if mode == Mode.LANE:
            half, s, speed = me.half_length, me.s, me.speed
            wide = me.half_width + abs(me.slope) * half
            me.entry = insert(occ, me.lane, a, s, s - half, s + half, speed, 0.0, Reason.BODY)
            _describe(occ, me.entry, me.d - wide, me.d + wide, me.trust)
            if me.leaving >= 0:
                near = int(s / lanes.lane[me.lane].spacing)
                t, _, _, _ = project(lanes.lane, lanes.sample, me.leaving, near, me.x, me.y)
                me.leaving_entry = insert(
                    occ, me.leaving, a, t, t - half, t + half, speed, 0.0, Reason.BODY
                )
            if s < half and me.before >= 0:
                t = s + lanes.lane[me.before].length
                e = insert(occ, me.before, a, t, t - half, t + half, speed, 0.0, Reason.BODY)
                _describe(occ, e, me.d - wide, me.d + wide, me.trust)
            if me.trail == 0 or me.wide == 0:
                continue
            walkers = walkers or me.trust < MOSTLY_TRUST
        if mode == Mode.ABSENT or mode == Mode.GONE:
            continue
        walkers = walkers or mode == Mode.PATH
        moved = (me.x - me.seen_x) ** 2 + (me.y - me.seen_y) ** 2
        if not moved < _MOVED * _MOVED:
            me.seen_x, me.seen_y = me.x, me.y
            me.places = reach_into(
                lanes, m, me.x, me.y, me.cos, me.sin, me.half_length, me.half_width,
                me.speed, places[a], _CORRIDOR,
            )  # fmt: skip
        for k in range(me.places):
            p = places[a, k]
            if mode == Mode.LANE and p.lane == me.lane:
                continue
            v = me.speed * p.along
            e = insert(occ, p.lane, a, p.middle, p.rear, p.front, v, 0.0, Reason.BODY)
            _describe(occ, e, p.low, p.high, me.trust)
    return walkers


@kernel
def _describe(occ: Occupancy, entry: int, low: float, high: float, trust: float) -> None:
    """Write the lateral extent of a body, and how far it is as in its log."""
    if entry >= 0:
        it = occ.entry[entry]
        it.low, it.high, it.trust = low, high, trust


@kernel
def _enter_ego(
    lanes: Lanes, b: Batch, occ: Occupancy, place: Records, s: int, row: int, trust: float
) -> None:
    """Enter the ego into every lane it reaches into, and announce it along its route."""
    scene, agent = b.scene[s], b.scene[s].agents
    ego = b.ego[s, row]
    c, t = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    x, y = ego[EgoIndex.X] + scene.middle * c, ego[EgoIndex.Y] + scene.middle * t
    speed = ego[EgoIndex.VX]
    found = reach_into(
        lanes, scene.map, x, y, c, t, scene.half_length, scene.half_width, speed, place, _CORRIDOR
    )
    along, best = -1, np.inf
    for k in range(found):
        p = place[k]
        v = speed * p.along
        e = insert(occ, p.lane, agent, p.middle, p.rear, p.front, v, 0.0, Reason.BODY)
        _describe(occ, e, p.low, p.high, trust)
        if p.along > _ALIGNED and abs(p.offset) < min(best, lanes.lane[p.lane].half_width):
            along, best = k, abs(p.offset)
    if along >= 0:
        p = place[along]
        last = b.hints.shape[1] - 1
        first = occ.used[0]
        announce(lanes, occ, b.hints[s], last, p.lane, p.rear, p.front, speed, False)
        for e in range(first, occ.used[0]):
            occ.entry[e].trust = trust


@kernel
def _announce_all(
    lanes: Lanes, occ: Occupancy, hints: NDArray[np.int64], agents: Records, count: int
) -> None:
    for a in range(count):
        me = agents[a]
        if me.mode == Mode.LANE:
            rear, front = me.s - me.half_length, me.s + me.half_length
            first = occ.used[0]
            announce(lanes, occ, hints, a, me.lane, rear, front, me.speed, True)
            if me.trust > 0.0:
                for e in range(first, occ.used[0]):
                    occ.entry[e].trust = me.trust


@kernel
def _gather_loose(b: Batch, bodies: Records, s: int, row: int, ego_trust: float) -> int:
    """Write where those are that are not as in their logs to the first of `bodies`.

    Returns:
        How many they are; -1 if there are signals, which all must mind.
    """
    if b.scene[s].signals:
        return -1
    loose = 0
    for a in range(b.scene[s].agents):
        me = b.agent[s, a]
        if me.trust < BLIND_TRUST and me.mode != Mode.ABSENT and me.mode != Mode.GONE:
            bodies[loose].x, bodies[loose].y = me.x, me.y
            loose += 1
    if ego_trust < BLIND_TRUST:
        bodies[loose].x, bodies[loose].y = b.ego[s, row, EgoIndex.X], b.ego[s, row, EgoIndex.Y]
        loose += 1
    return loose


@kernel
def _choose_accelerations(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    agents: Records,
    count: int,
    bodies: Records,
    loose: int,
) -> None:
    """The acceleration of everyone on a lane; who changes lanes minds both leaders.

    Who is as in its log, and far from all that are not (the first `loose` of `bodies`; less than
    none if all must look ahead), has nothing to mind.
    """
    for a in range(count):
        me = agents[a]
        if me.mode != Mode.LANE:
            continue
        if loose >= 0 and me.trust >= BLIND_TRUST:
            alone = True
            for k in range(loose):
                dx, dy = bodies[k].x - me.x, bodies[k].y - me.y
                if dx * dx + dy * dy < _FAR * _FAR:
                    alone = False
                    break
            if alone:
                me.accel = ACCELERATION
                continue
        me.accel = follow(lanes, occ, hints, agents, a)
        if me.leaving >= 0:
            front = occ.entry[me.leaving_entry].front
            gap, lead, _ = leader(lanes, occ, hints, a, me.leaving, me.leaving_entry, front)
            wish = wish_on(lanes, me.leaving, me.factor, me.wish)
            me.accel = min(me.accel, idm_acceleration(me.speed, wish, gap, lead))


@kernel
def _choose_rates(
    b: Batch,
    bodies: Records,
    scratch: NDArray[np.float64],
    s: int,
    row: int,
    ego_trust: float,
) -> None:
    """The rate of everyone on a path, given the movers: the ego, vehicles, those on foot. Who is
    beyond its lane minds what is on its path besides what is on its lane."""
    agents, scene = b.agent[s], b.scene[s]
    ego = b.ego[s, row]
    c, t = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    it = bodies[0]
    it.x, it.y = ego[EgoIndex.X] + scene.middle * c, ego[EgoIndex.Y] + scene.middle * t
    it.cos, it.sin, it.speed, it.agent = c, t, ego[EgoIndex.VX], -1
    it.half_length, it.half_width = scene.half_length, scene.half_width
    it.trust = ego_trust
    used, vehicles = 1, 0
    for turn in range(2):
        for a in range(scene.agents):
            me = agents[a]
            on_foot = me.kind == AgentKind.PEDESTRIAN
            if (me.mode == Mode.LANE or me.mode == Mode.PATH) and on_foot == (turn == 1):
                it = bodies[used]
                it.x, it.y, it.cos, it.sin = me.x, me.y, me.cos, me.sin
                it.half_length, it.half_width = me.half_length, me.half_width
                it.speed, it.agent, it.trust = me.speed, a, me.trust
                used += 1
        if turn == 0:
            vehicles = used
    for a in range(scene.agents):
        me = agents[a]
        log, valid = b.log[s, a], b.log_valid[s, a]
        if me.mode == Mode.LANE and me.trail == 1 and me.wide and me.trust < MOSTLY_TRUST:
            rate = vehicle_rate(log, valid, agents, a, bodies, used, scratch)
            if rate < min(1.0, me.rate):
                me.accel = min(me.accel, 10.0 * (rate * max(me.pace, 0.1) - me.speed))
        if me.mode != Mode.PATH:
            continue
        if me.kind == AgentKind.PEDESTRIAN:
            me.rate = pedestrian_rate(log, valid, agents, a, bodies, vehicles, scratch)
        else:
            me.rate = vehicle_rate(log, valid, agents, a, bodies, used, scratch)


@kernel
def _move_all(lanes: Lanes, b: Batch, s: int, row: int) -> None:
    """Move everyone to the next row and write it."""
    agents, hints = b.agent[s], b.hints[s]
    for a in range(b.scene[s].agents):
        me = agents[a]
        mode = me.mode
        if mode == Mode.LANE and me.trail == 1:
            drive_trail(lanes, hints, b, s, a, row)
        elif mode == Mode.LANE:
            move(lanes, hints, agents, a, DT)
            if me.mode == Mode.LANE:
                _write(b, s, a, row + 1)
        elif mode == Mode.PATH:
            me.clock += me.rate
            if me.clock > me.last:
                me.mode = Mode.GONE
                continue
            out = b.agents[s, a, row + 1]
            path_pose(b.log[s, a], b.log_valid[s, a], me.last, me.clock, out)
            walk(agents, a, out)
            out[StateIndex.VX] *= me.rate
            out[StateIndex.VY] *= me.rate
            b.valid[s, a, row + 1] = True
        elif mode == Mode.REPLAY:
            b.valid[s, a, row + 1] = b.log_valid[s, a, row + 1]
            for c in range(5):
                b.agents[s, a, row + 1, c] = b.log[s, a, row + 1, c]
            if b.log_valid[s, a, row + 1]:
                walk(agents, a, b.log[s, a, row + 1])
            else:
                me.mode = Mode.ABSENT
        elif mode == Mode.PARKED:
            _write(b, s, a, row + 1)


@kernel
def _write(b: Batch, s: int, a: int, row: int) -> None:
    """Record an agent's present state as row `row`."""
    me = b.agent[s, a]
    b.valid[s, a, row] = True
    b.agents[s, a, row, StateIndex.X] = me.x
    b.agents[s, a, row, StateIndex.Y] = me.y
    b.agents[s, a, row, StateIndex.YAW] = wrap_angle(me.yaw)
    b.agents[s, a, row, StateIndex.VX] = me.speed * me.cos
    b.agents[s, a, row, StateIndex.VY] = me.speed * me.sin
