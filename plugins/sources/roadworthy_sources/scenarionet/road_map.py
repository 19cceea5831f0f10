"""Map features as a road map.

What the converters leave out is made up for where the geometry allows it, and said:
successors from lane ends, neighbours from parallel lanes, lane outlines from centrelines.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of, rings_of, union_rings
from roadworthy.scenario import NO_DRIVABLE_AREA, AreaKind, LaneKind, RoadMap

from roadworthy_sources.reading.drafts import LaneDraft, junction_rings, put_together
from roadworthy_sources.reading.lines import length_of, sweep
from roadworthy_sources.reading.links import link_ends, link_sides, mark_crossings
from roadworthy_sources.scenarionet.values import entries, line_of

__all__ = ["read_map"]

MAX_FEATURES = 100_000
_WIDTH = 3.5
_SEAM = 0.15
_MIN_AREA = 1.0
_READ = ("LANE_", "ROAD_LINE", "ROAD_EDGE", "CROSSWALK")
_INVENTED_LIMIT = {"nuscenes", "av2"}


def read_map(path: Path, features: Any, dataset: str) -> tuple[RoadMap, tuple[str, ...], list[str]]:
    """The road map of a scenario.

    The drivable area is, in nuScenes, what the lines `boundary_*` enclose: the converter
    wrote the outline of the map's own drivable area there, holes too, as lines. Elsewhere
    it is the union of the lanes' polygons where lanes have any. Where neither is there, the
    area is that of strips 3.5 m wide around the centrelines, and not fit to be scored.

    Args:
        path: the file, for messages.
        features: `map_features`.
        dataset: name of the data set.

    Returns:
        The map, tags to add, and notes for `repairs`.

    Raises:
        DataError: damaged, or without lanes.
    """
    notes: list[str] = []
    objects = entries(path, features, "map_features", MAX_FEATURES)
    lanes = [
        draft
        for name, value in objects.items()
        if value["type"].startswith("LANE_")
        and (draft := _lane(name, value, dataset, notes)) is not None
    ]
    outlined = sum(len(lane.polygon) > 0 for lane in lanes)
    if lanes and outlined < len(lanes):
        _outline(lanes)
        notes.append(
            f"map: {len(lanes) - outlined} of {len(lanes)} lanes have no outline in the file: "
            "strips around their centrelines, as wide as the lanes that they join."
        )
    if len({lane.kind for lane in lanes if lane.kind != LaneKind.BIKE}) == 1:
        _tell_junctions(lanes)
    _link(lanes, objects, notes)
    rings, what, fit = _drivable(objects, lanes, outlined)
    notes.append(f"map: drivable area from {what}.")
    areas = [(AreaKind.DRIVABLE, ring) for ring in rings]
    areas += [(AreaKind.INTERSECTION, ring) for ring in junction_rings(lanes)]
    for value in objects.values():
        ring = line_of(value.get("polygon")) if value["type"] == "CROSSWALK" else None
        if ring is not None and len(ring) >= 3:
            areas.append((AreaKind.CROSSWALK, ring))
    if not fit:
        notes.append(f"map: not to be scored for drivable area (tag {NO_DRIVABLE_AREA}).")
    other = Counter(
        value["type"]
        for name, value in objects.items()
        if not value["type"].startswith(_READ) and not name.startswith("boundary_")
    )
    notes += [f"map: {count} {kind[:40] or 'features without a type'} not read."
              for kind, count in sorted(other.items())]  # fmt: skip
    road_map = put_together(str(path), lanes, areas, notes=notes)
    return road_map, () if fit else (NO_DRIVABLE_AREA,), notes


def _lane(name: str, value: dict[str, Any], dataset: str, notes: list[str]) -> LaneDraft | None:
    line = line_of(value.get("polyline"))
    ring = line_of(value.get("polygon"))
    if line is None or len(line) < 2:
        notes.append(f"map.lane {name!r} dropped: it has no centreline.")
        return None
    outlined = ring is not None and len(ring) >= 3
    word = value["type"]
    inside = (
        word == "LANE_SURFACE_UNSTRUCTURE"
        or value.get("interpolating") is True
        or (dataset == "nuscenes" and not outlined)
    )
    kind = LaneKind.CONNECTOR if inside else LaneKind.LANE
    return LaneDraft(
        id=name,
        centreline=line,
        polygon=ring if outlined and ring is not None else np.zeros((0, 2)),
        kind=LaneKind.BIKE if word == "LANE_BIKE_LANE" else kind,
        speed_limit=math.nan if dataset in _INVENTED_LIMIT else _limit(value),
        successors=_names(value.get("exit_lanes")),
        left=next(iter(_names(value.get("left_neighbor"))), None),
        right=next(iter(_names(value.get("right_neighbor"))), None),
    )


def _tell_junctions(lanes: list[LaneDraft]) -> None:
    """Connectors where the file marks no lane as one (nuPlan), or every lane (Argoverse 2)."""
    for lane in lanes:
        if lane.kind != LaneKind.BIKE:
            lane.kind = LaneKind.LANE
    mark_crossings(lanes)


def _limit(value: dict[str, Any]) -> float:
    """Speed limit [m/s]; NaN where there is none."""
    for key, factor in (("speed_limit_kmh", 1.0 / 3.6), ("speed_limit_mph", 0.44704)):
        limit = value.get(key)
        if isinstance(limit, (int, float)) and 0.0 < limit * factor < 100.0:
            return float(limit * factor)
    return math.nan


def _names(value: Any) -> list[str]:
    """Lane names of a list of names, or of dictionaries with a `feature_id`; MetaDrive names
    its lanes by tuples."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[:100].tolist()
    if not isinstance(value, list):
        return []
    found = [v.get("feature_id") if isinstance(v, dict) else v for v in value[:100]]
    found = [str(tuple(v)) if _is_index(v) else v for v in found]
    return [str(v) for v in found if isinstance(v, (str, int))]


