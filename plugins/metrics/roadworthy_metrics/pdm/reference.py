"""PDM-Closed (Dauner et al., CoRL 2023), the planner that ego progress is measured against.

Fifteen proposals (three lateral offsets, five target speeds) are driven along the route's
centreline by the intelligent driver model among constant-velocity objects, simulated, and scored
with the PDM Score itself; the best one is the reference (specification, section 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import simulate_references
from roadworthy.geometry.boxes import box_corners
from roadworthy.geometry.polylines import Polyline, build_polyline
from roadworthy.vehicle import Vehicle

from .collision import overlapping
from .evaluate import evaluate
from .idm import blocking_lights, drive_paths
from .scene import Agents, Lights, MapAreas, Scene, pack_lights, pack_scene
from .totals import epdms, multiplier, pdms, progress_in_batch

__all__ = [
    "LATERAL_OFFSETS",
    "SPEED_FRACTIONS",
    "Rails",
    "Reference",
    "forecast",
    "judge",
    "pdm_closed",
    "propose",
    "rails",
]

LATERAL_OFFSETS = (0.0, -1.0, 1.0)
"""Of the proposals' paths, to the left of the centreline [m]."""
SPEED_FRACTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Target speeds in parts of the speed limit."""
DEFAULT_SPEED_LIMIT = 15.0
"""Where the map has none [m/s]."""

_STEPS = 41
_FRAMES = 51
_FRAME_STRIDE = 2
_RADIUS = 100.0
_CAPS = {"vehicle": 50, "pedestrian": 25, "bicycle": 10, "static": 50}
_GROUPS = ("vehicle", "pedestrian", "bicycle", "static")
_MOST = np.array(list(_CAPS.values()))
_ELAPSED = 0.1 * (np.arange(_FRAMES) // _FRAME_STRIDE * _FRAME_STRIDE)[:, None]
_LON, _LAT = np.array([1.0, -1.0, -1.0, 1.0]), np.array([1.0, 1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class Reference:
    """What PDM-Closed considered and chose.

    Attributes:
        proposals: float64 [15, 41, 3], world poses at 10 Hz before simulation; index =
            5 * lateral + speed.
        scores: float64 [15], internal scores.
        best: index of the first highest score.
        ties: number of looks for a leader at which several objects were at distance 0.
    """

    proposals: NDArray[np.float64]
    scores: NDArray[np.float64]
    best: int
    ties: int

    @property
    def poses(self) -> NDArray[np.float64]:
        """float64 [41, 3], the chosen proposal."""
        chosen: NDArray[np.float64] = self.proposals[self.best]
        return chosen


@dataclass(frozen=True, slots=True)
class Rails:
    """What proposals run along. Build with `rails`, once per route.

    Attributes:
        centreline: of the route.
        paths: per lateral offset a path, and its points with unwrapped headings, float64 [C, 3].
    """

    centreline: Polyline
    paths: tuple[tuple[Polyline, NDArray[np.float64]], ...]


def rails(centreline: NDArray[np.float64]) -> Rails:
    """The paths beside a route's centreline [C, 3]: x, y and unwrapped heading, world frame."""
    paths = []
    for offset in LATERAL_OFFSETS:
        path = np.array(np.asarray(centreline, np.float64)[:, :3], order="C")
        path[:, 0] -= offset * np.sin(path[:, 2])
        path[:, 1] += offset * np.cos(path[:, 2])
        paths.append((build_polyline(path), path))
    return Rails(build_polyline(np.asarray(centreline, np.float64)), tuple(paths))


def _ego_box(
    ego: NDArray[np.float64], vehicle: Vehicle
) -> tuple[float, float, float, float, float, float]:
    c, s = math.cos(ego[2]), math.sin(ego[2])
    shift = vehicle.rear_axle_to_centre
    x, y = ego[0] + shift * c, ego[1] + shift * s
    return x, y, c, s, 0.5 * vehicle.length, 0.5 * vehicle.width


