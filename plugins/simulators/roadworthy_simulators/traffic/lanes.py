"""Lanes packed for kernels: evenly spaced centrelines, topology, conflicts and a lookup grid.

A `RoadMap` becomes `Lanes` once (`lanes_of`, cached by content hash); `pack` puts the maps of a
batch end to end. Lane indices inside a pack are global: map m's lane l is `lane_base[m] + l`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import RoadMap

from . import lane_kernels as kernels

__all__ = ["Conflict", "Lanes", "SampleIndex", "lanes_of", "pack"]

SPACING = 1.0
"""Wanted distance between samples of a centreline [m]; each lane rounds it to fit its length."""
CELL = 4.0
"""Side of a grid cell [m]."""
_MAX_CELLS = 2_000_000
_MAPS_KEPT = 64


class SampleIndex(IntEnum):
    """Columns of `Lanes.sample`. `CAP` is the speed [m/s] that curves at and ahead allow."""

    X = 0
    Y = 1
    YAW = 2
    COS = 3
    SIN = 4
    CAP = 5


class Conflict(IntEnum):
    """How the corridors of two lanes come to overlap."""

    CROSSING = 0
    MERGING = 1
    DIVERGING = 2


class Lanes(NamedTuple):
    """L lanes of M maps. Arc lengths s [m] run along a lane's centreline from its start.

    Attributes:
        lane_base: int64 [M + 1], first lane of each map.
        first: int64 [L + 1], first sample of each lane.
        sample: [N, 6] `SampleIndex`; yaw is unwrapped within a lane.
        spacing, length, half_width: [L] metres.
        limit: [L] speed limit [m/s], NaN for none.
        kind: int8 [L], `LaneKind`.
        stop: [L] arc length at which to stop before the lane's end.
        side: int64 [L, 2], left and right neighbour, -1 for none.
        beside: [N, 2], a sample's arc length on the left and right neighbour, NaN where
            the neighbour does not reach.
        next_start, next_lane: CSR of successors.
        straight: int64 [L], the successor that turns least, -1 for none.
        prev_start, prev_lane: CSR of predecessors.
        conflict_start: int64 [L + 1], rows of the next three that belong to a lane.
        conflict_lane: int64 [C], the other lane.
        conflict_kind: int8 [C], `Conflict`.
        conflict: [C, 4], where the overlap begins and ends on this lane, and the arc lengths
            on the other lane that belong to those two.
        grid: [M, 3], lower left corner [m] and 1 / cell side of each map's grid.
        grid_shape: int64 [M, 3], cells in x, cells in y, first entry in `cell_start`.
        cell_start: CSR over cells of the next two.
        cell_lane, cell_sample: lanes that come near a cell and, of each, the sample (counted
            from the lane's start) nearest the cell's centre.
    """

    lane_base: NDArray[np.int64]
    first: NDArray[np.int64]
    sample: NDArray[np.float64]
    spacing: NDArray[np.float64]
    length: NDArray[np.float64]
    half_width: NDArray[np.float64]
    limit: NDArray[np.float64]
    kind: NDArray[np.int8]
    stop: NDArray[np.float64]
    side: NDArray[np.int64]
    beside: NDArray[np.float64]
    next_start: NDArray[np.int64]
    next_lane: NDArray[np.int64]
    straight: NDArray[np.int64]
    prev_start: NDArray[np.int64]
    prev_lane: NDArray[np.int64]
    conflict_start: NDArray[np.int64]
    conflict_lane: NDArray[np.int64]
    conflict_kind: NDArray[np.int8]
    conflict: NDArray[np.float64]
    grid: NDArray[np.float64]
    grid_shape: NDArray[np.int64]
    cell_start: NDArray[np.int64]
    cell_lane: NDArray[np.int64]
    cell_sample: NDArray[np.int64]


_cache: OrderedDict[str, Lanes] = OrderedDict()
_lock = threading.Lock()


def lanes_of(road_map: RoadMap) -> Lanes:
    """The lanes of one map, built once per content hash; the last few dozen maps are kept."""
    key = road_map.hash
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    lanes = _build(road_map)
    with _lock:
        _cache[key] = lanes
        while len(_cache) > _MAPS_KEPT:
            _cache.popitem(last=False)
    return lanes


def pack(parts: Sequence[Lanes]) -> Lanes:
    """Lanes of several maps end to end. A single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    lane, sample, conflict, cell, entry = (
        np.concatenate([[0], np.cumsum([count(p) for p in parts])]).astype(np.int64)
        for count in (
            lambda p: len(p.length),
            lambda p: len(p.sample),
            lambda p: len(p.conflict),
            lambda p: len(p.cell_start),
            lambda p: len(p.cell_lane),
        )
    )

    def join(name: str) -> NDArray:
        return np.concatenate([getattr(p, name) for p in parts])

    def shift(name: str, by: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate(
            [
                np.where(getattr(p, name) < 0, -1, getattr(p, name) + b)
                for p, b in zip(parts, by, strict=False)
            ]
        )

    def csr(name: str, values: str | None, by: NDArray[np.int64] | None = None) -> NDArray:
        if by is None:
            by = np.concatenate([[0], np.cumsum([len(getattr(p, values)) for p in parts])])
        starts = [getattr(p, name)[:-1] + b for p, b in zip(parts, by, strict=False)]
        return np.concatenate([*starts, by[-1:]]).astype(np.int64)

    shape = join("grid_shape")
    shape[:, 2] = cell[:-1]
    return Lanes(
        lane_base=lane,
        first=csr("first", None, sample),
        sample=join("sample"),
        spacing=join("spacing"),
        length=join("length"),
        half_width=join("half_width"),
        limit=join("limit"),
        kind=join("kind"),
        stop=join("stop"),
        side=shift("side", lane),
        beside=join("beside"),
        next_start=csr("next_start", "next_lane"),
        next_lane=shift("next_lane", lane),
        straight=shift("straight", lane),
        prev_start=csr("prev_start", "prev_lane"),
        prev_lane=shift("prev_lane", lane),
        conflict_start=csr("conflict_start", None, conflict),
        conflict_lane=shift("conflict_lane", lane),
        conflict_kind=join("conflict_kind"),
        conflict=join("conflict"),
        grid=join("grid"),
        grid_shape=shape,
        cell_start=np.concatenate([p.cell_start + b for p, b in zip(parts, entry, strict=False)]),
        cell_lane=shift("cell_lane", lane),
        cell_sample=join("cell_sample"),
    )


def _build(road_map: RoadMap) -> Lanes:
    centre, count = road_map.lane_centreline, len(road_map.lane_centreline)
    points = np.ascontiguousarray(centre.values, np.float64)
    length = kernels.lengths(points, centre.offsets)
    intervals = np.maximum(1, np.rint(length / SPACING)).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(intervals + 1)]).astype(np.int64)
    sample = kernels.resample(points, centre.offsets, length, first)
    next_start, next_lane = _csr(road_map.lane_successors.offsets, road_map.lane_successors.values)
    prev_start, prev_lane = _transpose(next_start, next_lane, count)
    side = np.stack([road_map.lane_left, road_map.lane_right], axis=1).astype(np.int64)
    width = kernels.mean_width(
        np.ascontiguousarray(road_map.lane_polygon.values, np.float64),
        road_map.lane_polygon.offsets,
        length,
    )
    lanes = Lanes(
        lane_base=np.array([0, count], np.int64),
        first=first,
        sample=sample,
        spacing=length / intervals,
        length=length,
        half_width=np.clip(0.5 * width, 0.75, 3.0),
        limit=np.ascontiguousarray(road_map.lane_speed_limit, np.float64),
        kind=np.ascontiguousarray(road_map.lane_kind, np.int8),
        stop=length.copy(),
        side=np.ascontiguousarray(side.reshape(-1, 2)),
        beside=np.full((len(sample), 2), np.nan),
        next_start=next_start,
        next_lane=next_lane,
        straight=kernels.straightest(first, sample, next_start, next_lane),
        prev_start=prev_start,
        prev_lane=prev_lane,
        conflict_start=np.zeros(count + 1, np.int64),
        conflict_lane=np.zeros(0, np.int64),
        conflict_kind=np.zeros(0, np.int8),
        conflict=np.zeros((0, 4)),
        **_grid(first, sample),
    )
    kernels.fill_beside(lanes)
    for line, lane in zip(road_map.stop_line, road_map.stop_line_lane, strict=True):
        kernels.place_stop_line(lanes, int(lane), *(float(v) for v in line.mean(axis=0)))
    start, other, kind, overlap = kernels.conflicts(lanes)
    return lanes._replace(
        conflict_start=start, conflict_lane=other, conflict_kind=kind, conflict=overlap
    )


