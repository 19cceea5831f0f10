"""Agents that keep to their own logged path: pedestrians, and vehicles off the lanes.

Such an agent walks through its log at a rate between 0 and 1 rows per step: as logged while
the way is free, slower and at last not at all where it would meet a vehicle, and on again when
the way is free. Rows missing from the log are bridged by straight lines. Two who both do what
they did in the log do not mind each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .idm import ACCELERATION, idm_acceleration
from .kernel import kernel
from .state import MOSTLY_TRUST

if TYPE_CHECKING:
    from .state import Records

__all__ = ["path_pose", "pedestrian_rate", "vehicle_rate", "walk"]

_WALK_ROWS = 12
_WALK_MARGIN = 0.4
_WALK_SLOWER = 0.2
_WALK_FASTER = 0.1
_DRIVE_ROWS = 40
_DRIVE_MARGIN = 0.2


@kernel
def path_pose(
    log: NDArray[np.float64],
    valid: NDArray[np.bool_],
    last: int,
    clock: float,
    out: NDArray[np.float64],
) -> None:
    """State on the logged path at a row of the log, exactly as logged at whole valid rows.

    Args:
        log: [R, 5] `StateIndex`.
        valid: bool [R].
        last: last valid row.
        clock: row, not before the first valid one; held at `last` beyond it.
        out: [5], overwritten.
    """
    i = min(int(clock), last)
    j = min(i + 1, last)
    while not valid[i]:
        i -= 1
    while not valid[j]:
        j += 1
    f = (clock - i) / (j - i) if j > i and clock < last else 0.0
    if f == 0.0:
        for c in range(5):
            out[c] = log[i, c]
        return
    turn = log[j, 2] - log[i, 2]
    turn -= 2.0 * math.pi * math.floor((turn + math.pi) / (2.0 * math.pi))
    for c in range(5):
        out[c] = log[i, c] + f * (log[j, c] - log[i, c])
    out[2] = log[i, 2] + f * turn


@kernel
def walk(agents: Records, a: int, pose: NDArray[np.float64]) -> None:
    """Put an agent at a pose [5]; it moves at its rate of the pose's speed."""
    me = agents[a]
    me.x, me.y, me.yaw = pose[0], pose[1], pose[2]
    me.cos, me.sin = math.cos(pose[2]), math.sin(pose[2])
    me.speed = me.rate * math.sqrt(pose[3] * pose[3] + pose[4] * pose[4])


@kernel
def pedestrian_rate(
    log: NDArray[np.float64],
    valid: NDArray[np.bool_],
    agents: Records,
    a: int,
    bodies: Records,
    count: int,
    scratch: NDArray[np.float64],
) -> float:
    """Rate at which a pedestrian goes on, given the vehicles around.

    It slows to a stand within half a second where its next 1.2 s of path enter the box
    (0.4 m and its own radius wider) of a vehicle, moved on at the vehicle's present velocity.
    A vehicle in whose widened box it already is does not hold it there.

    Args:
        log: [R, 5], valid: bool [R], its log.
        agents: `AGENT` [A].
        a: the pedestrian.
        bodies: `BODY`, the vehicles that move.
        count: how many there are.
        scratch: [5].
    """
    me = agents[a]
    margin = _WALK_MARGIN + min(me.half_length, me.half_width)
    for b in range(count):
        it = bodies[b]
        if min(me.trust, it.trust) >= MOSTLY_TRUST:
            continue
        dx, dy = me.x - it.x, me.y - it.y
        long, wide = it.half_length + margin, it.half_width + margin
        near = 4.0 + long + abs(it.speed) * 0.1 * _WALK_ROWS
        if dx * dx + dy * dy > near * near:
            continue
        c, s = it.cos, it.sin
        if abs(dx * c + dy * s) < long and abs(dy * c - dx * s) < wide:
            continue
        for k in range(2, _WALK_ROWS + 1, 2):
            path_pose(log, valid, me.last, me.clock + k, scratch)
            dx = scratch[0] - it.x - c * it.speed * 0.1 * k
            dy = scratch[1] - it.y - s * it.speed * 0.1 * k
            if abs(dx * c + dy * s) < long and abs(dy * c - dx * s) < wide:
                return max(0.0, me.rate - _WALK_SLOWER)
    return min(1.0, me.rate + _WALK_FASTER)


@kernel
def vehicle_rate(
    log: NDArray[np.float64],
    valid: NDArray[np.bool_],
    agents: Records,
    a: int,
    bodies: Records,
    count: int,
    scratch: NDArray[np.float64],
) -> float:
    """Rate at which a vehicle off the lanes goes on: IDM along its logged path.

    The leader is the first mover whose box its own width sweeps over on the next four seconds
    of logged path; the desired speed is the logged one.

    Args:
        log, valid, agents, a: as in `pedestrian_rate`.
        bodies: `BODY`, everyone who moves.
        count: how many there are.
        scratch: [5].
    """
    me = agents[a]
    path_pose(log, valid, me.last, me.clock + 1.0, scratch)
    wanted = math.sqrt(scratch[3] * scratch[3] + scratch[4] * scratch[4])
    if wanted < 0.1:
        return min(1.0, me.rate + 0.1)
    margin = me.half_width + _DRIVE_MARGIN
    reach = me.half_length + 2.0 + wanted * 0.1 * _DRIVE_ROWS
    gap, lead = np.inf, 0.0
    for b in range(count):
        it = bodies[b]
        if min(me.trust, it.trust) >= MOSTLY_TRUST:
            continue
        dx, dy = it.x - me.x, it.y - me.y
        near = reach + it.half_length
        if it.agent == a or dx * dx + dy * dy > near * near or dx * me.cos + dy * me.sin < 0.0:
            continue
        px, py, walked = me.x, me.y, 0.0
        for k in range(2, _DRIVE_ROWS + 1, 2):
            path_pose(log, valid, me.last, me.clock + k, scratch)
            walked += math.hypot(scratch[0] - px, scratch[1] - py)
            px, py = scratch[0], scratch[1]
            dx, dy = px - it.x, py - it.y
            if abs(dx * it.cos + dy * it.sin) < it.half_length + margin and (
                abs(dy * it.cos - dx * it.sin) < it.half_width + margin
            ):
                room = max(0.01, walked + margin - me.half_length)
                if room < gap:
                    gap = room
                    heading = scratch[2]
                    lead = it.speed * (it.cos * math.cos(heading) + it.sin * math.sin(heading))
                break
    if gap == np.inf:
        return min(1.0, me.rate + 0.1 * ACCELERATION / wanted)
    accel = idm_acceleration(me.speed, wanted, gap, lead)
    return min(1.0, max(0.0, me.speed + 0.1 * accel) / wanted)