def forecast(
    ego: NDArray[np.float64],
    pose: NDArray[np.float64],
    velocity: NDArray[np.float64],
    size: NDArray[np.float64],
    group: NDArray[np.int64],
    vehicle: Vehicle,
) -> tuple[Agents, NDArray[np.int64]]:
    """Objects over the next five seconds, each at constant velocity along its heading.

    Args:
        ego: [11], state now.
        pose: [A, 3], box centre and yaw of what is there now, world frame.
        velocity: [A, 2], world frame [m/s].
        size: [A, >=2], length and width [m].
        group: [A]: 0 vehicle, 1 pedestrian, 2 bicycle, 3 static object.
        vehicle: the ego.

    Returns:
        51 frames at 10 Hz (odd ones repeat the one before) of the objects within 100 m, the
        nearest 50 vehicles, 25 pedestrians, 10 bicycles and 50 static objects, without those
        that overlap the ego now; and their rows in the input, ascending.
    """
    pose, velocity, group = np.asarray(pose), np.asarray(velocity), np.asarray(group)
    if not (np.isfinite(pose).all() and np.isfinite(velocity).all()):
        raise ValueError("objects: poses and velocities must be finite")
    box = _ego_box(ego, vehicle)
    distance = np.hypot(pose[:, 0] - box[0], pose[:, 1] - box[1])
    kept = np.flatnonzero(distance <= _RADIUS)
    many = len(kept) > min(_CAPS.values())
    if many and (np.bincount(group[kept], minlength=len(_GROUPS)) > _MOST).any():
        rows: list[int] = []
        for code, name in enumerate(_GROUPS):
            near = kept[group[kept] == code]
            rows.extend(near[np.argsort(distance[near], kind="stable")][: _CAPS[name]])
        kept = np.sort(np.array(rows, np.int64))
    half = 0.5 * np.asarray(size, np.float64)[:, :2]
    now = np.ascontiguousarray(pose[kept].T)
    hit = np.zeros(len(kept), bool)
    boxes = Agents(
        now[:1], now[1:2], now[2:], np.zeros_like(now[:1]), half[kept, 0].copy(),
        half[kept, 1].copy(), np.zeros(len(kept)), np.zeros(len(kept), np.uint8),
    )  # fmt: skip
    overlapping(boxes, 0, *box, hit)
    kept = kept[~hit]
    pose, velocity, half, static = pose[kept], velocity[kept], half[kept], group[kept] == 3
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    backward = velocity[:, 0] * cos + velocity[:, 1] * sin < 0.0
    moves = np.hypot(velocity[:, 0], velocity[:, 1])
    speed = np.where(backward, -moves, moves)
    speed[static] = 0.0
    driven = speed * _ELAPSED
    shape = driven.shape
    frames = (
        pose[:, 0] + driven * cos,
        pose[:, 1] + driven * sin,
        np.ascontiguousarray(np.broadcast_to(pose[:, 2], shape)),
        np.ascontiguousarray(np.broadcast_to(moves, shape)),
    )
    return Agents(
        *frames, half[:, 0].copy(), half[:, 1].copy(), np.hypot(half[:, 0], half[:, 1]),
        static.astype(np.uint8),
    ), kept  # fmt: skip


@lru_cache(maxsize=1024)
def _centroid(vertices: bytes) -> NDArray[np.float64]:
    """Area centroid of an open ring, float64 [N, 2] as bytes; red lights ask for few of them
    often."""
    ring = np.frombuffer(vertices).reshape(-1, 2)
    origin = ring[0]
    a = ring - origin
    b = np.roll(a, -1, axis=0)
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = cross.sum()
    if area == 0.0:
        mean: NDArray[np.float64] = ring.mean(axis=0)
        return mean
    centroid: NDArray[np.float64] = origin + ((a + b) * cross[:, None]).sum(axis=0) / (3.0 * area)
    return centroid


def propose(
    ego: NDArray[np.float64],
    along: Rails,
    speed_limit: float,
    agents: Agents,
    lights: Lights,
    vehicle: Vehicle,
) -> tuple[NDArray[np.float64], int]:
    """The fifteen proposals.

    Args:
        ego: [11], state now.
        along: from `rails`.
        speed_limit: of the start lane [m/s]; NaN stands for 15 m/s.
        agents: from `forecast`.
        lights: connectors on the route; only their state at frame 0 matters.
        vehicle: the ego.

    Returns:
        Poses float64 [15, 41, 3] and the number of looks for a leader at which several objects
        were at distance 0. Which of them leads is decided as in NAVSIM, by the order of a GEOS
        STR-tree; another GEOS could order them otherwise.
    """
    ego = np.require(ego, np.float64, ["C", "W"])
    limit = DEFAULT_SPEED_LIMIT if np.isnan(speed_limit) else float(speed_limit)
    targets = limit * np.array(SPEED_FRACTIONS)
    corners = np.empty((4, 2))
    box_corners(*_ego_box(ego, vehicle), corners)
    blocking = np.zeros(lights.red.shape[1], bool)
    blocking_lights(lights, corners, blocking)
    rings = [lights.vertices[a:b] for a, b in zip(lights.offsets, lights.offsets[1:], strict=False)]
    centroids = np.zeros((len(rings), 2))
    for red in np.flatnonzero(blocking):
        centroids[red] = _centroid(rings[red].tobytes())
    out = np.empty((len(LATERAL_OFFSETS), len(SPEED_FRACTIONS), _STEPS, 3))
    count = len(agents.radius) + len(rings)
    rank = np.ascontiguousarray(np.broadcast_to(np.arange(count, dtype=np.int64), (_STEPS, count)))
    found = 0
    for attempt in range(2):
        ties = np.zeros(1, np.int64)
        drive_paths(
            along.paths, ego, targets, agents, rank, lights, blocking, centroids,
            vehicle.as_array(), out, ties,
        )  # fmt: skip
        found = max(found, int(ties[0]))
        if found == 0 or attempt:
            break
        rank = _tree_order(agents, rings, blocking)
    return out.reshape(-1, _STEPS, 3), found


