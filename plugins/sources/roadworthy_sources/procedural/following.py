"""The compiled loop of `traffic`: car following, yielding, signals; and overlap tests."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect

__all__ = ["overlaps", "simulate"]

_DT = 0.1
_ACCEL = 1.6
_BRAKE = 2.2
_STANDSTILL = 2.5
_MAX_BRAKE = 8.0
_EXPECTED_RED_BRAKE = 3.2
_MARGIN = 0.35
_HORIZON = 4.0
_STRIDE = 0.4
_CLEARANCE = 1.0
_JERK_UP = 2.5
_JERK_DOWN = 4.0
_JERK_EMERGENCY = 20.0
_HALF_LENGTH, _HALF_WIDTH, _STATION, _SPEED, _DESIRED, _HEADWAY, _FORWARD = range(7)
_RED, _YELLOW = 3, 2


@njit(cache=True, nogil=True, error_model="numpy")
def _pose_at(line: NDArray[np.float64], spacing: float, s: float) -> tuple[float, float, float]:
    u = min(max(s / spacing, 0.0), line.shape[0] - 1.0)
    k = min(int(u), line.shape[0] - 2)
    f = u - k
    return (
        line[k, 0] + f * (line[k + 1, 0] - line[k, 0]),
        line[k, 1] + f * (line[k + 1, 1] - line[k, 1]),
        line[k, 2] + f * (line[k + 1, 2] - line[k, 2]),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(
    line: NDArray[np.float64], spacing: float, low: float, high: float, x: float, y: float
) -> tuple[float, float, float]:
    """Station, distance and heading of the nearest path point between two stations."""
    first = max(0, int(low / spacing))
    last = min(line.shape[0] - 1, int(high / spacing) + 1)
    best, at = np.inf, first
    k = first
    while k <= last:
        d = (line[k, 0] - x) ** 2 + (line[k, 1] - y) ** 2
        if d < best:
            best, at = d, k
        k += 1 if d < 100.0 else max(1, int((math.sqrt(d) - 8.0) / spacing))
    along = (x - line[at, 0]) * math.cos(line[at, 2]) + (y - line[at, 1]) * math.sin(line[at, 2])
    across = (y - line[at, 1]) * math.cos(line[at, 2]) - (x - line[at, 0]) * math.sin(line[at, 2])
    if abs(along) > 2.0 * spacing:
        return -np.inf, np.inf, 0.0
    return at * spacing + along, abs(across), line[at, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def _following(v: float, wanted: float, headway: float, gap: float, lead: float) -> float:
    """IDM acceleration behind a leader at `gap` [m] that moves at `lead` [m/s]."""
    free = _ACCEL * (1.0 - (v / max(wanted, 0.1)) ** 4)
    free = max(free, -2.0)
    if gap == np.inf:
        return free
    reach = _STANDSTILL + max(
        0.0, v * headway + v * (v - lead) / (2.0 * math.sqrt(_ACCEL * _BRAKE))
    )
    return free - _ACCEL * (reach / max(gap, 0.3)) ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def _demand(
    i: int,
    now: NDArray[np.float64],
    gone: NDArray[np.bool_],
    lines: NDArray[np.float64],
    offsets: NDArray[np.int64],
    spacing: NDArray[np.float64],
    table: NDArray[np.float64],
    yields: NDArray[np.bool_],
    wanted: float,
) -> float:
    """Acceleration that actor i asks for, given everyone now: rows (s, v, x, y, yaw, cx, cy)."""
    line = lines[offsets[i] : offsets[i + 1]]
    v = now[i, 1]
    middle = now[i, 0] + table[i, _FORWARD]
    front = middle + table[i, _HALF_LENGTH]
    headway = table[i, _HEADWAY]
    reach = 25.0 + v * 5.0
    accel = _following(v, wanted, headway, np.inf, 0.0)
    pace = max(v, 0.6 * wanted, 1.0)
    for j in range(now.shape[0]):
        if j == i or gone[j]:
            continue
        vj = now[j, 1]
        apart = math.hypot(now[j, 5] - now[i, 5], now[j, 6] - now[i, 6])
        if apart > reach + table[j, _HALF_LENGTH] + _HORIZON * vj:
            continue
        other = lines[offsets[j] : offsets[j + 1]]
        looks = 1
        if yields[i, j] and vj > 0.2:
            looks = 1 + int(_HORIZON / _STRIDE)
        for look in range(looks):
            tau = look * _STRIDE
            if look == 0:
                x, y, yaw = now[j, 5], now[j, 6], now[j, 4]
            else:
                x, y, yaw = _pose_at(other, spacing[j], now[j, 0] + vj * tau)
                x += table[j, _FORWARD] * math.cos(yaw)
                y += table[j, _FORWARD] * math.sin(yaw)
            if math.hypot(x - now[i, 5], y - now[i, 6]) > reach + 5.0:
                continue
            s, d, heading = _nearest(line, spacing[i], middle - 5.0, middle + reach, x, y)
            c, n = math.cos(yaw - heading), abs(math.sin(yaw - heading))
            half_across = n * table[j, _HALF_LENGTH] + abs(c) * table[j, _HALF_WIDTH]
            if d > table[i, _HALF_WIDTH] + half_across + _MARGIN or s <= middle:
                continue
            half_along = abs(c) * table[j, _HALF_LENGTH] + n * table[j, _HALF_WIDTH]
            if look == 0:
                accel = min(accel, _following(v, wanted, headway, s - half_along - front, vj * c))
            elif c > 0.7:
                even = s - vj * tau * c
                if even > middle:
                    gap = max(even - half_along - front, 1.0)
                    accel = min(accel, _following(v, wanted, 0.7 * headway, gap, vj * c))
            else:
                arrive = (s - half_along - front) / pace
                clear = (s + half_along - middle + table[i, _HALF_LENGTH]) / pace
                if arrive - _CLEARANCE < tau < clear + _CLEARANCE:
                    gap = s - half_along - 1.0 - front
                    if gap > -1.0:
                        accel = min(accel, _following(v, wanted, 0.5, gap, 0.0))
    return accel


@njit(cache=True, nogil=True, error_model="numpy")
def simulate(
    lines: NDArray[np.float64],
    limits: NDArray[np.float64],
    offsets: NDArray[np.int64],
    spacing: NDArray[np.float64],
    table: NDArray[np.float64],
    scripted: NDArray[np.bool_],
    script: NDArray[np.float64],
    yields: NDArray[np.bool_],
    stops: NDArray[np.float64],
    signals: NDArray[np.int8],
    steps: int,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
]:
    """Drive N actors for T steps of 0.1 s.

    Args:
        lines: [P, 3] all paths end to end, x, y, yaw, evenly spaced within each.
        limits: [P] speeds that the paths' curves allow.
        offsets: int64 [N + 1] into `lines`.
        spacing: [N] metres between path points.
        table: [N, 7] half length, half width, station, speed, desired speed, headway, forward.
        scripted: bool [N].
        script: [N, T] stations of the scripted ones.
        yields: bool [N, N]; whether i looks ahead in time at j.
        stops: [K, 3] actor, station, signal.
        signals: int8 [G, T].
        steps: T.

    Returns:
        Poses [N, T, 3], speeds, accelerations, stations [N, T], validity [N, T].
    """
    n = table.shape[0]
    pose = np.zeros((n, steps, 3))
    speed, accel, station = np.zeros((n, steps)), np.zeros((n, steps)), np.zeros((n, steps))
    valid = np.zeros((n, steps), np.bool_)
    now = np.zeros((n, 7))
    gone = np.zeros(n, np.bool_)
    held = np.zeros(n)
    for i in range(n):
        now[i, 0] = script[i, 0] if scripted[i] else table[i, _STATION]
        now[i, 1] = (script[i, 1] - script[i, 0]) / _DT if scripted[i] else table[i, _SPEED]
    for t in range(steps):
        for i in range(n):
            length = (offsets[i + 1] - offsets[i] - 1) * spacing[i]
            if scripted[i]:
                low, high = max(t - 1, 0), min(t + 1, steps - 1)
                now[i, 0] = script[i, t]
                now[i, 1] = (script[i, high] - script[i, low]) / ((high - low) * _DT)
            if now[i, 0] > length - 1e-6 and now[i, 1] > 0.0:
                gone[i] = True
            x, y, yaw = _pose_at(lines[offsets[i] : offsets[i + 1]], spacing[i], now[i, 0])
            now[i, 2], now[i, 3], now[i, 4] = x, y, yaw
            now[i, 5] = x + table[i, _FORWARD] * math.cos(yaw)
            now[i, 6] = y + table[i, _FORWARD] * math.sin(yaw)
            pose[i, t, 0], pose[i, t, 1], pose[i, t, 2] = x, y, yaw
            speed[i, t], station[i, t], valid[i, t] = now[i, 1], now[i, 0], not gone[i]
        for i in range(n):
            if scripted[i] or gone[i] or table[i, _DESIRED] <= 0.0:
                continue
            v = now[i, 1]
            base = offsets[i] + min(int(now[i, 0] / spacing[i]), offsets[i + 1] - offsets[i] - 1)
            wanted = min(table[i, _DESIRED], limits[base])
            asked = _demand(i, now, gone, lines, offsets, spacing, table, yields, wanted)
            front = now[i, 0] + table[i, _FORWARD] + table[i, _HALF_LENGTH]
            for k in range(stops.shape[0]):
                if int(stops[k, 0]) != i:
                    continue
                state = signals[int(stops[k, 2]), t]
                gap = stops[k, 1] - front
                can_stop = v * v / (2.0 * max(gap, 0.1)) < _EXPECTED_RED_BRAKE
                if gap > -0.5 and (state == _RED or (state == _YELLOW and can_stop)):
                    asked = min(asked, _following(v, wanted, 0.5, gap + 1.5, 0.0))
            asked = min(max(asked, -_MAX_BRAKE), _ACCEL)
            down = _JERK_EMERGENCY if asked < -3.5 else _JERK_DOWN
            up = _JERK_EMERGENCY if held[i] < -3.0 else _JERK_UP
            held[i] = min(max(asked, held[i] - down * _DT), held[i] + up * _DT)
            if v + held[i] * _DT < 0.0:
                held[i] = -v / _DT
            accel[i, t] = held[i]
        for i in range(n):
            if scripted[i] or gone[i] or table[i, _DESIRED] <= 0.0:
                continue
            v = now[i, 1]
            now[i, 1] = max(0.0, v + held[i] * _DT)
            now[i, 0] += 0.5 * (v + now[i, 1]) * _DT
    return pose, speed, accel, station, valid


@njit(cache=True, nogil=True, error_model="numpy")
def overlaps(
    centre: NDArray[np.float64], valid: NDArray[np.bool_], half: NDArray[np.float64]
) -> tuple[int, int, int]:
    """First (step, i, j) at which two valid boxes share a point, or (-1, -1, -1).

    Args:
        centre: [N, T, >= 3] x, y, yaw of box centres.
        valid: bool [N, T].
        half: [N, 2] half lengths and half widths.
    """
    n, steps = valid.shape
    for t in range(steps):
        for i in range(n):
            if not valid[i, t]:
                continue
            ci, si = math.cos(centre[i, t, 2]), math.sin(centre[i, t, 2])
            for j in range(i + 1, n):
                if not valid[j, t]:
                    continue
                dx, dy = centre[j, t, 0] - centre[i, t, 0], centre[j, t, 1] - centre[i, t, 1]
                reach = half[i, 0] + half[i, 1] + half[j, 0] + half[j, 1]
                if dx * dx + dy * dy > reach * reach:
                    continue
                if boxes_intersect(
                    centre[i, t, 0],
                    centre[i, t, 1],
                    ci,
                    si,
                    half[i, 0],
                    half[i, 1],
                    centre[j, t, 0],
                    centre[j, t, 1],
                    math.cos(centre[j, t, 2]),
                    math.sin(centre[j, t, 2]),
                    half[j, 0],
                    half[j, 1],
                ):
                    return t, i, j
    return -1, -1, -1