def _csr(offsets: NDArray, values: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(values, np.int64)


def _transpose(
    start: NDArray[np.int64], lane: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """CSR of the reversed edges."""
    origin = np.repeat(np.arange(count), np.diff(start))
    order = np.argsort(lane, kind="stable")
    out = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(lane, minlength=count), out=out[1:])
    return out, origin[order].astype(np.int64)


def _grid(first: NDArray[np.int64], sample: NDArray[np.float64]) -> dict[str, NDArray]:
    cell = CELL
    low = sample[:, :2].min(axis=0, initial=np.inf) - kernels.REACH - cell
    high = sample[:, :2].max(axis=0, initial=-np.inf) + kernels.REACH + cell
    if len(sample) == 0:
        low, high = np.zeros(2), np.ones(2)
    while np.prod(np.ceil((high - low) / cell)) > _MAX_CELLS:
        cell *= 1.5
    nx, ny = (int(n) for n in np.ceil((high - low) / cell))
    start, lane, near = kernels.fill_grid(first, sample, low[0], low[1], cell, nx, ny)
    return {
        "grid": np.array([[low[0], low[1], 1.0 / cell]]),
        "grid_shape": np.array([[nx, ny, 0]], np.int64),
        "cell_start": start,
        "cell_lane": lane,
        "cell_sample": near,
    }
