"""Points in polygons: strict interior, boundary = outside, exact.

`point_in_ring` is the reference form. `PolygonIndex` answers the same question for many
polygons at once: a uniform grid whose cells list the polygons near them, and, for a cell that a
polygon's boundary passes through, only the edges that an axis-parallel ray from that cell can
meet. Both forms take the side of a point from one exact predicate, so they agree exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .orientation import side_of

__all__ = [
    "FULL",
    "PolygonIndex",
    "build_polygon_index",
    "edges_contain",
    "entry_contains",
    "grid_cell",
    "point_in_ring",
    "polygons_at",
]

FULL = 4
"""Ray of an entry whose polygon covers the whole cell."""

_MAX_CELLS = 4_000_000


@njit(cache=True, nogil=True, error_model="numpy")
def point_in_ring(x: float, y: float, ring: NDArray[np.float64]) -> bool:
    """Whether a point lies strictly inside a polygon (even-odd rule); the boundary is outside.

    Args:
        x, y: the point [m].
        ring: float64 [N, 2], open exterior ring (last point not repeated).
    """
    n = ring.shape[0]
    inside = False
    ax, ay = ring[n - 1, 0], ring[n - 1, 1]
    for i in range(n):
        bx, by = ring[i, 0], ring[i, 1]
        if (ay > y) != (by > y):
            side = side_of(ax, ay, bx, by, x, y)
            if side == 0.0:
                return False
            if (side > 0.0) == (by > ay):
                inside = not inside
        elif (
            (ay == y and by == y and min(ax, bx) <= x <= max(ax, bx))
            or (ay == y and ax == x)
            or (by == y and bx == x)
        ):
            return False
        ax, ay = bx, by
    return inside


class PolygonIndex(NamedTuple):
    """K polygons under a uniform grid, for exact point queries. Build with `build_polygon_index`.

    Attributes:
        x0, y0: lower left corner of the grid [m].
        inverse_cell: 1 / cell side [1/m].
        nx, ny: cells along x and y.
        start: int32 [nx*ny + 1], entries of a cell (CSR; cell = iy*nx + ix).
        polygon: int32 [E], polygon of an entry, ascending in a cell.
        ray: int8 [E], 0..3 = the ray to cast (+x, -x, +y, -y), 4 = the cell is inside.
        edge_start: int32 [E + 1], edges of an entry (CSR).
        edge: int32 [F], edge = index of its first vertex.
        vertices: float64 [V, 2], all rings.
        follower: int32 [V], the vertex after each one along its ring.
        offsets: int64 [K + 1], ring k is vertices[offsets[k]:offsets[k + 1]].
    """

    x0: float
    y0: float
    inverse_cell: float
    nx: int
    ny: int
    start: NDArray[np.int32]
    polygon: NDArray[np.int32]
    ray: NDArray[np.int8]
    edge_start: NDArray[np.int32]
    edge: NDArray[np.int32]
    vertices: NDArray[np.float64]
    follower: NDArray[np.int32]
    offsets: NDArray[np.int64]


@njit(cache=True, nogil=True, error_model="numpy")
def grid_cell(index: PolygonIndex, x: float, y: float) -> int:
    """The cell that holds a point, -1 outside the grid (where no polygon is)."""
    fx = (x - index.x0) * index.inverse_cell
    fy = (y - index.y0) * index.inverse_cell
    if not (0.0 <= fx < index.nx and 0.0 <= fy < index.ny):
        return -1
    return int(fy) * index.nx + int(fx)


@njit(cache=True, nogil=True, error_model="numpy")
def edges_contain(
    vertices: NDArray[np.float64],
    follower: NDArray[np.int32],
    edge: NDArray[np.int32],
    first: int,
    last: int,
    ray: int,
    x: float,
    y: float,
) -> bool:
    """Whether a ray from a point crosses an odd number of edges, and none holds the point.

    Args:
        vertices, follower, edge: as in `PolygonIndex`.
        first, last: edge[first:last] are those of one polygon that the ray can meet.
        ray: 0..3, as in `PolygonIndex`.
        x, y: the point [m].
    """
    inside = False
    for k in range(first, last):
        i = edge[k]
        j = follower[i]
        ax, ay = vertices[i, 0], vertices[i, 1]
        bx, by = vertices[j, 0], vertices[j, 1]
        if (ax == x and ay == y) or (bx == x and by == y):
            return False
        if ray < 2:
            if (ay > y) != (by > y):
                side = side_of(ax, ay, bx, by, x, y)
                if side == 0.0:
                    return False
                if ((side > 0.0) == (by > ay)) == (ray == 0):
                    inside = not inside
            elif ay == y and by == y and min(ax, bx) <= x <= max(ax, bx):
                return False
        elif (ax > x) != (bx > x):
            side = side_of(ax, ay, bx, by, x, y)
            if side == 0.0:
                return False
            if ((side > 0.0) == (bx < ax)) == (ray == 2):
                inside = not inside
        elif ax == x and bx == x and min(ay, by) <= y <= max(ay, by):
            return False
    return inside


@njit(cache=True, nogil=True, error_model="numpy")
def entry_contains(index: PolygonIndex, entry: int, x: float, y: float) -> bool:
    """Whether the polygon of an entry strictly contains a point that lies in the entry's cell.

    Kernels that ask often read the index's arrays into locals once, test for `FULL` themselves,
    and call `edges_contain`: passing an index costs more than most answers.

    Args:
        index: the polygons.
        entry: position between start[cell] and start[cell + 1], cell = grid_cell(index, x, y).
        x, y: the point [m].
    """
    ray = index.ray[entry]
    if ray == FULL:
        return True
    first, last = index.edge_start[entry], index.edge_start[entry + 1]
    return edges_contain(index.vertices, index.follower, index.edge, first, last, ray, x, y)


@njit(cache=True, nogil=True, error_model="numpy")
def polygons_at(index: PolygonIndex, x: float, y: float, out: NDArray[np.bool_]) -> None:
    """Which polygons strictly contain a point.

    Args:
        index: K polygons.
        x, y: the point [m].
        out: bool [K], overwritten.
    """
    out[:] = False
    cell = grid_cell(index, x, y)
    if cell >= 0:
        for e in range(index.start[cell], index.start[cell + 1]):
            out[index.polygon[e]] = entry_contains(index, e, x, y)


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_boundary(
    ring: NDArray[np.float64],
    x0: float,
    y0: float,
    cell: float,
    i0: int,
    j0: int,
    mark: NDArray[np.uint8],
    span: NDArray[np.int64],
) -> None:
    """Set mark[j, i] on every cell within rounding of the ring's boundary.

    Row j has marks from column span[j, 0] to span[j, 1].
    """
    pad = 1e-6 * cell
    rows, cols = mark.shape
    n = ring.shape[0]
    for k in range(n):
        k2 = k + 1 if k + 1 < n else 0
        ax, ay = ring[k, 0] - x0, ring[k, 1] - y0
        bx, by = ring[k2, 0] - x0, ring[k2, 1] - y0
        if ay > by:
            ax, ay, bx, by = bx, by, ax, ay
        first = max(0, int(np.floor((ay - pad) / cell)) - j0)
        last = min(rows - 1, int(np.floor((by + pad) / cell)) - j0)
        for j in range(first, last + 1):
            low = (j0 + j) * cell - pad
            high = low + cell + 2.0 * pad
            xa, xb = ax, bx
            if by > ay:
                if ay < low:
                    xa = ax + (bx - ax) * (low - ay) / (by - ay)
                if by > high:
                    xb = ax + (bx - ax) * (high - ay) / (by - ay)
            left = max(0, int(np.floor((min(xa, xb) - pad) / cell)) - i0)
            right = min(cols - 1, int(np.floor((max(xa, xb) + pad) / cell)) - i0)
            for i in range(left, right + 1):
                mark[j, i] = 1
            span[j, 0], span[j, 1] = min(span[j, 0], left), max(span[j, 1], right)


@njit(cache=True, nogil=True, error_model="numpy")
def _bucket(
    low: NDArray[np.float64], high: NDArray[np.float64], cell: float, first: int, count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Edges by the strips they overlap along one axis, as CSR (start [count + 1], edge)."""
    pad = 1e-6 * cell
    start = np.zeros(count + 1, np.int32)
    for k in range(low.shape[0]):
        a = max(0, int(np.floor((low[k] - pad) / cell)) - first)
        b = min(count - 1, int(np.floor((high[k] + pad) / cell)) - first)
        for s in range(a, b + 1):
            start[s + 1] += 1
    for s in range(count):
        start[s + 1] += start[s]
    edge = np.empty(start[count], np.int32)
    fill = start[:-1].copy()
    for k in range(low.shape[0]):
        a = max(0, int(np.floor((low[k] - pad) / cell)) - first)
        b = min(count - 1, int(np.floor((high[k] + pad) / cell)) - first)
        for s in range(a, b + 1):
            edge[fill[s]] = k
            fill[s] += 1
    return start, edge


