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
    from .state import Records

from .kernel import kernel

__all__ = [
    "REACH",
    "cell_of",
    "conflicts",
    "fill_beside",
    "fill_grid",
    "lengths",
    "mean_width",
    "place_stop_lines",
    "project",
    "resample",
    "straightest",
]

REACH = 4.5
"""A lane is listed in the grid cells within this distance of its centreline [m]."""
OVERLAP = 2.6
"""Centrelines nearer than this are in conflict: two cars, turning, do not fit side by side [m]."""
_CURVE_ACCELERATION = 2.5
_CURVE_BRAKING = 1.5
_FASTEST = 60.0
_BOX_MARGIN = 8.0
_APART = 3.0
_CLOSE = 1e-3


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


@kernel
def resample(
    points: NDArray[np.float64], offsets: NDArray[np.int64], lane: Records, sample: Records
) -> None:
    """Centrelines at even spacing, with the speed that their curves allow.

    The speed cap keeps lateral acceleration under 2.5 m/s^2 at every sample and lets a vehicle
    reach each slower sample braking at 1.5 m/s^2.

    Args:
        points: [P, 3] x, y, yaw.
        offsets: int64 [L + 1].
        lane: `LANE` [L].
        sample: `SAMPLE` [N], overwritten.
    """
    for l in range(len(lane)):
        n, step, base = lane[l].count, lane[l].spacing, lane[l].first
        at, walked = offsets[l], 0.0
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
            p = sample[base + i]
            p.x = points[at, 0] + f * dx
            p.y = points[at, 1] + f * dy
            p.yaw = yaw + f * wrap_angle(points[at + 1, 2] - points[at, 2])
            p.cos, p.sin = math.cos(p.yaw), math.sin(p.yaw)
            p.left, p.right = np.nan, np.nan
        for i in range(n - 1, -1, -1):
            k = base + i
            a, b = max(base, k - 1), min(base + n - 1, k + 1)
            bend = abs(sample[b].yaw - sample[a].yaw) / max(1e-6, (b - a) * step)
            cap = min(_FASTEST, math.sqrt(_CURVE_ACCELERATION / max(bend, 1e-9)))
            if i < n - 1:
                after = sample[k + 1].cap
                cap = min(cap, math.sqrt(after * after + 2.0 * _CURVE_BRAKING * step))
            sample[k].cap = cap


@njit(cache=True, nogil=True, error_model="numpy")
def mean_width(
    ring: NDArray[np.float64], offsets: NDArray[np.int64], lane: Records
) -> NDArray[np.float64]:
    """Area of each lane's polygon over the lane's length [m]."""
    out = np.zeros(len(lane))
    for l in range(len(lane)):
        a, b = offsets[l], offsets[l + 1]
        area = 0.0
        for i in range(a, b):
            j = i + 1 if i + 1 < b else a
            area += (ring[i, 0] - ring[a, 0]) * (ring[j, 1] - ring[a, 1])
            area -= (ring[j, 0] - ring[a, 0]) * (ring[i, 1] - ring[a, 1])
        out[l] = 0.5 * abs(area) / lane[l].length
    return out


@kernel
def straightest(lane: Records, sample: Records, link: NDArray[np.int64]) -> None:
    """Write `straight`: the successor whose end points least away from the lane's end."""
    for l in range(len(lane)):
        best = np.inf
        lane[l].straight = -1
        end = sample[lane[l].first + lane[l].count - 1].yaw
        for k in range(lane[l].next_begin, lane[l].next_end):
            n = link[k]
            begin = sample[lane[n].first].yaw
            turn = wrap_angle(begin - end) + sample[lane[n].first + lane[n].count - 1].yaw - begin
            if abs(turn) < best:
                best = abs(turn)
                lane[l].straight = n