def _is_index(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, (str, int)) for v in value[:8])


def _outline(lanes: list[LaneDraft]) -> None:
    """Give lanes without a polygon a strip as wide as the lanes around their ends."""
    given = [lane for lane in lanes if len(lane.polygon)]
    tree = shapely.STRtree([shapely.linestrings(lane.centreline) for lane in given])
    widths = [
        float(np.clip(polygon_of(lane.polygon).area / max(length_of(lane.centreline), 1.0), 2.5, 5))
        for lane in given
    ]
    for lane in lanes:
        if not len(lane.polygon):
            ends = shapely.points(lane.centreline[[0, -1]])
            near = tree.query(ends, "dwithin", 0.6)[1] if given else []
            found = [widths[j] for j in near]
            lane.polygon = sweep(lane.centreline, float(np.mean(found)) if found else _WIDTH)


def _link(lanes: list[LaneDraft], objects: dict[str, dict[str, Any]], notes: list[str]) -> None:
    if lanes and not any(lane.successors for lane in lanes):
        notes.append(f"map: {link_ends(lanes)} lane connections from where lanes end and begin.")
    if lanes and not any(lane.left or lane.right for lane in lanes):
        solid = [
            line
            for value in objects.values()
            if value["type"].startswith(("ROAD_LINE_SOLID", "ROAD_EDGE"))
            and (line := line_of(value.get("polyline"))) is not None
        ]
        notes.append(f"map: neighbours of {link_sides(lanes, solid)} lanes from parallel lanes.")


def _drivable(
    objects: dict[str, dict[str, Any]], lanes: list[LaneDraft], outlined: int
) -> tuple[list[NDArray[np.float64]], str, bool]:
    """Rings, where they come from, and whether they are fit to be scored."""
    lines = [
        line_of(value.get("polyline"))
        for name, value in objects.items()
        if name.startswith("boundary_")
    ]
    closed = [
        line
        for line in lines
        if line is not None and len(line) > 3 and np.hypot(*(line[0] - line[-1])) < 0.01
    ]
    if closed and len(closed) == len(lines):
        area = shapely.Polygon()
        for ring in sorted((polygon_of(line[:-1]) for line in closed), key=lambda p: -p.area):
            area = area.symmetric_difference(ring)
        parts = [p for p in shapely.get_parts(area) if p.area >= _MIN_AREA]
        if parts:
            whole = shapely.union_all([p.simplify(0.01) for p in parts])
            return rings_of(whole), "the file's outlines of it (`boundary_*`), junctions too", True
    rings = [lane.polygon for lane in lanes if len(lane.polygon) >= 3]
    if outlined:
        return union_rings(rings, _SEAM), "the union of the lanes", outlined == len(lanes)
    return union_rings(rings, _SEAM), f"strips of {_WIDTH} m around the lanes' centrelines", False
