"""Where the ego's box is, step by step (specification, section 4)."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import box_corners
from roadworthy.geometry.polygons import entry_contains, grid_cell

from .motion import Motion
from .scene import MapAreas

__all__ = ["Area", "area_flags"]


class Area(IntFlag):
    """Flags of a step. The first three are NAVSIM's ego areas."""

    MULTIPLE_LANES = 1
    NON_DRIVABLE = 2
    ONCOMING = 4
    CENTRE_IN_INTERSECTION = 8
    AXLE_IN_INTERSECTION = 16


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
    index = areas.index
    held = np.zeros(areas.use.shape[0], np.uint8)
    touched = np.empty(areas.use.shape[0], np.int32)
    corners = np.empty((4, 2))
    for t in range(out.shape[0]):
        box_corners(
            motion.centre_x[t], motion.centre_y[t], motion.cos[t], motion.sin[t],
            motion.half_length, motion.half_width, corners,
        )  # fmt: skip
        flags, lanes = 0, 0
        for k in range(4):
            x, y = corners[k, 0], corners[k, 1]
            drivable = False
            cell = grid_cell(index, x, y)
            if cell >= 0:
                for e in range(index.start[cell], index.start[cell + 1]):
                    p = index.polygon[e]
                    use = areas.use[p]
                    if use & 1:
                        if entry_contains(index, e, x, y):
                            if held[p] == 0:
                                touched[lanes] = p
                                lanes += 1
                            held[p] |= 1 << k
                    elif not drivable and entry_contains(index, e, x, y):
                        drivable = True
            if not drivable:
                flags |= 2
        whole = False
        for q in range(lanes):
            whole = whole or held[touched[q]] == 15
            held[touched[q]] = 0
        if lanes > 1 and not whole:
            flags |= 1
        x, y = motion.centre_x[t], motion.centre_y[t]
        cell = grid_cell(index, x, y)
        oncoming, crossing = True, False
        if cell >= 0:
            for e in range(index.start[cell], index.start[cell + 1]):
                p = index.polygon[e]
                if oncoming and on_route[p]:
                    oncoming = not entry_contains(index, e, x, y)
                elif not crossing and areas.use[p] & 4:
                    crossing = entry_contains(index, e, x, y)
        if oncoming:
            flags |= 4
        if crossing:
            flags |= 8
        x, y = motion.x[t], motion.y[t]
        cell = grid_cell(index, x, y)
        if cell >= 0:
            for e in range(index.start[cell], index.start[cell + 1]):
                if areas.use[index.polygon[e]] & 4 and entry_contains(index, e, x, y):
                    flags |= 16
                    break
        out[t] = flags
