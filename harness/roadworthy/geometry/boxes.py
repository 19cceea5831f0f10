"""Oriented boxes: corners, and closed-set intersection (touching counts).

A box is (x, y, cos, sin, half_length, half_width): its centre, its heading, half its sides [m].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .polygons import point_in_ring

__all__ = [
    "box_corners",
    "box_distance",
    "box_in_ring",
    "box_intersects_ring",
    "boxes_intersect",
    "point_segment_squared",
    "ring_distance_to_box",
    "segment_box_distance",
    "segment_intersects_box",
]


@njit(cache=True, nogil=True, error_model="numpy")
def box_corners(
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
    out: NDArray[np.float64],
) -> None:
    """Write the corners, in the order front left, rear left, rear right, front right.

    Args:
        x, y: centre [m].
        c, s: cosine and sine of the heading.
        half_length, half_width: half sides [m].
        out: float64 [4, 2], overwritten.
    """
    lx, ly = half_length * c, half_length * s
    wx, wy = -half_width * s, half_width * c
    out[0, 0], out[0, 1] = x + lx + wx, y + ly + wy
    out[1, 0], out[1, 1] = x - lx + wx, y - ly + wy
    out[2, 0], out[2, 1] = x - lx - wx, y - ly - wy
    out[3, 0], out[3, 1] = x + lx - wx, y + ly - wy


@njit(cache=True, nogil=True, error_model="numpy")
def boxes_intersect(
    ax: float,
    ay: float,
    ac: float,
    as_: float,
    al: float,
    aw: float,
    bx: float,
    by: float,
    bc: float,
    bs: float,
    bl: float,
    bw: float,
) -> bool:
    """Whether two oriented boxes share a point (closed sets: touching counts).

    Separating axes, the four face normals. Arguments are two boxes in the module's layout.
    """
    dx, dy = bx - ax, by - ay
    c = ac * bc + as_ * bs
    s = ac * bs - as_ * bc
    abs_c, abs_s = abs(c), abs(s)
    if abs(dx * ac + dy * as_) > al + bl * abs_c + bw * abs_s:
        return False
    if abs(dy * ac - dx * as_) > aw + bl * abs_s + bw * abs_c:
        return False
    if abs(dx * bc + dy * bs) > bl + al * abs_c + aw * abs_s:
        return False
    return bool(abs(dy * bc - dx * bs) <= bw + al * abs_s + aw * abs_c)


@njit(cache=True, nogil=True, error_model="numpy")
def segment_intersects_box(
    px: float,
    py: float,
    qx: float,
    qy: float,
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
) -> bool:
    """Whether the closed segment p-q shares a point with the closed box.

    Separating axes: the two face normals and the normal of the segment.
    """
    ux, uy = px - x, py - y
    vx, vy = qx - x, qy - y
    u_lon, u_lat = ux * c + uy * s, uy * c - ux * s
    v_lon, v_lat = vx * c + vy * s, vy * c - vx * s
    if min(u_lon, v_lon) > half_length or max(u_lon, v_lon) < -half_length:
        return False
    if min(u_lat, v_lat) > half_width or max(u_lat, v_lat) < -half_width:
        return False
    d_lon, d_lat = v_lon - u_lon, v_lat - u_lat
    reach = half_length * abs(d_lat) + half_width * abs(d_lon)
    return bool(abs(u_lon * d_lat - u_lat * d_lon) <= reach)


@njit(cache=True, nogil=True, error_model="numpy")
def box_intersects_ring(
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
    ring: NDArray[np.float64],
) -> bool:
    """Whether a closed box and a closed simple polygon share a point.

    Args:
        x, y, c, s, half_length, half_width: the box.
        ring: float64 [N, 2], open exterior ring (last point not repeated).
    """
    n = ring.shape[0]
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        if segment_intersects_box(
            ring[i, 0], ring[i, 1], ring[j, 0], ring[j, 1], x, y, c, s, half_length, half_width
        ):
            return True
    return point_in_ring(x, y, ring)


@njit(cache=True, nogil=True, error_model="numpy")
def box_in_ring(corners: NDArray[np.float64], ring: NDArray[np.float64]) -> bool:
    """Whether a box lies wholly inside a closed simple polygon.

    Args:
        corners: float64 [4, 2] of the box.
        ring: float64 [N, 2], open exterior ring.
    """
    n = ring.shape[0]
    cx = 0.25 * (corners[0, 0] + corners[1, 0] + corners[2, 0] + corners[3, 0])
    cy = 0.25 * (corners[0, 1] + corners[1, 1] + corners[2, 1] + corners[3, 1])
    lx, ly = corners[0, 0] - corners[1, 0], corners[0, 1] - corners[1, 1]
    wx, wy = corners[0, 0] - corners[3, 0], corners[0, 1] - corners[3, 1]
    length, width = math.hypot(lx, ly), math.hypot(wx, wy)
    c, s = lx / length, ly / length
    if not point_in_ring(cx, cy, ring):
        return False
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        if segment_intersects_box(
            ring[i, 0], ring[i, 1], ring[j, 0], ring[j, 1], cx, cy, c, s, 0.5 * length, 0.5 * width
        ):
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def point_segment_squared(
    px: float, py: float, ax: float, ay: float, bx: float, by: float
) -> float:
    """Squared distance of point p to the closed segment a-b [m^2]."""
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    ux, uy = px - ax, py - ay
    if length2 > 0.0:
        f = min(1.0, max(0.0, (ux * dx + uy * dy) / length2))
        ux -= f * dx
        uy -= f * dy
    return ux * ux + uy * uy


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Smallest vertex-to-edge distance between two rings that do not cross [m]."""
    best = np.inf
    n, m = a.shape[0], b.shape[0]
    for i in range(n):
        i2 = i + 1 if i + 1 < n else 0
        for j in range(m):
            j2 = j + 1 if j + 1 < m else 0
            d = point_segment_squared(b[j, 0], b[j, 1], a[i, 0], a[i, 1], a[i2, 0], a[i2, 1])
            best = min(best, d)
            d = point_segment_squared(a[i, 0], a[i, 1], b[j, 0], b[j, 1], b[j2, 0], b[j2, 1])
            best = min(best, d)
    return math.sqrt(best)


