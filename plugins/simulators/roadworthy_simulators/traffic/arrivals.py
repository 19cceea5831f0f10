"""How agents enter the scene: what their log says of them, and in which mode they start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.scenario import AgentKind, LaneKind, StateIndex
from roadworthy.vehicle import EgoIndex, VehicleIndex

from .following import lane_pose
from .lane_kernels import cell_of, project
from .paths import path_pose, walk
from .state import Mode, Real, Whole

if TYPE_CHECKING:
    from .lanes import Lanes
    from .state import Batch

__all__ = ["arrive", "read_log", "route_hints"]

_HINT_SPACING = 4.0
_HINT_WIDTH = 2.5
_STANDING_RADIUS = 0.5
_MATCH_MARGIN = 0.5
_PARKED_OFFSET = 0.75
_SLOWEST_WISH = 5.0
_SLOWEST_BICYCLE = 3.0


@njit(cache=True, nogil=True, error_model="numpy")
def _support(
    lanes: Lanes, m: int, x: float, y: float, yaw: float, score: NDArray[np.float64]
) -> None:
    """Add to `score` [L] how well a pose lies on each lane near it, at most 1."""
    cell = cell_of(lanes, m, x, y)
    if cell < 0:
        return
    for e in range(lanes.cell_start[cell], lanes.cell_start[cell + 1]):
        l = lanes.cell_lane[e]
        s, d, lane_yaw = project(lanes, l, lanes.cell_sample[e], x, y)
        if abs(d) < _HINT_WIDTH and -1.0 <= s <= lanes.length[l] + 1.0:
            aligned = math.cos(yaw - lane_yaw)
            if aligned > 0.6:
                score[l] += aligned * (1.0 - abs(d) / _HINT_WIDTH)


@njit(cache=True, nogil=True, error_model="numpy")
def _best(score: NDArray[np.float64], begin: int, hints: NDArray[np.int64]) -> None:
    """Write the best-scored lanes to `hints`, best first, and zero `score`."""
    for h in range(len(hints)):
        hints[h] = -1
    filled = 0
    for i in range(len(score)):
        if score[i] > 0.0:
            at = min(filled, len(hints) - 1)
            if filled == len(hints) and score[hints[at] - begin] >= score[i]:
                continue
            while at > 0 and score[hints[at - 1] - begin] < score[i]:
                hints[at] = hints[at - 1]
                at -= 1
            hints[at] = begin + i
            filled = min(len(hints), filled + 1)
    score[:] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def route_hints(
    lanes: Lanes,
    m: int,
    path: NDArray[np.float64],
    x: float,
    y: float,
    reach: float,
    hints: NDArray[np.int64],
) -> None:
    """Hints of the ego: the lanes that its route follows within `reach` of its start.

    Args:
        lanes: the lanes.
        m: which map.
        path: [C, 3] x, y, yaw of the route's centreline.
        x, y: where the ego starts.
        reach: [m].
        hints: int64 [HINTS], overwritten.
    """
    begin = lanes.lane_base[m]
    score = np.zeros(len(lanes.length))
    px, py = np.inf, np.inf
    for i in range(len(path)):
        gap = math.hypot(path[i, 0] - px, path[i, 1] - py)
        if gap >= _HINT_SPACING and math.hypot(path[i, 0] - x, path[i, 1] - y) < reach:
            px, py = path[i, 0], path[i, 1]
            _support(lanes, m, px, py, path[i, 2], score)
    _best(score[begin : lanes.lane_base[m + 1]], begin, hints)


@njit(cache=True, nogil=True, error_model="numpy")
def read_log(lanes: Lanes, b: Batch, s: int, score: NDArray[np.float64]) -> None:
    """Fill `hints`, `last`, `stands` and the logged top speed of one scenario's agents.

    Args:
        lanes, b: the lanes and the batch, which is changed.
        s: the scenario.
        score: [L], zero on entry and exit.
    """
    m = b.map[s]
    begin, end = lanes.lane_base[m], lanes.lane_base[m + 1]
    for a in range(b.count[s]):
        log, valid = b.log[s, a], b.log_valid[s, a]
        real = b.real[s, a]
        b.last[s, a] = -1
        b.stands[s, a] = True
        real[Real.WISH] = 0.0
        real[Real.HALF_LENGTH] = 0.5 * b.size[s, a, 0]
        real[Real.HALF_WIDTH] = 0.5 * b.size[s, a, 1]
        real[Real.RATE] = 1.0
        real[Real.SEEN_X] = np.inf
        follows = b.kind[s, a] == AgentKind.VEHICLE or b.kind[s, a] == AgentKind.BICYCLE
        x0, y0, px, py = np.inf, np.inf, np.inf, np.inf
        for r in range(b.rows[s]):
            if not valid[r]:
                continue
            b.last[s, a] = r
            x, y = log[r, StateIndex.X], log[r, StateIndex.Y]
            if x0 == np.inf:
                x0, y0 = x, y
            if (x - x0) ** 2 + (y - y0) ** 2 > _STANDING_RADIUS * _STANDING_RADIUS:
                b.stands[s, a] = False
            speed2 = log[r, StateIndex.VX] ** 2 + log[r, StateIndex.VY] ** 2
            real[Real.WISH] = max(real[Real.WISH], speed2)
            if follows and (x - px) ** 2 + (y - py) ** 2 >= _HINT_SPACING * _HINT_SPACING:
                px, py = x, y
                _support(lanes, m, x, y, log[r, StateIndex.YAW], score)
        real[Real.WISH] = math.sqrt(real[Real.WISH])
        if follows:
            _best(score[begin:end], begin, b.hints[s, a])


@njit(cache=True, nogil=True, error_model="numpy")
def _match(lanes: Lanes, b: Batch, s: int, a: int, log: NDArray[np.float64]) -> int:
    """The lane that an agent at a logged state is on, -1 for none; of several the one that
    its track goes on along. Writes its `S`, `D` and `SLOPE`."""
    real = b.real[s, a]
    cell = cell_of(lanes, b.map[s], log[0], log[1])
    found, best = -1, np.inf
    if cell < 0:
        return found
    bicycle = b.kind[s, a] == AgentKind.BICYCLE
    for e in range(lanes.cell_start[cell], lanes.cell_start[cell + 1]):
        l = lanes.cell_lane[e]
        if lanes.kind[l] == LaneKind.BIKE and not bicycle:
            continue
        at, d, yaw = project(lanes, l, lanes.cell_sample[e], log[0], log[1])
        if not -1.0 <= at <= lanes.length[l] + 1.0:
            continue
        turn = log[2] - yaw
        aligned = math.cos(turn)
        if abs(d) > lanes.half_width[l] + _MATCH_MARGIN or aligned < 0.7071:
            continue
        cost = abs(d) + 2.0 * abs(math.sin(turn)) + 1.0
        hints = b.hints[s, a]
        for h in range(len(hints)):
            if hints[h] == l:
                cost -= 1.0 - h / len(hints)
        if cost < best:
            found, best = l, cost
            real[Real.S] = min(lanes.length[l], max(0.0, at))
            real[Real.D] = d
            real[Real.SLOPE] = min(0.5, max(-0.5, math.tan(turn)))
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _clear_of_others(b: Batch, s: int, a: int, log: NDArray[np.float64], ego_row: int) -> bool:
    """Whether an agent can appear at a logged state: half a second of travel and a metre ahead
    of its box, and half a metre around it, are free of all others."""
    real, whole = b.real[s], b.whole[s]
    c, t = math.cos(log[2]), math.sin(log[2])
    ahead = 0.5 + 0.25 * math.hypot(log[3], log[4])
    x, y = log[0] + ahead * c, log[1] + ahead * t
    half, wide = real[a, Real.HALF_LENGTH] + ahead, real[a, Real.HALF_WIDTH] + 0.25
    for o in range(b.count[s]):
        mode = whole[o, Whole.MODE]
        if o == a or mode == Mode.ABSENT or mode == Mode.GONE:
            continue
        if boxes_intersect(
            x, y, c, t, half, wide,
            real[o, Real.X], real[o, Real.Y], real[o, Real.COS], real[o, Real.SIN],
            real[o, Real.HALF_LENGTH], real[o, Real.HALF_WIDTH],
        ):  # fmt: skip
            return False
    ego, car = b.ego[s, ego_row], b.vehicle[s]
    ec, et = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    half_ego = 0.5 * (car[VehicleIndex.FRONT] + car[VehicleIndex.REAR])
    middle = 0.5 * (car[VehicleIndex.FRONT] - car[VehicleIndex.REAR])
    return not boxes_intersect(
        x, y, c, t, half, wide,
        ego[EgoIndex.X] + middle * ec, ego[EgoIndex.Y] + middle * et, ec, et,
        half_ego, 0.5 * car[VehicleIndex.WIDTH],
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def arrive(lanes: Lanes, b: Batch, s: int, a: int, row: int, check: bool) -> None:
    """Let an absent agent appear at its logged state, if the spot is free.

    Static objects replay their log. Vehicles and cyclists on a lane follow lanes; those that
    stand at its side in the whole log, or off all lanes, are parked. Everyone else keeps to
    the logged path.

    Args:
        lanes, b: the lanes and the batch, which is changed.
        s, a: scenario and agent.
        row: of the log, where the agent is valid.
        check: whether the spot must be free; at the start it need not.
    """
    log, real, whole = b.log[s, a, row], b.real[s], b.whole[s]
    kind = b.kind[s, a]
    if kind >= AgentKind.TRAFFIC_CONE:
        whole[a, Whole.MODE] = Mode.REPLAY
        real[a, Real.RATE] = 1.0
        walk(real, log, a)
        return
    if check and not _clear_of_others(b, s, a, log, row):
        return
    mode = Mode.PATH
    if kind != AgentKind.PEDESTRIAN:
        l = _match(lanes, b, s, a, log)
        if b.stands[s, a] and (l < 0 or abs(real[a, Real.D]) > _PARKED_OFFSET):
            mode = Mode.PARKED
        elif l >= 0:
            mode = Mode.LANE
            fastest, limit = real[a, Real.WISH], lanes.limit[l]
            whole[a, Whole.LANE] = l
            whole[a, Whole.BEFORE] = -1
            whole[a, Whole.LEFT_LANE] = -1
            whole[a, Whole.REST] = 10
            real[a, Real.TARGET] = 0.0
            real[a, Real.FACTOR] = 1.0
            if limit > 0.0:
                real[a, Real.FACTOR] = min(1.2, max(0.8, fastest / limit))
            real[a, Real.WISH] = max(_SLOWEST_WISH, fastest)
            if kind == AgentKind.BICYCLE:
                room = lanes.half_width[l]
                real[a, Real.TARGET] = min(room, max(-room, real[a, Real.D]))
                real[a, Real.FACTOR] = 0.0
                real[a, Real.WISH] = max(_SLOWEST_BICYCLE, fastest)
    whole[a, Whole.MODE] = mode
    real[a, Real.CLOCK] = row
    real[a, Real.RATE] = 1.0
    if mode == Mode.LANE:
        real[a, Real.SPEED] = math.hypot(log[StateIndex.VX], log[StateIndex.VY])
        lane_pose(lanes, real, whole, a)
    else:
        pose = np.empty(5)
        path_pose(b.log[s, a], b.log_valid[s, a], b.last[s, a], float(row), pose)
        walk(real, pose, a)
        if mode == Mode.PARKED:
            real[a, Real.SPEED] = 0.0
