"""What a trajectory is scored against, packed once into arrays that the kernels read."""

from __future__ import annotations

import functools
from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from roadworthy.geometry.polygons import PolygonIndex, build_polygon_index
from roadworthy.geometry.polylines import Polyline, build_polyline

__all__ = [
    "FAR",
    "Agents",
    "Lights",
    "MapAreas",
    "PolygonKind",
    "Scene",
    "Use",
    "pack_agents",
    "pack_lights",
    "pack_map",
    "pack_scene",
]

FAR = 1e18
"""Position of an agent at a step at which it is not there [m]."""


class PolygonKind(IntEnum):
    """Kinds of map polygon (nuPlan's semantic map layers)."""

    LANE = 0
    INTERSECTION = 1
    DRIVABLE_AREA = 5
    LANE_CONNECTOR = 11
    CARPARK_AREA = 15
    ROADBLOCK = 17


class Use(IntFlag):
    """What a polygon counts for in the area flags (specification, section 4)."""

    LANE = 1
    DRIVABLE = 2
    INTERSECTION = 4


_USES = {
    PolygonKind.LANE: Use.LANE,
    PolygonKind.LANE_CONNECTOR: Use.LANE,
    PolygonKind.INTERSECTION: Use.DRIVABLE | Use.INTERSECTION,
    PolygonKind.DRIVABLE_AREA: Use.DRIVABLE,
    PolygonKind.CARPARK_AREA: Use.DRIVABLE,
    PolygonKind.ROADBLOCK: Use.DRIVABLE,
}


class MapAreas(NamedTuple):
    """Map polygons for area flags. Build with `pack_map`, once per map.

    Attributes:
        index: the polygons, indexed.
        use: uint8 [K], `Use` flags of each polygon.
    """

    index: PolygonIndex  # type: ignore[assignment]  # hides tuple.index
    use: NDArray[np.uint8]


