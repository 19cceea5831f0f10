"""Maps cut down to what the replays drive through."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.report.packing import pack, quantise
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

__all__ = ["MapCrop"]

_AROUND = 60.0
_TOLERANCE = 0.1
_STEP = 0.1
_BYTES_PER_POINT = 4
_HALF_LANE = 1.75


class MapCrop:
    """The part of a map that the paths given to `cover` come near.

    Attributes:
        origin: float64 [2], what to subtract from world positions to get the page's.
    """

    def __init__(self, road_map: RoadMap) -> None:
        self._map = road_map
        values = road_map.lane_centreline.values
        self.origin = np.round(values[0, :2]) if len(values) else np.zeros(2)
        self._rows = (road_map.lane_polygon, road_map.lane_centreline, road_map.area_polygon)
        self._bounds = tuple(_bounds(rows) for rows in self._rows)
        self._kept = tuple(np.zeros(len(rows), bool) for rows in self._rows)
        self._region: NDArray[np.float64] | None = None

    def cover(self, path: NDArray[np.float64]) -> int:
        """Keep what lies around a path [*, 2], world frame; about how many bytes that adds."""
        low, high = path.min(axis=0) - _AROUND, path.max(axis=0) + _AROUND
        box = np.concatenate([low, high])
        if self._region is not None:
            box[:2] = np.minimum(box[:2], self._region[:2])
            box[2:] = np.maximum(box[2:], self._region[2:])
        self._region = box
        points = 0
        for rows, bounds, kept in zip(self._rows, self._bounds, self._kept, strict=True):
            meets = (bounds[:, :2] <= high).all(axis=1) & (bounds[:, 2:] >= low).all(axis=1)
            fresh = meets & ~kept
            points += int(np.diff(rows.offsets)[fresh].sum())
            kept |= meets
        return points * _BYTES_PER_POINT

    def entries(self, lanes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Where lanes begin: x, y, yaw and half the width to draw, [*, 4]; page frame."""
        rows = self._map.lane_centreline
        starts = rows.values[rows.offsets[lanes]] if len(lanes) else np.zeros((0, 3))
        half = np.full((len(starts), 1), _HALF_LANE)
        return np.hstack([starts[:, :2] - self.origin, starts[:, 2:3], half])

    @staticmethod
    def simplified(line: NDArray[np.float64]) -> NDArray[np.float64]:
        """A line [*, 2] with the points left out that do not matter."""
        if len(line) < 3:
            return line
        found = shapely.get_coordinates(shapely.linestrings(line).simplify(_TOLERANCE))
        return np.asarray(found, np.float64)

    def encode(self) -> str:
        """The blob."""
        lanes, centres, areas = self._rows
        kept_lanes, kept_centres, kept_areas = self._kept
        driven = np.flatnonzero(kept_centres & (self._map.lane_kind != LaneKind.BIKE))
        inside_junctions = self._map.lane_kind == LaneKind.CONNECTOR
        kinds = [
            ("lane", self._clipped(lanes, kept_lanes & ~inside_junctions)),
            ("connector", self._clipped(lanes, kept_lanes & inside_junctions)),
            (
                "centre",
                [self.simplified(centres[int(i)][:, :2]) for i in driven],
            ),
        ]
        for name, kind in (
            ("area", (AreaKind.DRIVABLE, AreaKind.INTERSECTION, AreaKind.CARPARK)),
            ("crosswalk", (AreaKind.CROSSWALK,)),
        ):
            wanted = kept_areas & np.isin(self._map.area_kind, kind)
            kinds.append((name, self._clipped(areas, wanted)))
        stops = self._map.stop_line
        if self._region is not None:
            middle = stops.mean(axis=1)
            within = (middle >= self._region[:2]) & (middle <= self._region[2:])
            stops = stops[within.all(axis=1)]
        kinds.append(("stop", list(stops)))
        fields = {}
        for name, lines in kinds:
            points = Ragged.of(lines, 2)
            fields[f"{name}_xy"] = quantise((points.values - self.origin).T, _STEP, 1)
            fields[f"{name}_end"] = (points.offsets[1:].astype(np.int64), 1, 1.0)
        return pack(fields)

    def _clipped(self, rows: Ragged, kept: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        """Rings, simplified; those that reach far beyond the region are cut to it."""
        found: list[NDArray[np.float64]] = []
        for i in np.flatnonzero(kept):
            ring = rows[int(i)]
            if len(ring) < 3:
                continue
            shape = shapely.polygons(ring).simplify(_TOLERANCE)
            if len(ring) > 100 and self._region is not None and shape.is_valid:
                shape = shapely.clip_by_rect(shape, *self._region)
            for part in shapely.get_parts(shape):
                if part.geom_type == "Polygon" and not part.is_empty:
                    found.append(shapely.get_coordinates(part.exterior)[:-1])
        return found


def _bounds(rows: Ragged) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of each row; of an empty row a box that meets nothing."""
    out = np.tile([np.inf, np.inf, -np.inf, -np.inf], (len(rows), 1))
    lengths = np.diff(rows.offsets)
    full = lengths > 0
    if full.any():
        starts = rows.offsets[:-1][full]
        points = rows.values[:, :2]
        out[full, :2] = np.minimum.reduceat(points, starts)
        out[full, 2:] = np.maximum.reduceat(points, starts)
    return out
