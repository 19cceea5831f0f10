"""Road building: lanes from reference curves, and the map that they make up.

A curve is a float64 [N, 2] polyline about 1 m fine. Traffic keeps right: the forward lanes
of a road lie to the right of its reference curve, the backward ones to the left.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of, ring_of, union_rings
from roadworthy.routing import path_yaw, resample
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

__all__ = ["LANE_WIDTH", "Road", "RoadBuilder", "arc", "connector", "offset", "straight"]

LANE_WIDTH = 3.5
_SEAM = 0.02

Curve = NDArray[np.float64]


def straight(start: tuple[float, float], yaw: float, length: float) -> Curve:
    """A straight curve from a point [m] along a heading [rad]."""
    s = np.linspace(0.0, length, max(2, int(np.ceil(length)) + 1))
    return np.stack([start[0] + s * np.cos(yaw), start[1] + s * np.sin(yaw)], axis=1)


def arc(start: tuple[float, float], yaw: float, radius: float, length: float) -> Curve:
    """A circular arc; positive radii turn left [m]."""
    s = np.linspace(0.0, length, max(2, int(np.ceil(length)) + 1))
    turn = yaw + s / radius
    return np.stack(
        [
            start[0] + radius * (np.sin(turn) - np.sin(yaw)),
            start[1] - radius * (np.cos(turn) - np.cos(yaw)),
        ],
        axis=1,
    )


def connector(before: Curve, after: Curve) -> Curve:
    """A cubic Bézier curve from the end of one curve to the start of another.

    Its inner control points lie along the tangents, 0.3905 of the way round for a quarter
    circle: the usual fit of a Bézier curve to an arc.
    """
    a, b = before[-1], after[0]
    ta, tb = before[-1] - before[-2], after[1] - after[0]
    ta, tb = ta / np.hypot(*ta), tb / np.hypot(*tb)
    reach = 0.3905 * np.hypot(*(b - a))
    u = np.linspace(0.0, 1.0, max(12, int(np.hypot(*(b - a)) * 1.5)))[:, None]
    points = (
        (1 - u) ** 3 * a
        + 3 * (1 - u) ** 2 * u * (a + reach * ta)
        + 3 * (1 - u) * u**2 * (b - reach * tb)
        + u**3 * b
    )
    return resample(points, 1.0)


def offset(curve: Curve, left: float) -> Curve:
    """The curve moved to its left by some metres, point by point along its normals.

    At its ends an evenly spaced arc is turned as it is within, so that the sections of a road
    meet without a notch.
    """
    step = np.gradient(curve, axis=0, edge_order=2 if len(curve) > 2 else 1)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.hypot(step[:, :1], step[:, 1:])
    return np.asarray(curve + left * normal)


@dataclass(frozen=True)
class Road:
    """Names of one road section's lanes, each tuple from the reference curve outwards."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


@dataclass
class _Lane:
    kind: LaneKind
    curve: Curve
    width: float
    speed: float
    successors: list[str] = field(default_factory=list)
    left: str = ""
    right: str = ""

    def ring(self) -> Curve:
        half = 0.5 * self.width
        return np.concatenate([offset(self.curve, half), offset(self.curve, -half)[::-1]])