@njit(cache=True, nogil=True, error_model="numpy")
def fill_grid(
    lane: Records, sample: Records, place: Records
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every cell the lanes within `REACH` of it, and their samples nearest its centre.

    Only every second sample is looked at, which is near enough for `project` to start from.

    Args:
        lane, sample: of one map.
        place: `MAP` [1].

    Returns:
        First item of each cell, int64 [nx * ny + 1]; lanes and samples, int64 [I, 2].
    """
    x0, y0, inverse = place[0].x0, place[0].y0, place[0].inverse
    nx, ny, cell = place[0].nx, place[0].ny, 1.0 / place[0].inverse
    start = np.zeros(nx * ny + 1, np.int64)
    found = np.empty((256, 3), np.int64)
    best = np.empty(256)
    item = np.full(nx * ny, -1, np.int64)
    used = 0
    for l in range(len(lane)):
        begin, last = used, lane[l].count - 1
        for k in range(0, last + 2, 2):
            k = min(k, last)
            p = sample[lane[l].first + k]
            x, y = p.x - x0, p.y - y0
            for j in range(int((y - REACH) * inverse), int((y + REACH) * inverse) + 1):
                gap_y = max(0.0, j * cell - y, y - (j + 1) * cell)
                room = REACH * REACH - gap_y * gap_y
                cy = (j + 0.5) * cell - y
                for i in range(int((x - REACH) * inverse), int((x + REACH) * inverse) + 1):
                    gap_x = max(0.0, i * cell - x, x - (i + 1) * cell)
                    if gap_x * gap_x > room:
                        continue
                    c = j * nx + i
                    cx = (i + 0.5) * cell - x
                    d = cx * cx + cy * cy
                    e = item[c]
                    if e < begin:
                        if used == len(best):
                            found = np.concatenate((found, found))
                            best = np.concatenate((best, best))
                        e = item[c] = used
                        used += 1
                        start[c + 1] += 1
                        found[e, 0], found[e, 1], best[e] = c, l, np.inf
                    if d < best[e]:
                        best[e] = d
                        found[e, 2] = k
    for c in range(nx * ny):
        start[c + 1] += start[c]
    near = np.empty((used, 2), np.int64)
    fill = start[:-1].copy()
    for e in range(used):
        c = found[e, 0]
        near[fill[c], 0], near[fill[c], 1] = found[e, 1], found[e, 2]
        fill[c] += 1
    return start, near


@kernel
def cell_of(lanes: Lanes, m: int, x: float, y: float) -> int:
    """Position in `cell` of the cell of map `m` that holds a point, -1 outside its grid."""
    place = lanes.map[m]
    fx, fy = (x - place.x0) * place.inverse, (y - place.y0) * place.inverse
    if not (0.0 <= fx < place.nx and 0.0 <= fy < place.ny):
        return -1
    return place.first_cell + int(fy) * place.nx + int(fx)


@kernel
def project(
    lane: Records, sample: Records, l: int, near: int, x: float, y: float
) -> tuple[float, float, float, float]:
    """Arc length, signed lateral offset (left positive) and lane direction at a point.

    Walks along tangents from sample `near`; the arc length runs on beyond the lane's ends
    along its end tangents. Inverse of `lane_pose`.

    Args:
        lane, sample: of the lanes.
        l: which of them.
        near: a sample of it, counted from its start, not far from the point.
        x, y: the point [m].

    Returns:
        Arc length, offset, cosine and sine of the lane's yaw there.
    """
    base, n, step = lane[l].first, lane[l].count, lane[l].spacing
    i = min(n - 1, max(0, near))
    along = 0.0
    for _ in range(8):
        p = sample[base + i]
        along = (x - p.x) * p.cos + (y - p.y) * p.sin
        j = min(n - 1, max(0, i + math.floor(along / step + 0.5)))
        if j == i:
            break
        i = j
    s = i * step + along
    d, c, t = 0.0, 1.0, 0.0
    for _ in range(3):
        i = min(n - 2, max(0, math.floor(s / step)))
        p, q = sample[base + i], sample[base + i + 1]
        g = min(1.0, max(0.0, s / step - i))
        c, t = p.cos + g * (q.cos - p.cos), p.sin + g * (q.sin - p.sin)
        dx, dy = x - p.x - g * (q.x - p.x), y - p.y - g * (q.y - p.y)
        ahead = dx * c + dy * t
        s = (i + g) * step + ahead
        d = dy * c - dx * t
        if abs(ahead) < _CLOSE:
            break
    return s, d, c, t


@kernel
def fill_beside(lanes: Lanes) -> None:
    """Write `left` and `right` of every sample: its arc length on the neighbours."""
    lane, sample = lanes.lane, lanes.sample
    for l in range(len(lane)):
        for side in range(2):
            m = lane[l].left if side == 0 else lane[l].right
            if m < 0:
                continue
            origin = sample[lane[l].first]
            near, best = 0, np.inf
            for j in range(lane[m].count):
                p = sample[lane[m].first + j]
                d = (p.x - origin.x) ** 2 + (p.y - origin.y) ** 2
                if d < best:
                    best, near = d, j
            for i in range(lane[l].count):
                p = sample[lane[l].first + i]
                s, d, _, _ = project(lane, sample, m, near, p.x, p.y)
                near = int(s / lane[m].spacing)
                if -1.0 <= s <= lane[m].length + 1.0 and abs(d) < 8.0:
                    at = min(lane[m].length, max(0.0, s))
                    if side == 0:
                        p.left = at
                    else:
                        p.right = at


@kernel
def place_stop_lines(lanes: Lanes, line_lane: NDArray[np.int64], line: NDArray[np.float64]) -> None:
    """Move lanes' stopping points to where their stop lines cross them.

    Args:
        lanes: of one map.
        line_lane: int64 [K].
        line: [K, 2, 2], the ends of each line; those off their lane, or in the first half of
            it, are passed over.
    """
    lane, sample = lanes.lane, lanes.sample
    for i in range(len(line_lane)):
        l = line_lane[i]
        x, y = 0.5 * (line[i, 0, 0] + line[i, 1, 0]), 0.5 * (line[i, 0, 1] + line[i, 1, 1])
        near, best = 0, np.inf
        for k in range(lane[l].count):
            p = sample[lane[l].first + k]
            d = (p.x - x) ** 2 + (p.y - y) ** 2
            if d < best:
                best, near = d, k
        s, d, _, _ = project(lane, sample, l, near, x, y)
        if abs(d) < 3.0 * lane[l].half_width and s > 0.5 * lane[l].length:
            lane[l].stop = min(s, lane[l].length)


@kernel
def _follows(lanes: Lanes, l: int, m: int) -> bool:
    found = False
    for k in range(lanes.lane[l].next_begin, lanes.lane[l].next_end):
        found = found or lanes.link[k] == m
    return found


@kernel
def _kind(lanes: Lanes, l: int, m: int, s: float, t: float, aligned: float) -> int:
    """`Conflict` of an overlap that begins at s on lane l and t on lane m."""
    if aligned < 0.6:
        return 0
    a, b = lanes.sample[lanes.lane[l].first], lanes.sample[lanes.lane[m].first]
    if s < 2.0 and t < 4.0 and (a.x - b.x) ** 2 + (a.y - b.y) ** 2 < 4.0:
        return 2
    return 1


@njit(cache=True, nogil=True, error_model="numpy")
def _both_ways(lane: Records, rows: Records) -> Records:
    """Make conflicts mutual: each reaches as far as the two lanes' own views together.

    Seen from a lane that bends, an overlap begins elsewhere than seen from one that does not;
    who is in an overlap must not depend on the view.

    Args:
        lane: `LANE`; `box` is written.
        rows: `CONFLICT` [C].

    Returns:
        `CONFLICT` [C].
    """
    out = rows.copy()
    for l in range(len(lane)):
        for c in range(lane[l].conflict_begin, lane[l].conflict_end):
            mine, new = rows[c], out[c]
            low, high = mine.begin, mine.end
            forward = mine.other_end >= mine.other_begin
            there_low = min(mine.other_begin, mine.other_end)
            there_high = max(mine.other_begin, mine.other_end)
            for r in range(lane[mine.lane].conflict_begin, lane[mine.lane].conflict_end):
                it = rows[r]
                back_low = min(it.other_begin, it.other_end)
                back_high = max(it.other_begin, it.other_end)
                if it.lane != l or back_low > mine.end + _APART or back_high < mine.begin - _APART:
                    continue
                new.kind = max(new.kind, it.kind)
                low, high = min(low, back_low), max(high, back_high)
                there_low, there_high = min(there_low, it.begin), max(there_high, it.end)
            new.begin, new.end = low, high
            new.other_begin = there_low if forward else there_high
            new.other_end = there_high if forward else there_low
            if new.kind != 2:
                lane[l].box = min(lane[l].box, max(0.0, low - _BOX_MARGIN))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def conflicts(lanes: Lanes, rows: Records) -> Records:
    """Stretches of lanes whose corridors overlap those of other lanes (one map).

    Successors and predecessors do not count; declared neighbours only where they come nearer
    than three quarters of that. Writes where each lane's conflicts begin and end, and its
    `box`: 8 m before the first crossing or merging, or the lane's start.

    Args:
        lanes: of one map.
        rows: `CONFLICT`, any number of them; overwritten.

    Returns:
        `CONFLICT` [C].
    """
    lane, sample = lanes.lane, lanes.sample
    run = np.full(len(lane), -1, np.int64)
    seen = np.full(len(lane), -10, np.int64)
    used = 0
    for l in range(len(lane)):
        begin = used
        lane[l].conflict_begin = begin
        lane[l].box = np.inf
        for i in range(lane[l].count):
            p = sample[lane[l].first + i]
            cell = cell_of(lanes, 0, p.x, p.y)
            for e in range(lanes.cell[cell], lanes.cell[cell + 1]):
                m = lanes.item[e].lane
                if m == l:
                    continue
                s, d, c, t = project(lane, sample, m, lanes.item[e].sample, p.x, p.y)
                beside = m == lane[l].left or m == lane[l].right
                if abs(d) >= (0.75 * OVERLAP if beside else OVERLAP):
                    continue
                if not -1.0 <= s <= lane[m].length + 1.0:
                    continue
                at = i * lane[l].spacing
                if run[m] >= begin and i - seen[m] <= 2:
                    rows[run[m]].end, rows[run[m]].other_end = at, s
                    seen[m] = i
                    continue
                if _follows(lanes, l, m) or _follows(lanes, m, l):
                    continue
                if used == len(rows):
                    rows = np.concatenate((rows, rows))
                rows[used].lane = m
                rows[used].kind = _kind(lanes, l, m, at, s, p.cos * c + p.sin * t)
                rows[used].begin, rows[used].end = at, at
                rows[used].other_begin, rows[used].other_end = s, s
                run[m], seen[m] = used, i
                used += 1
        lane[l].conflict_end = used
    return _both_ways(lane, rows[:used].copy())
