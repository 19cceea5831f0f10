"""Lanes packed for kernels: evenly spaced centrelines, topology, conflicts and a lookup grid.

A `RoadMap` becomes `Lanes` once (`lanes_of`, cached by content hash); `pack` puts the maps of a
batch end to end. Lane indices inside a pack are global: map m's lane l is
`map[m].lane_begin + l`.
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
from .state import Records

__all__ = ["CONFLICT", "ITEM", "LANE", "MAP", "SAMPLE", "Conflict", "Lanes", "lanes_of", "pack"]

SPACING = 1.0
"""Wanted distance between samples of a centreline [m]; each lane rounds it to fit its length."""
CELL = 4.0
"""Side of a grid cell [m]."""
_MAX_CELLS = 2_000_000
_MAPS_KEPT = 64

LANE = np.dtype(
    [
        ("first", np.int64),  # its first sample
        ("count", np.int64),  # samples, at least 2
        ("spacing", np.float64),  # between them [m]
        ("length", np.float64),  # [m]
        ("half_width", np.float64),  # [m]
        ("limit", np.float64),  # speed limit [m/s], NaN for none
        ("stop", np.float64),  # arc length at which to stop before its end
        ("box", np.float64),  # where to wait for lanes that cross or merge, inf for none
        ("kind", np.int64),  # LaneKind
        ("left", np.int64),  # neighbours, -1 for none
        ("right", np.int64),
        ("straight", np.int64),  # the successor that turns least, -1 for none
        ("next_begin", np.int64),  # its successors in `link`
        ("next_end", np.int64),
        ("prev_begin", np.int64),  # its predecessors in `link`
        ("prev_end", np.int64),
        ("conflict_begin", np.int64),  # its rows of `conflict`
        ("conflict_end", np.int64),
    ],
    align=True,
)
"""One lane. Arc lengths s [m] run along its centreline from its start."""

SAMPLE = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("yaw", np.float64),  # unwrapped within a lane
        ("cos", np.float64),
        ("sin", np.float64),
        ("cap", np.float64),  # speed that the curves here and ahead allow [m/s]
        ("left", np.float64),  # arc length on the left neighbour, NaN where it does not reach
        ("right", np.float64),
    ],
    align=True,
)
"""One sample of a centreline, world frame."""

CONFLICT = np.dtype(
    [
        ("lane", np.int64),  # the other lane
        ("kind", np.int64),  # Conflict
        ("begin", np.float64),  # arc lengths of the overlap on this lane
        ("end", np.float64),
        ("other_begin", np.float64),  # arc lengths on the other lane that belong to those
        ("other_end", np.float64),
    ],
    align=True,
)
"""A stretch of a lane whose corridor overlaps that of another."""

MAP = np.dtype(
    [
        ("x0", np.float64),  # lower left corner of its grid [m]
        ("y0", np.float64),
        ("inverse", np.float64),  # 1 / cell side [1/m]
        ("nx", np.int64),  # cells
        ("ny", np.int64),
        ("first_cell", np.int64),  # in `cell`
        ("lane_begin", np.int64),
        ("lane_end", np.int64),
    ],
    align=True,
)
"""One map."""

ITEM = np.dtype([("lane", np.int64), ("sample", np.int64)], align=True)
"""A lane that comes near a grid cell, and its sample (counted from the lane's start) nearest
the cell's centre."""


class Conflict(IntEnum):
    """How the corridors of two lanes come to overlap."""

    CROSSING = 0
    MERGING = 1
    DIVERGING = 2


class Lanes(NamedTuple):
    """Lanes of one or more maps.

    Attributes:
        map: `MAP` [M].
        lane: `LANE` [L].
        sample: `SAMPLE` [N], lane after lane.
        link: int64, successors and predecessors of all lanes.
        conflict: `CONFLICT` [C].
        cell: int64, first item of each grid cell, one more entry than cells per map.
        item: `ITEM` [I].
    """

    map: Records
    lane: Records
    sample: Records
    link: NDArray[np.int64]
    conflict: Records
    cell: NDArray[np.int64]
    item: Records


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
    counts = np.array([[len(array) for array in part] for part in parts], np.int64)
    before = Lanes(*(np.cumsum(counts, axis=0) - counts).T)
    out = Lanes(*(_joined(arrays) for arrays in zip(*parts, strict=True)))

    def shift(field: NDArray[np.int64], by: NDArray[np.int64], rows: int) -> None:
        """Add to each part's values how much comes before the part; -1 stays."""
        field += np.where(field < 0, 0, np.repeat(by, counts[:, rows]))

    place, lane, _, link, conflict, cell, item = range(len(Lanes._fields))
    for name in ("lane_begin", "lane_end"):
        shift(out.map[name], before.lane, place)
    shift(out.map["first_cell"], before.cell, place)
    shift(out.lane["first"], before.sample, lane)
    for name in ("left", "right", "straight"):
        shift(out.lane[name], before.lane, lane)
    for name in ("next_begin", "next_end", "prev_begin", "prev_end"):
        shift(out.lane[name], before.link, lane)
    for name in ("conflict_begin", "conflict_end"):
        shift(out.lane[name], before.conflict, lane)
    shift(out.link, before.lane, link)
    shift(out.conflict["lane"], before.lane, conflict)
    shift(out.cell, before.item, cell)
    shift(out.item["lane"], before.lane, item)
    return out


def _joined(arrays: Sequence[NDArray]) -> NDArray:
    """Arrays of one type end to end; as bytes, because NumPy joins records field by field."""
    return np.concatenate([array.view(np.uint8) for array in arrays]).view(arrays[0].dtype)


def _build(road_map: RoadMap) -> Lanes:
    centre, count = road_map.lane_centreline, len(road_map.lane_centreline)
    points = np.ascontiguousarray(centre.values, np.float64)
    lane = np.zeros(count, LANE)
    lane["length"] = kernels.lengths(points, centre.offsets)
    intervals = np.maximum(1, np.rint(lane["length"] / SPACING)).astype(np.int64)
    lane["count"] = intervals + 1
    lane["first"] = np.cumsum(lane["count"]) - lane["count"]
    lane["spacing"] = lane["length"] / intervals
    lane["stop"] = lane["length"]
    lane["limit"] = road_map.lane_speed_limit
    lane["kind"] = road_map.lane_kind
    lane["left"], lane["right"] = road_map.lane_left, road_map.lane_right
    polygon = road_map.lane_polygon
    width = kernels.mean_width(
        np.ascontiguousarray(polygon.values, np.float64), polygon.offsets, lane
    )
    lane["half_width"] = np.clip(0.5 * width, 0.75, 3.0)
    sample = np.zeros(int(lane["count"].sum()), SAMPLE)
    kernels.resample(points, centre.offsets, lane, sample)
    link = _links(road_map, lane)
    kernels.straightest(lane, sample, link)
    place, cell, item = _grid(lane, sample)
    lanes = Lanes(place, lane, sample, link, np.zeros(0, CONFLICT), cell, item)
    kernels.fill_beside(lanes)
    kernels.place_stop_lines(
        lanes,
        np.ascontiguousarray(road_map.stop_line_lane, np.int64),
        np.ascontiguousarray(road_map.stop_line, np.float64),
    )
    return lanes._replace(conflict=kernels.conflicts(lanes, np.zeros(64, CONFLICT)))


def _links(road_map: RoadMap, lane: Records) -> NDArray[np.int64]:
    """Successors and predecessors in one array; writes where each lane's begin and end."""
    successors = road_map.lane_successors
    start, after = successors.offsets, np.asarray(successors.values, np.int64)
    lane["next_begin"], lane["next_end"] = start[:-1], start[1:]
    origin = np.repeat(np.arange(len(lane)), np.diff(start))
    order = np.argsort(after, kind="stable")
    ends = len(after) + np.cumsum(np.bincount(after, minlength=len(lane)))
    lane["prev_end"] = ends
    lane["prev_begin"] = np.concatenate([[len(after)], ends[:-1]])[: len(lane)]
    return np.concatenate([after, origin[order]]).astype(np.int64)


def _grid(lane: Records, sample: Records) -> tuple[Records, NDArray[np.int64], Records]:
    """The `MAP`, cells and items of one map."""
    cell = CELL
    low, high = np.zeros(2), np.ones(2)
    if len(sample):
        xy = np.stack([sample["x"], sample["y"]])
        low = xy.min(axis=1) - kernels.REACH - cell
        high = xy.max(axis=1) + kernels.REACH + cell
    while np.prod(np.ceil((high - low) / cell)) > _MAX_CELLS:
        cell *= 1.5
    nx, ny = (int(n) for n in np.ceil((high - low) / cell))
    place = np.array([(low[0], low[1], 1.0 / cell, nx, ny, 0, 0, len(lane))], MAP)
    start, near = kernels.fill_grid(lane, sample, place)
    item = np.zeros(len(near), ITEM)
    item["lane"], item["sample"] = near[:, 0], near[:, 1]
    return place, start, item
