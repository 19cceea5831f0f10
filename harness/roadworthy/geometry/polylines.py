"""Polylines: arc length, nearest-point projection, interpolation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "Polyline",
    "build_polyline",
    "interpolate_path",
    "interpolate_segment",
    "project",
    "wrap_angle",
]

_CHUNK = 16


class Polyline(NamedTuple):
    """A polyline prepared for exact projections. Build with `build_polyline`.

    Attributes:
        points: float64 [N, 2], N >= 2; consecutive duplicates are allowed.
        arc: float64 [N], arc length at each point, arc[0] = 0 [m].
        bounds: float64 [ceil((N - 1) / 16), 4], bounding boxes (x low, y low, x high, y high)
            of runs of 16 segments.
    """

    points: NDArray[np.float64]
    arc: NDArray[np.float64]
    bounds: NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def wrap_angle(angle: float) -> float:
    """The same angle in [-pi, pi) [rad]."""
    if -math.pi <= angle < math.pi:
        return angle
    wrapped = (angle + math.pi) % (2.0 * math.pi) - math.pi
    return wrapped if wrapped < math.pi else -math.pi


def build_polyline(points: NDArray[np.float64]) -> Polyline:
    """Prepare a polyline for projections.

    Args:
        points: [N, >=2] vertices, x and y in the first two columns [m].

    Raises:
        ValueError: fewer than two points, or coordinates that are not finite.
    """
    xy = np.array(np.asarray(points, np.float64)[:, :2], order="C")
    if len(xy) < 2:
        raise ValueError(f"a polyline needs at least two points, got {len(xy)}")
    arc, bounds = np.empty(len(xy)), np.empty((-(-(len(xy) - 1) // _CHUNK), 4))
    if not _measure(xy, arc, bounds):
        raise ValueError("polyline points must be finite")
    return Polyline(xy, arc, bounds)


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(
    xy: NDArray[np.float64], arc: NDArray[np.float64], bounds: NDArray[np.float64]
) -> bool:
    """Fills `arc` and `bounds` of a `Polyline`; whether every coordinate is finite."""
    finite = math.isfinite(xy[0, 0]) and math.isfinite(xy[0, 1])
    arc[0] = 0.0
    for run in range(len(bounds)):
        bounds[run, 0], bounds[run, 1] = np.inf, np.inf
        bounds[run, 2], bounds[run, 3] = -np.inf, -np.inf
    for k in range(len(xy) - 1):
        finite = finite and math.isfinite(xy[k + 1, 0]) and math.isfinite(xy[k + 1, 1])
        dx, dy = xy[k + 1, 0] - xy[k, 0], xy[k + 1, 1] - xy[k, 1]
        arc[k + 1] = arc[k] + math.sqrt(dx * dx + dy * dy)
        box = bounds[k // _CHUNK]
        for end in (k, k + 1):
            for c in range(2):
                box[c] = min(box[c], xy[end, c])
                box[c + 2] = max(box[c + 2], xy[end, c])
    return finite


@njit(cache=True, nogil=True, error_model="numpy")
def project(line: Polyline, x: float, y: float, hint: int) -> tuple[float, float, int]:
    """Nearest point of a polyline; of several nearest segments the first counts.

    Args:
        line: the polyline.
        x, y: the point [m].
        hint: a run of segments to look at first (the third result of an earlier call), or 0.
            It changes the speed, never the result.

    Returns:
        Arc length of the nearest point [m], distance to it [m], and its run of segments.
    """
    n = line.points.shape[0] - 1
    runs = line.bounds.shape[0]
    best, best_segment, best_f = np.inf, n, 0.0
    for turn in range(-1, runs):
        run = hint if turn < 0 else turn
        if turn >= 0:
            if run == hint:
                continue
            dx = max(line.bounds[run, 0] - x, 0.0, x - line.bounds[run, 2])
            dy = max(line.bounds[run, 1] - y, 0.0, y - line.bounds[run, 3])
            if dx * dx + dy * dy > best * (1.0 + 1e-12):
                continue
        for k in range(run * _CHUNK, min(n, (run + 1) * _CHUNK)):
            ax, ay = line.points[k, 0], line.points[k, 1]
            dx, dy = line.points[k + 1, 0] - ax, line.points[k + 1, 1] - ay
            ux, uy = x - ax, y - ay
            length2 = dx * dx + dy * dy
            f = 0.0
            if length2 > 0.0:
                f = min(1.0, max(0.0, (ux * dx + uy * dy) / length2))
            ux -= f * dx
            uy -= f * dy
            d = ux * ux + uy * uy
            if d < best or (d == best and k < best_segment):
                best, best_segment, best_f = d, k, f
    length = line.arc[best_segment + 1] - line.arc[best_segment]
    return line.arc[best_segment] + best_f * length, math.sqrt(best), best_segment // _CHUNK


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate_path(
    arc: NDArray[np.float64],
    poses: NDArray[np.float64],
    s: float,
    out: NDArray[np.float64],
) -> None:
    """Pose at an arc length, linear between samples, clamped to the ends.

    Args:
        arc: float64 [N], non-decreasing arc lengths [m].
        poses: float64 [N, 3] (x, y, unwrapped heading).
        s: arc length [m].
        out: float64 [3], overwritten; its heading is wrapped to [-pi, pi).
    """
    n = arc.shape[0]
    s = min(max(s, arc[0]), arc[n - 1])
    k = min(max(np.searchsorted(arc, s, side="right") - 1, 0), n - 2)
    interpolate_segment(arc, poses, s, k, out)


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate_segment(
    arc: NDArray[np.float64],
    poses: NDArray[np.float64],
    s: float,
    k: int,
    out: NDArray[np.float64],
) -> None:
    """As `interpolate_path`, for who knows the last segment `k` <= N - 2 that begins at or before
    `s`."""
    s = min(max(s, arc[0]), arc[arc.shape[0] - 1])
    length = arc[k + 1] - arc[k]
    f = (s - arc[k]) / length if length > 0.0 else 0.0
    for c in range(3):
        out[c] = poses[k, c] + f * (poses[k + 1, c] - poses[k, c])
    out[2] = wrap_angle(out[2])
