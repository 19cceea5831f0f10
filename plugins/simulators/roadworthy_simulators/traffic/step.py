"""One step of traffic: who is where, what everyone does, and the next row of the record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.polylines import wrap_angle
from roadworthy.scenario import AgentKind, StateIndex
from roadworthy.vehicle import EgoIndex, VehicleIndex

from .arrivals import arrive, read_log
from .following import follow, leader, move, wish_on
from .idm import idm_acceleration
from .lane_kernels import project
from .mobil import change_lane
from .occupancy import Entry, announce, clear, insert, make_occupancy, places
from .paths import path_pose, pedestrian_rate, vehicle_rate, walk
from .state import Mode, Real, Whole

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy
    from .state import Batch

__all__ = ["begin_traffic", "replay_traffic", "step_traffic"]

_DT = 0.1
_THINK_STEPS = 10
_NOW = 15
_MOVED = 0.15


@njit(cache=True, nogil=True, error_model="numpy")
def begin_traffic(lanes: Lanes, b: Batch, scenarios: NDArray[np.int64]) -> None:
    """Read the logs of `scenarios` and let everyone who is valid at the start appear."""
    score = np.zeros(len(lanes.length))
    for s in scenarios:
        read_log(lanes, b, s, score)
        for a in range(b.count[s]):
            b.whole[s, a, Whole.MODE] = Mode.ABSENT
            if b.log_valid[s, a, _NOW]:
                arrive(lanes, b, s, a, _NOW, False)


@njit(cache=True, nogil=True, error_model="numpy")
def replay_traffic(b: Batch, scenarios: NDArray[np.int64], row: int, steps: int) -> None:
    """Write `steps` rows after `row` as logged."""
    for s in scenarios:
        end = min(b.rows[s], row + steps + 1)
        for g in range(b.signals.shape[1]):
            for r in range(row + 1, end):
                b.signals[s, g, r] = b.signal_log[s, g, r]
        for a in range(b.count[s]):
            for r in range(row + 1, end):
                b.valid[s, a, r] = b.log_valid[s, a, r]
                for c in range(5):
                    b.agents[s, a, r, c] = b.log[s, a, r, c]


@njit(cache=True, nogil=True, error_model="numpy")
def step_traffic(
    lanes: Lanes, b: Batch, scenarios: NDArray[np.int64], row: int, steps: int
) -> None:
    """Advance the reactive traffic of `scenarios` from `row` by `steps` rows.

    The ego's rows must have been written that far.
    """
    agents = b.kind.shape[1]
    occ = make_occupancy(len(lanes.length), agents)
    bodies = np.empty((agents + 1, 7))
    for s in scenarios:
        for r in range(row, min(row + steps, b.rows[s] - 1)):
            _one_step(lanes, b, occ, bodies, s, r)
        for g in range(b.signal_lane.shape[1]):
            if b.signal_lane[s, g] >= 0:
                occ.signal[b.signal_lane[s, g]] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _one_step(
    lanes: Lanes, b: Batch, occ: Occupancy, bodies: NDArray[np.float64], s: int, row: int
) -> None:
    real, whole, hints, count = b.real[s], b.whole[s], b.hints[s], b.count[s]
    for g in range(b.signal_lane.shape[1]):
        l = b.signal_lane[s, g]
        if l >= 0:
            occ.signal[l] = b.signal_log[s, g, row]
            b.signals[s, g, row + 1] = b.signal_log[s, g, row + 1]
    walkers = _enter_all(lanes, b, occ, s)
    _enter_ego(lanes, b, occ, s, row)
    for a in range(count):
        if whole[a, Whole.MODE] == Mode.LANE:
            at, half = real[a, Real.S], real[a, Real.HALF_LENGTH]
            announce(
                lanes, occ, hints[a], a, whole[a, Whole.LANE], at - half, at + half,
                real[a, Real.SPEED], True,
            )  # fmt: skip
    for a in range(count):
        if whole[a, Whole.MODE] != Mode.LANE:
            continue
        speed, half = real[a, Real.SPEED], real[a, Real.HALF_LENGTH]
        accel = follow(
            lanes, occ, hints[a], a, whole[a, Whole.LANE], occ.own[a], real[a, Real.S],
            half, speed, real[a, Real.FACTOR], real[a, Real.WISH],
        )  # fmt: skip
        left = whole[a, Whole.LEFT_LANE]
        if left >= 0 and occ.leaving[a] >= 0:
            e = occ.leaving[a]
            gap, lead, _ = leader(lanes, occ, hints[a], a, left, e, occ.where[e, 2])
            wish = wish_on(lanes, left, real[a, Real.FACTOR], real[a, Real.WISH])
            accel = min(accel, idm_acceleration(speed, wish, gap, lead))
        real[a, Real.ACCEL] = accel
    for a in range(count):
        if whole[a, Whole.MODE] == Mode.LANE and b.kind[s, a] == AgentKind.VEHICLE:
            if whole[a, Whole.REST] > 0:
                whole[a, Whole.REST] -= 1
            elif (row + a) % _THINK_STEPS == 0:
                change_lane(lanes, occ, hints, real, whole, a)
    clear(occ)
    if walkers:
        _choose_rates(b, bodies, s, row)
    _move_all(lanes, b, s, row)
    for a in range(count):
        if whole[a, Whole.MODE] == Mode.ABSENT and b.log_valid[s, a, row + 1]:
            arrive(lanes, b, s, a, row + 1, True)
            if whole[a, Whole.MODE] == Mode.LANE:
                _write(b, s, a, row + 1)
            elif whole[a, Whole.MODE] != Mode.ABSENT:
                b.valid[s, a, row + 1] = True
                b.agents[s, a, row + 1] = b.log[s, a, row + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_all(lanes: Lanes, b: Batch, occ: Occupancy, s: int) -> bool:
    """Enter every agent into the lists of its lanes; whether any of them walks a path."""
    real, whole = b.real[s], b.whole[s]
    walkers = False
    for a in range(b.count[s]):
        mode = whole[a, Whole.MODE]
        if mode == Mode.ABSENT or mode == Mode.GONE:
            continue
        half, speed = real[a, Real.HALF_LENGTH], real[a, Real.SPEED]
        if mode == Mode.LANE:
            l, at = whole[a, Whole.LANE], real[a, Real.S]
            occ.own[a] = insert(occ, l, a, at, at - half, at + half, speed, 0.0, Entry.BODY)
            occ.leaving[a] = -1
            left = whole[a, Whole.LEFT_LANE]
            if left >= 0:
                near = int(at / lanes.spacing[l])
                t, _, _ = project(lanes, left, near, real[a, Real.X], real[a, Real.Y])
                occ.leaving[a] = insert(occ, left, a, t, t - half, t + half, speed, 0.0, Entry.BODY)
            before = whole[a, Whole.BEFORE]
            if at < half and before >= 0:
                t = at + lanes.length[before]
                insert(occ, before, a, t, t - half, t + half, speed, 0.0, Entry.BODY)
            continue
        walkers = walkers or mode == Mode.PATH
        c, t = real[a, Real.COS], real[a, Real.SIN]
        moved = (real[a, Real.X] - real[a, Real.SEEN_X]) ** 2
        moved += (real[a, Real.Y] - real[a, Real.SEEN_Y]) ** 2
        if not moved < _MOVED * _MOVED:
            real[a, Real.SEEN_X], real[a, Real.SEEN_Y] = real[a, Real.X], real[a, Real.Y]
            whole[a, Whole.PLACES], _ = places(
                lanes, b.map[s], real[a, Real.X], real[a, Real.Y], c, t,
                half, real[a, Real.HALF_WIDTH], speed * c, speed * t,
                b.place_lane[s, a], b.place[s, a],
            )  # fmt: skip
        for k in range(whole[a, Whole.PLACES]):
            l, p = b.place_lane[s, a, k], b.place[s, a, k]
            along = 0.0
            if speed > 0.0:
                i = lanes.first[l] + min(
                    lanes.first[l + 1] - lanes.first[l] - 1,
                    max(0, int(p[0] / lanes.spacing[l])),
                )
                along = speed * (c * lanes.sample[i, 3] + t * lanes.sample[i, 4])
            insert(occ, l, a, p[0], p[1], p[2], along, 0.0, Entry.BODY)
    return walkers


@njit(cache=True, nogil=True, error_model="numpy")
def _enter_ego(lanes: Lanes, b: Batch, occ: Occupancy, s: int, row: int) -> None:
    """Enter the ego into every lane it reaches into, and announce it along its route."""
    ego, car, agent = b.ego[s, row], b.vehicle[s], b.count[s]
    c, t = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    half = 0.5 * (car[VehicleIndex.FRONT] + car[VehicleIndex.REAR])
    middle = 0.5 * (car[VehicleIndex.FRONT] - car[VehicleIndex.REAR])
    speed = ego[EgoIndex.VX]
    place_lane = np.empty(8, np.int64)
    place = np.empty((8, 3))
    found, along = places(
        lanes, b.map[s], ego[EgoIndex.X] + middle * c, ego[EgoIndex.Y] + middle * t, c, t,
        half, 0.5 * car[VehicleIndex.WIDTH], speed * c, speed * t, place_lane, place,
    )  # fmt: skip
    for k in range(found):
        l, p = place_lane[k], place[k]
        i = lanes.first[l] + min(
            lanes.first[l + 1] - lanes.first[l] - 1, max(0, int(p[0] / lanes.spacing[l]))
        )
        v = speed * (c * lanes.sample[i, 3] + t * lanes.sample[i, 4])
        insert(occ, l, agent, p[0], p[1], p[2], v, 0.0, Entry.BODY)
    if along >= 0:
        p = place[along]
        hints = b.hints[s, b.hints.shape[1] - 1]
        announce(lanes, occ, hints, agent, place_lane[along], p[1], p[2], speed, False)


@njit(cache=True, nogil=True, error_model="numpy")
def _choose_rates(b: Batch, bodies: NDArray[np.float64], s: int, row: int) -> None:
    """The rate of everyone on a path, given the movers: vehicles, then those on foot."""
    real, whole, count = b.real[s], b.whole[s], b.count[s]
    used, vehicles = 0, 0
    ego, car = b.ego[s, row], b.vehicle[s]
    c, t = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    middle = 0.5 * (car[VehicleIndex.FRONT] - car[VehicleIndex.REAR])
    bodies[0, 0] = ego[EgoIndex.X] + middle * c
    bodies[0, 1] = ego[EgoIndex.Y] + middle * t
    bodies[0, 2], bodies[0, 3] = c, t
    bodies[0, 4] = 0.5 * (car[VehicleIndex.FRONT] + car[VehicleIndex.REAR])
    bodies[0, 5] = 0.5 * car[VehicleIndex.WIDTH]
    bodies[0, 6] = ego[EgoIndex.VX]
    used = 1
    for turn in range(2):
        for a in range(count):
            mode = whole[a, Whole.MODE]
            on_foot = b.kind[s, a] == AgentKind.PEDESTRIAN
            if (mode == Mode.LANE or mode == Mode.PATH) and on_foot == (turn == 1):
                bodies[used, 0], bodies[used, 1] = real[a, Real.X], real[a, Real.Y]
                bodies[used, 2], bodies[used, 3] = real[a, Real.COS], real[a, Real.SIN]
                bodies[used, 4] = real[a, Real.HALF_LENGTH]
                bodies[used, 5] = real[a, Real.HALF_WIDTH]
                bodies[used, 6] = real[a, Real.SPEED]
                used += 1
        if turn == 0:
            vehicles = used
    scratch = np.empty(5)
    own = 1
    for a in range(count):
        mode = whole[a, Whole.MODE]
        if b.kind[s, a] == AgentKind.PEDESTRIAN:
            if mode == Mode.PATH:
                real[a, Real.ACCEL] = pedestrian_rate(
                    b.log[s, a], b.log_valid[s, a], b.last[s, a], real, a,
                    bodies, vehicles, scratch,
                )  # fmt: skip
            continue
        if mode == Mode.PATH:
            real[a, Real.ACCEL] = vehicle_rate(
                b.log[s, a], b.log_valid[s, a], b.last[s, a], real, a,
                bodies, used, own, scratch,
            )  # fmt: skip
        if mode == Mode.PATH or mode == Mode.LANE:
            own += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _move_all(lanes: Lanes, b: Batch, s: int, row: int) -> None:
    """Move everyone to the next row and write it."""
    real, whole = b.real[s], b.whole[s]
    pose = np.empty(5)
    for a in range(b.count[s]):
        mode = whole[a, Whole.MODE]
        if mode == Mode.ABSENT or mode == Mode.GONE:
            continue
        if mode == Mode.LANE:
            move(lanes, b.hints[s, a], real, whole, a, _DT)
            if whole[a, Whole.MODE] == Mode.GONE:
                continue
        elif mode == Mode.PATH:
            real[a, Real.RATE] = real[a, Real.ACCEL]
            real[a, Real.CLOCK] += real[a, Real.RATE]
            if real[a, Real.CLOCK] > b.last[s, a]:
                whole[a, Whole.MODE] = Mode.GONE
                continue
            path_pose(b.log[s, a], b.log_valid[s, a], b.last[s, a], real[a, Real.CLOCK], pose)
            walk(real, pose, a)
            rate = real[a, Real.RATE]
            b.valid[s, a, row + 1] = True
            out = b.agents[s, a, row + 1]
            out[0], out[1], out[2] = pose[0], pose[1], pose[2]
            out[3], out[4] = rate * pose[3], rate * pose[4]
            continue
        elif mode == Mode.REPLAY:
            b.valid[s, a, row + 1] = b.log_valid[s, a, row + 1]
            b.agents[s, a, row + 1] = b.log[s, a, row + 1]
            if not b.log_valid[s, a, row + 1]:
                whole[a, Whole.MODE] = Mode.ABSENT
            else:
                walk(real, b.log[s, a, row + 1], a)
            continue
        _write(b, s, a, row + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _write(b: Batch, s: int, a: int, row: int) -> None:
    """Record an agent's present state as row `row`."""
    real = b.real[s, a]
    out = b.agents[s, a, row]
    b.valid[s, a, row] = True
    out[StateIndex.X], out[StateIndex.Y] = real[Real.X], real[Real.Y]
    out[StateIndex.YAW] = wrap_angle(real[Real.YAW])
    out[StateIndex.VX] = real[Real.SPEED] * real[Real.COS]
    out[StateIndex.VY] = real[Real.SPEED] * real[Real.SIN]
