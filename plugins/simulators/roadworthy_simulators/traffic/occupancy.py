"""Who is where: per lane, everyone on it or reaching into it, in order of arc length.

Rebuilt each step; one linked list per lane. A vehicle finds its leader as the next entry of its
own list, and beyond the lane's end at the head of the lists along its route.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import STATE_SIZE, SignalState

from .kernel import kernel
from .lane_kernels import cell_of, project
from .lanes import Conflict

if TYPE_CHECKING:
    from .lanes import Lanes
    from .state import Records

__all__ = [
    "CORRIDOR",
    "ENTRY",
    "SLOT",
    "Occupancy",
    "Reason",
    "announce",
    "clear",
    "hinted",
    "insert",
    "make_occupancy",
    "next_lane",
    "reach_into",
    "turn_of",
]

CORRIDOR = 1.1
"""Half the width that a follower in the middle of its lane needs free [m]."""
_ANNOUNCE_TIME = 3.0
_ANNOUNCE_REACH = 40.0
_ANNOUNCE_LEAST = 4.0
_COMMITTED = 3.0
_SIDEWAYS_TIME = 0.8
_SIDEWAYS_SPEED = 3.0
_ROOM = 32


class Reason(IntEnum):
    """Why there is an entry in a lane's list."""

    BODY = 0
    """It is on the lane, or reaches into it."""
    CROSSING = 1
    """It is on a lane that crosses here, inside the overlap."""
    COMING = 2
    """It is on its way into the overlap with another lane."""


ENTRY = np.dtype(
    [
        ("next", np.int32),  # next entry of the lane, -1 for none
        ("lane", np.int32),
        ("agent", np.int32),
        ("reason", np.int32),  # Reason
        ("middle", np.float64),  # arc lengths on the lane
        ("rear", np.float64),
        ("front", np.float64),  # COMING: where its rear would be if it drove on this lane
        ("speed", np.float64),  # along the lane; 0 if it crosses
        ("turn", np.float64),  # COMING: `turn_of` it; CROSSING: minus its depth [m] inside
        ("low", np.float32),  # BODY: lateral extent on the lane [m], infinite where not known
        ("high", np.float32),
        ("trust", np.float32),  # in its log, as in `AGENT`
    ],
    align=True,
)
"""One agent in one lane."""

SLOT = np.dtype([("head", np.int64), ("signal", np.int64)], align=True)
"""A lane's first entry (-1 for none) and the `SignalState` that governs it."""


class Occupancy(NamedTuple):
    """Entries of one scenario at one step.

    Attributes:
        slot: `SLOT` [L].
        entry: `ENTRY` [E].
        used: int64 [1], entries in use.
        log: [A, R, 5] `StateIndex`, what everyone did; none where nobody has a `trail`.
    """

    slot: Records
    entry: Records
    used: NDArray[np.int64]
    log: NDArray[np.float64]


def make_occupancy(lanes: int, agents: int) -> Occupancy:
    """Empty lists for that many lanes, and room for that many agents and the ego."""
    slot = np.zeros(lanes, SLOT)
    slot["head"] = -1
    entry, used = np.zeros(_ROOM * (agents + 1), ENTRY), np.zeros(1, np.int64)
    return Occupancy(slot, entry, used, np.zeros((0, 0, STATE_SIZE)))


@kernel
def clear(occ: Occupancy) -> None:
    """Empty all lists."""
    for e in range(occ.used[0]):
        occ.slot[occ.entry[e].lane].head = -1
    occ.used[0] = 0


@kernel
def insert(
    occ: Occupancy,
    lane: int,
    agent: int,
    middle: float,
    rear: float,
    front: float,
    speed: float,
    turn: float,
    reason: int,
) -> int:
    """Add an entry in order of `middle`; of equal ones the first added comes first.

    Its lateral extent is not known, and it is not trusted, unless the caller writes them.

    Returns:
        The entry, or -1 where there is no room (32 entries per agent) for it.
    """
    e = occ.used[0]
    entry = occ.entry
    if e == len(entry):
        return -1
    occ.used[0] = e + 1
    new = entry[e]
    new.middle, new.rear, new.front = middle, rear, front
    new.speed, new.turn = speed, turn
    new.lane, new.agent, new.reason = lane, agent, reason
    new.low, new.high, new.trust = -np.inf, np.inf, 0.0
    n = occ.slot[lane].head
    if n < 0 or middle < entry[n].middle:
        new.next = n
        occ.slot[lane].head = e
        return e
    p = n
    n = entry[p].next
    while n >= 0 and entry[n].middle <= middle:
        p = n
        n = entry[p].next
    new.next = n
    entry[p].next = e
    return e


@kernel
def next_lane(lanes: Lanes, hints: NDArray[np.int64], a: int, l: int) -> int:
    """The lane after `l`: where agent a's logged track went, else the straightest; -1 for none.

    Args:
        lanes: the lanes.
        hints: int64 [A + 1, HINTS].
        a: the agent.
        l: the lane.
    """
    lane = lanes.lane[l]
    begin, end = lane.next_begin, lane.next_end
    if end - begin <= 1:
        return lanes.link[begin] if end > begin else -1
    for h in range(hints.shape[1]):
        if hints[a, h] < 0:
            break
        for k in range(begin, end):
            if lanes.link[k] == hints[a, h]:
                return hints[a, h]
    return lane.straight


