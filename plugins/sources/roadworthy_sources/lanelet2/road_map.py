"""Lanelets as a road map."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import union_rings
from roadworthy.scenario import AreaKind, LaneKind, RoadMap

from roadworthy_sources.lanelet2.osm import Osm, Relation, Way, read_osm
from roadworthy_sources.reading.drafts import LaneDraft, junction_rings, put_together
from roadworthy_sources.reading.lines import distinct, middle, strip
from roadworthy_sources.reading.links import mark_crossings

__all__ = ["read_map", "read_map_and_notes"]

_SEAM = 0.15
_CARS = frozenset({"road", "highway", "play_street", "exit", "bus_lane", "emergency_lane", ""})
_CARPARKS = frozenset({"parking", "parking_lot"})
_LINES = frozenset({"line_thin", "line_thick"})
_PASSABLE = {
    "dashed": (True, True),
    "dashed_solid": (False, True),
    "solid_dashed": (True, False),
}
_UNITS = {
    "": 1.0 / 3.6,
    "kmh": 1.0 / 3.6,
    "km/h": 1.0 / 3.6,
    "mph": 0.44704,
    "m/s": 1.0,
    "mps": 1.0,
}


@dataclass(eq=False)
class _Lanelet:
    """One lanelet in one direction; bounds are ways and whether they run backwards. `id` is the
    lane's name, `name` the relation's."""

    id: str
    name: str
    relation: Relation
    left: tuple[str, bool]
    right: tuple[str, bool]
    left_line: NDArray[np.float64]
    right_line: NDArray[np.float64]
    ends: tuple[str, str, str, str]


def read_map(path: Path) -> RoadMap:
    """The road map of a Lanelet2 file (`.osm`).

    Lanes are the lanelets that cars or bicycles may use, by subtype or `participant:*`;
    those that may be driven both ways (`one_way` = no) are two lanes, the one against the
    lanelet's direction named with a minus. Bounds are put the right way round as the
    Lanelet2 library does it: the right one on the right of the left one. A lane follows
    another where both bounds share end nodes; neighbours share a bound that may be crossed
    (a dashed line, or `lane_change` = yes). Lanes with a `turn_direction`, and lanes whose
    centreline crosses another's, are connectors.

    Raises:
        DataError: not such a file, damaged, or without a lane for cars.
    """
    return read_map_and_notes(path)[0]


def read_map_and_notes(path: Path) -> tuple[RoadMap, list[str]]:
    """`read_map`, and what was left out, in sentences."""
    osm = read_osm(path)
    notes: list[str] = []
    lanelets: list[_Lanelet] = []
    drivable, crossings = [], []
    left_out: Counter[str] = Counter()
    for name, relation in osm.relations.items():
        if relation.tags.get("type") != "lanelet":
            if (unread := _unread(relation)) is not None:
                left_out[unread] += 1
            continue
        lanelet = _lanelet(osm, name, relation, notes)
        if lanelet is None:
            continue
        ring = strip(lanelet.left_line, lanelet.right_line)
        if relation.tags.get("subtype") == "crosswalk":
            crossings.append(ring)
        elif _cars(relation) or _bikes(relation):
            drivable.append(ring)
            lanelets.append(lanelet)
            if relation.tags.get("one_way", "yes") in ("no", "false"):
                lanelets.append(_reversed(lanelet))
        else:
            subtype = relation.tags.get("subtype", "")[:40]
            left_out[f"lanelets of subtype {subtype!r} for neither cars nor bicycles"] += 1
    notes += [f"map: {count} {what} not read." for what, count in sorted(left_out.items())]
    if osm.gaps:
        notes.append(f"map: {osm.gaps} references of ways to nodes that are not there left out.")
    lanes = _drafts(osm, lanelets)
    mark_crossings(lanes)
    areas = [(AreaKind.DRIVABLE, ring) for ring in union_rings(drivable, _SEAM)]
    areas += [(AreaKind.INTERSECTION, ring) for ring in junction_rings(lanes)]
    areas += [(AreaKind.CROSSWALK, ring) for ring in crossings]
    areas += [(AreaKind.CARPARK, ring) for ring in _carparks(osm)]
    stops = _stop_lines(osm, lanelets)
    return put_together(str(path), lanes, areas, stops, notes=notes), notes


def _unread(relation: Relation) -> str | None:
    """What a relation that is no lanelet is called, where nothing of it is read."""
    kind, subtype = (relation.tags.get(key, "")[:40] for key in ("type", "subtype"))
    if kind == "regulatory_element":
        read = subtype == "speed_limit" or bool(relation.refs("way", "ref_line"))
        return None if read else f"rules of subtype {subtype!r}"
    if kind == "multipolygon":
        return None if subtype in _CARPARKS else f"areas of subtype {subtype!r}"
    return f"relations of type {kind!r}"


def _cars(relation: Relation) -> bool:
    """By `participant:*` where there is any such tag, else by subtype."""
    given = {key: value for key, value in relation.tags.items() if key.startswith("participant:")}
    if given:
        return "yes" in (given.get("participant:vehicle"), given.get("participant:vehicle:car"))
    return relation.tags.get("subtype", "") in _CARS


def _bikes(relation: Relation) -> bool:
    return relation.tags.get("subtype") == "bicycle_lane"


def _lanelet(osm: Osm, name: str, relation: Relation, notes: list[str]) -> _Lanelet | None:
    sides = [relation.refs("way", role) for role in ("left", "right")]
    if any(len(side) != 1 or side[0] not in osm.ways for side in sides):
        notes.append(f"map.lane {name!r} dropped: it does not have one left and one right way.")
        return None
    left, right = sides[0][0], sides[1][0]
    lines = [distinct(osm.line(osm.ways[way])) for way in (left, right)]
    if any(len(line) < 2 for line in lines):
        notes.append(f"map.lane {name!r} dropped: a bound of it has no length.")
        return None
    turn_left = _left_of(lines[0], _mid(lines[1]))
    first = lines[0][::-1] if turn_left else lines[0]
    turn_right = not _left_of(lines[1], _mid(first))
    return _of(osm, name, relation, (left, turn_left), (right, turn_right))


def _of(
    osm: Osm, name: str, relation: Relation, left: tuple[str, bool], right: tuple[str, bool]
) -> _Lanelet:
    lines, ends = [], []
    for way, turned in (left, right):
        nodes = [n for n in osm.ways[way].nodes if n in osm.nodes]
        line = distinct(osm.line(osm.ways[way]))
        lines.append(line[::-1] if turned else line)
        ends += [nodes[-1], nodes[0]] if turned else [nodes[0], nodes[-1]]
    return _Lanelet(
        name, name, relation, left, right, lines[0], lines[1],
        (ends[0], ends[2], ends[1], ends[3]),
    )  # fmt: skip


def _reversed(lanelet: _Lanelet) -> _Lanelet:
    a, b, c, d = lanelet.ends
    return _Lanelet(
        f"-{lanelet.id}",
        lanelet.name,
        lanelet.relation,
        (lanelet.right[0], not lanelet.right[1]),
        (lanelet.left[0], not lanelet.left[1]),
        lanelet.right_line[::-1],
        lanelet.left_line[::-1],
        (d, c, b, a),
    )


def _mid(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle one of a line's points, or halfway between two."""
    return line[len(line) // 2] if len(line) > 2 else line.mean(axis=0)


def _left_of(line: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    """Whether a point lies on the left of a line, by the nearest of its segments."""
    start, step = line[:-1], np.diff(line, axis=0)
    share = np.clip(((point - start) * step).sum(axis=1) / (step**2).sum(axis=1), 0.0, 1.0)
    apart = point - (start + share[:, None] * step)
    k = int(np.argmin((apart**2).sum(axis=1)))
    away = point - start[k]
    return bool(step[k, 0] * away[1] - step[k, 1] * away[0] > 0.0)


def _drafts(osm: Osm, lanelets: list[_Lanelet]) -> list[LaneDraft]:
    begins: dict[tuple[str, str], list[_Lanelet]] = {}
    by_left: dict[tuple[str, bool], list[_Lanelet]] = {}
    by_right: dict[tuple[str, bool], list[_Lanelet]] = {}
    for lanelet in lanelets:
        begins.setdefault(lanelet.ends[:2], []).append(lanelet)
        by_left.setdefault(lanelet.left, []).append(lanelet)
        by_right.setdefault(lanelet.right, []).append(lanelet)
    drafts = []
    for lanelet in lanelets:
        bike = not _cars(lanelet.relation)
        turn = "turn_direction" in lanelet.relation.tags
        after = begins.get(lanelet.ends[2:], [])
        sides = {
            "left": by_right.get(lanelet.left, []) if _crossable(osm, lanelet.left, 0) else [],
            "right": by_left.get(lanelet.right, []) if _crossable(osm, lanelet.right, 1) else [],
        }
        drafts.append(
            LaneDraft(
                id=lanelet.id,
                centreline=middle(lanelet.left_line, lanelet.right_line),
                polygon=strip(lanelet.left_line, lanelet.right_line),
                kind=LaneKind.BIKE if bike else LaneKind.CONNECTOR if turn else LaneKind.LANE,
                speed_limit=_limit(osm, lanelet.relation),
                successors=[f.id for f in after if f.relation is not lanelet.relation],
                left=next((n.id for n in sides["left"] if _cars(n.relation) and not bike), None),
                right=next((n.id for n in sides["right"] if _cars(n.relation) and not bike), None),
            )
        )
    return drafts


def _crossable(osm: Osm, bound: tuple[str, bool], to: int) -> bool:
    """Whether a bound may be crossed to its left (`to` = 0) or right (1), seen in driving
    direction."""
    way: Way = osm.ways[bound[0]]
    given = way.tags.get("lane_change")
    if given is not None:
        return given == "yes"
    if way.tags.get("type") not in _LINES:
        return False
    passable = _PASSABLE.get(way.tags.get("subtype", ""), (False, False))
    return passable[to != bound[1]]


def _limit(osm: Osm, relation: Relation) -> float:
    """Speed limit [m/s] of the lanelet's tag, or of a sign that it refers to; else NaN."""
    words = [relation.tags.get("speed_limit", "")]
    for ref in relation.refs("relation", "regulatory_element"):
        rule = osm.relations.get(ref)
        if rule is not None and rule.tags.get("subtype") == "speed_limit":
            words.append(rule.tags.get("sign_type", ""))
    for word in words:
        found = re.fullmatch(r"(?:de274-)?(\d{1,3}(?:\.\d+)?)\s*([a-z/]*)", word.strip().lower())
        if found and found[2] in _UNITS:
            limit = float(found[1]) * _UNITS[found[2]]
            if 0.0 < limit < 100.0:
                return limit
    return math.nan


def _stop_lines(osm: Osm, lanelets: list[_Lanelet]) -> list[tuple[str, NDArray[np.float64]]]:
    """The stop lines of the rules that lanelets refer to; of those with right of way, none."""
    found = []
    for lanelet in lanelets:
        for ref in lanelet.relation.refs("relation", "regulatory_element"):
            rule = osm.relations.get(ref)
            if rule is None or lanelet.name in rule.refs("relation", "right_of_way"):
                continue
            for way in rule.refs("way", "ref_line"):
                line = osm.line(osm.ways[way]) if way in osm.ways else np.zeros((0, 2))
                if len(line) > 1:
                    found.append((lanelet.id, line[[0, -1]]))
    return found


def _carparks(osm: Osm) -> list[NDArray[np.float64]]:
    """Outlines of `multipolygon` relations of subtype `parking`, whose ways join up."""
    rings = []
    for relation in osm.relations.values():
        tags = relation.tags
        if tags.get("type") == "multipolygon" and tags.get("subtype") in _CARPARKS:
            lines = [
                shapely.linestrings(line)
                for ref in relation.refs("way", "outer")
                if ref in osm.ways and len(line := distinct(osm.line(osm.ways[ref]))) > 1
            ]
            for part in shapely.get_parts(shapely.polygonize(lines)) if lines else []:
                rings.append(shapely.get_coordinates(part.exterior)[:-1])
    return rings
