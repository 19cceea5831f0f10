"""How agents enter the scene: what their log says of them, and in which mode they start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.geometry.polylines import wrap_angle
from roadworthy.scenario import AgentKind, LaneKind, StateIndex
from roadworthy.vehicle import EgoIndex

from .following import lane_pose
from .kernel import kernel
from .lane_kernels import cell_of, project
from .paths import walk
from .state import BLIND_TRUST, Mode

if TYPE_CHECKING:
    from .lanes import Lanes
    from .state import Batch, Records

__all__ = ["arrive", "match", "read_log", "route_hints"]

_HINT_SPACING = 4.0
_HINT_WIDTH = 2.5
_HINT_ALIGNED = 0.6
_STANDING_RADIUS = 0.5
_MATCH_MARGIN = 0.5
_MATCH_ALIGNED = 0.7071
_PARKED_OFFSET = 0.75
_SLOWEST_WISH = 5.0
_SLOWEST_BICYCLE = 3.0
_REST_AT_FIRST = 10


@kernel
def _support(
    lanes: Lanes, m: int, x: float, y: float, yaw: float, score: NDArray[np.float64]
) -> None:
    """Add to `score` [L] how well a pose lies on each lane near it, at most 1."""
    cell = cell_of(lanes, m, x, y)
    if cell < 0:
        return
    cos, sin = math.cos(yaw), math.sin(yaw)
    for e in range(lanes.cell[cell], lanes.cell[cell + 1]):
        l = lanes.item[e].lane
        s, d, c, t = project(lanes.lane, lanes.sample, l, lanes.item[e].sample, x, y)
        if abs(d) < _HINT_WIDTH and -1.0 <= s <= lanes.lane[l].length + 1.0:
            aligned = cos * c + sin * t
            if aligned > _HINT_ALIGNED:
                score[l] += aligned * (1.0 - abs(d) / _HINT_WIDTH)


@kernel
def _best(score: NDArray[np.float64], begin: int, end: int, hints: NDArray[np.int64]) -> None:
    """Write the best-scored lanes to `hints`, best first, and zero `score`."""
    hints[:] = -1
    filled = 0
    for l in range(begin, end):
        if score[l] <= 0.0:
            continue
        at = min(filled, len(hints) - 1)
        if filled == len(hints) and score[hints[at]] >= score[l]:
            continue
        while at > 0 and score[hints[at - 1]] < score[l]:
            hints[at] = hints[at - 1]
            at -= 1
        hints[at] = l
        filled = min(len(hints), filled + 1)
    score[begin:end] = 0.0


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
    score = np.zeros(len(lanes.lane))
    px, py = np.inf, np.inf
    for i in range(len(path)):
        gap = math.hypot(path[i, 0] - px, path[i, 1] - py)
        if gap >= _HINT_SPACING and math.hypot(path[i, 0] - x, path[i, 1] - y) < reach:
            px, py = path[i, 0], path[i, 1]
            _support(lanes, m, px, py, path[i, 2], score)
    _best(score, lanes.map[m].lane_begin, lanes.map[m].lane_end, hints)


@kernel
def _bridge(log: NDArray[np.float64], before: int, after: int) -> None:
    """Fill the rows of a log [R, 5] between two valid ones."""
    turn = wrap_angle(log[after, StateIndex.YAW] - log[before, StateIndex.YAW])
    for r in range(before + 1, after):
        f = (r - before) / (after - before)
        for c in range(5):
            log[r, c] = log[before, c] + f * (log[after, c] - log[before, c])
        log[r, StateIndex.YAW] = log[before, StateIndex.YAW] + f * turn


@kernel
def read_log(lanes: Lanes, b: Batch, s: int, score: NDArray[np.float64]) -> None:
    """Read hints, last row, standing and top speed (`wish`) of one scenario's agents, and bridge
    gaps in their logs by straight lines.

    Args:
        lanes, b: the lanes and the batch, which is changed.
        s: the scenario.
        score: [L], zero on entry and exit.
    """
    m = b.scene[s].map
    begin, end = lanes.map[m].lane_begin, lanes.map[m].lane_end
    for a in range(b.scene[s].agents):
        log, valid = b.log[s, a], b.log_valid[s, a]
        me = b.agent[s, a]
        me.mode, me.last, me.stands, me.rate = Mode.ABSENT, -1, True, 1.0
        me.seen_x, me.wish, me.doubt, me.trust = np.inf, 0.0, False, 0.0
        follows = me.kind == AgentKind.VEHICLE or me.kind == AgentKind.BICYCLE
        x0, y0, px, py, fastest2 = np.inf, np.inf, np.inf, np.inf, 0.0
        for r in range(b.scene[s].rows):
            if not valid[r]:
                continue
            if me.last >= 0 and me.last < r - 1:
                _bridge(log, me.last, r)
            me.last = r
            x, y = log[r, StateIndex.X], log[r, StateIndex.Y]
            if x0 == np.inf:
                x0, y0 = x, y
            if (x - x0) ** 2 + (y - y0) ** 2 > _STANDING_RADIUS * _STANDING_RADIUS:
                me.stands = False
            if not follows:
                continue
            vx, vy = log[r, StateIndex.VX], log[r, StateIndex.VY]
            fastest2 = max(fastest2, vx * vx + vy * vy)
            if (x - px) ** 2 + (y - py) ** 2 >= _HINT_SPACING * _HINT_SPACING:
                px, py = x, y
                _support(lanes, m, x, y, log[r, StateIndex.YAW], score)
        if follows:
            me.wish = math.sqrt(fastest2)
            _best(score, begin, end, b.hints[s, a])


@kernel
def match(lanes: Lanes, b: Batch, s: int, a: int, log: NDArray[np.float64]) -> int:
    """The lane that an agent at a state [5] is on, -1 for none; of several the one that
    its track goes on along. Writes its arc length, offset and slope."""
    me = b.agent[s, a]
    x, y = log[StateIndex.X], log[StateIndex.Y]
    cell = cell_of(lanes, b.scene[s].map, x, y)
    found, best = -1, np.inf
    if cell < 0:
        return found
    cos, sin = math.cos(log[StateIndex.YAW]), math.sin(log[StateIndex.YAW])
    hints = b.hints[s, a]
    for e in range(lanes.cell[cell], lanes.cell[cell + 1]):
        l = lanes.item[e].lane
        lane = lanes.lane[l]
        if lane.kind == LaneKind.BIKE and me.kind != AgentKind.BICYCLE:
            continue
        at, d, c, t = project(lanes.lane, lanes.sample, l, lanes.item[e].sample, x, y)
        if not -1.0 <= at <= lane.length + 1.0:
            continue
        aligned, turned = cos * c + sin * t, sin * c - cos * t
        if abs(d) > lane.half_width + _MATCH_MARGIN or aligned < _MATCH_ALIGNED:
            continue
        cost = abs(d) + 2.0 * abs(turned) + 1.0
        for h in range(len(hints)):
            if hints[h] == l:
                cost -= 1.0 - h / len(hints)
        if cost < best:
            found, best = l, cost
            me.s = min(lane.length, max(0.0, at))
            me.d = d
            me.slope = min(0.5, max(-0.5, turned / aligned))
    return found


@kernel
def _clear_of_others(
    b: Batch, s: int, a: int, log: NDArray[np.float64], row: int, ego_trust: float
) -> bool:
    """Whether an agent can appear at a logged state: its box, half a second of travel longer
    and half a metre wider, is free of all others but those who are where the log has them."""
    agents, scene = b.agent[s], b.scene[s]
    me = agents[a]
    c, t = math.cos(log[StateIndex.YAW]), math.sin(log[StateIndex.YAW])
    ahead = 0.5 + 0.25 * math.hypot(log[StateIndex.VX], log[StateIndex.VY])
    x, y = log[StateIndex.X] + ahead * c, log[StateIndex.Y] + ahead * t
    half, wide = me.half_length + ahead, me.half_width + 0.25
    for o in range(scene.agents):
        it = agents[o]
        if o == a or it.mode == Mode.ABSENT or it.mode == Mode.GONE:
            continue
        if me.doubt == 0 and it.trust >= BLIND_TRUST and row <= it.last:
            continue
        if boxes_intersect(
            x, y, c, t, half, wide, it.x, it.y, it.cos, it.sin, it.half_length, it.half_width
        ):
            return False
    if me.doubt == 0 and ego_trust >= BLIND_TRUST:
        return True
    ego = b.ego[s, row]
    ec, et = math.cos(ego[EgoIndex.YAW]), math.sin(ego[EgoIndex.YAW])
    ex, ey = ego[EgoIndex.X] + scene.middle * ec, ego[EgoIndex.Y] + scene.middle * et
    return not boxes_intersect(
        x, y, c, t, half, wide, ex, ey, ec, et, scene.half_length, scene.half_width
    )


@kernel
def _on_lane(lanes: Lanes, me: Records, l: int) -> None:
    """Start following lane `l`; `me` is one `AGENT` with arc length, offset and slope there."""
    lane = lanes.lane[l]
    fastest = me.wish
    me.mode, me.lane, me.before, me.leaving = Mode.LANE, l, -1, -1
    me.rest, me.target = _REST_AT_FIRST, 0.0
    if me.kind == AgentKind.BICYCLE:
        me.target = min(lane.half_width, max(-lane.half_width, me.d))
        me.factor, me.wish = 0.0, max(_SLOWEST_BICYCLE, fastest)
        return
    me.factor = min(1.2, max(0.8, fastest / lane.limit)) if lane.limit > 0.0 else 1.0
    me.wish = max(_SLOWEST_WISH, fastest)


@kernel
def arrive(lanes: Lanes, b: Batch, s: int, a: int, row: int, check: bool, ego_trust: float) -> None:
    """Let an absent agent appear at its logged state, if the spot is free.

    Static objects, and agents that are not reactive, replay their log. Vehicles and cyclists on
    a lane drive their logged path on it while there is more of it; those that stand at its side
    in the whole log, or off all lanes, are parked. Everyone else keeps to the logged path.

    Args:
        lanes, b: the lanes and the batch, which is changed.
        s, a: scenario and agent.
        row: of the log, where the agent is valid.
        check: whether the spot must be free; at the start it need not.
        ego_trust: the ego's `trust`.
    """
    log, agents = b.log[s, a, row], b.agent[s]
    me = agents[a]
    me.rate, me.clock = 1.0, row
    if me.kind >= AgentKind.TRAFFIC_CONE or not me.reactive:
        me.mode = Mode.REPLAY
        walk(agents, a, log)
        return
    if check and not _clear_of_others(b, s, a, log, row, ego_trust):
        return
    if me.kind != AgentKind.PEDESTRIAN:
        l = match(lanes, b, s, a, log)
        if me.stands and (l < 0 or abs(me.d) > _PARKED_OFFSET):
            me.mode = Mode.PARKED
            walk(agents, a, log)
            me.speed = 0.0
            return
        if l >= 0:
            me.speed = math.hypot(log[StateIndex.VX], log[StateIndex.VY])
            _on_lane(lanes, me, l)
            me.trail, me.wide = row < me.last, True
            if me.trail == 1:
                ahead = b.log[s, a, row + 1]
                me.pace = math.hypot(ahead[StateIndex.VX], ahead[StateIndex.VY])
                walk(agents, a, log)
            else:
                lane_pose(lanes.lane, lanes.sample, agents, a)
            return
    me.mode = Mode.PATH
    walk(agents, a, log)
