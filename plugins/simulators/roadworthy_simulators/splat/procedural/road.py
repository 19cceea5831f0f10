"""Paints a road map: asphalt, markings, kerbs, pavement and the ground beyond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of
from roadworthy.routing import path_yaw, resample
from roadworthy.scenario import AreaKind, LaneKind, RoadMap

from roadworthy_simulators.splat.procedural.paint import Paint, frames

__all__ = ["PAVEMENT", "Ground", "ground_of", "paint_ground"]

Floats = NDArray[np.float64]

PAVEMENT = 3.0
"""Width of the pavement along every road [m]."""

_ASPHALT = (0.40, 0.40, 0.42)
_PATCH = (0.35, 0.35, 0.38)
_SLABS = (0.62, 0.60, 0.57)
_KERB = (0.74, 0.73, 0.70)
_GRASS = (0.36, 0.46, 0.24)
_FIELD = (0.45, 0.50, 0.30)
_WHITE = (0.93, 0.93, 0.90)
_YELLOW = (0.90, 0.70, 0.22)
_ROAD_CELL = 0.5
_HALF_STRIP = 0.6
_STRIP_ROW = 0.13
_STRIP_LONG = 0.5
_DASH, _GAP = 3.0, 4.5


@dataclass(frozen=True, eq=False)
class Ground:
    """The scene's plan.

    Attributes:
        road: where one may drive (a shapely polygon or several), scene frame.
        near: the part of the plane that is painted finely.
        path: [P, 2] where the ego drives.
    """

    road: Any
    near: Any
    path: Floats


def ground_of(road_map: RoadMap, path: Floats, shift: Floats, reach: float) -> Ground:
    """The plan of a map within `reach` metres of a path [P, 2], moved by -shift [2]."""
    near = shapely.LineString(path - shift).buffer(reach, quad_segs=4)
    rings = [
        polygon_of(road_map.area_polygon[i] - shift)
        for i, kind in enumerate(road_map.area_kind)
        if kind == AreaKind.DRIVABLE
    ] or [polygon_of(ring - shift) for ring in road_map.lane_polygon]
    road = shapely.union_all([r.intersection(near) for r in rings if r.intersects(near)])
    return Ground(road.buffer(0.05).buffer(-0.05), near, path - shift)


def grid(area: Any, cell: float, rng: np.random.Generator) -> Floats:
    """Points [N, 2] of a jittered grid inside an area."""
    if area.is_empty:
        return np.zeros((0, 2))
    x0, y0, x1, y1 = area.bounds
    x, y = np.meshgrid(np.arange(x0, x1 + cell, cell), np.arange(y0, y1 + cell, cell))
    xy = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-0.12, 0.12, (x.size, 2)) * cell
    shapely.prepare(area)
    return xy[shapely.contains_xy(area, xy[:, 0], xy[:, 1])]


def _lane_width(road_map: RoadMap, lane: int) -> float:
    line, ring = road_map.lane_centreline[lane][:, :2], road_map.lane_polygon[lane]
    length = np.hypot(*np.diff(line, axis=0).T).sum()
    return float(np.clip(polygon_of(ring).area / max(length, 1.0), 2.0, 6.0))


def _lines(road_map: RoadMap, shift: Floats, ground: Ground) -> list[tuple[Floats, Any, bool]]:
    """Lines to mark: points [N, 2] `_STRIP_LONG` apart, colour, and whether dashed."""
    out: list[tuple[Floats, Any, bool]] = []
    taken: set[tuple[int, int]] = set()
    edge = ground.road.buffer(-0.05)
    shapely.prepare(edge)
    inside = [
        polygon_of(road_map.area_polygon[i] - shift).buffer(0.3)
        for i, kind in enumerate(road_map.area_kind)
        if kind in (AreaKind.INTERSECTION, AreaKind.CROSSWALK)
    ]
    blocked = shapely.union_all(inside) if inside else shapely.Polygon()
    shapely.prepare(blocked)
    for lane in np.flatnonzero(road_map.lane_kind != LaneKind.CONNECTOR):
        line = road_map.lane_centreline[int(lane)][:, :2] - shift
        if not shapely.LineString(line).intersects(ground.near):
            continue
        line = resample(line, _STRIP_LONG)
        yaw = path_yaw(line)
        half = 0.5 * _lane_width(road_map, int(lane))
        for side, neighbour in ((1.0, road_map.lane_left), (-1.0, road_map.lane_right)):
            inner = neighbour[lane] >= 0
            inset = half if inner or side > 0 else half - 0.2
            points = line + side * inset * np.column_stack([-np.sin(yaw), np.cos(yaw)])
            good = shapely.contains_xy(edge, points[:, 0], points[:, 1])
            good &= ~shapely.contains_xy(blocked, points[:, 0], points[:, 1])
            cells = np.round(points / 0.8).astype(int)
            fresh = [(a, b) not in taken for a, b in cells.tolist()]
            good &= np.array(fresh)
            for a, b in cells[good].tolist():
                taken.update((a + i, b + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
            colour = _WHITE if inner or side < 0 else _YELLOW
            out.extend((run, colour, bool(inner)) for run in _runs(points, good))
    return out


def _runs(points: Floats, good: NDArray[np.bool_]) -> list[Floats]:
    """Stretches of at least 3 points that are good."""
    cuts = np.flatnonzero(np.diff(good.astype(int))) + 1
    return [
        run
        for run, keep in zip(np.split(points, cuts), np.split(good, cuts), strict=True)
        if len(run) > 2 and keep[0]
    ]


def _paint_line(paint: Paint, points: Floats, colour: Any, dashed: bool) -> None:
    """A marked line with asphalt on both sides, in rows along it: edges stay sharp."""
    yaw = path_yaw(points)
    left = np.column_stack([-np.sin(yaw), np.cos(yaw)])
    at = np.arange(len(points)) * _STRIP_LONG
    marked = (at % (_DASH + _GAP) < _DASH) if dashed else np.ones(len(points), np.bool_)
    rows = round(_HALF_STRIP / _STRIP_ROW)
    for k in range(-rows, rows + 1):
        xy = points + k * _STRIP_ROW * left
        shade = np.where((marked & (k == 0))[:, None], colour, _ASPHALT)
        paint.strip(xy, yaw, 0.0, _STRIP_LONG, _STRIP_ROW, shade)


def _paint_crossing(paint: Paint, ring: Floats) -> None:
    """Zebra stripes across the longer side of a crosswalk's rectangle."""
    box = np.asarray(polygon_of(ring).minimum_rotated_rectangle.exterior.coords)[:4]
    u, v = box[1] - box[0], box[3] - box[0]
    if np.hypot(*u) < np.hypot(*v):
        u, v = v, u
    corner = box[0]
    if u[0] * v[1] < u[1] * v[0]:  # it would face down
        corner, v = corner + v, -v
    stripes = lambda a, b: np.where((np.floor(a / 0.5) % 2 == 0)[:, None], _WHITE, _ASPHALT)  # noqa: E731
    paint.quad((*corner, 0.0), (*u, 0.0), (*v, 0.0), 0.25, stripes)


