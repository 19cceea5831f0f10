"""Lane followers: desired speed, leaders, signals, and how they move along and across."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import SignalState

from .idm import ACCELERATION, DECELERATION, EMERGENCY, advance, free_acceleration, idm_acceleration
from .kernel import kernel
from .occupancy import CORRIDOR, Reason, next_lane, turn_of
from .state import BLIND_TRUST, MOSTLY_TRUST, Mode
from .sweep import MARGIN, in_the_way

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy
    from .state import Records

__all__ = ["LOOKAHEAD", "follow", "lane_pose", "leader", "move", "wish_on"]

LOOKAHEAD = 80.0
"""How far along the lanes a leader is looked for [m]."""
_HOPS = 12
_YELLOW_BRAKING = 3.0
_BEFORE_LINE = 1.0
_PAST_LINE = 0.5
_BEFORE_OVERLAP = 1.0
_MAX_SLOPE = 0.25
_CURVATURE = 0.1
_SIDEWAYS_ACCELERATION = 1.5
_CURVE_BRAKING = 1.5
_ARRIVED = 1.2
_REACTION = 0.3
_SLOWEST_PACE = 0.1


@kernel
def wish_on(lanes: Lanes, l: int, factor: float, wish: float) -> float:
    """Desired speed on a lane [m/s]: its limit times `factor`, or `wish` where either is not."""
    limit = lanes.lane[l].limit
    return limit * factor if limit > 0.0 and factor > 0.0 else wish


@kernel
def leader(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    a: int,
    l: int,
    entry: int,
    front: float,
) -> tuple[float, float, int]:
    """The next body ahead on a lane or on the lanes after it, within `LOOKAHEAD`, that is in the
    way of someone in the middle of the lane.

    Args:
        lanes, occ: lanes and who is on them.
        hints: int64 [A + 1, HINTS].
        a: the agent.
        l: the lane to look on.
        entry: entry of that lane after which to look; -1 for the whole lane.
        front: arc length of its front bumper on that lane.

    Returns:
        Gap [m], infinite for none; the leader's speed [m/s]; its entry.
    """
    e = occ.entry[entry].next if entry >= 0 else occ.slot[l].head
    base = 0.0
    for _ in range(_HOPS):
        while e >= 0:
            it = occ.entry[e]
            aside = it.low > CORRIDOR or it.high < -CORRIDOR
            if it.agent != a and it.reason != Reason.COMING and not aside:
                return base + it.rear - front, it.speed, e
            e = it.next
        base += lanes.lane[l].length
        if base - front > LOOKAHEAD:
            break
        l = next_lane(lanes, hints, a, l)
        if l < 0:
            break
        e = occ.slot[l].head
    return np.inf, 0.0, -1


@kernel
def _ends_beside_lane(lanes: Lanes, l: int) -> bool:
    """Whether a lane without successors ends beside one that goes on."""
    for m in (lanes.lane[l].left, lanes.lane[l].right):
        if m >= 0 and lanes.lane[m].next_end > lanes.lane[m].next_begin:
            return True
    return False


@kernel
def _goes_first(occ: Occupancy, entry: int, a: int, gap: float, box: float, speed: float) -> bool:
    """Whether an agent waits for someone on a lane that overlaps its own.

    Args:
        occ, entry: who it is.
        a: the agent.
        gap: from its front bumper to the overlap [m].
        box: and to where vehicles wait for the intersection, infinite for none.
        speed: its own [m/s].
    """
    it = occ.entry[entry]
    if it.reason == Reason.CROSSING:
        mine = gap
        if gap > 0.0:
            return True
    else:
        mine = turn_of(min(gap, box), speed)
        if gap <= 0.0:
            return False
    return it.turn < mine or (it.turn == mine and it.agent < a)


@kernel
def _give_way(
    occ: Occupancy,
    entry: int,
    speed: float,
    wish: float,
    gap: float,
    box: float,
    shift: float,
) -> float:
    """Acceleration [m/s^2] towards someone who goes first on a lane that overlaps one's own.

    Behind someone who merges from nearer by, as if that one were already on this lane; else
    so as to stop before the intersection, or at least before the overlap.

    Args:
        occ, entry: who it is.
        speed, wish: actual and desired speed [m/s].
        gap, box: as in `_goes_first`.
        shift: what turns arc lengths of the entry into distances from the front bumper [m].
    """
    it = occ.entry[entry]
    if it.reason == Reason.COMING and it.speed > 0.0 and it.front + shift > _BEFORE_OVERLAP:
        return idm_acceleration(speed, wish, it.front + shift, it.speed)
    room = gap - _BEFORE_OVERLAP
    wait = box + _BEFORE_LINE
    if box > -_PAST_LINE and speed * speed < 2.0 * EMERGENCY * wait:
        room = min(room, wait)
    return idm_acceleration(speed, wish, room, 0.0)


@kernel
def _trust_between(agents: Records, a: int, it: Records) -> float:
    """How far agent `a` and the one of an entry are as in their logs [m]; who stands in the
    whole log stands there for those who come late, too."""
    me = agents[a]
    if me.trail == 1 and me.doubt == 0 and it.agent < len(agents) and agents[it.agent].stands:
        return it.trust
    return min(me.trust, it.trust)


@kernel
def _eased(accel: float, trust: float) -> float:
    """An acceleration [m/s^2] that someone asks for, in so far as the log does not explain it."""
    return accel + min(1.0, trust / MOSTLY_TRUST) * max(0.0, ACCELERATION - accel)


@kernel
def _safe(speed: float, gap: float, lead: float) -> bool:
    """Whether braking as hard as the leader 0.3 s after it suffices to stay clear of it."""
    lead = max(0.0, lead)
    room = gap + (lead * lead - speed * speed) / (2.0 * EMERGENCY)
    return room > _REACTION * speed


@kernel
def follow(
    lanes: Lanes, occ: Occupancy, hints: NDArray[np.int64], agents: Records, a: int
) -> float:
    """IDM acceleration [m/s^2] of a lane follower behind whatever is ahead first.

    That is: the next body; everyone who is already inside, or will sooner be inside, an
    overlap ahead with another lane; the stop line of a signal that is red, or yellow where
    braking at 3 m/s^2 suffices; the end of a lane that ends beside another; and curves. A
    signal before which stopping would take more than `EMERGENCY` is passed.

    A body is ahead only if it is `in_the_way`. Two who do what they did in the log do not mind
    each other. Who drives its logged path needs no speed limits, curves or lane ends, for
    the log had them: it gets `ACCELERATION` if nothing hinders it. If it is as in its log, it
    is left to the log how to stop at a red light until that takes 3 m/s^2.

    Args:
        lanes, occ, hints: as in `leader`.
        agents: `AGENT` [A].
        a: which of them.
    """
    me = agents[a]
    l, s, speed = me.lane, me.s, me.speed
    front = s + me.half_length
    lane = lanes.lane[l]
    trail = me.trail == 1
    if trail:
        wish, out = max(me.pace, _SLOWEST_PACE), ACCELERATION
    else:
        wish = wish_on(lanes, l, me.factor, me.wish)
        k = min(lane.count - 1, max(0, int(s / lane.spacing)))
        out = free_acceleration(speed, min(wish, lanes.sample[lane.first + k].cap))
    half = me.half_width + MARGIN
    low, high = min(me.d, me.target) - half, max(me.d, me.target) + half
    e = occ.entry[me.entry].next
    base = 0.0
    for hop in range(_HOPS):
        while e >= 0:
            it = occ.entry[e]
            trust = _trust_between(agents, a, it) if trail else 0.0
            if it.agent != a and trust < BLIND_TRUST:
                gap = base + it.rear - front
                if it.reason == Reason.BODY:
                    way = it.low < high and it.high > low
                    if trail:
                        way = in_the_way(lanes, occ, agents, a, e, l)
                    if way:
                        if trust > 0.0 and not _safe(speed, gap, it.speed):
                            trust = 0.0
                        accel = idm_acceleration(speed, wish, gap, it.speed)
                        return min(out, _eased(accel, trust))
                elif _goes_first(occ, e, a, gap, base + lanes.lane[l].box - front, speed):
                    box = base + lanes.lane[l].box - front
                    accel = _give_way(occ, e, speed, wish, gap, box, base - front)
                    out = min(out, _eased(accel, trust))
            e = it.next
        length = lanes.lane[l].length
        if base + length - front > LOOKAHEAD:
            break
        n = next_lane(lanes, hints, a, l)
        if n < 0:
            if not trail and _ends_beside_lane(lanes, l):
                out = min(out, idm_acceleration(speed, wish, base + length - front, 0.0))
            break
        signal = occ.slot[n].signal
        if signal >= SignalState.YELLOW:
            room = base + lanes.lane[l].stop - front
            if room > -_PAST_LINE:
                needed = speed * speed / (2.0 * max(room, 1e-3))
                bound = EMERGENCY if signal == SignalState.RED else _YELLOW_BRAKING
                stops = needed <= bound or speed < 0.5
                if trail and me.trust >= MOSTLY_TRUST:
                    stops = stops and signal == SignalState.RED and needed > _YELLOW_BRAKING
                if stops:
                    return min(out, idm_acceleration(speed, wish, room + _BEFORE_LINE, 0.0))
        base += length
        l = n
        if hop == 0 and not trail:
            cap = lanes.sample[lanes.lane[l].first].cap
            bound2 = cap * cap + 2.0 * _CURVE_BRAKING * max(0.0, base - s)
            if speed * speed > bound2:
                out = min(out, free_acceleration(speed, math.sqrt(bound2)), -DECELERATION)
        e = occ.slot[l].head
    return out


@kernel
def lane_pose(lane: Records, sample: Records, agents: Records, a: int) -> None:
    """Write the world pose of a lane follower from its arc length, offset and slope."""
    me = agents[a]
    l = lane[me.lane]
    u = me.s / l.spacing
    i = min(l.count - 2, max(0, math.floor(u)))
    f = u - i
    g = min(1.0, max(0.0, f))
    p, q = sample[l.first + i], sample[l.first + i + 1]
    c, s = p.cos + g * (q.cos - p.cos), p.sin + g * (q.sin - p.sin)
    over = (f - g) * l.spacing
    me.x = p.x + g * (q.x - p.x) + over * c - me.d * s
    me.y = p.y + g * (q.y - p.y) + over * s + me.d * c
    slope = me.slope
    norm = 1.0 / math.sqrt((c * c + s * s) * (1.0 + slope * slope))
    me.cos, me.sin = (c - slope * s) * norm, (s + slope * c) * norm
    yaw = p.yaw + g * (q.yaw - p.yaw)
    me.yaw = yaw + math.atan(slope) if slope != 0.0 else yaw


@kernel
def move(lanes: Lanes, hints: NDArray[np.int64], agents: Records, a: int, dt: float) -> None:
    """Advance a lane follower by `dt` at its acceleration; at the end of its route it is gone.

    Across, the slope of its path relative to the lane seeks the wanted offset with bounded
    curvature (0.1 1/m, or 1.5 m/s^2 of lateral acceleration), so that it changes lanes
    smoothly and never slides sideways while standing.

    Args:
        lanes, hints: as in `leader`.
        agents: `AGENT` [A].
        a: which of them.
        dt: [s].
    """
    me = agents[a]
    speed = me.speed
    path, me.speed = advance(speed, me.accel, dt)
    if path == 0.0:
        return
    slope, d = me.slope, me.d - me.target
    if me.d != 0.0 or slope != 0.0:
        aim = -d / max(8.0, 1.6 * speed)
        aim = min(_MAX_SLOPE, max(-_MAX_SLOPE, aim))
        turn = path * min(_CURVATURE, _SIDEWAYS_ACCELERATION / max(1.0, speed * speed))
        slope += min(turn, max(-turn, aim - slope))
        lane = lanes.lane[me.lane]
        k = lane.first + min(lane.count - 2, max(0, int(me.s / lane.spacing)))
        bend = (lanes.sample[k + 1].yaw - lanes.sample[k].yaw) / lane.spacing
        path /= math.sqrt(1.0 + slope * slope) * max(0.2, 1.0 - bend * me.d)
        d += slope * path
        if abs(d) < 1e-3 and abs(slope) < 1e-4:
            d, slope = 0.0, 0.0
        me.slope, me.d = slope, d + me.target
        if me.leaving >= 0 and abs(d) < _ARRIVED:
            me.leaving = -1
    me.s += path
    length = lanes.lane[me.lane].length
    while me.s > length:
        n = next_lane(lanes, hints, a, me.lane)
        if n < 0:
            if me.s > length + me.half_length:
                me.mode = Mode.GONE
            break
        if me.leaving >= 0:
            on_left = me.leaving == lanes.lane[me.lane].left
            me.leaving = lanes.lane[n].left if on_left else lanes.lane[n].right
        me.before = me.lane
        me.s -= length
        me.lane = n
        length = lanes.lane[n].length
    lane_pose(lanes.lane, lanes.sample, agents, a)
