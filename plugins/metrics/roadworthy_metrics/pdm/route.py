"""The lane that PDM-Closed starts from, and the centreline it follows (section 8)."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.geometry.boxes import ring_distance_to_box
from roadworthy.geometry.polygons import polygons_at
from roadworthy.vehicle import Vehicle

from .scene import MapAreas

__all__ = ["LaneGraph", "route_centreline", "start_lane"]


@dataclass(frozen=True, slots=True)
class LaneGraph:
    """Lanes and connectors as a graph.

    Attributes:
        baselines: per lane float64 [N, 3], x, y and heading along it, world frame.
        speed_limit: float64 [L], NaN where there is none [m/s].
        successors: per lane the lanes that follow it.
        roadblock: per lane its roadblock (any label).
        polygon: int64 [L], its polygon in the map, -1 where the map has none.
        on_route: bool [L].
    """

    baselines: tuple[NDArray[np.float64], ...]
    speed_limit: NDArray[np.float64]
    successors: tuple[tuple[int, ...], ...]
    roadblock: tuple[str, ...]
    polygon: NDArray[np.int64]
    on_route: NDArray[np.bool_]


def start_lane(
    graph: LaneGraph, areas: MapAreas, ego: NDArray[np.float64], vehicle: Vehicle
) -> int:
    """The lane on the route that the ego is on.

    Of the route's lanes that hold the rear axle, the one whose nearest baseline sample has the
    smallest heading error; else the one that holds the box centre, else the nearest to the box.

    Raises:
        ValueError: no lane of the route has a polygon in the map.
    """
    lanes = np.flatnonzero(graph.on_route & (graph.polygon >= 0))
    if len(lanes) == 0:
        raise ValueError("no lane of the route has a polygon in the map")
    here = np.zeros(len(areas.use), bool)
    polygons_at(areas.index, ego[0], ego[1], here)
    held = lanes[here[graph.polygon[lanes]]]
    if len(held):
        errors = []
        for lane in held:
            base = graph.baselines[lane]
            near = np.argmin(np.hypot(base[:, 0] - ego[0], base[:, 1] - ego[1]))
            turn = float(base[near, 2] - ego[2])
            errors.append(abs(math.atan2(math.sin(turn), math.cos(turn))))
        return int(held[int(np.argmin(errors))])
    c, s = math.cos(ego[2]), math.sin(ego[2])
    x = ego[0] + vehicle.rear_axle_to_centre * c
    y = ego[1] + vehicle.rear_axle_to_centre * s
    polygons_at(areas.index, x, y, here)
    held = lanes[here[graph.polygon[lanes]]]
    if len(held):
        return int(held[0])
    box = np.array([x, y, c, s, 0.5 * vehicle.length, 0.5 * vehicle.width])
    start = areas.index.offsets
    gaps = [
        ring_distance_to_box(box, areas.index.vertices[start[p] : start[p + 1]])
        for p in graph.polygon[lanes]
    ]
    return int(lanes[int(np.argmin(gaps))])


def _length(baseline: NDArray[np.float64]) -> float:
    return float(np.hypot(*np.diff(baseline[:, :2], axis=0).T).sum())


def route_centreline(graph: LaneGraph, start: int, goal: str) -> NDArray[np.float64]:
    """Baselines of the shortest chain of route lanes from a lane to a roadblock.

    Dijkstra's algorithm with lane lengths as costs. Where the goal is out of reach, the chain to
    the farthest lane that was reached.

    Args:
        graph: the lanes.
        start: first lane.
        goal: the last roadblock of the route.

    Returns:
        float64 [C, 3], x, y and unwrapped heading; joints appear twice.
    """
    cost = {start: _length(graph.baselines[start])}
    parent: dict[int, int] = {}
    done: list[int] = []
    queue = [(cost[start], start)]
    found = -1
    while queue:
        spent, lane = heapq.heappop(queue)
        if lane in done:
            continue
        done.append(lane)
        if graph.roadblock[lane] == goal:
            found = lane
            break
        for after in graph.successors[lane]:
            if not graph.on_route[after] or after in done:
                continue
            total = spent + _length(graph.baselines[after])
            if total < cost.get(after, math.inf):
                cost[after], parent[after] = total, lane
                heapq.heappush(queue, (total, after))
    lane = found if found >= 0 else done[-1]
    chain = [lane]
    while lane in parent:
        lane = parent[lane]
        chain.append(lane)
    points = np.concatenate([graph.baselines[lane] for lane in reversed(chain)])
    points[:, 2] = np.unwrap(points[:, 2])
    return points
