"""Who is where: per lane, everyone on it or reaching into it, in order of arc length.

Rebuilt each step; one linked list per lane. A vehicle finds its leader as the next entry of its
own list, and beyond the lane's end at the head of the lists along its route.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.scenario import SignalState

from .lane_kernels import cell_of, project

if TYPE_CHECKING:
    from .lanes import Lanes

__all__ = [
    "Entry",
    "Occupancy",
    "announce",
    "clear",
    "hinted",
    "insert",
    "make_occupancy",
    "next_lane",
    "places",
]

_CORRIDOR = 1.1
"""Half the width that a follower needs free [m]."""
_ANNOUNCE_TIME = 3.0
_ANNOUNCE_REACH = 40.0
_RED = int(SignalState.RED)


class Entry(IntEnum):
    """Why an entry is in a lane's list."""

    BODY = 0
    """It is on the lane, or reaches into it."""
    CROSSING = 1
    """It is on a lane that crosses here, inside the overlap."""
    COMING = 2
    """It is on its way into the overlap with another lane."""


class Occupancy(NamedTuple):
    """Entries of one scenario at one step.

    Attributes:
        head: int64 [L], first entry of each lane, -1 for none.
        where: [E, 5]: middle, rear and front arc length [m], speed along the lane [m/s], and
            for entries other than `BODY` the time [s] until the overlap is entered, or minus
            the depth [m] to which it has been.
        what: int64 [E, 4]: next entry of the lane (-1 for none), lane, agent, `Entry`.
        used: int64 [1], entries in use.
        own: int64 [A + 1], each agent's entry on its lane; leaving: on the lane it leaves.
        signal: int8 [L], `SignalState` of the signal that governs the lane, now.
    """

    head: NDArray[np.int64]
    where: NDArray[np.float64]
    what: NDArray[np.int64]
    used: NDArray[np.int64]
    own: NDArray[np.int64]
    leaving: NDArray[np.int64]
    signal: NDArray[np.int8]