@njit(cache=True, nogil=True, error_model="numpy")
def _grown_i32(a: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    out = np.empty(size, np.int32)
    out[: a.shape[0]] = a
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _entries(
    vertices: NDArray[np.float64],
    offsets: NDArray[np.int64],
    x0: float,
    y0: float,
    cell: float,
    nx: int,
) -> tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]
]:
    """Entries in polygon order: cell, polygon, ray, first edge [E + 1], and the edges."""
    capacity, edges_capacity = 1024, 4096
    entry_cell = np.empty(capacity, np.int32)
    entry_polygon = np.empty(capacity, np.int32)
    entry_ray = np.empty(capacity, np.int32)
    entry_edge = np.empty(capacity, np.int32)
    edges = np.empty(edges_capacity, np.int32)
    count, edges_count = 0, 0
    pad = 1e-6 * cell
    for p in range(offsets.shape[0] - 1):
        base = offsets[p]
        ring = vertices[base : offsets[p + 1]]
        n = ring.shape[0]
        if n < 3:
            continue
        xl, xh, yl, yh = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for k in range(n):
            k2 = k + 1 if k + 1 < n else 0
            xl[k] = min(ring[k, 0], ring[k2, 0]) - x0
            xh[k] = max(ring[k, 0], ring[k2, 0]) - x0
            yl[k] = min(ring[k, 1], ring[k2, 1]) - y0
            yh[k] = max(ring[k, 1], ring[k2, 1]) - y0
        i0, j0 = int(np.floor((xl.min() - pad) / cell)), int(np.floor((yl.min() - pad) / cell))
        cols = int(np.floor((xh.max() + pad) / cell)) - i0 + 1
        rows = int(np.floor((yh.max() + pad) / cell)) - j0 + 1
        mark, span = np.zeros((rows, cols), np.uint8), np.empty((rows, 2), np.int64)
        span[:, 0], span[:, 1] = cols, -1
        _mark_boundary(ring, x0, y0, cell, i0, j0, mark, span)
        row_start, row_edge = _bucket(yl, yh, cell, j0, rows)
        col_start, col_edge = _bucket(xl, xh, cell, i0, cols)
        for j in range(rows):
            known, inside = False, False
            y_low, y_high = (j0 + j) * cell - pad, (j0 + j + 1) * cell + pad
            for i in range(span[j, 0], span[j, 1] + 1):
                best_ray = FULL
                if mark[j, i] == 0:
                    if not known:
                        cx, cy = x0 + (i0 + i + 0.5) * cell, y0 + (j0 + j + 0.5) * cell
                        inside, known = point_in_ring(cx, cy, ring), True
                    if not inside:
                        continue
                else:
                    known = False
                    x_low, x_high = (i0 + i) * cell - pad, (i0 + i + 1) * cell + pad
                    # Of the two strips through the cell, the one that fewer edges overlap.
                    ahead, behind = 0, 0
                    in_row = row_start[j + 1] - row_start[j]
                    if in_row <= col_start[i + 1] - col_start[i]:
                        for q in range(row_start[j], row_start[j + 1]):
                            ahead += xh[row_edge[q]] >= x_low
                            behind += xl[row_edge[q]] <= x_high
                        best_ray = 0 if ahead <= behind else 1
                    else:
                        for q in range(col_start[i], col_start[i + 1]):
                            ahead += yh[col_edge[q]] >= y_low
                            behind += yl[col_edge[q]] <= y_high
                        best_ray = 2 if ahead <= behind else 3
                    best = min(ahead, behind)
                    if edges_count + best > edges_capacity:
                        edges_capacity = 2 * (edges_count + best)
                        edges = _grown_i32(edges, edges_capacity)
                if count + 1 >= capacity:
                    capacity *= 2
                    entry_cell = _grown_i32(entry_cell, capacity)
                    entry_polygon = _grown_i32(entry_polygon, capacity)
                    entry_ray = _grown_i32(entry_ray, capacity)
                    entry_edge = _grown_i32(entry_edge, capacity)
                entry_cell[count] = (j0 + j) * nx + (i0 + i)
                entry_polygon[count] = p
                entry_ray[count] = best_ray
                entry_edge[count] = edges_count
                count += 1
                if best_ray < 2:
                    for q in range(row_start[j], row_start[j + 1]):
                        k = row_edge[q]
                        if (best_ray == 0 and xh[k] >= x_low) or (
                            best_ray == 1 and xl[k] <= x_high
                        ):
                            edges[edges_count] = base + k
                            edges_count += 1
                elif best_ray < FULL:
                    for q in range(col_start[i], col_start[i + 1]):
                        k = col_edge[q]
                        if (best_ray == 2 and yh[k] >= y_low) or (
                            best_ray == 3 and yl[k] <= y_high
                        ):
                            edges[edges_count] = base + k
                            edges_count += 1
    entry_edge[count] = edges_count
    return (
        entry_cell[:count].copy(),
        entry_polygon[:count].copy(),
        entry_ray[:count].astype(np.int8),
        entry_edge[: count + 1].copy(),
        edges[:edges_count].copy(),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _by_cell(
    cells: int,
    cell: NDArray[np.int32],
    polygon: NDArray[np.int32],
    ray: NDArray[np.int8],
    edge_start: NDArray[np.int32],
    edge: NDArray[np.int32],
) -> tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]
]:
    """Stable counting sort of the entries by cell."""
    n = cell.shape[0]
    start = np.zeros(cells + 1, np.int32)
    for e in range(n):
        start[cell[e] + 1] += 1
    for c in range(cells):
        start[c + 1] += start[c]
    order = np.empty(n, np.int32)
    fill = start[:-1].copy()
    for e in range(n):
        order[fill[cell[e]]] = e
        fill[cell[e]] += 1
    out_polygon, out_ray = np.empty(n, np.int32), np.empty(n, np.int8)
    out_start, out_edge = np.empty(n + 1, np.int32), np.empty(edge.shape[0], np.int32)
    at = 0
    for k in range(n):
        e = order[k]
        out_polygon[k], out_ray[k], out_start[k] = polygon[e], ray[e], at
        for q in range(edge_start[e], edge_start[e + 1]):
            out_edge[at] = edge[q]
            at += 1
    out_start[n] = at
    return start, out_polygon, out_ray, out_start, out_edge


