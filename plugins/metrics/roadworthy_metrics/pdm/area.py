"""Where the ego's box is, step by step (specification, section 4)."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import box_corners
from roadworthy.geometry.polygons import FULL, edges_contain

from .motion import Motion
from .scene import MapAreas, Use

__all__ = ["Area", "area_flags"]


class Area(IntFlag):
    """Flags of a step. The first three are NAVSIM's ego areas."""

    MULTIPLE_LANES = 1
    NON_DRIVABLE = 2
    ONCOMING = 4
    CENTRE_IN_INTERSECTION = 8
    AXLE_IN_INTERSECTION = 16


_MULTIPLE_LANES = int(Area.MULTIPLE_LANES)
_NON_DRIVABLE = int(Area.NON_DRIVABLE)
_ONCOMING = int(Area.ONCOMING)
_CENTRE_CROSSING = int(Area.CENTRE_IN_INTERSECTION)
_AXLE_CROSSING = int(Area.AXLE_IN_INTERSECTION)
_LANE, _INTERSECTION = int(Use.LANE), int(Use.INTERSECTION)
_CENTRE, _AXLE, _ALL_CORNERS = 4, 5, 15


@njit(cache=True, nogil=True, error_model="numpy")
def area_flags(
    areas: MapAreas, on_route: NDArray[np.uint8], motion: Motion, out: NDArray[np.uint8]
) -> None:
    """Flag each step of a trajectory.

    Multiple lanes: over lanes and connectors, more than one holds a corner and none holds all
    four. Non-drivable: some corner lies in no drivable polygon. Oncoming: the box centre lies
    in no lane or connector of the route. All tests are strict interior.

    Args:
        areas: the map.
        on_route: uint8 [K].
        motion: the trajectory.
        out: uint8 [T], overwritten with `Area` flags.
    """
    # Arrays are read out of the tuples once: passing a tuple on costs more than most answers.
    index, use = areas.index, areas.use
    x0, y0, scale, nx, ny = index.x0, index.y0, index.inverse_cell, index.nx, index.ny
    start, polygon, ray = index.start, index.polygon, index.ray
    edge_start, edge = index.edge_start, index.edge
    vertices, follower = index.vertices, index.follower
    centre_x, centre_y, axle_x, axle_y = motion.centre_x, motion.centre_y, motion.x, motion.y
    cos, sin = motion.cos, motion.sin
    held = np.zeros(use.shape[0], np.uint8)
    touched = np.empty(use.shape[0], np.int32)
    points = np.empty((6, 2))
    for t in range(out.shape[0]):
        if t > 0 and (
            axle_x[t] == axle_x[t - 1]
            and axle_y[t] == axle_y[t - 1]
            and cos[t] == cos[t - 1]
            and sin[t] == sin[t - 1]
        ):
            out[t] = out[t - 1]
            continue
        box_corners(
            centre_x[t], centre_y[t], cos[t], sin[t],
            motion.half_length, motion.half_width, points,
        )  # fmt: skip
        points[_CENTRE, 0], points[_CENTRE, 1] = centre_x[t], centre_y[t]
        points[_AXLE, 0], points[_AXLE, 1] = axle_x[t], axle_y[t]
        flags, lanes = _ONCOMING, 0
        for k in range(6):
            x, y = points[k, 0], points[k, 1]
            fx, fy = (x - x0) * scale, (y - y0) * scale
            drivable = False
            if 0.0 <= fx < nx and 0.0 <= fy < ny:
                cell = int(fy) * nx + int(fx)
                for e in range(start[cell], start[cell + 1]):
                    p = polygon[e]
                    if k < _CENTRE:
                        if use[p] & _LANE == 0 and drivable:
                            continue
                    elif k == _CENTRE:
                        if (flags & _ONCOMING == 0 or on_route[p] == 0) and (
                            flags & _CENTRE_CROSSING != 0 or use[p] & _INTERSECTION == 0
                        ):
                            continue
                    elif use[p] & _INTERSECTION == 0 or flags & _AXLE_CROSSING:
                        continue
                    if ray[e] != FULL and not edges_contain(
                        vertices, follower, edge, edge_start[e], edge_start[e + 1], ray[e], x, y
                    ):
                        continue
                    if k < _CENTRE:
                        if use[p] & _LANE:
                            if held[p] == 0:
                                touched[lanes] = p
                                lanes += 1
                            held[p] |= 1 << k
                        else:
                            drivable = True
                    elif k == _CENTRE:
                        if on_route[p]:
                            flags &= ~_ONCOMING
                        if use[p] & _INTERSECTION:
                            flags |= _CENTRE_CROSSING
                    else:
                        flags |= _AXLE_CROSSING
            if k < _CENTRE and not drivable:
                flags |= _NON_DRIVABLE
        whole = False
        for q in range(lanes):
            whole = whole or held[touched[q]] == _ALL_CORNERS
            held[touched[q]] = 0
        if lanes > 1 and not whole:
            flags |= _MULTIPLE_LANES
        out[t] = flags