def _paint_edge(paint: Paint, ground: Ground) -> None:
    """Kerbs: upright surfels that face the road, and their tops."""
    for ring in _rings(ground.road):
        line = resample(ring, 0.5)
        if len(line) < 3:
            continue
        yaw = path_yaw(line)
        inside = shapely.contains_xy(ground.near.buffer(-1.0), line[:, 0], line[:, 1])
        left = np.column_stack([-np.sin(yaw), np.cos(yaw)])
        probe = line + 0.3 * left
        inward = np.where(
            shapely.contains_xy(ground.road, probe[:, 0], probe[:, 1])[:, None], left, -left
        )
        line, yaw, inward = line[inside], yaw[inside], inward[inside]
        if not len(line):
            continue
        normals = np.column_stack([inward, np.zeros(len(line))])
        along = np.column_stack([np.cos(yaw), np.sin(yaw), np.zeros(len(line))])
        means = np.column_stack([line, np.full(len(line), 0.06)])
        paint.surfels(means, frames(normals, along), np.array([[0.28, 0.05, 0.01]]), _KERB)
        paint.strip(line - 0.1 * inward, yaw, 0.12, 0.5, 0.22, _KERB)


def _rings(area: Any) -> list[Floats]:
    out = []
    for part in shapely.get_parts(area):
        if part.geom_type == "Polygon":
            out.extend(np.asarray(r.coords) for r in (part.exterior, *part.interiors))
    return out


def paint_ground(
    paint: Paint, road_map: RoadMap, ground: Ground, shift: Floats, rng: np.random.Generator
) -> None:
    """Everything level: road, markings, kerbs, pavement, grass out to half a kilometre."""
    lines = _lines(road_map, shift, ground)
    covered = [shapely.LineString(p).buffer(_HALF_STRIP, cap_style="flat") for p, _, _ in lines]
    for points, colour, dashed in lines:
        _paint_line(paint, points, colour, dashed)
    for i, kind in enumerate(road_map.area_kind):
        ring = road_map.area_polygon[i] - shift
        if kind == AreaKind.CROSSWALK and polygon_of(ring).intersects(ground.near):
            _paint_crossing(paint, ring)
            covered.append(polygon_of(ring))
    for a, b in road_map.stop_line - shift:
        if ground.near.contains(shapely.Point(a)):
            along = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
            across = 0.4 * np.array([-along[1], along[0]])
            paint.quad((*(a - 0.5 * across), 0.0), (*(b - a), 0.0), (*across, 0.0), 0.2, _WHITE)
            covered.append(shapely.LineString([a, b]).buffer(0.2, cap_style="flat"))
    plain = ground.road.difference(shapely.union_all(covered)) if covered else ground.road
    xy = grid(plain, _ROAD_CELL, rng)
    worn = (np.sin(xy[:, 0] * 0.21 + 1.3) * np.sin(xy[:, 1] * 0.17) > 0.55)[:, None]
    paint.flat(xy, 0.0, _ROAD_CELL, np.where(worn, _PATCH, _ASPHALT))
    _paint_edge(paint, ground)
    pavement = ground.road.buffer(PAVEMENT).difference(ground.road.buffer(0.2))
    paint.flat(grid(pavement.intersection(ground.near), 0.6, rng), 0.12, 0.6, _SLABS)
    inner = ground.road.buffer(PAVEMENT)
    for cell, width, colour in ((1.2, 9.0, _GRASS), (3.0, 28.0, _GRASS), (9.0, 100.0, _FIELD)):
        outer = ground.road.buffer(width, quad_segs=3)
        xy = grid(outer.difference(inner), cell, rng)
        tint = 1.0 + 0.12 * np.sin(xy[:, :1] * 0.31) * np.cos(xy[:, 1:] * 0.23)
        paint.flat(xy, 0.08, cell, np.asarray(colour) * tint)
        inner = outer
    far = ground.road.buffer(520.0, quad_segs=2).difference(inner)
    paint.flat(grid(far, 36.0, rng), -0.6, 36.0, _FIELD)