class RoadBuilder:
    """Collects lanes, areas and stop lines, then makes the `RoadMap`."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._paved: list[Curve] = []
        self._areas: list[tuple[AreaKind, Curve]] = []
        self._stop_lines: list[str] = []

    def lane(
        self,
        name: str,
        curve: Curve,
        speed: float,
        *,
        width: float = LANE_WIDTH,
        kind: LaneKind = LaneKind.LANE,
    ) -> str:
        """Add a lane along its centreline; returns its name.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._lanes:
            raise ValueError(f"lane {name!r} is there already")
        self._lanes[name] = _Lane(kind, curve, width, speed)
        return name

    def road(self, name: str, curve: Curve, forward: int, backward: int, speed: float) -> Road:
        """Add a road section of parallel lanes, lane changes allowed on either side."""
        names: list[tuple[str, ...]] = []
        for word, count, line in (("f", forward, curve), ("b", backward, curve[::-1])):
            row = tuple(
                self.lane(f"{name}/{word}{k}", offset(line, -(k + 0.5) * LANE_WIDTH), speed)
                for k in range(count)
            )
            for left, right in itertools.pairwise(row):
                self._lanes[left].right, self._lanes[right].left = right, left
            names.append(row)
        return Road(names[0], names[1])

    def join(self, before: str, after: str) -> None:
        """Let one lane lead to another."""
        self._lanes[before].successors.append(after)

    def chain(self, roads: Sequence[Road]) -> None:
        """Join the lanes of road sections laid end to end, both ways."""
        for a, b in itertools.pairwise(roads):
            for before, after in zip(a.forward, b.forward, strict=False):
                self.join(before, after)
            for before, after in zip(b.backward, a.backward, strict=False):
                self.join(before, after)

    def link(self, name: str, before: str, after: str, speed: float) -> str:
        """Add a connector lane between two lanes and join it to both; returns its name."""
        curve = connector(self._lanes[before].curve, self._lanes[after].curve)
        self.lane(name, curve, speed, kind=LaneKind.CONNECTOR)
        self.join(before, name)
        self.join(name, after)
        return name

    def curve(self, name: str) -> Curve:
        """Centreline of a lane."""
        return self._lanes[name].curve

    def stop_line(self, lane: str) -> None:
        """Add a stop line across the end of a lane."""
        self._stop_lines.append(lane)

    def area(self, kind: AreaKind, ring: Curve) -> None:
        """Add an area; car parks are paved (part of the drivable surface) too."""
        self._areas.append((kind, ring))
        if kind == AreaKind.CARPARK:
            self._paved.append(ring)

    def junction(self, lanes: Sequence[str]) -> None:
        """Add the outline of some connectors' union as an intersection, paved."""
        merged = shapely.union_all(
            [polygon_of(self._lanes[n].ring()).buffer(0.05, join_style="mitre") for n in lanes]
        )
        for part in shapely.get_parts(merged):
            ring = ring_of(shapely.Polygon(part.exterior).simplify(0.02))
            self._areas.append((AreaKind.INTERSECTION, ring))
            self._paved.append(ring)

    def build(self) -> RoadMap:
        """The map; its drivable area is the union of all lanes and paved areas."""
        names = tuple(self._lanes)
        index = {name: i for i, name in enumerate(names)}
        lanes = list(self._lanes.values())
        rings = [lane.ring() for lane in lanes]
        drivable = union_rings([*rings, *self._paved], _SEAM)
        areas = [(AreaKind.DRIVABLE, ring) for ring in drivable] + self._areas
        ends = [offset(self._lanes[n].curve, 0.5 * LANE_WIDTH)[-1] for n in self._stop_lines]
        starts = [offset(self._lanes[n].curve, -0.5 * LANE_WIDTH)[-1] for n in self._stop_lines]
        return RoadMap(
            lane_id=names,
            lane_kind=np.array([lane.kind for lane in lanes], np.int8),
            lane_centreline=Ragged.of(
                [np.column_stack([lane.curve, path_yaw(lane.curve)]) for lane in lanes], 3
            ),
            lane_polygon=Ragged.of(rings, 2),
            lane_speed_limit=np.array([lane.speed for lane in lanes]),
            lane_successors=Ragged.of(
                [[index[s] for s in lane.successors] for lane in lanes], None, np.int64
            ),
            lane_left=np.array([index.get(lane.left, -1) for lane in lanes], np.int64),
            lane_right=np.array([index.get(lane.right, -1) for lane in lanes], np.int64),
            area_kind=np.array([kind for kind, _ in areas], np.int8),
            area_polygon=Ragged.of([ring for _, ring in areas], 2),
            stop_line=np.array(list(zip(starts, ends, strict=True))).reshape(-1, 2, 2),
            stop_line_lane=np.array([index[n] for n in self._stop_lines], np.int64),
        )
