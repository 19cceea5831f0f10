"""Kernels that build and read `Lanes`: resampling, the grid, projection, and conflicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.polylines import wrap_angle

if TYPE_CHECKING:
    from .lanes import Lanes

__all__ = [
    "cell_of",
    "conflicts",
    "fill_beside",
    "fill_grid",
    "lengths",
    "mean_width",
    "place_stop_line",
    "project",
    "resample",
    "straightest",
]

REACH = 4.5
"""A lane is listed in the grid cells within this distance of its centreline [m]."""
OVERLAP = 2.0
"""Centrelines nearer than this are in conflict: two cars do not fit side by side [m]."""
_CURVE_ACCELERATION = 2.5
_CURVE_BRAKING = 1.5
_FASTEST = 60.0


@njit(cache=True, nogil=True, error_model="numpy")
def lengths(points: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Arc length of each centreline [m], at least a millimetre.

    Args:
        points: [P, 3] x, y, yaw.
        offsets: int64 [L + 1].
    """
    out = np.zeros(len(offsets) - 1)
    for l in range(len(out)):
        for i in range(offsets[l], offsets[l + 1] - 1):
            dx, dy = points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1]
            out[l] += math.sqrt(dx * dx + dy * dy)
        out[l] = max(out[l], 1e-3)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def resample(
    points: NDArray[np.float64],
    offsets: NDArray[np.int64],
    length: NDArray[np.float64],
    first: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Centrelines at even spacing, with the speed that their curves allow.

    The speed cap keeps lateral acceleration under 2.5 m/s^2 at every sample and lets a vehicle
    reach each slower sample braking at 1.5 m/s^2.

    Returns:
        [N, 6] in the layout of `SampleIndex`.
    """
    out = np.empty((first[-1], 6))
    for l in range(len(length)):
        n = first[l + 1] - first[l]
        step = length[l] / (n - 1)
        at, walked, base = offsets[l], 0.0, first[l]
        yaw = points[at, 2]
        last = offsets[l + 1] - 2
        dx, dy = points[at + 1, 0] - points[at, 0], points[at + 1, 1] - points[at, 1]
        piece = math.sqrt(dx * dx + dy * dy)
        for i in range(n):
            s = i * step
            while at < last and s > walked + piece:
                walked += piece
                yaw += wrap_angle(points[at + 1, 2] - points[at, 2])
                at += 1
                dx, dy = points[at + 1, 0] - points[at, 0], points[at + 1, 1] - points[at, 1]
                piece = math.sqrt(dx * dx + dy * dy)
            f = min(1.0, (s - walked) / piece) if piece > 0.0 else 0.0
            k = base + i
            out[k, 0] = points[at, 0] + f * dx
            out[k, 1] = points[at, 1] + f * dy
            out[k, 2] = yaw + f * wrap_angle(points[at + 1, 2] - points[at, 2])
            out[k, 3], out[k, 4] = math.cos(out[k, 2]), math.sin(out[k, 2])
        for i in range(n - 1, -1, -1):
            k = base + i
            a, b = max(base, k - 1), min(base + n - 1, k + 1)
            bend = abs(out[b, 2] - out[a, 2]) / max(1e-6, (b - a) * step)
            cap = min(_FASTEST, math.sqrt(_CURVE_ACCELERATION / max(bend, 1e-9)))
            if i < n - 1:
                cap = min(cap, math.sqrt(out[k + 1, 5] ** 2 + 2.0 * _CURVE_BRAKING * step))
            out[k, 5] = cap
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def mean_width(
    ring: NDArray[np.float64], offsets: NDArray[np.int64], length: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area over length of each lane [m]."""
    out = np.zeros(len(length))
    for l in range(len(length)):
        a, b = offsets[l], offsets[l + 1]
        area = 0.0
        for i in range(a, b):
            j = i + 1 if i + 1 < b else a
            area += (ring[i, 0] - ring[a, 0]) * (ring[j, 1] - ring[a, 1])
            area -= (ring[j, 0] - ring[a, 0]) * (ring[i, 1] - ring[a, 1])
        out[l] = 0.5 * abs(area) / length[l]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def straightest(
    first: NDArray[np.int64],
    sample: NDArray[np.float64],
    next_start: NDArray[np.int64],
    next_lane: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Per lane the successor whose end points least away from the lane's end, -1 for none."""
    out = np.full(len(first) - 1, -1, np.int64)
    for l in range(len(out)):
        best = np.inf
        for k in range(next_start[l], next_start[l + 1]):
            n = next_lane[k]
            turn = wrap_angle(sample[first[n], 2] - sample[first[l + 1] - 1, 2])
            turn = abs(turn + sample[first[n + 1] - 1, 2] - sample[first[n], 2])
            if turn < best:
                best, out[l] = turn, n
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def fill_grid(
    first: NDArray[np.int64],
    sample: NDArray[np.float64],
    x0: float,
    y0: float,
    cell: float,
    nx: int,
    ny: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For every cell the lanes within `REACH` of it, and their samples nearest its centre.

    Returns:
        CSR starts int64 [nx * ny + 1], lanes and samples.
    """
    start = np.zeros(nx * ny + 1, np.int64)
    lane = np.empty(0, np.int64)
    near = np.empty(0, np.int64)
    fill = np.empty(0, np.int64)
    best = np.empty(nx * ny)
    stamp = np.full(nx * ny, -1, np.int64)
    for turn in range(2):
        if turn == 1:
            for c in range(nx * ny):
                start[c + 1] += start[c]
            lane = np.empty(start[-1], np.int64)
            near = np.empty(start[-1], np.int64)
            fill = start[:-1].copy()
            stamp[:] = -1
        for l in range(len(first) - 1):
            for k in range(first[l], first[l + 1]):
                x, y = sample[k, 0] - x0, sample[k, 1] - y0
                for j in range(int((y - REACH) / cell), int((y + REACH) / cell) + 1):
                    gap_y = max(0.0, j * cell - y, y - (j + 1) * cell)
                    for i in range(int((x - REACH) / cell), int((x + REACH) / cell) + 1):
                        gap_x = max(0.0, i * cell - x, x - (i + 1) * cell)
                        if gap_x * gap_x + gap_y * gap_y > REACH * REACH:
                            continue
                        c = j * nx + i
                        if turn == 0:
                            if stamp[c] != l:
                                stamp[c] = l
                                start[c + 1] += 1
                            continue
                        cx, cy = (i + 0.5) * cell - x, (j + 0.5) * cell - y
                        d = cx * cx + cy * cy
                        if stamp[c] != l:
                            stamp[c] = l
                            fill[c] += 1
                            best[c] = np.inf
                            lane[fill[c] - 1] = l
                        if d < best[c]:
                            best[c] = d
                            near[fill[c] - 1] = k - first[l]
    return start, lane, near


@njit(cache=True, nogil=True, error_model="numpy")
def cell_of(lanes: Lanes, m: int, x: float, y: float) -> int:
    """Position in `cell_start` of the cell of map `m` that holds a point, -1 outside its grid."""
    inverse = lanes.grid[m, 2]
    fx, fy = (x - lanes.grid[m, 0]) * inverse, (y - lanes.grid[m, 1]) * inverse
    nx, ny = lanes.grid_shape[m, 0], lanes.grid_shape[m, 1]
    if not (0.0 <= fx < nx and 0.0 <= fy < ny):
        return -1
    return lanes.grid_shape[m, 2] + int(fy) * nx + int(fx)


@njit(cache=True, nogil=True, error_model="numpy")
def project(lanes: Lanes, l: int, near: int, x: float, y: float) -> tuple[float, float, float]:
    """Arc length, signed lateral offset (left positive) and lane yaw at a point.

    Walks along tangents from sample `near`; the arc length runs on beyond the lane's ends
    along its end tangents. Inverse of `pose_at` in motion.

    Args:
        lanes: the lanes.
        l: which of them.
        near: a sample of it, counted from its start, not far from the point.
        x, y: the point [m].
    """
    base, n = lanes.first[l], lanes.first[l + 1] - lanes.first[l]
    step = lanes.spacing[l]
    sample = lanes.sample
    i = near
    along = 0.0
    for _ in range(8):
        k = base + i
        along = (x - sample[k, 0]) * sample[k, 3] + (y - sample[k, 1]) * sample[k, 4]
        move = math.floor(along / step + 0.5)
        j = min(n - 1, max(0, i + move))
        if j == i:
            break
        i = j
    s = i * step + along
    for _ in range(2):
        i = min(n - 2, max(0, math.floor(s / step)))
        k = base + i
        f = s / step - i
        g = min(1.0, max(0.0, f))
        c = sample[k, 3] + g * (sample[k + 1, 3] - sample[k, 3])
        t = sample[k, 4] + g * (sample[k + 1, 4] - sample[k, 4])
        dx = x - sample[k, 0] - g * (sample[k + 1, 0] - sample[k, 0])
        dy = y - sample[k, 1] - g * (sample[k + 1, 1] - sample[k, 1])
        s = (i + g) * step + dx * c + dy * t
    yaw = sample[k, 2] + g * (sample[k + 1, 2] - sample[k, 2])
    return s, dy * c - dx * t, yaw


@njit(cache=True, nogil=True, error_model="numpy")
def fill_beside(lanes: Lanes) -> None:
    """Write `Lanes.beside`: the arc length of every sample on its neighbours."""
    for l in range(len(lanes.length)):
        for k in range(2):
            m = lanes.side[l, k]
            if m < 0:
                continue
            base = lanes.first[l]
            near, best = 0, np.inf
            for j in range(lanes.first[m], lanes.first[m + 1]):
                dx = lanes.sample[j, 0] - lanes.sample[base, 0]
                dy = lanes.sample[j, 1] - lanes.sample[base, 1]
                if dx * dx + dy * dy < best:
                    best, near = dx * dx + dy * dy, j - lanes.first[m]
            for i in range(base, lanes.first[l + 1]):
                s, d, _ = project(lanes, m, near, lanes.sample[i, 0], lanes.sample[i, 1])
                last = lanes.first[m + 1] - lanes.first[m] - 1
                near = min(last, max(0, int(s / lanes.spacing[m])))
                if -1.0 <= s <= lanes.length[m] + 1.0 and abs(d) < 8.0:
                    lanes.beside[i, k] = min(lanes.length[m], max(0.0, s))


@njit(cache=True, nogil=True, error_model="numpy")
def place_stop_line(lanes: Lanes, l: int, x: float, y: float) -> None:
    """Move a lane's stopping point to where a stop line through (x, y) crosses it."""
    near, best = 0, np.inf
    for k in range(lanes.first[l], lanes.first[l + 1]):
        d = (lanes.sample[k, 0] - x) ** 2 + (lanes.sample[k, 1] - y) ** 2
        if d < best:
            best, near = d, k - lanes.first[l]
    s, d, _ = project(lanes, l, near, x, y)
    if abs(d) < 3.0 * lanes.half_width[l] and s > 0.5 * lanes.length[l]:
        lanes.stop[l] = min(s, lanes.length[l])


@njit(cache=True, nogil=True, error_model="numpy")
def _linked(start: NDArray[np.int64], lane: NDArray[np.int64], a: int, b: int) -> bool:
    for k in range(start[a], start[a + 1]):  # noqa: SIM110 (numba has no generators here)
        if lane[k] == b:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _kind(lanes: Lanes, l: int, m: int, s: float, t: float, turn: float) -> int:
    """`Conflict` of an overlap that begins at s on lane l and t on lane m."""
    if math.cos(turn) < 0.6:
        return 0
    a, b = lanes.first[l], lanes.first[m]
    gap = math.hypot(
        lanes.sample[a, 0] - lanes.sample[b, 0], lanes.sample[a, 1] - lanes.sample[b, 1]
    )
    if s < 2.0 and t < 4.0 and gap < 2.0:
        return 2
    return 1


@njit(cache=True, nogil=True, error_model="numpy")
def conflicts(
    lanes: Lanes,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]:
    """Stretches of lanes whose corridors overlap those of other lanes (one map).

    Successors and predecessors do not count; declared neighbours only where they come nearer
    than three quarters of `OVERLAP`.

    Returns:
        `conflict_start`, `conflict_lane`, `conflict_kind`, `conflict` of `Lanes`.
    """
    count = len(lanes.length)
    start = np.zeros(count + 1, np.int64)
    other, kind = np.empty(64, np.int64), np.empty(64, np.int8)
    rows = np.empty((64, 4))
    run = np.full(count, -1, np.int64)
    seen = np.full(count, -10, np.int64)
    used = 0
    for l in range(count):
        begin = used
        for i in range(lanes.first[l + 1] - lanes.first[l]):
            k = lanes.first[l] + i
            x, y = lanes.sample[k, 0], lanes.sample[k, 1]
            cell = cell_of(lanes, 0, x, y)
            for e in range(lanes.cell_start[cell], lanes.cell_start[cell + 1]):
                m = lanes.cell_lane[e]
                if m == l:
                    continue
                s, d, yaw = project(lanes, m, lanes.cell_sample[e], x, y)
                beside = m == lanes.side[l, 0] or m == lanes.side[l, 1]
                if abs(d) >= (0.75 * OVERLAP if beside else OVERLAP):
                    continue
                if not -1.0 <= s <= lanes.length[m] + 1.0:
                    continue
                if run[m] >= begin and i - seen[m] <= 2:
                    rows[run[m], 1], rows[run[m], 3] = i * lanes.spacing[l], s
                    seen[m] = i
                    continue
                if _linked(lanes.next_start, lanes.next_lane, l, m) or _linked(
                    lanes.next_start, lanes.next_lane, m, l
                ):
                    continue
                if used == len(other):
                    other = np.concatenate((other, np.empty(used, np.int64)))
                    kind = np.concatenate((kind, np.empty(used, np.int8)))
                    rows = np.concatenate((rows, np.empty((used, 4))))
                at = i * lanes.spacing[l]
                other[used] = m
                kind[used] = _kind(lanes, l, m, at, s, lanes.sample[k, 2] - yaw)
                rows[used, 0], rows[used, 1], rows[used, 2], rows[used, 3] = at, at, s, s
                run[m], seen[m] = used, i
                used += 1
        start[l + 1] = used
    return start, other[:used].copy(), kind[:used].copy(), rows[:used].copy()