@njit(cache=True, nogil=True, error_model="numpy")
def make_occupancy(lanes: int, agents: int) -> Occupancy:
    """Empty lists for that many lanes, and room for that many agents and the ego."""
    room = 32 * (agents + 1)
    return Occupancy(
        np.full(lanes, -1, np.int64),
        np.empty((room, 5)),
        np.empty((room, 4), np.int64),
        np.zeros(1, np.int64),
        np.full(agents + 1, -1, np.int64),
        np.full(agents + 1, -1, np.int64),
        np.zeros(lanes, np.int8),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def clear(occ: Occupancy) -> None:
    """Empty all lists."""
    for e in range(occ.used[0]):
        occ.head[occ.what[e, 1]] = -1
    occ.used[0] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def insert(
    occ: Occupancy,
    lane: int,
    agent: int,
    middle: float,
    rear: float,
    front: float,
    speed: float,
    until: float,
    entry: int,
) -> int:
    """Add an entry in order of `middle`; of equal ones the first added comes first.

    Returns:
        The entry, or -1 where there is no room (32 entries per agent) for it.
    """
    e = occ.used[0]
    if e == len(occ.where):
        return -1
    occ.used[0] = e + 1
    where, what = occ.where, occ.what
    where[e, 0], where[e, 1], where[e, 2] = middle, rear, front
    where[e, 3], where[e, 4] = speed, until
    what[e, 1], what[e, 2], what[e, 3] = lane, agent, entry
    p = occ.head[lane]
    if p < 0 or middle < where[p, 0]:
        what[e, 0] = p
        occ.head[lane] = e
        return e
    n = what[p, 0]
    while n >= 0 and where[n, 0] <= middle:
        p = n
        n = what[p, 0]
    what[e, 0] = n
    what[p, 0] = e
    return e


@njit(cache=True, nogil=True, error_model="numpy")
def next_lane(lanes: Lanes, hints: NDArray[np.int64], l: int) -> int:
    """The lane after `l`: where the logged track went, else the straightest; -1 for none."""
    a, b = lanes.next_start[l], lanes.next_start[l + 1]
    if b - a <= 1:
        return lanes.next_lane[a] if b > a else -1
    for h in range(len(hints)):
        if hints[h] < 0:
            break
        for k in range(a, b):
            if lanes.next_lane[k] == hints[h]:
                return hints[h]
    return lanes.straight[l]


@njit(cache=True, nogil=True, error_model="numpy")
def hinted(lanes: Lanes, hints: NDArray[np.int64], l: int) -> bool:
    """Whether one of the lanes after `l` is on the logged track."""
    for k in range(lanes.next_start[l], lanes.next_start[l + 1]):
        for h in range(len(hints)):
            if hints[h] < 0:
                break
            if hints[h] == lanes.next_lane[k]:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def announce(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    agent: int,
    l: int,
    rear: float,
    front: float,
    speed: float,
    bodies: bool,
) -> None:
    """Enter a lane follower into the lanes that overlap its own, here and soon.

    Overlaps that it stands in get its body (where `bodies`); those that it reaches within
    three seconds get word that it is coming, up to the first red signal.

    Args:
        lanes: the lanes.
        occ: changed.
        hints: the agent's hints, which say where it goes.
        agent: its number.
        l: its lane.
        rear, front: arc lengths of its bumpers.
        speed: [m/s].
        bodies: False if its body has been entered otherwise.
    """
    reach = min(_ANNOUNCE_REACH, _ANNOUNCE_TIME * speed)
    for _ in range(4):
        for c in range(lanes.conflict_start[l], lanes.conflict_start[l + 1]):
            begin, end = lanes.conflict[c, 0], lanes.conflict[c, 1]
            if end < rear or begin - front > reach:
                continue
            kind = lanes.conflict_kind[c]
            a, b = lanes.conflict[c, 2], lanes.conflict[c, 3]
            low, high = min(a, b), max(a, b)
            ahead = begin - front
            m = lanes.conflict_lane[c]
            if ahead > 0.0:
                if kind != 2:
                    v = speed if kind == 1 else 0.0
                    until = ahead / max(speed, 1.0)
                    insert(occ, m, agent, 0.5 * (low + high), low, high, v, until, 2)
            elif not bodies:
                continue
            elif kind == 0:
                insert(occ, m, agent, 0.5 * (low + high), low, high, 0.0, ahead, 1)
            else:
                ratio = (b - a) / (end - begin) if end > begin else 1.0
                r, f = a + (rear - begin) * ratio, a + (front - begin) * ratio
                insert(occ, m, agent, 0.5 * (r + f), r, f, speed, ahead, 0)
        room = lanes.length[l] - front
        if room > reach:
            return
        n = next_lane(lanes, hints, l)
        if n < 0 or (occ.signal[n] == _RED and room > 0.0):
            return
        rear -= lanes.length[l]
        front -= lanes.length[l]
        l = n


@njit(cache=True, nogil=True, error_model="numpy")
def places(
    lanes: Lanes,
    m: int,
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
    vx: float,
    vy: float,
    place_lane: NDArray[np.int64],
    place: NDArray[np.float64],
) -> tuple[int, int]:
    """Lanes into whose corridor a box reaches, or will within 0.8 s of sideways motion.

    Args:
        lanes: the lanes.
        m: which map.
        x, y, c, s: centre of the box, cosine and sine of its heading.
        half_length, half_width: half its sides [m].
        vx, vy: its velocity, world frame [m/s].
        place_lane: int64 [4], overwritten.
        place: [4, 3], overwritten with middle, rear and front arc length.

    Returns:
        How many there are (the first four count), and which of them the box is driving
        along best, -1 for none.
    """
    cell = cell_of(lanes, m, x, y)
    if cell < 0:
        return 0, -1
    count, along, best = 0, -1, np.inf
    for e in range(lanes.cell_start[cell], lanes.cell_start[cell + 1]):
        l = lanes.cell_lane[e]
        at, d, yaw = project(lanes, l, lanes.cell_sample[e], x, y)
        tc, ts = math.cos(yaw), math.sin(yaw)
        cos, sin = abs(c * tc + s * ts), abs(s * tc - c * ts)
        sideways = vy * tc - vx * ts
        reach = _CORRIDOR + half_length * sin + half_width * cos
        if d * sideways < 0.0:
            reach += 0.8 * min(abs(sideways), 3.0)
        if abs(d) > reach:
            continue
        extent = half_length * cos + half_width * sin
        if at + extent < 0.0 or at - extent > lanes.length[l]:
            continue
        place_lane[count] = l
        place[count, 0], place[count, 1], place[count, 2] = at, at - extent, at + extent
        if c * tc + s * ts > 0.7 and abs(d) < min(best, lanes.half_width[l]):
            best, along = abs(d), count
        count += 1
        if count == len(place_lane):
            break
    return count, along