class Agents(NamedTuple):
    """Boxes of A objects over F frames at 10 Hz, world frame. Build with `pack_agents`.

    Attributes:
        x, y: float64 [F, A], box centres [m]; x = `FAR` where the object is not there.
        yaw: float64 [F, A] [rad].
        speed: float64 [F, A] [m/s].
        half_length, half_width: float64 [A] [m].
        radius: float64 [A], of the circle around the box [m].
        static: uint8 [A], 1 for cones, barriers and other objects, 0 for road users.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    yaw: NDArray[np.float64]
    speed: NDArray[np.float64]
    half_length: NDArray[np.float64]
    half_width: NDArray[np.float64]
    radius: NDArray[np.float64]
    static: NDArray[np.uint8]


class Lights(NamedTuple):
    """Connectors with traffic lights that the ego can violate. Build with `pack_lights`.

    Attributes:
        red: uint8 [F, L].
        vertices: float64 [V, 2], the connectors' open rings, world frame [m].
        offsets: int64 [L + 1].
        bounds: float64 [L, 4], x low, y low, x high, y high [m].
    """

    red: NDArray[np.uint8]
    vertices: NDArray[np.float64]
    offsets: NDArray[np.int64]
    bounds: NDArray[np.float64]


class Scene(NamedTuple):
    """One scene, ready to score trajectories against. Build with `pack_scene`.

    Attributes:
        areas: the map.
        on_route: uint8 [K], 1 for the lanes and connectors on the ego's route.
        centreline: of the route.
        agents: what is around; its frame 0 is the trajectories' state 0.
        lights: red lights on the route (version 2 only).
    """

    areas: MapAreas
    on_route: NDArray[np.uint8]
    centreline: Polyline
    agents: Agents
    lights: Lights


def pack_map(
    vertices: NDArray[np.float64], offsets: NDArray[np.int64], kinds: NDArray[np.int64]
) -> MapAreas:
    """Pack map polygons.

    Args:
        vertices: [V, 2], open exterior rings one after another, world frame [m].
        offsets: [K + 1].
        kinds: [K], `PolygonKind` values.

    Raises:
        ValueError: an unknown kind, counts that differ, or malformed rings.
    """
    index = build_polygon_index(vertices, offsets)
    kinds = np.asarray(kinds)
    if kinds.shape != (len(offsets) - 1,):
        raise ValueError(f"{len(offsets) - 1} polygons but kinds of shape {kinds.shape}")
    use = np.zeros(len(kinds), np.uint8)
    for value in np.unique(kinds):
        use[kinds == value] = int(_USES[PolygonKind(int(value))])
    return MapAreas(index, use)


def pack_agents(
    pose: NDArray[np.float64],
    velocity: NDArray[np.float64],
    valid: NDArray[np.bool_],
    size: NDArray[np.float64],
    static: NDArray[np.bool_],
) -> Agents:
    """Pack the objects around the ego.

    Args:
        pose: [A, F, 3], box centre x, y and yaw, world frame.
        velocity: [A, F, 2] [m/s], any frame.
        valid: [A, F], whether the object is there; elsewhere the other values may be anything.
        size: [A, >=2], length and width [m].
        static: [A], whether it is a cone, barrier, sign or other object.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite where valid.
    """
    a, f = valid.shape
    if pose.shape != (a, f, 3) or velocity.shape != (a, f, 2):
        raise ValueError(
            f"agents: valid {valid.shape}, pose {pose.shape}, velocity {velocity.shape}"
        )
    if len(size) != a or len(static) != a:
        raise ValueError(f"agents: {a} tracks, {len(size)} sizes, {len(static)} static flags")
    there = np.ascontiguousarray(valid.T, bool)
    pose_t = np.where(there[..., None], pose.transpose(1, 0, 2), (FAR, FAR, 0.0))
    speed = np.where(there, np.hypot(velocity[..., 0], velocity[..., 1]).T, 0.0)
    half = 0.5 * np.asarray(size, np.float64)[:, :2]
    if not (np.isfinite(pose_t).all() and np.isfinite(speed).all() and np.isfinite(half).all()):
        raise ValueError("agents: poses, velocities and sizes must be finite where valid")
    return Agents(
        np.ascontiguousarray(pose_t[..., 0]),
        np.ascontiguousarray(pose_t[..., 1]),
        np.ascontiguousarray(pose_t[..., 2]),
        np.ascontiguousarray(speed),
        np.ascontiguousarray(half[:, 0]),
        np.ascontiguousarray(half[:, 1]),
        np.hypot(half[:, 0], half[:, 1]),
        np.asarray(static, bool).astype(np.uint8),
    )


def pack_lights(
    red: NDArray[np.bool_], vertices: NDArray[np.float64], offsets: NDArray[np.int64]
) -> Lights:
    """Pack the connectors on the route whose lights can be red.

    Args:
        red: [L, F] at 10 Hz.
        vertices: [V, 2], the connectors' open rings, world frame [m].
        offsets: [L + 1].
    """
    vertices = np.require(np.asarray(vertices, np.float64).reshape(-1, 2), None, ["C", "W"])
    offsets = np.require(offsets, np.int64, ["C", "W"])
    count = len(offsets) - 1
    bounds = np.empty((count, 4))
    for k in range(count):
        ring = vertices[offsets[k] : offsets[k + 1]]
        bounds[k] = (*ring.min(axis=0), *ring.max(axis=0))
    return Lights(np.array(np.asarray(red).T, np.uint8, order="C"), vertices, offsets, bounds)


def pack_scene(
    areas: MapAreas,
    on_route: NDArray[np.bool_],
    centreline: NDArray[np.float64] | Polyline,
    agents: Agents,
    lights: Lights | None = None,
) -> Scene:
    """Put a scene together; without lights nothing is ever red.

    Args:
        areas: from `pack_map`, cached per map by the caller.
        on_route: [K], which polygons are lanes or connectors on the route.
        centreline: [N, >=2] points of the route's centreline [m], or the packed polyline.
        agents: from `pack_agents`.
        lights: from `pack_lights`.

    Raises:
        ValueError: a route mask that does not fit the map, or a bad centreline.
    """
    chosen = np.array(on_route, np.uint8)
    if chosen.shape != areas.use.shape:
        raise ValueError(f"on_route has shape {chosen.shape}, the map {areas.use.shape}")
    if not isinstance(centreline, Polyline):
        centreline = build_polyline(centreline)
    if lights is None:
        lights = _no_lights(len(agents.x))
    return Scene(areas, chosen, centreline, agents, lights)


@functools.lru_cache(maxsize=64)
def _no_lights(frames: int) -> Lights:
    nothing = np.zeros((0, frames), bool)
    return pack_lights(nothing, np.zeros((0, 2)), np.zeros(1, np.int64))