def build_polygon_index(
    vertices: NDArray[np.float64], offsets: NDArray[np.int64], cell: float = 2.0
) -> PolygonIndex:
    """Index K simple polygons for exact point queries.

    Args:
        vertices: float64 [V, 2], the open exterior rings one after another [m].
        offsets: int64 [K + 1]; ring k is vertices[offsets[k]:offsets[k + 1]].
        cell: side of a grid cell [m]; grown where the grid would pass four million cells.

    Returns:
        A `PolygonIndex`; rings of fewer than three vertices contain nothing.

    Raises:
        ValueError: offsets that do not fit the vertices, or coordinates that are not finite.
    """
    vertices = np.require(np.asarray(vertices, np.float64).reshape(-1, 2), None, ["C", "W"])
    offsets = np.require(offsets, np.int64, ["C", "W"])
    n = len(vertices)
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != n:
        raise ValueError(f"offsets must run from 0 to {n}, the number of vertices")
    if (np.diff(offsets) < 0).any():
        raise ValueError("offsets must not decrease")
    if not np.isfinite(vertices).all():
        raise ValueError("polygon vertices must be finite")
    follower = np.arange(1, n + 1, dtype=np.int32)
    ends = offsets[1:][np.diff(offsets) > 0] - 1
    follower[ends] = offsets[:-1][np.diff(offsets) > 0]
    if n == 0:
        empty = np.zeros(0, np.int32)
        return PolygonIndex(
            0.0, 0.0, 1.0 / cell, 0, 0, np.zeros(1, np.int32), empty,
            np.zeros(0, np.int8), np.zeros(1, np.int32), empty, vertices, follower, offsets,
        )  # fmt: skip
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    while np.prod(np.ceil((high - low) / cell) + 2.0) > _MAX_CELLS:
        cell *= 1.5
    x0, y0 = (float(v) for v in low - 0.25 * cell)
    nx, ny = (int(np.floor(v / cell)) + 2 for v in (high[0] - x0, high[1] - y0))
    cells, polygon, ray, edge_start, edge = _entries(vertices, offsets, x0, y0, cell, nx)
    packed = _by_cell(nx * ny, cells, polygon, ray, edge_start, edge)
    return PolygonIndex(x0, y0, 1.0 / cell, nx, ny, *packed, vertices, follower, offsets)
