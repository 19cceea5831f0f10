"""A route and its map as the planner's kernels read them, packed once per case."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.polygons import PolygonIndex, polygons_at
from roadworthy.geometry.polylines import Polyline, build_polyline
from roadworthy.observation import Brief
from roadworthy.scenario import LaneKind, RoadMap
from roadworthy_metrics.maps import lane_polygons, map_areas, route_mask

__all__ = ["CELL", "DRIVABLE", "ON_ROUTE", "SIDES", "LanePieces", "RouteTable", "pack_route"]

CELL = 2.0
"""Metres of the route per row of `RouteTable.ground`."""
SIDES = np.arange(-4.5, 4.6, 1.5)
"""Offsets to the left of the route at which the ground is looked up [m]."""
DRIVABLE, ON_ROUTE = 1, 2
"""Flags of `RouteTable.ground`."""

_PIECE = 20.0
_POINTS = 4
_KEPT = 64
_pieces: OrderedDict[str, LanePieces] = OrderedDict()


class LanePieces(NamedTuple):
    """Lane centrelines, cut into pieces of at most 20 m.

    Attributes:
        points: float64 [P, 4, 2], along each piece, world frame.
        lane: int64 [P], the lane that each piece belongs to.
        connector: bool [P], whether it lies inside an intersection.
    """

    points: NDArray[np.float64]
    lane: NDArray[np.int64]
    connector: NDArray[np.bool_]


class RouteTable(NamedTuple):
    """A route. Build with `pack_route`.

    Attributes:
        line: its centreline.
        poses: float64 [C, 3], x, y, unwrapped yaw, world frame.
        ground: uint8 [G, len(SIDES)], `DRIVABLE` and `ON_ROUTE` (in a lane of the route), every
            `CELL` metres.
        limit: float64 [G], speed limit [m/s], 0 where unknown.
        signal_at: float64 [G'], arc at which each signal's lane begins [m], -1 off the route.
        pieces: the lanes around.
        piece_on_route: bool [P].
        piece_signal: int64 [P], the signal that governs each piece's lane, -1 for none.
        car: float64 [4]: rear axle to centre, half length, half width, wheelbase [m].
    """

    line: Polyline
    poses: NDArray[np.float64]
    ground: NDArray[np.uint8]
    limit: NDArray[np.float64]
    signal_at: NDArray[np.float64]
    pieces: LanePieces
    piece_on_route: NDArray[np.bool_]
    piece_signal: NDArray[np.int64]
    car: NDArray[np.float64]


def pack_route(brief: Brief) -> RouteTable:
    """Pack the route, the ground beside it, the lanes around and the signals of a case."""
    road, route, vehicle = brief.map, brief.route, brief.vehicle
    line = build_polyline(route.centreline)
    poses = np.array(route.centreline[:, :3], np.float64, order="C")
    areas, polygon = map_areas(road), lane_polygons(road)
    speed = np.zeros(areas.use.shape[0])
    speed[polygon[polygon >= 0]] = np.nan_to_num(road.lane_speed_limit[polygon >= 0])
    rows = int(line.arc[-1] / CELL) + 1
    ground, limit = np.zeros((rows, len(SIDES)), np.uint8), np.zeros(rows)
    _survey(
        areas.index, areas.use, route_mask(road, route).astype(np.uint8), speed,
        line, poses, SIDES, ground, limit,
    )  # fmt: skip
    pieces = _lane_pieces(road)
    on_route = np.zeros(len(road.lane_id), np.bool_)
    on_route[route.lanes] = True
    signal_of = np.full(len(road.lane_id), -1, np.int64)
    signal_of[brief.signal_lane] = np.arange(len(brief.signal_lane))
    begins = [road.lane_centreline[int(lane)][0, :2] for lane in brief.signal_lane]
    return RouteTable(
        line=line,
        poses=poses,
        ground=ground,
        limit=limit,
        signal_at=_entries(line, on_route[brief.signal_lane], begins),
        pieces=pieces,
        piece_on_route=on_route[pieces.lane],
        piece_signal=signal_of[pieces.lane],
        car=np.array(
            [vehicle.rear_axle_to_centre, 0.5 * vehicle.length, 0.5 * vehicle.width,
             vehicle.wheelbase]
        ),
    )  # fmt: skip


def _entries(
    line: Polyline, on_route: NDArray[np.bool_], begins: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Arc of the points that lie within 3 m of the line, -1 for others and those not on it."""
    at = np.full(len(begins), -1.0)
    for k, point in enumerate(begins):
        gap = np.hypot(*(line.points - point).T)
        if on_route[k] and gap.min() < 3.0:
            at[k] = line.arc[gap.argmin()]
    return at


def _lane_pieces(road: RoadMap) -> LanePieces:
    """The pieces of a map, made once; the 64 maps used last are kept."""
    found = _pieces.get(road.hash)
    if found is None:
        points, lanes = [np.zeros((0, _POINTS, 2))], []
        for lane, line in enumerate(road.lane_centreline):
            if road.lane_kind[lane] == LaneKind.BIKE:
                continue
            arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])
            count = max(1, int(np.ceil(arc[-1] / _PIECE)))
            at = arc[-1] * (np.arange(count)[:, None] + np.linspace(0, 1, _POINTS)) / count
            points.append(np.stack([np.interp(at, arc, line[:, k]) for k in (0, 1)], axis=-1))
            lanes += [lane] * count
        lane_of = np.array(lanes, np.int64)
        connector = road.lane_kind[lane_of] == LaneKind.CONNECTOR
        found = _pieces[road.hash] = LanePieces(np.concatenate(points), lane_of, connector)
        if len(_pieces) > _KEPT:
            _pieces.popitem(last=False)
    else:
        _pieces.move_to_end(road.hash)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _survey(
    index: PolygonIndex,
    use: NDArray[np.uint8],
    on_route: NDArray[np.uint8],
    speed: NDArray[np.float64],
    line: Polyline,
    poses: NDArray[np.float64],
    sides: NDArray[np.float64],
    ground: NDArray[np.uint8],
    limit: NDArray[np.float64],
) -> None:
    """Fill `ground` and `limit`. A point is drivable in any polygon but a crosswalk."""
    inside = np.empty(use.shape[0], np.bool_)
    for g in range(ground.shape[0]):
        s = min(g * CELL, line.arc[-1])
        k = min(max(np.searchsorted(line.arc, s, side="right") - 1, 0), len(line.arc) - 2)
        length = line.arc[k + 1] - line.arc[k]
        f = (s - line.arc[k]) / length if length > 0.0 else 0.0
        x = poses[k, 0] + f * (poses[k + 1, 0] - poses[k, 0])
        y = poses[k, 1] + f * (poses[k + 1, 1] - poses[k, 1])
        cos, sin = np.cos(poses[k, 2]), np.sin(poses[k, 2])
        for side in range(len(sides)):
            polygons_at(index, x - sides[side] * sin, y + sides[side] * cos, inside)
            for p in range(len(use)):
                if inside[p]:
                    ground[g, side] |= DRIVABLE
                    if on_route[p]:
                        ground[g, side] |= ON_ROUTE
                        if sides[side] == 0.0 and speed[p] > 0.0:
                            limit[g] = speed[p]
