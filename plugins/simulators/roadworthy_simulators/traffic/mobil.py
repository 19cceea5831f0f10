r"""Lane changes by MOBIL.

A change is made where it is safe, $\tilde a_n > -b_{safe}$, and gains enough for the driver and,
weighed by politeness p, for the new follower n and the old follower o:

$$\tilde a_c - a_c + p\,(\tilde a_n - a_n + \tilde a_o - a_o) > \Delta a_{th}$$

A. Kesting, M. Treiber and D. Helbing, "General lane-changing model MOBIL for car-following
models", Transportation Research Record 1999 (2007) 86.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import LaneKind

from .following import leader, wish_on
from .idm import idm_acceleration
from .kernel import kernel
from .lane_kernels import project
from .occupancy import CORRIDOR, Reason, hinted, insert, next_lane

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy
    from .state import Records

__all__ = ["POLITENESS", "REST_STEPS", "SAFE_DECELERATION", "THRESHOLD", "change_lane"]

POLITENESS = 0.3
"""p."""
THRESHOLD = 0.2
"""Delta a_th [m/s^2]."""
SAFE_DECELERATION = 3.0
"""b_safe [m/s^2]; less than IDM's emergency braking, so that a change never forces one."""
REST_STEPS = 50
"""Steps of 0.1 s before the next change."""
_LANE_ENDS = 2.0
_OFF_ROUTE = 0.5
_OFF_LOG = 0.5
_SLOWEST_PACE = 0.1
_MIN_GAP = 1.0
_MIN_SPEED = 1.0
_FOLLOWER_RANGE = 60.0
_ROOM_TIME = 2.5
_ROOM = 15.0
_EGO_WISH = 15.0


@kernel
def _behind(lanes: Lanes, occ: Occupancy, l: int, s: float) -> tuple[float, int]:
    """The last body at or before s on a lane, or on a lane before it.

    Returns:
        Offset to add to that entry's arc lengths to have them on lane `l`, and the entry, -1
        for none within 60 m.
    """
    found = -1
    e = occ.slot[l].head
    while e >= 0 and occ.entry[e].middle <= s:
        it = occ.entry[e]
        if it.reason != Reason.COMING and it.low < CORRIDOR and it.high > -CORRIDOR:
            found = e
        e = occ.entry[e].next
    if found >= 0 or s > _FOLLOWER_RANGE:
        return 0.0, found
    shift, nearest = 0.0, _FOLLOWER_RANGE - s
    for k in range(lanes.lane[l].prev_begin, lanes.lane[l].prev_end):
        m = lanes.link[k]
        e, last = occ.slot[m].head, -1
        while e >= 0:
            if occ.entry[e].reason != Reason.COMING:
                last = e
            e = occ.entry[e].next
        if last >= 0:
            back = lanes.lane[m].length - occ.entry[last].middle
            if back < nearest:
                nearest, found, shift = back, last, -lanes.lane[m].length
    return shift, found


@kernel
def _wish_of(lanes: Lanes, agents: Records, a: int, l: int) -> float:
    """Desired speed of a follower: the logged one while its log lasts; the ego (number A) is taken
    to want the limit."""
    if a < len(agents):
        if agents[a].trail == 1:
            return max(agents[a].pace, _SLOWEST_PACE)
        return wish_on(lanes, l, agents[a].factor, agents[a].wish)
    return wish_on(lanes, l, 1.0, _EGO_WISH)


@kernel
def _for_old_follower(
    lanes: Lanes, occ: Occupancy, agents: Records, a: int, gap: float, lead: float
) -> float:
    """What the follower on the old lane gains in acceleration when agent `a` leaves it.

    Args:
        lanes, occ, agents, a: as in `change_lane`.
        gap, lead: to agent a's own leader [m], and that one's speed [m/s].
    """
    me = agents[a]
    e, o = occ.slot[me.lane].head, -1
    while e >= 0 and e != me.entry:
        if occ.entry[e].reason != Reason.COMING:
            o = e
        e = occ.entry[e].next
    if o < 0 or occ.entry[o].speed <= 0.0:
        return 0.0
    it = occ.entry[o]
    room = me.s - me.half_length - it.front
    wish = _wish_of(lanes, agents, it.agent, me.lane)
    after = idm_acceleration(it.speed, wish, room + 2.0 * me.half_length + gap, lead)
    return after - idm_acceleration(it.speed, wish, room, me.speed)


