"""PDM-Closed on a road map: what depends on map and route alone is packed once per route.

The reference of `roadworthy_metrics.plans` and the planner `pdm-closed` both come from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import simulate_references
from roadworthy.scenario import AgentKind, RoadMap, Route, SignalState, StateIndex
from roadworthy.vehicle import Vehicle

from .maps import lane_polygons, map_areas, route_mask
from .pdm.reference import Rails, Reference, forecast, judge, propose, rails
from .pdm.route import LaneGraph, start_lane
from .pdm.scene import Agents, Lights, MapAreas, pack_lights

__all__ = ["Guide", "guide", "guided_plan", "packed_lights"]

Rejoin = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Guide:
    """A route, ready for PDM-Closed. Build with `guide`.

    Attributes:
        areas: the map's polygons.
        on_route: bool [K], which of them are lanes of the route.
        along: its centreline, and the paths of the proposals.
        graph: the lanes.
        signals: int64 [G'], rows of the signals that govern a lane of the route.
        lights: their lanes, not red, at one frame.
    """

    areas: MapAreas
    on_route: NDArray[np.bool_]
    along: Rails
    graph: LaneGraph
    signals: NDArray[np.int64]
    lights: Lights


def packed_lights(
    road: RoadMap, route: Route, signal_lane: NDArray[np.int64], red: NDArray[np.bool_]
) -> Lights:
    """The lanes on the route with a signal.

    Args:
        road, route: the map and the route.
        signal_lane: int64 [G], the lane that each signal governs.
        red: bool [G, F], which are red at each frame.
    """
    held = np.flatnonzero(np.isin(signal_lane, route.lanes))
    rings = [road.lane_polygon[int(signal_lane[k])] for k in held]
    vertices = np.concatenate([np.zeros((0, 2)), *rings])
    return pack_lights(red[held], vertices, np.cumsum([0, *(len(ring) for ring in rings)]))


@lru_cache(maxsize=64)
def _lane_rows(
    road: RoadMap,
) -> tuple[tuple[NDArray[np.float64], ...], tuple[tuple[int, ...], ...], NDArray[np.int64]]:
    """Centrelines, successors and polygons of a map's lanes, made once per map."""
    successors = tuple(tuple(row.tolist()) for row in road.lane_successors)
    return tuple(road.lane_centreline), successors, lane_polygons(road)


def guide(road: RoadMap, route: Route, signal_lane: NDArray[np.int64]) -> Guide:
    """Pack a route.

    Args:
        road, route: the map and the route, world frame.
        signal_lane: int64 [G], the lane that each signal governs.
    """
    on_route = np.zeros(len(road.lane_id), bool)
    on_route[route.lanes] = True
    baselines, successors, polygon = _lane_rows(road)
    graph = LaneGraph(
        baselines=baselines,
        speed_limit=road.lane_speed_limit,
        successors=successors,
        roadblock=road.lane_id,
        polygon=polygon,
        on_route=on_route,
    )
    return Guide(
        areas=map_areas(road),
        on_route=route_mask(road, route),
        along=rails(route.centreline[:, :3]),
        graph=graph,
        signals=np.flatnonzero(np.isin(signal_lane, route.lanes)),
        lights=packed_lights(road, route, signal_lane, np.zeros((len(signal_lane), 1), bool)),
    )


def _speed_limit(route: Guide, ego: NDArray[np.float64], vehicle: Vehicle) -> float:
    """Of the lane that the ego starts from [m/s], NaN where no lane of the route has one."""
    if not (route.graph.on_route & (route.graph.polygon >= 0)).any():
        return float("nan")
    limit = float(route.graph.speed_limit[start_lane(route.graph, route.areas, ego, vehicle)])
    return limit if limit > 0.0 else float("nan")


def _outlook(
    route: Guide,
    ego: NDArray[np.float64],
    state: NDArray[np.float64],
    size: NDArray[np.float64],
    kind: NDArray[np.int8],
    signal_state: NDArray[np.int8],
    vehicle: Vehicle,
) -> tuple[Agents, Lights]:
    """The agents at constant velocity, and the lights as they are now."""
    group = np.minimum(kind, AgentKind.TRAFFIC_CONE).astype(np.int64)
    pose, velocity = state[:, : StateIndex.VX], state[:, StateIndex.VX :]
    agents, _ = forecast(ego, pose, velocity, size, group, vehicle)
    red = (signal_state[route.signals] == SignalState.RED).astype(np.uint8)[None]
    return agents, route.lights._replace(red=red)


def guided_plan(
    route: Guide,
    ego: NDArray[np.float64],
    state: NDArray[np.float64],
    size: NDArray[np.float64],
    kind: NDArray[np.int8],
    signal_state: NDArray[np.int8],
    vehicle: Vehicle,
    version: int,
    rejoin: Rejoin | None = None,
) -> Reference:
    """Run PDM-Closed at one moment.

    Where no lane of the route can be driven by cars, or the ego's has no speed limit, 15 m/s
    stand for it.

    Args:
        route: from `guide`.
        ego: [11], state now (`EgoIndex`), world frame.
        state: [A, 5], `StateIndex`, of the agents that are there now, world frame.
        size: [A, >=2], length and width [m].
        kind: int8 [A], `AgentKind`.
        signal_state: int8 [G], `SignalState` now; red is held.
        vehicle: the ego.
        version: of the score that chooses among the proposals, 1 or 2.
        rejoin: bends the proposals (float64 [15, 41, 3], world poses) before they are simulated,
            so that they begin where the ego (float64 [11]) is; NAVSIM's reference does not.
    """
    ego = np.array(ego, np.float64)
    agents, lights = _outlook(route, ego, state, size, kind, signal_state, vehicle)
    limit = _speed_limit(route, ego, vehicle)
    proposals, ties = propose(ego, route.along, limit, agents, lights, vehicle)
    if rejoin is not None:
        proposals = rejoin(proposals, ego)
    states = simulate_references(ego, proposals, vehicle)
    return judge(
        proposals, states, route.areas, route.on_route, route.along.centreline, agents, lights,
        vehicle, version, ties,
    )  # fmt: skip
