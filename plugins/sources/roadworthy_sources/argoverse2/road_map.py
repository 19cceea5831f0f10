"""Argoverse 2 vector maps (`log_map_archive_*.json`) as road maps.

Lanes come as left and right boundaries. Traffic signals are not in the map, speed limits
neither. Successors outside the archive are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.rings import polygon_of, ring_of
from roadworthy.routing import path_yaw
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

from roadworthy_sources.argoverse2.files import FARTHEST, read_json

__all__ = ["read_map"]

MAX_SEGMENTS = 20_000
_MAX_POINTS = 20_000
_MAX_LENGTH = 10_000.0
_SPACING = 1.0
_SEAM = 0.15
_MIN_JUNCTION = 4.0
_NO_CHANGE = frozenset(
    {
        "DOUBLE_SOLID_WHITE",
        "DOUBLE_SOLID_YELLOW",
        "SOLID_BLUE",
        "SOLID_YELLOW",
    }
)


def read_map(path: Path, notes: list[str]) -> RoadMap:
    """Read a map archive; `notes` gets a sentence on the successors that are not in it.

    Centrelines are the `centerline` of the archive where it has one, else halfway between
    the boundaries at equal shares of their lengths. Neighbours are kept where they run the
    same way, both lanes are for cars, and the mark between them may be crossed. Lanes with
    `is_intersection` become connectors, and connectors that touch or overlap form one
    intersection, whose polygon is the outline of their union.

    Raises:
        DataError: naming file, object, field and value.
    """
    archive = read_json(path)
    lanes = _objects(path, archive, "lane_segments")
    if not lanes:
        raise DataError(f"{path}: lane_segments is empty", hint="A map needs lanes.")
    index = {str(key): i for i, key in enumerate(lanes)}
    rows = [_Lane(path, key, value) for key, value in lanes.items()]
    if loose := sum(after not in index for row in rows for after in row.successors):
        notes.append(f"map: {loose} successors that are not in the archive left out.")
    areas: list[tuple[int, NDArray[np.float64]]] = []
    for key, area in _objects(path, archive, "drivable_areas").items():
        where = f"drivable_areas[{key}]"
        areas.append((AreaKind.DRIVABLE, _points(path, area, f"{where}.area_boundary", 3)))
    areas += [(AreaKind.INTERSECTION, ring) for ring in _junctions(rows)]
    for key, crossing in _objects(path, archive, "pedestrian_crossings").items():
        where = f"pedestrian_crossings[{key}]"
        edges = [_points(path, crossing, f"{where}.edge{k}", 2) for k in (1, 2)]
        areas.append((AreaKind.CROSSWALK, _between(*edges)))
    return RoadMap(
        lane_id=tuple(index),
        lane_kind=np.array([row.kind for row in rows], np.int8),
        lane_centreline=Ragged.of([row.centreline for row in rows], 3),
        lane_polygon=Ragged.of([row.polygon for row in rows], 2),
        lane_speed_limit=np.full(len(rows), np.nan),
        lane_successors=Ragged.of(
            [[index[s] for s in row.successors if s in index] for row in rows], None, np.int64
        ),
        lane_left=np.array([row.neighbour("left", rows, index) for row in rows], np.int64),
        lane_right=np.array([row.neighbour("right", rows, index) for row in rows], np.int64),
        area_kind=np.array([kind for kind, _ in areas], np.int8),
        area_polygon=Ragged.of([ring for _, ring in areas], 2),
    )


class _Lane:
    """One lane segment, parsed."""

    def __init__(self, path: Path, key: str, value: dict[str, Any]) -> None:
        where = f"lane_segments[{key}]"
        left = _points(path, value, f"{where}.left_lane_boundary", 2)
        right = _points(path, value, f"{where}.right_lane_boundary", 2)
        if value.get("centerline") is not None:
            line = _points(path, value, f"{where}.centerline", 2)
        else:
            line = _middle(left, right)
        self.centreline = np.column_stack([line, path_yaw(line)])
        self.polygon = np.concatenate([left, right[::-1]])
        kind = _field(path, value, f"{where}.lane_type", str)
        if kind not in ("VEHICLE", "BUS", "BIKE"):
            raise DataError(
                f"{path}: {where}.lane_type is {kind!r}", hint="Wanted: VEHICLE, BUS or BIKE."
            )
        crossing = _field(path, value, f"{where}.is_intersection", bool)
        self.kind = (
            LaneKind.BIKE if kind == "BIKE" else LaneKind.CONNECTOR if crossing else LaneKind.LANE
        )
        successors = _field(path, value, f"{where}.successors", list)
        self.successors = [str(s) for s in successors]
        self._beside = {
            side: (value.get(f"{side}_neighbor_id"), str(value.get(f"{side}_lane_mark_type")))
            for side in ("left", "right")
        }

    def neighbour(self, side: str, rows: list[_Lane], index: dict[str, int]) -> int:
        """Index of the lane on that side into which a car may change, or -1."""
        key, mark = self._beside[side]
        at = index.get(str(key), -1) if key is not None else -1
        if at < 0 or mark in _NO_CHANGE or rows[at] is self:
            return -1
        if LaneKind.BIKE in (self.kind, rows[at].kind):
            return -1
        mine, other = (row.centreline[-1, :2] - row.centreline[0, :2] for row in (self, rows[at]))
        return at if float(mine @ other) > 0.0 else -1


def _objects(path: Path, archive: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    value = archive.get(name)
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise DataError(f"{path}: {name} is not an object of objects", hint="Is it an AV2 map?")
    if len(value) > MAX_SEGMENTS:
        raise DataError(f"{path}: {name} has {len(value)} entries", hint=f"At most {MAX_SEGMENTS}.")
    return value


def _field(path: Path, value: dict[str, Any], where: str, kind: type) -> Any:
    out = value.get(where.rsplit(".", 1)[1])
    if not isinstance(out, kind):
        raise DataError(f"{path}: {where} is {str(out)[:60]!r}", hint=f"Wanted: {kind.__name__}.")
    return out


def _points(path: Path, value: dict[str, Any], where: str, at_least: int) -> NDArray[np.float64]:
    """[N, 2] of a list of {"x": .., "y": .., "z": ..}, consecutive duplicates removed."""
    raw = _field(path, value, where, list)
    if len(raw) > _MAX_POINTS:
        raise DataError(f"{path}: {where} has {len(raw)} points", hint=f"At most {_MAX_POINTS}.")
    try:
        xy = np.array([(p["x"], p["y"]) for p in raw], np.float64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: {where} is not a list of points ({error})", hint='Wanted: {"x": .., "y": ..}.'
        ) from error
    bad = ~(np.abs(xy) < FARTHEST).all(axis=1)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{path}: {where}[{at}] is {xy[at].tolist()}",
            hint=f"It must be finite and below {FARTHEST:.0e} m.",
        )
    xy = xy[np.concatenate([[True], (np.diff(xy, axis=0) != 0.0).any(axis=1)])[: len(xy)]]
    if len(xy) < at_least:
        raise DataError(
            f"{path}: {where} has {len(xy)} distinct points",
            hint=f"At least {at_least} are needed.",
        )
    length = float(np.hypot(*np.diff(xy, axis=0).T).sum())
    if length > _MAX_LENGTH:
        raise DataError(
            f"{path}: {where} is {length:.0f} m long", hint=f"At most {_MAX_LENGTH:.0f} m."
        )
    return np.asarray(xy)


def _at_shares(line: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.stack([np.interp(shares * arc[-1], arc, line[:, k]) for k in (0, 1)], axis=1)


def _middle(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    longest = max(np.hypot(*np.diff(side, axis=0).T).sum() for side in (left, right))
    shares = np.linspace(0.0, 1.0, max(2, int(np.ceil(longest / _SPACING)) + 1))
    return 0.5 * (_at_shares(left, shares) + _at_shares(right, shares))


def _between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ring between two edges, whichever way the second one runs."""
    straight = np.hypot(*(a[0] - b[0])) + np.hypot(*(a[-1] - b[-1]))
    crossed = np.hypot(*(a[0] - b[-1])) + np.hypot(*(a[-1] - b[0]))
    return np.concatenate([a, b[::-1] if straight <= crossed else b])


def _junctions(rows: list[_Lane]) -> list[NDArray[np.float64]]:
    """Outlines of the unions of connector lanes that hang together."""
    polygons = [polygon_of(row.polygon) for row in rows if row.kind == LaneKind.CONNECTOR]
    if not polygons:
        return []
    merged = shapely.union_all([p.buffer(_SEAM, join_style="mitre") for p in polygons])
    outlines = [shapely.Polygon(p.exterior) for p in shapely.get_parts(merged)]
    shrunk = shapely.get_parts([o.buffer(-_SEAM, join_style="mitre") for o in outlines])
    return [ring_of(p) for p in shrunk if p.area >= _MIN_JUNCTION]
