"""Lanes as readers collect them, and the road map made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.rings import polygon_of, ring_of
from roadworthy.routing import path_yaw
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

from roadworthy_sources.reading.lines import distinct, length_of

__all__ = ["LaneDraft", "junction_rings", "put_together"]

_SEAM = 0.15
_LONGEST = 100_000.0
_MIN_JUNCTION = 4.0


@dataclass(eq=False)
class LaneDraft:
    """One lane, still open to change.

    Attributes:
        id: unique name.
        centreline: [N, 2] in driving direction, at least 2 distinct points.
        polygon: [M, 2] ring.
        kind: what lane it is.
        speed_limit: m/s, NaN where unknown.
        successors: names of the lanes that go on from its end; unknown names are left out.
        left, right: names of the lanes beside it into which a change is legal.
    """

    id: str
    centreline: NDArray[np.float64]
    polygon: NDArray[np.float64]
    kind: LaneKind = LaneKind.LANE
    speed_limit: float = float("nan")
    successors: list[str] = field(default_factory=list)
    left: str | None = None
    right: str | None = None


def put_together(
    where: str,
    lanes: Sequence[LaneDraft],
    areas: Sequence[tuple[AreaKind, NDArray[np.float64]]] = (),
    stop_lines: Sequence[tuple[str, NDArray[np.float64]]] = (),
    *,
    notes: list[str],
) -> RoadMap:
    """A road map of drafts.

    Args:
        where: the file, for messages.
        lanes: at least one; names unique.
        areas: kind and ring.
        stop_lines: name of the lane that ends there, and the line's ends [2, 2].
        notes: gets a sentence on the links that lead nowhere.

    Raises:
        DataError: no lane, two of one name, or one longer than 100 km.
    """
    if not lanes:
        raise DataError(f"{where}: has no lane for cars", hint="A scenario needs a map with lanes.")
    index: dict[str, int] = {}
    for i, lane in enumerate(lanes):
        if index.setdefault(lane.id, i) != i:
            raise DataError(f"{where}: two lanes have the id {lane.id!r}", hint="Make ids unique.")
        if length_of(lane.centreline) > _LONGEST:
            raise DataError(
                f"{where}: lane {lane.id!r} is {length_of(lane.centreline):.0f} m long",
                hint="Is a point of it misplaced?",
            )

    def beside(names: list[str | None]) -> NDArray[np.int64]:
        found = [index.get(name, -1) if name is not None else -1 for name in names]
        return np.array([-1 if j == i else j for i, j in enumerate(found)], np.int64)

    held = [(index[name], line) for name, line in stop_lines if name in index]
    links = [name for lane in lanes for name in (*lane.successors, lane.left, lane.right)]
    if loose := sum(name is not None and name not in index for name in links):
        notes.append(f"map: {loose} links to what is no lane of the map left out.")
    return RoadMap(
        lane_id=tuple(index),
        lane_kind=np.array([lane.kind for lane in lanes], np.int8),
        lane_centreline=Ragged.of(
            [np.column_stack([lane.centreline, path_yaw(lane.centreline)]) for lane in lanes], 3
        ),
        lane_polygon=Ragged.of([_open(lane.polygon) for lane in lanes], 2),
        lane_speed_limit=np.array([lane.speed_limit for lane in lanes], np.float64),
        lane_successors=Ragged.of(
            [[index[s] for s in dict.fromkeys(lane.successors) if s in index] for lane in lanes],
            None,
            np.int64,
        ),
        lane_left=beside([lane.left for lane in lanes]),
        lane_right=beside([lane.right for lane in lanes]),
        area_kind=np.array([kind for kind, _ in areas], np.int8),
        area_polygon=Ragged.of([_open(ring) for _, ring in areas], 2),
        stop_line=np.array([line for _, line in held], np.float64).reshape(-1, 2, 2),
        stop_line_lane=np.array([lane for lane, _ in held], np.int64),
    )


def _open(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring without repeated points, the first one at the end included."""
    kept = distinct(ring)
    closed = len(kept) > 1 and np.hypot(*(kept[0] - kept[-1])) < 1e-4
    return kept[:-1] if closed else kept


def junction_rings(lanes: Sequence[LaneDraft]) -> list[NDArray[np.float64]]:
    """Outlines of the connectors that touch or overlap, one ring per junction."""
    polygons = [polygon_of(lane.polygon) for lane in lanes if lane.kind == LaneKind.CONNECTOR]
    if not polygons:
        return []
    merged = shapely.union_all([p.buffer(_SEAM, join_style="mitre") for p in polygons])
    parts = [p for p in shapely.get_parts(merged) if p.geom_type == "Polygon"]
    outlines = [shapely.Polygon(p.exterior) for p in parts]
    shrunk = shapely.get_parts([o.buffer(-_SEAM, join_style="mitre") for o in outlines])
    return [ring_of(p) for p in shrunk if p.geom_type == "Polygon" and p.area >= _MIN_JUNCTION]
