"""Progress, driving direction, lane keeping, traffic lights (specification, section 5)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import box_intersects_ring
from roadworthy.geometry.polylines import Polyline, project

from .motion import Motion
from .scene import Lights

__all__ = ["driving_direction", "lane_keeping", "raw_progress", "traffic_lights"]

_DIRECTION_WINDOW = 11
_LANE_LIMIT = 0.5
_LANE_STEPS = 20


@njit(cache=True, nogil=True, error_model="numpy")
def raw_progress(centreline: Polyline, motion: Motion) -> float:
    """Arc length gained along the centreline by the box centre, at least 0 [m]."""
    last = motion.x.shape[0] - 1
    start, _, run = project(centreline, motion.centre_x[0], motion.centre_y[0], 0)
    end, _, _ = project(centreline, motion.centre_x[last], motion.centre_y[last], run)
    return max(0.0, end - start)


@njit(cache=True, nogil=True, error_model="numpy")
def driving_direction(
    motion: Motion, flags: NDArray[np.uint8], skip_intersections: bool
) -> tuple[float, int]:
    """Driving direction compliance (DDC).

    Over windows of 11 steps, the distance driven while off the route's lanes: less than 2 m
    scores 1, less than 6 m 0.5, else 0.

    Args:
        motion: the trajectory.
        flags: uint8 [T], `Area` flags.
        skip_intersections: version 2, which leaves out steps inside an intersection.

    Returns:
        DDC and the first step whose window reaches 2 m (-1: none).
    """
    n = motion.x.shape[0]
    length = np.zeros(n)
    mask = 12 if skip_intersections else 4  # Area.CENTRE_IN_INTERSECTION | Area.ONCOMING
    most, first = 0.0, -1
    for t in range(1, n):
        if flags[t] & mask == 4:
            dx = motion.centre_x[t] - motion.centre_x[t - 1]
            dy = motion.centre_y[t] - motion.centre_y[t - 1]
            length[t] = math.sqrt(dx * dx + dy * dy)
        total = 0.0
        for k in range(max(0, t - _DIRECTION_WINDOW + 1), t + 1):
            total += length[k]
        most = max(most, total)
        if first < 0 and total >= 2.0:
            first = t
    if most < 2.0:
        return 1.0, first
    return (0.5 if most < 6.0 else 0.0), first


@njit(cache=True, nogil=True, error_model="numpy")
def lane_keeping(
    centreline: Polyline, motion: Motion, flags: NDArray[np.uint8]
) -> tuple[float, int]:
    """Lane keeping (LK): 0 where the box centre is more than 0.5 m from the centreline for 20
    steps in a row. Steps inside an intersection neither count nor end a row.

    Returns:
        LK and the step that completes the first such row (-1: none).
    """
    run, hint = 0, 0
    for t in range(motion.x.shape[0]):
        if flags[t] & 8:  # Area.CENTRE_IN_INTERSECTION
            continue
        _, distance, hint = project(centreline, motion.centre_x[t], motion.centre_y[t], hint)
        run = run + 1 if distance > _LANE_LIMIT else 0
        if run >= _LANE_STEPS:
            return 0.0, t
    return 1.0, -1


@njit(cache=True, nogil=True, error_model="numpy")
def traffic_lights(motion: Motion, lights: Lights) -> tuple[float, int]:
    """Traffic light compliance (TLC): 0 where the ego's box meets a red connector of the route.

    Returns:
        TLC and the first failing step (-1: none).
    """
    reach = math.sqrt(motion.half_length**2 + motion.half_width**2) * (1.0 + 1e-9)
    for t in range(min(motion.x.shape[0], lights.red.shape[0])):
        x, y = motion.centre_x[t], motion.centre_y[t]
        for k in range(lights.red.shape[1]):
            if (
                lights.red[t, k]
                and x + reach >= lights.bounds[k, 0]
                and y + reach >= lights.bounds[k, 1]
                and x - reach <= lights.bounds[k, 2]
                and y - reach <= lights.bounds[k, 3]
                and box_intersects_ring(
                    x, y, motion.cos[t], motion.sin[t], motion.half_length, motion.half_width,
                    lights.vertices[lights.offsets[k] : lights.offsets[k + 1]],
                )
            ):  # fmt: skip
                return 0.0, t
    return 1.0, -1
