"""Whether something stands in the way that a follower's own body takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import StateIndex

from .kernel import kernel
from .lane_kernels import project

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy
    from .state import Records

__all__ = ["MARGIN", "in_the_way", "on_path"]

MARGIN = 0.2
"""Room that a driver leaves on either side [m]."""
_DEEP = 0.8
_SLOW = 1.0
_ABEAM = 2.0


@kernel
def on_path(
    log: NDArray[np.float64],
    me: Records,
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
) -> int:
    """Whether a box lies in the corridor of a logged path: 1 if it does, 0 if not, and -1 if
    the path ends before it comes abeam.

    The path's pose abeam is the first as far off as the box; it is looked for by bisection.

    Args:
        log: [R, 5] `StateIndex`, without gaps.
        me: one `AGENT`, whose path it is.
        x, y, c, s: centre of the box, cosine and sine of its heading.
        half_length, half_width: of the box [m].
    """
    low, high = int(me.clock), me.last
    wanted = (x - me.x) ** 2 + (y - me.y) ** 2
    dx, dy = log[high, StateIndex.X] - me.x, log[high, StateIndex.Y] - me.y
    if dx * dx + dy * dy < wanted:
        return -1
    while high - low > 1:
        k = (low + high) // 2
        dx, dy = log[k, StateIndex.X] - me.x, log[k, StateIndex.Y] - me.y
        if dx * dx + dy * dy < wanted:
            low = k
        else:
            high = k
    pc, ps = math.cos(log[high, StateIndex.YAW]), math.sin(log[high, StateIndex.YAW])
    dx, dy = x - log[high, StateIndex.X], y - log[high, StateIndex.Y]
    cos, sin = abs(c * pc + s * ps), abs(s * pc - c * ps)
    if abs(dx * pc + dy * ps) > half_length * cos + half_width * sin + _ABEAM:
        return 0
    room = me.half_width + MARGIN + half_length * sin + half_width * cos
    return 1 if abs(dy * pc - dx * ps) < room else 0


@kernel
def in_the_way(lanes: Lanes, occ: Occupancy, agents: Records, a: int, entry: int, l: int) -> bool:
    """Whether a body on lane `l` lies in what agent `a`, who drives its logged path, will sweep. A
    body that moves and is mostly ahead of it is in the way all the same.

    Args:
        lanes, occ: lanes and who is on them.
        agents: `AGENT` [A].
        a: which of them.
        entry: the body's.
        l: the lane.
    """
    me, it = agents[a], occ.entry[entry]
    low, high = it.low, it.high
    k = int(it.middle / lanes.lane[l].spacing)
    if low > -np.inf:
        k = lanes.lane[l].first + min(lanes.lane[l].count - 1, max(0, k))
        p = lanes.sample[k]
        over = it.middle - (k - lanes.lane[l].first) * lanes.lane[l].spacing
        d, c, s = 0.5 * (low + high), p.cos, p.sin
        x, y = p.x + over * c - d * s, p.y + over * s + d * c
        long, wide = 0.5 * (it.front - it.rear), 0.5 * (high - low)
    else:
        if it.agent >= len(agents):
            return True
        who = agents[it.agent]
        _, d, c, s = project(lanes.lane, lanes.sample, l, k, who.x, who.y)
        cos, sin = abs(c * who.cos + s * who.sin), abs(c * who.sin - s * who.cos)
        wide = who.half_width * cos + who.half_length * sin
        low, high = d - wide, d + wide
        x, y, c, s, long, wide = who.x, who.y, who.cos, who.sin, who.half_length, who.half_width
    half = me.half_width + MARGIN
    depth = min(me.d + half, high) - max(me.d - half, low)
    if depth > _DEEP and it.speed > _SLOW:
        return True
    found = on_path(occ.log[a], me, x, y, c, s, long, wide)
    return depth > 0.0 if found < 0 else found == 1