@kernel
def _gain(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    agents: Records,
    a: int,
    m: int,
    at: float,
) -> tuple[float, float]:
    """MOBIL's balance of moving agent `a` to arc length `at` of lane `m`.

    Returns:
        Left minus right side of the incentive criterion (minus infinity where unsafe), and
        the agent's acceleration on the new lane [m/s^2].
    """
    me = agents[a]
    l, half = me.lane, me.half_length
    shift, n = _behind(lanes, occ, m, at)
    start = n if shift == 0.0 else -1
    gap_new, lead_new, _ = leader(lanes, occ, hints, a, m, start, at + half)
    if gap_new < _MIN_GAP:
        return -np.inf, 0.0
    wish = _wish_of(lanes, agents, a, m)
    accel_new = idm_acceleration(me.speed, wish, gap_new, lead_new)
    if accel_new < -SAFE_DECELERATION:
        return -np.inf, 0.0
    others = 0.0
    if n >= 0:
        it = occ.entry[n]
        room = at - half - it.front - shift
        if room < _MIN_GAP:
            return -np.inf, 0.0
        if it.speed > 0.0:
            wish = _wish_of(lanes, agents, it.agent, m)
            after = idm_acceleration(it.speed, wish, room, me.speed)
            if after < -SAFE_DECELERATION:
                return -np.inf, 0.0
            free = room + 2.0 * half + gap_new
            others += after - idm_acceleration(it.speed, wish, free, lead_new)
    gap, lead, _ = leader(lanes, occ, hints, a, l, me.entry, me.s + half)
    wish = _wish_of(lanes, agents, a, l)
    gain = accel_new - idm_acceleration(me.speed, wish, gap, lead) - THRESHOLD
    if me.trail == 1 and gain < _OFF_LOG:
        return -np.inf, 0.0
    others += _for_old_follower(lanes, occ, agents, a, gap, lead)
    here, there = lanes.lane[l], lanes.lane[m]
    if here.next_end == here.next_begin and there.next_end > there.next_begin:
        gain += _LANE_ENDS
    if hinted(lanes, hints, a, l) and not hinted(lanes, hints, a, m):
        gain -= _OFF_ROUTE
    return gain + POLITENESS * others, accel_new


@kernel
def change_lane(
    lanes: Lanes, occ: Occupancy, hints: NDArray[np.int64], agents: Records, a: int
) -> None:
    """Move agent `a` to a neighbouring lane if MOBIL says so.

    Changes are begun on ordinary lanes only (not inside intersections), where 2.5 s of
    travel and 15 m are left before the next intersection, and not during another change.
    From then on the agent belongs to the new lane, with its lateral offset to be made good,
    and keeps its place in the old lane while its body is there. Who drives its logged path, its
    lane changes with it, leaves it only if it is off its log and itself gains 0.5 m/s^2 more.

    Args:
        lanes, occ: lanes and who is on them; the new place is entered at once.
        hints: int64 [A + 1, HINTS].
        agents: `AGENT` [A]; row `a` is changed.
        a: the agent.
    """
    me = agents[a]
    lane = lanes.lane[me.lane]
    if lane.kind != LaneKind.LANE or me.leaving >= 0 or me.speed < _MIN_SPEED or me.trust > 0.0:
        return
    best, target, to, accel = 0.0, -1, 0.0, 0.0
    u = me.s / lane.spacing
    i = min(lane.count - 2, max(0, int(u)))
    f = min(1.0, max(0.0, u - i))
    p, q = lanes.sample[lane.first + i], lanes.sample[lane.first + i + 1]
    for side in range(2):
        m, at = lane.left, p.left + f * (q.left - p.left)
        if side == 1:
            m, at = lane.right, p.right + f * (q.right - p.right)
        if m < 0 or lanes.lane[m].kind != LaneKind.LANE or not at >= 0.0:
            continue
        room = lanes.lane[m].length - at
        needed = _ROOM_TIME * me.speed + _ROOM
        if room < needed:
            n = next_lane(lanes, hints, a, m)
            if n < 0 or lanes.lane[n].kind != LaneKind.LANE:
                continue
            if room + lanes.lane[n].length < needed:
                continue
        gain, accel_new = _gain(lanes, occ, hints, agents, a, m, at)
        if gain > best:
            best, target, to, accel = gain, m, at, accel_new
    if target < 0:
        return
    near = int(to / lanes.lane[target].spacing)
    s, d, _, _ = project(lanes.lane, lanes.sample, target, near, me.x, me.y)
    half = me.half_length
    me.leaving, me.lane, me.rest, me.trail = me.lane, target, REST_STEPS, 0
    me.s, me.d = s, d
    me.accel = min(me.accel, accel)
    me.leaving_entry = me.entry
    me.entry = insert(occ, target, a, s, s - half, s + half, me.speed, 0.0, Reason.BODY)
