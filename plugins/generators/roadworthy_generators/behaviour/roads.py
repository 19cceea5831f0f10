"""Ways through a map: lanes joined to paths, places where they cross a drive, and the kerb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of
from roadworthy.scenario import LaneKind, RoadMap
from roadworthy.solvability.search import road_rings

__all__ = ["Crossing", "Path", "Roads", "roads_of"]

Array = NDArray[np.float64]

_MAPS_KEPT = 16
_ON_PATH_M = 1.2
_SPACING = 1.0
_roads: dict[str, Roads] = {}


@dataclass(frozen=True, eq=False)
class Path:
    """A line to drive along: points [N, 3] x, y, unwrapped yaw; arc [N] from its start [m]."""

    points: Array
    arc: Array

    @classmethod
    def of(cls, xy: Array) -> Path:
        """Through points [N, 2], resampled every metre."""
        hop = np.hypot(*np.diff(xy, axis=0).T)
        keep = np.concatenate([[True], hop > 1e-3])
        xy = xy[keep]
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
        fine = np.linspace(0.0, arc[-1], max(2, int(np.ceil(arc[-1] / _SPACING)) + 1))
        x, y = np.interp(fine, arc, xy[:, 0]), np.interp(fine, arc, xy[:, 1])
        hop = np.stack([np.gradient(x), np.gradient(y)], -1)
        yaw = np.unwrap(np.arctan2(hop[:, 1], hop[:, 0]))
        return cls(np.stack([x, y, yaw], -1), fine)

    @property
    def length(self) -> float:
        return float(self.arc[-1])

    def at(self, station: Array, left: Array | float = 0.0) -> Array:
        """Poses [..., 3] at stations, `left` of the line; straight on beyond its ends."""
        inside = np.clip(station, 0.0, self.arc[-1])
        pose = np.stack([np.interp(inside, self.arc, self.points[:, k]) for k in range(3)], -1)
        beyond = station - inside
        cos, sin = np.cos(pose[..., 2]), np.sin(pose[..., 2])
        pose[..., 0] += beyond * cos - left * sin
        pose[..., 1] += beyond * sin + left * cos
        return pose

    def locate(self, xy: Array) -> tuple[Array, Array, Array]:
        """Station, offset to the left and yaw of the line at its nearest points to [N, 2]."""
        gap = xy[:, None] - self.points[None, :, :2]
        k = np.argmin((gap**2).sum(-1), axis=1)
        yaw = self.points[k, 2]
        gap = xy - self.points[k, :2]
        cos, sin = np.cos(yaw), np.sin(yaw)
        return (
            self.arc[k] + gap[:, 0] * cos + gap[:, 1] * sin,
            gap[:, 1] * cos - gap[:, 0] * sin,
            yaw,
        )

    def bend(self) -> Array:
        """Curvature [N], over 4 m to either side."""
        k = np.abs(np.gradient(self.points[:, 2], self.arc))
        return np.convolve(np.pad(k, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")


@dataclass(frozen=True, slots=True)
class Crossing:
    """A lane that crosses a drive: which, at which of its points, at which step of the drive, and
    under which angle [rad]."""

    lane: int
    point: int
    step: int
    angle: float


@dataclass(frozen=True, eq=False)
class Roads:
    """A map as paths.

    Attributes:
        map: the map.
        before: L rows of lanes that lead to each.
        lane_of: int64 [N], the lane of each point of all centrelines.
        ground: where one may drive.
        edge: its boundary.
    """

    map: RoadMap
    before: list[list[int]]
    lane_of: NDArray[np.int64]
    ground: shapely.Geometry
    edge: shapely.Geometry

    def on_road(self, xy: Array) -> NDArray[np.bool_]:
        """Whether points [..., 2] are on the road."""
        return np.asarray(shapely.contains_xy(self.ground, xy[..., 0], xy[..., 1]))

    def way(self, lane: int, back: float, ahead: float, pick: Callable[[int], int]) -> Path:
        """A path through a lane, reaching so far [m] before its start and beyond its end; `pick(n)`
        chooses at forks."""
        chain, gone = [lane], 0.0
        while gone < back and (options := self.before[chain[0]]):
            chain.insert(0, options[pick(len(options))])
            gone += self._length(chain[0])
            if len(chain) > 12:
                break
        gone = 0.0
        while gone < ahead and len(chain) < 24:
            options = [int(k) for k in self.map.lane_successors[chain[-1]]]
            if not options:
                break
            chain.append(options[pick(len(options))])
            gone += self._length(chain[-1])
        return Path.of(np.concatenate([self.map.lane_centreline[k][:, :2] for k in chain]))

    def _length(self, lane: int) -> float:
        return float(np.hypot(*np.diff(self.map.lane_centreline[lane][:, :2], axis=0).T).sum())

    def crossings(self, drive: Array) -> list[Crossing]:
        """Where lanes for cars cross a drive [N, 3+], in the order of lanes."""
        points = self.map.lane_centreline.values
        low, high = drive[:, :2].min(0) - 2.0, drive[:, :2].max(0) + 2.0
        here = np.flatnonzero(((points[:, :2] > low) & (points[:, :2] < high)).all(1))
        here = here[self.map.lane_kind[self.lane_of[here]] != LaneKind.BIKE]
        if not len(here):
            return []
        gap = points[here, None, :2] - drive[None, :, :2]
        far = (gap**2).sum(-1)
        step = far.argmin(1)
        near = far[np.arange(len(here)), step]
        turn = np.angle(np.exp(1j * (points[here, 2] - drive[step, 2])))
        found = []
        lanes = self.lane_of[here]
        for lane in np.unique(lanes):
            rows = np.flatnonzero(lanes == lane)
            k = rows[near[rows].argmin()]
            if near[k] < _ON_PATH_M**2 * 2 and 0.6 < abs(turn[k]) < 2.6:
                at = int(here[k] - self.map.lane_centreline.offsets[lane])
                found.append(Crossing(int(lane), at, int(step[k]), float(turn[k])))
        return found

    def kerb(self, pose: Array, side: float, most: float = 14.0) -> float:
        """How far it is from a pose to the edge of the road, to the left (1) or right (-1)."""
        at = np.arange(0.25, most, 0.25)
        x = pose[0] - side * at * np.sin(pose[2])
        y = pose[1] + side * at * np.cos(pose[2])
        off = ~self.on_road(np.stack([x, y], -1))
        return float(at[off.argmax()]) if off.any() else most

    def depth(self, centre: Array, reach: float, cell: float) -> tuple[NDArray[np.float32], Array]:
        """How far inside the road the points of a grid are [m], negative outside; its origin."""
        count = int(2 * reach / cell) + 1
        origin = centre - reach
        x = origin[0] + cell * np.arange(count)
        y = origin[1] + cell * np.arange(count)
        gx, gy = np.meshgrid(x, y)
        points = shapely.points(gx.ravel(), gy.ravel())
        far = shapely.distance(self.edge, points)
        inside = shapely.contains_xy(self.ground, gx.ravel(), gy.ravel())
        return np.where(inside, far, -far).reshape(count, count).astype(np.float32), origin


def roads_of(road_map: RoadMap) -> Roads:
    """A map as paths; the last few are kept."""
    found = _roads.pop(road_map.hash, None)
    if found is None:
        before: list[list[int]] = [[] for _ in road_map.lane_id]
        for lane, after in enumerate(road_map.lane_successors):
            for k in after:
                before[int(k)].append(lane)
        ground = shapely.union_all([polygon_of(ring).buffer(0.01) for ring in road_rings(road_map)])
        shapely.prepare(ground)
        edge = shapely.boundary(ground)
        shapely.prepare(edge)
        counts = np.diff(road_map.lane_centreline.offsets)
        found = Roads(road_map, before, np.repeat(np.arange(len(counts)), counts), ground, edge)
    _roads[road_map.hash] = found
    while len(_roads) > _MAPS_KEPT:
        _roads.pop(next(iter(_roads)))
    return found
