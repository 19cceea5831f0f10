"""Agents that keep to their own logged path: pedestrians, and vehicles off the lanes.

Such an agent walks through its log at a rate between 0 and 1 rows per step: as logged while
the way is free, slower and at last not at all where it would meet a vehicle, and on again when
the way is free. Rows missing from the log are bridged by straight lines.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .idm import ACCELERATION, EMERGENCY, idm_acceleration
from .state import Real

__all__ = ["path_pose", "pedestrian_rate", "vehicle_rate", "walk"]

_WALK_ROWS = 12
_WALK_MARGIN = 0.4
_WALK_SLOWER = 0.2
_WALK_FASTER = 0.1
_DRIVE_ROWS = 40
_DRIVE_MARGIN = 0.2


@njit(cache=True, nogil=True, error_model="numpy")
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
    k = min(int(clock), last)
    i, j = k, min(k + 1, last)
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


@njit(cache=True, nogil=True, error_model="numpy")
def walk(real: NDArray[np.float64], pose: NDArray[np.float64], a: int) -> None:
    """Put agent `a` of `real` [A, *] at `pose` [5]; it moves at its rate of the pose's speed."""
    real[a, Real.X], real[a, Real.Y], real[a, Real.YAW] = pose[0], pose[1], pose[2]
    real[a, Real.COS], real[a, Real.SIN] = math.cos(pose[2]), math.sin(pose[2])
    real[a, Real.SPEED] = real[a, Real.RATE] * math.sqrt(pose[3] * pose[3] + pose[4] * pose[4])


@njit(cache=True, nogil=True, error_model="numpy")
def pedestrian_rate(
    log: NDArray[np.float64],
    valid: NDArray[np.bool_],
    last: int,
    real: NDArray[np.float64],
    a: int,
    bodies: NDArray[np.float64],
    count: int,
    scratch: NDArray[np.float64],
) -> float:
    """Rate at which a pedestrian goes on, given the vehicles around.

    It slows to a stand within half a second where its next 1.2 s of path enter the box
    (0.4 m and its own radius wider) of a vehicle, moved on at the vehicle's present velocity.
    A vehicle in whose widened box it already is does not hold it there.

    Args:
        log, valid, last: as in `path_pose`.
        real: [A, *] agents; row `a` is read.
        a: the pedestrian.
        bodies: [*, 7] x, y, cos, sin, half length, half width, speed of the vehicles.
        count: how many there are.
        scratch: [5].
    """
    x, y = real[a, Real.X], real[a, Real.Y]
    margin = _WALK_MARGIN + min(real[a, Real.HALF_LENGTH], real[a, Real.HALF_WIDTH])
    rate = min(1.0, real[a, Real.RATE] + _WALK_FASTER)
    for b in range(count):
        dx, dy = x - bodies[b, 0], y - bodies[b, 1]
        c, s, speed = bodies[b, 2], bodies[b, 3], bodies[b, 6]
        long, wide = bodies[b, 4] + margin, bodies[b, 5] + margin
        near = 4.0 + long + abs(speed) * 0.1 * _WALK_ROWS
        if dx * dx + dy * dy > near * near:
            continue
        if abs(dx * c + dy * s) < long and abs(dy * c - dx * s) < wide:
            continue
        for k in range(2, _WALK_ROWS + 1, 2):
            path_pose(log, valid, last, real[a, Real.CLOCK] + k, scratch)
            dx = scratch[0] - bodies[b, 0] - c * speed * 0.1 * k
            dy = scratch[1] - bodies[b, 1] - s * speed * 0.1 * k
            if abs(dx * c + dy * s) < long and abs(dy * c - dx * s) < wide:
                return max(0.0, real[a, Real.RATE] - _WALK_SLOWER)
    return rate


@njit(cache=True, nogil=True, error_model="numpy")
def vehicle_rate(
    log: NDArray[np.float64],
    valid: NDArray[np.bool_],
    last: int,
    real: NDArray[np.float64],
    a: int,
    bodies: NDArray[np.float64],
    count: int,
    own: int,
    scratch: NDArray[np.float64],
) -> float:
    """Rate at which a vehicle off the lanes goes on: IDM along its logged path.

    The leader is the first mover whose box its own width sweeps over on the next four seconds
    of logged path; the desired speed is the logged one.

    Args:
        log, valid, last, real, a: as in `pedestrian_rate`.
        bodies: [*, 7], as there, every agent that moves or yields and the ego.
        count: how many there are.
        own: its own row in `bodies`.
        scratch: [5].
    """
    clock, speed = real[a, Real.CLOCK], real[a, Real.SPEED]
    path_pose(log, valid, last, clock + 1.0, scratch)
    wanted = math.sqrt(scratch[3] * scratch[3] + scratch[4] * scratch[4])
    if wanted < 0.1:
        return min(1.0, real[a, Real.RATE] + 0.1)
    reach = real[a, Real.HALF_LENGTH] + 2.0 + wanted * 0.1 * _DRIVE_ROWS
    gap, lead = np.inf, 0.0
    for b in range(count):
        if b == own:
            continue
        x, y, c, s = bodies[b, 0], bodies[b, 1], bodies[b, 2], bodies[b, 3]
        dx, dy = x - real[a, Real.X], y - real[a, Real.Y]
        near = reach + bodies[b, 4]
        if dx * dx + dy * dy > near * near or dx * real[a, Real.COS] + dy * real[a, Real.SIN] < 0.0:
            continue
        margin = real[a, Real.HALF_WIDTH] + _DRIVE_MARGIN
        px, py, walked = real[a, Real.X], real[a, Real.Y], 0.0
        for k in range(2, _DRIVE_ROWS + 1, 2):
            path_pose(log, valid, last, clock + k, scratch)
            walked += math.hypot(scratch[0] - px, scratch[1] - py)
            px, py = scratch[0], scratch[1]
            dx, dy = px - x, py - y
            if abs(dx * c + dy * s) < bodies[b, 4] + margin and (
                abs(dy * c - dx * s) < bodies[b, 5] + margin
            ):
                room = max(0.01, walked + margin - real[a, Real.HALF_LENGTH])
                if room < gap:
                    gap = room
                    lead = bodies[b, 6] * (c * math.cos(scratch[2]) + s * math.sin(scratch[2]))
                break
    if gap == np.inf:
        return min(1.0, real[a, Real.RATE] + 0.1 * ACCELERATION / wanted)
    accel = max(-EMERGENCY, idm_acceleration(speed, wanted, gap, lead))
    return min(1.0, max(0.0, speed + 0.1 * accel) / wanted)