@kernel
def hinted(lanes: Lanes, hints: NDArray[np.int64], a: int, l: int) -> bool:
    """Whether one of the lanes after `l` is on agent a's logged track."""
    for k in range(lanes.lane[l].next_begin, lanes.lane[l].next_end):
        for h in range(hints.shape[1]):
            if hints[a, h] < 0:
                break
            if hints[a, h] == lanes.link[k]:
                return True
    return False


@kernel
def turn_of(ahead: float, speed: float) -> float:
    """A vehicle's place in the order in which an intersection is entered, the least first.

    Those inside come first, by depth; then those that can no longer stop comfortably (at
    3 m/s^2); then the others, by the time to get there. One order for all of an intersection
    means that no ring of vehicles can come to wait for one another in it.

    Args:
        ahead: from the front bumper to the intersection [m], negative inside.
        speed: [m/s].
    """
    if ahead <= 0.0:
        return ahead
    if speed * speed > 2.0 * _COMMITTED * ahead:
        return 0.0
    return ahead / max(speed, 1.0)


@kernel
def announce(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    a: int,
    l: int,
    rear: float,
    front: float,
    speed: float,
    bodies: bool,
) -> None:
    """Enter a lane follower into the lanes that overlap its own, here and soon.

    Overlaps that it stands in get its body (where `bodies`); those that it comes to within
    three seconds get word of it, up to the first red signal.

    Args:
        lanes: the lanes.
        occ: changed.
        hints: int64 [A + 1, HINTS], which say where it goes.
        a: its number.
        l: its lane.
        rear, front: arc lengths of its bumpers.
        speed: [m/s].
        bodies: False if its body has been entered otherwise.
    """
    reach = max(_ANNOUNCE_LEAST, min(_ANNOUNCE_REACH, _ANNOUNCE_TIME * speed))
    for _ in range(4):
        lane = lanes.lane[l]
        for c in range(lane.conflict_begin, lane.conflict_end):
            it = lanes.conflict[c]
            ahead = it.begin - front
            if it.end < rear or min(lane.box, it.begin) - front > reach:
                continue
            low, high = min(it.other_begin, it.other_end), max(it.other_begin, it.other_end)
            middle = 0.5 * (low + high)
            if ahead > 0.0:
                if it.kind != Conflict.DIVERGING:
                    v = speed if it.kind == Conflict.MERGING else 0.0
                    turn = turn_of(min(lane.box, it.begin) - front, speed)
                    tail = it.other_begin - (it.begin - rear)
                    insert(occ, it.lane, a, middle, low, tail, v, turn, Reason.COMING)
            elif not bodies:
                continue
            elif it.kind == Conflict.CROSSING:
                insert(occ, it.lane, a, middle, low, high, 0.0, ahead, Reason.CROSSING)
            else:
                ratio = 1.0
                if it.end > it.begin:
                    ratio = (it.other_end - it.other_begin) / (it.end - it.begin)
                r = it.other_begin + (rear - it.begin) * ratio
                f = it.other_begin + (front - it.begin) * ratio
                insert(occ, it.lane, a, 0.5 * (r + f), r, f, speed, 0.0, Reason.BODY)
        room = lane.length - front
        if room > reach:
            return
        l = next_lane(lanes, hints, a, l)
        if l < 0 or (occ.slot[l].signal == SignalState.RED and room > 0.0):
            return
        rear -= lane.length
        front -= lane.length


@kernel
def reach_into(
    lanes: Lanes,
    m: int,
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
    speed: float,
    place: Records,
    corridor: float = CORRIDOR,
) -> int:
    """Lanes into whose corridor a box reaches, or will within 0.8 s of sideways motion.

    Args:
        lanes: the lanes.
        m: which map.
        x, y, c, s: centre of the box, cosine and sine of its heading.
        half_length, half_width: half its sides [m].
        speed: along its heading [m/s].
        place: `PLACE` [P], overwritten.
        corridor: half its width [m].

    Returns:
        How many there are; at most P.
    """
    cell = cell_of(lanes, m, x, y)
    if cell < 0:
        return 0
    count = 0
    for e in range(lanes.cell[cell], lanes.cell[cell + 1]):
        l = lanes.item[e].lane
        at, d, tc, ts = project(lanes.lane, lanes.sample, l, lanes.item[e].sample, x, y)
        along, across = c * tc + s * ts, s * tc - c * ts
        cos, sin = abs(along), abs(across)
        wide = half_length * sin + half_width * cos
        reach = corridor + wide
        sideways = speed * across
        drift = _SIDEWAYS_TIME * min(_SIDEWAYS_SPEED, max(-_SIDEWAYS_SPEED, sideways))
        if d * sideways < 0.0:
            reach += abs(drift)
        if abs(d) > reach:
            continue
        extent = half_length * cos + half_width * sin
        if at + extent < 0.0 or at - extent > lanes.lane[l].length:
            continue
        p = place[count]
        p.lane, p.along, p.offset = l, along, d
        p.middle, p.rear, p.front = at, at - extent, at + extent
        p.low, p.high = d - wide + min(0.0, drift), d + wide + max(0.0, drift)
        count += 1
        if count == len(place):
            break
    return count
