"""Lanes, areas and stop lines of a town, laid along the edges of its plan.

Traffic keeps right. Lanes of a street are numbered from its middle outwards; `f` lanes run from
the edge's node a to its node b, `b` lanes back.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of, rings_of
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.curves import Curve, heading, shifted, turned
from roadworthy_sources.towns.layout import Plan

__all__ = ["GUTTER", "PARKING", "Lane", "Street", "Streets"]

Array = NDArray[np.float64]

PARKING = 2.4
"""Width of a parking strip [m]."""
GUTTER = 0.4
"""How far the surface goes on beyond the lanes, to the kerb [m]."""
_SEAM = 0.02


@dataclass
class Lane:
    """One lane.

    Attributes:
        name: its id in the map.
        kind: what it is.
        curve: its reference curve; the lane's middle lies `left` of it.
        left: [m].
        width: [m].
        limit: [m/s].
        after: names of the lanes that follow.
        beside: names of the neighbours on its left and right, "" for none.
    """

    name: str
    kind: LaneKind
    curve: Curve
    left: float
    width: float
    limit: float
    after: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=lambda: ["", ""])

    def ends(self, which: int) -> tuple[Array, float]:
        """Point [2] and direction [rad] of the middle at its start (0) or end (-1)."""
        xy, yaw = self.curve.xy[which], float(self.curve.yaw[which])
        return xy + self.left * turned(heading(yaw)), yaw

    def middle(self) -> Array:
        """[N, 3] x, y, yaw."""
        return np.column_stack([shifted(self.curve, self.left), self.curve.yaw])

    def ring(self) -> Array:
        """Outline [2 N, 2]."""
        half = 0.5 * self.width
        left, right = shifted(self.curve, self.left + half), shifted(self.curve, self.left - half)
        return np.concatenate([left, right[::-1]])


@dataclass(eq=False)
class Street:
    """The carriageway along one edge.

    Attributes:
        edge: number of the edge.
        curve: its middle, from mouth to mouth, from node a to node b.
        lanes: names, of the way from a to b and of the way back, from the middle outwards.
        half: half its width, parking and lanes of slip roads left out [m].
        parking: whether there is a parking strip beside the way there, and beside the way back.
        crossing: where a crosswalk lies in mid-block, its middle, 0 for nowhere [m].
        crossed: the nodes at whose mouth there is a crosswalk.
    """

    edge: int
    curve: Curve
    lanes: tuple[tuple[str, ...], tuple[str, ...]]
    half: float
    parking: tuple[bool, bool] = (False, False)
    crossing: float = 0.0
    crossed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        step = np.diff(self.curve.xy, axis=0)
        hops = exact.length(step[:, 0], step[:, 1])
        self.arc = np.concatenate([[0.0], np.cumsum(hops)])

    @property
    def length(self) -> float:
        """Of its middle [m]."""
        return float(self.arc[-1])

    def at(self, s: float, left: float) -> tuple[Array, float]:
        """Point [2] and direction [rad] at an arc length, `left` of the middle."""
        yaw = float(np.interp(s, self.arc, self.curve.yaw))
        x = np.interp(s, self.arc, self.curve.xy[:, 0])
        y = np.interp(s, self.arc, self.curve.xy[:, 1])
        return np.array([x, y]) + left * turned(heading(yaw)), yaw

    def line(self, start: float, end: float, left: float) -> Array:
        """Points [N, 2] from one arc length to another, backwards if the second is smaller."""
        between = self.arc[(self.arc > min(start, end) + 0.1) & (self.arc < max(start, end) - 0.1)]
        s = np.concatenate([[start], between if end > start else between[::-1], [end]])
        x = np.interp(s, self.arc, self.curve.xy[:, 0])
        y = np.interp(s, self.arc, self.curve.xy[:, 1])
        across, along = exact.cos_sin(np.interp(s, self.arc, self.curve.yaw))
        return np.column_stack([x - left * along, y + left * across])

    def band(self, start: float, end: float, low: float, high: float) -> Array:
        """Outline [N, 2] of what lies between two arc lengths and two offsets to the left."""
        return np.concatenate([self.line(start, end, low), self.line(end, start, high)])


class Streets:
    """Collects the parts of a town's map.

    Attributes:
        plan: what it is built from.
        lanes: by name, in the order of the map.
        streets: by number of the edge.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lanes: dict[str, Lane] = {}
        self.streets: dict[int, Street] = {}
        self._paved: list[Array] = []
        self._areas: list[tuple[AreaKind, Array]] = []
        self._stops: list[tuple[str, float]] = []

    def lane(
        self, name: str, kind: LaneKind, curve: Curve, left: float, width: float, limit: float
    ) -> str:
        """Add a lane; returns its name."""
        self.lanes[name] = Lane(name, kind, curve, left, width, limit)
        return name

    def street(self, edge: int, curve: Curve) -> Street:
        """Add the lanes of an edge along a curve from its node a to its node b."""
        e, width = self.plan.edges[edge], self.plan.lane_width
        rows = []
        ways = (("f", curve, e.extra[0]), ("b", curve.reversed(), e.extra[1]))
        for word, line, extra in ways:
            row = tuple(
                self.lane(f"e{edge}/{word}{k}", LaneKind.LANE, line, -(k + 0.5) * width, width,
                          e.limit)
                for k in range(e.lanes + extra)
            )  # fmt: skip
            for inner, outer in itertools.pairwise(row):
                self.lanes[inner].beside[1], self.lanes[outer].beside[0] = outer, inner
            rows.append(row)
        street = Street(edge, curve, (rows[0], rows[1]), e.lanes * width)
        self.streets[edge] = street
        low, high = -street.half - e.extra[0] * width, street.half + e.extra[1] * width
        self.pave(street.band(0.0, street.length, low, high))
        return street

    def arriving(self, node: int, edge: int) -> tuple[str, ...]:
        """Lanes of an edge that lead to a node, from the middle of the street outwards."""
        return self.streets[edge].lanes[0 if self.plan.edges[edge].b == node else 1]

    def leaving(self, node: int, edge: int) -> tuple[str, ...]:
        """Lanes of an edge that lead away from a node."""
        return self.streets[edge].lanes[1 if self.plan.edges[edge].b == node else 0]

    def join(self, before: str, after: str) -> None:
        """Let one lane lead to another."""
        self.lanes[before].after.append(after)

    def pave(self, ring: Array) -> None:
        """Add to the drivable surface."""
        self._paved.append(ring)

    def area(self, kind: AreaKind, ring: Array) -> None:
        """Add an area; car parks and intersections are paved too."""
        self._areas.append((kind, ring))
        if kind in (AreaKind.CARPARK, AreaKind.INTERSECTION):
            self.pave(ring)

    def stop_line(self, lane: str, before_end: float) -> None:
        """Add a stop line across a lane, some metres before its end."""
        self._stops.append((lane, before_end))

    def road_map(self) -> RoadMap:
        """The map, its coordinates on the grid of `exact`."""
        names = tuple(self.lanes)
        index = {name: i for i, name in enumerate(names)}
        lanes = list(self.lanes.values())
        areas = [(AreaKind.DRIVABLE, ring) for ring in _surface(self._paved)]
        areas += self._areas
        middles = [lane.middle() for lane in lanes]
        for line in middles:
            line[:, :2] = exact.rounded(line[:, :2])
            line[:, 2] = exact.rounded(line[:, 2], exact.ANGLE_GRID)
        stops = [self._stop(name, back) for name, back in self._stops]
        return RoadMap(
            lane_id=names,
            lane_kind=np.array([lane.kind for lane in lanes], np.int8),
            lane_centreline=Ragged.of(middles, 3),
            lane_polygon=Ragged.of([exact.rounded(lane.ring()) for lane in lanes], 2),
            lane_speed_limit=exact.rounded([lane.limit for lane in lanes]),
            lane_successors=Ragged.of(
                [[index[n] for n in lane.after] for lane in lanes], None, np.int64
            ),
            lane_left=np.array([index.get(lane.beside[0], -1) for lane in lanes], np.int64),
            lane_right=np.array([index.get(lane.beside[1], -1) for lane in lanes], np.int64),
            area_kind=np.array([kind for kind, _ in areas], np.int8),
            area_polygon=Ragged.of([exact.rounded(ring) for _, ring in areas], 2),
            stop_line=exact.rounded(np.array(stops).reshape(-1, 2, 2)),
            stop_line_lane=np.array([index[name] for name, _ in self._stops], np.int64),
        )

    def _stop(self, name: str, back: float) -> Sequence[Array]:
        lane = self.lanes[name]
        xy, yaw = lane.ends(-1)
        across = 0.5 * lane.width * turned(heading(yaw))
        middle = xy - back * heading(yaw)
        return middle - across, middle + across


def _surface(paved: Sequence[Array]) -> list[Array]:
    """Union of rings, and of a gutter along its outer edges, as simple rings with corners on a
    grid of 1 mm; seams are closed."""
    merged = shapely.union_all([polygon_of(ring) for ring in paved])
    wide = merged.buffer(GUTTER + _SEAM, quad_segs=2).buffer(-_SEAM, join_style="mitre")
    return rings_of(shapely.set_precision(wide.simplify(0.01), 1e-3))