@njit(cache=True, nogil=True, error_model="numpy")
def segment_box_distance(
    px: float, py: float, qx: float, qy: float, box: NDArray[np.float64]
) -> float:
    """Distance between a closed segment p-q and a closed box [m], 0 where they intersect.

    Args:
        px, py, qx, qy: ends of the segment [m].
        box: float64 [6] in the module's layout.
    """
    if segment_intersects_box(px, py, qx, qy, box[0], box[1], box[2], box[3], box[4], box[5]):
        return 0.0
    best = np.inf
    for k in range(2):
        ux, uy = (px if k == 0 else qx) - box[0], (py if k == 0 else qy) - box[1]
        lon = max(abs(ux * box[2] + uy * box[3]) - box[4], 0.0)
        lat = max(abs(uy * box[2] - ux * box[3]) - box[5], 0.0)
        best = min(best, lon * lon + lat * lat)
    corners = np.empty((4, 2))
    box_corners(box[0], box[1], box[2], box[3], box[4], box[5], corners)
    for k in range(4):
        best = min(best, point_segment_squared(corners[k, 0], corners[k, 1], px, py, qx, qy))
    return math.sqrt(best)


@njit(cache=True, nogil=True, error_model="numpy")
def box_distance(box_a: NDArray[np.float64], box_b: NDArray[np.float64]) -> float:
    """Distance between two closed boxes [m], 0 where they intersect.

    Args:
        box_a, box_b: float64 [6] each, in the module's layout.
    """
    if boxes_intersect(
        box_a[0], box_a[1], box_a[2], box_a[3], box_a[4], box_a[5],
        box_b[0], box_b[1], box_b[2], box_b[3], box_b[4], box_b[5],
    ):  # fmt: skip
        return 0.0
    a, b = np.empty((4, 2)), np.empty((4, 2))
    box_corners(box_a[0], box_a[1], box_a[2], box_a[3], box_a[4], box_a[5], a)
    box_corners(box_b[0], box_b[1], box_b[2], box_b[3], box_b[4], box_b[5], b)
    return float(_ring_gap(a, b))


@njit(cache=True, nogil=True, error_model="numpy")
def ring_distance_to_box(box: NDArray[np.float64], ring: NDArray[np.float64]) -> float:
    """Distance between a closed box and a closed simple polygon [m], 0 where they intersect.

    Args:
        box: float64 [6] in the module's layout.
        ring: float64 [N, 2], open exterior ring.
    """
    if box_intersects_ring(box[0], box[1], box[2], box[3], box[4], box[5], ring):
        return 0.0
    corners = np.empty((4, 2))
    box_corners(box[0], box[1], box[2], box[3], box[4], box[5], corners)
    return float(_ring_gap(corners, ring))
