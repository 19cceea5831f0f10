"""Road maps as the PDM kernels read them, packed once per map and process."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap, Route

from .pdm.scene import MapAreas, PolygonKind, pack_map

__all__ = ["lane_polygons", "map_areas", "route_mask"]

_LANES = {LaneKind.LANE: PolygonKind.LANE, LaneKind.CONNECTOR: PolygonKind.LANE_CONNECTOR}
_AREAS = {
    AreaKind.DRIVABLE: PolygonKind.DRIVABLE_AREA,
    AreaKind.INTERSECTION: PolygonKind.INTERSECTION,
    AreaKind.CARPARK: PolygonKind.CARPARK_AREA,
}
_KEPT = 64
_maps: OrderedDict[str, tuple[MapAreas, NDArray[np.int64]]] = OrderedDict()


def lane_polygons(road: RoadMap) -> NDArray[np.int64]:
    """The polygon of each lane in `map_areas`: int64 [L], -1 for bike lanes."""
    return _packed(road)[1]


def map_areas(road: RoadMap) -> MapAreas:
    """The map's polygons: lanes for cars in order, then areas without the crosswalks.

    Equal maps (by `RoadMap.hash`) are packed once; the 64 used last are kept.
    """
    return _packed(road)[0]


def _packed(road: RoadMap) -> tuple[MapAreas, NDArray[np.int64]]:
    packed = _maps.get(road.hash)
    if packed is None:
        packed = _maps[road.hash] = _pack(road)
        if len(_maps) > _KEPT:
            _maps.popitem(last=False)
    else:
        _maps.move_to_end(road.hash)
    return packed


def _pack(road: RoadMap) -> tuple[MapAreas, NDArray[np.int64]]:
    lanes = np.flatnonzero(road.lane_kind != LaneKind.BIKE).tolist()
    areas = [k for k, kind in enumerate(road.area_kind.tolist()) if kind in _AREAS]
    rings = [road.lane_polygon[k] for k in lanes] + [road.area_polygon[k] for k in areas]
    kinds = [_LANES[LaneKind(road.lane_kind[k])] for k in lanes]
    kinds += [_AREAS[AreaKind(road.area_kind[k])] for k in areas]
    packed = Ragged.of(rings, 2)
    cars = road.lane_kind != LaneKind.BIKE
    polygon = np.where(cars, np.cumsum(cars) - 1, -1).astype(np.int64)
    polygon.flags.writeable = False
    return pack_map(packed.values, packed.offsets, np.array(kinds, np.int64)), polygon


def route_mask(road: RoadMap, route: Route) -> NDArray[np.bool_]:
    """Which polygons of `map_areas` are lanes on a route: bool [K]."""
    mask = np.zeros(map_areas(road).use.shape, bool)
    chosen = lane_polygons(road)[route.lanes]
    mask[chosen[chosen >= 0]] = True
    return mask