def _tree_order(
    agents: Agents, rings: list[NDArray[np.float64]], blocking: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Per step the order in which a GEOS STR-tree of the objects lists them: int64 [T, A + L].

    NAVSIM takes the first of several objects at distance 0 in this order.
    """
    count = len(agents.radius)
    rank = np.full((_STEPS, count + len(rings)), count + len(rings), np.int64)
    red = np.flatnonzero(blocking)
    ids = np.concatenate([np.arange(count), count + red])
    polygons = np.array([shapely.Polygon(rings[k]) for k in red], object)
    x, y, yaw = (a[:_STEPS, :, None] for a in (agents.x, agents.y, agents.yaw))
    c, s = np.cos(yaw), np.sin(yaw)
    u, v = agents.half_length[:, None] * _LON, agents.half_width[:, None] * _LAT
    corners = np.stack([x + u * c - v * s, y + u * s + v * c], axis=-1)
    moved = np.concatenate([[True], (corners[1:] != corners[:-1]).any(axis=(1, 2, 3))])
    boxes = shapely.polygons(corners[moved])
    everything = shapely.box(*shapely.total_bounds(np.concatenate([boxes.ravel(), polygons])))
    shown = np.cumsum(moved) - 1
    for t in range(_STEPS):
        if moved[t]:
            tree = shapely.STRtree(np.concatenate([boxes[shown[t]], polygons]))
            rank[t, ids[tree.query(everything)]] = np.arange(len(ids))
        else:
            rank[t] = rank[t - 1]
    return rank


def judge(
    proposals: NDArray[np.float64],
    states: NDArray[np.float64],
    areas: MapAreas,
    on_route: NDArray[np.bool_],
    centreline: Polyline,
    agents: Agents,
    lights: Lights,
    vehicle: Vehicle,
    version: int,
    ties: int = 0,
) -> Reference:
    """Score simulated proposals together and choose.

    Args:
        proposals: [P, 41, 3], world poses.
        states: [P, 41, 11], the proposals simulated.
        areas, on_route, centreline, agents, lights, vehicle: as for `pdm_closed`.
        version: of the score, 1 or 2.
        ties: to be reported.
    """
    if version == 2:
        agents = _first_frames(agents, _STEPS)
        held = np.repeat(lights.red[:1], _FRAMES, axis=0).T.astype(bool)
        lights = pack_lights(held, lights.vertices, lights.offsets)
    near = _near(agents, states, vehicle)
    scene: Scene = pack_scene(areas, on_route, centreline, near, lights)
    found = evaluate(scene, states, vehicle, version)
    ep = progress_in_batch(found.progress, multiplier(found.value, version), version)
    scores = (pdms if version == 1 else epdms)(found.value, ep)
    return Reference(proposals, scores, int(np.argmax(scores)), ties)


def pdm_closed(
    ego: NDArray[np.float64],
    areas: MapAreas,
    on_route: NDArray[np.bool_],
    centreline: NDArray[np.float64],
    speed_limit: float,
    agents: Agents,
    lights: Lights,
    vehicle: Vehicle,
    versions: Sequence[int] = (2,),
) -> dict[int, Reference]:
    """Run PDM-Closed once.

    Args:
        ego: [11], state now.
        areas, on_route: the map and which of its lanes are on the route, as for scoring.
        centreline: [C, 3], x, y and unwrapped heading, world frame.
        speed_limit: of the start lane [m/s]; NaN stands for 15 m/s.
        agents: from `forecast`.
        lights: connectors on the route; their state at frame 0 is held.
        vehicle: the ego.
        versions: score versions to choose by, 1 or 2.

    Returns:
        Per version what was chosen; the proposals are the same.
    """
    along = rails(centreline)
    proposals, ties = propose(ego, along, speed_limit, agents, lights, vehicle)
    states = simulate_references(ego, proposals, vehicle)
    line = along.centreline
    return {
        version: judge(
            proposals, states, areas, on_route, line, agents, lights, vehicle, version, ties
        )
        for version in versions
    }


def _first_frames(agents: Agents, count: int) -> Agents:
    return agents._replace(
        x=agents.x[:count], y=agents.y[:count], yaw=agents.yaw[:count], speed=agents.speed[:count]
    )


def _near(agents: Agents, states: NDArray[np.float64], vehicle: Vehicle) -> Agents:
    """The objects, each at constant velocity, that could meet any of some trajectories [P, T, 11]
    or their boxes moved on by a second: what is left out changes no term."""
    reach = vehicle.length + vehicle.width + 1.1 * float(np.abs(states[..., 3:5]).max())
    low = states[..., :2].min(axis=(0, 1)) - reach
    high = states[..., :2].max(axis=(0, 1)) + reach
    r, x, y = agents.radius, (agents.x[0], agents.x[-1]), (agents.y[0], agents.y[-1])
    x_low, x_high = np.minimum(*x), np.maximum(*x)
    y_low, y_high = np.minimum(*y), np.maximum(*y)
    kept = np.flatnonzero(
        (x_low - r <= high[0]) & (x_high + r >= low[0])
        & (y_low - r <= high[1]) & (y_high + r >= low[1])
    )  # fmt: skip
    frames = (np.take(a, kept, axis=1) for a in agents[:4])
    return Agents(*frames, *(a[kept] for a in agents[4:]))
