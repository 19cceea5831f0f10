"""Roads, sections and lanes as a road map."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roadworthy.rings import union_rings
from roadworthy.scenario import AreaKind, LaneKind, RoadMap

from roadworthy_sources.opendrive.document import (
    Document,
    Lane,
    Road,
    Section,
    read_document,
)
from roadworthy_sources.opendrive.reference import cubic_at, reference_at
from roadworthy_sources.reading.drafts import LaneDraft, junction_rings, put_together
from roadworthy_sources.reading.lines import distinct, strip

__all__ = ["read_map", "read_map_and_notes"]

_SPACING = 1.0
_SEAM = 0.15
_NARROWEST = 0.5
_BEFORE = 1e-4
_NEAR = 3.0
_CARS = frozenset(
    "driving entry exit offRamp onRamp connectingRamp slipLane bidirectional bus taxi HOV "
    "mwyEntry mwyExit special1".split()
)
_AREA = frozenset({"shoulder", "stop"})
_BOTH = frozenset({"", "none", "broken", "broken broken", "botts dots"})


@dataclass(eq=False)
class _Strip:
    """A lane of a section in driving direction: its bounds [N, 2] and width [N]."""

    name: str
    road: Road
    section: int
    lane: Lane
    along: bool
    left: NDArray[np.float64]
    right: NDArray[np.float64]


def read_map(path: Path) -> RoadMap:
    """The road map of an OpenDRIVE file.

    Each lane of each section is a lane, called `road.section.lane`, centred between its
    bounds, which are sampled every metre. Lanes of roads that belong to a junction are
    connectors. Successors are the file's links between sections, roads and junctions;
    neighbours run the same way and the road mark between them may be crossed (`laneChange`,
    else by its type). The drivable area is the union of lanes for cars and bicycles,
    shoulders and stopping lanes.

    Raises:
        DataError: not such a file, damaged, or without a lane for cars.
    """
    return read_map_and_notes(path)[0]


def read_map_and_notes(path: Path) -> tuple[RoadMap, list[str]]:
    """`read_map`, and what was left out, in sentences."""
    document = read_document(path)
    unread: Counter[str] = Counter()
    strips: dict[str, _Strip] = {}
    areas: list[tuple[AreaKind, NDArray[np.float64]]] = []
    drivable: list[NDArray[np.float64]] = []
    for road in document.roads.values():
        for k, section in enumerate(road.sections):
            for found in _strips(document, road, k, section):
                ring = strip(found.left, found.right)
                kind = found.lane.type
                if kind == "parking":
                    areas.append((AreaKind.CARPARK, ring))
                elif kind in _AREA or kind in _CARS or kind == "biking":
                    drivable.append(ring)
                if kind in _CARS or kind == "biking":
                    strips[found.name] = found
                elif kind not in _AREA and kind != "parking":
                    unread[kind] += 1
        areas += [(AreaKind.CROSSWALK, ring) for ring in _crosswalks(road)]
    document.notes += [f"map: {count} lanes of type {kind[:40]!r} not read."
                       for kind, count in sorted(unread.items())]  # fmt: skip
    lanes = [_draft(document, found, strips) for found in strips.values()]
    areas = [(AreaKind.DRIVABLE, ring) for ring in union_rings(drivable, _SEAM)] + areas
    areas += [(AreaKind.INTERSECTION, ring) for ring in junction_rings(lanes)]
    return put_together(str(path), lanes, areas, notes=document.notes), document.notes


def _runs_along(road: Road, lane: Lane) -> bool:
    """Whether a lane is driven in the direction of its road's reference line."""
    return ((lane.id < 0) != road.left_hand) != lane.reversed


def _name(road: str, section: int, lane: int) -> str:
    return f"{road}.{section}.{lane}"


def _strips(document: Document, road: Road, k: int, section: Section) -> list[_Strip]:
    """All lanes of a section, the middle one excepted, from the inside out."""
    count = max(2, int(np.ceil((section.end - section.s) / _SPACING)) + 1)
    s = np.linspace(section.s, section.end, count)
    line = reference_at(road.pieces, s)
    normal = np.stack([-np.sin(line[:, 2]), np.cos(line[:, 2])], axis=1)
    inside = np.minimum(s, section.end - min(_BEFORE, 0.5 * (section.end - section.s)))
    offset = cubic_at(road.offsets, inside)
    found = []
    for side in (1, -1):
        inner = offset
        for lane in sorted((n for n in section.lanes if n * side > 0), key=abs):
            what = section.lanes[lane]
            if what.widths:
                outer = inner + side * np.maximum(cubic_at(what.widths, s - section.s), 0.0)
            elif what.borders:
                outer = cubic_at(what.borders, s - section.s) + offset
            else:
                continue
            bounds = [line[:, :2] + t[:, None] * normal for t in (inner, outer)]
            along = _runs_along(road, what)
            if side > 0:
                bounds.reverse()
            left, right = bounds if along else (bounds[1][::-1], bounds[0][::-1])
            wide = float(np.abs(outer - inner).max()) >= _NARROWEST
            if not all(np.isfinite(b).all() and (np.abs(b) < 1e8).all() for b in (left, right)):
                document.notes.append(
                    f"map.lane {_name(road.id, k, lane)!r} dropped: out of range."
                )
            elif wide and len(distinct(0.5 * (left + right))) > 1:
                name = _name(road.id, k, lane)
                found.append(_Strip(name, road, k, what, along, left, right))
            inner = outer
    return found


def _draft(document: Document, found: _Strip, strips: dict[str, _Strip]) -> LaneDraft:
    road, lane = found.road, found.lane
    limit = road.limit if math.isnan(lane.limit) else lane.limit
    bike = lane.type == "biking"
    inside = road.junction not in ("-1", "")
    beside = {} if bike else {
        step: _beside(found, lane.id + step, strips) for step in (-1, 1)
    }  # fmt: skip
    left, right = (1, -1) if found.along else (-1, 1)
    return LaneDraft(
        id=found.name,
        centreline=distinct(0.5 * (found.left + found.right)),
        polygon=strip(distinct(found.left), distinct(found.right)),
        kind=LaneKind.BIKE if bike else LaneKind.CONNECTOR if inside else LaneKind.LANE,
        speed_limit=limit,
        successors=[name for name in _successors(document, found) if name in strips],
        left=beside.get(left),
        right=beside.get(right),
    )


def _beside(found: _Strip, other: int, strips: dict[str, _Strip]) -> str | None:
    """Name of the lane with id `other` in the same section, if a change into it is legal."""
    name = _name(found.road.id, found.section, other)
    there = strips.get(name)
    if there is None or there.along != found.along or there.lane.type == "biking":
        return None
    inner = found.lane if abs(found.lane.id) < abs(other) else there.lane
    if inner.change:
        up = other > found.lane.id
        return name if inner.change in ("both", "increase" if up else "decrease") else None
    return name if inner.mark in _BOTH else None


def _successors(document: Document, found: _Strip) -> list[str]:
    """Names of the lanes that a lane leads to; they need not exist."""
    road, lane = found.road, found.lane
    links = lane.after if found.along else lane.before
    step = 1 if found.along else -1
    if 0 <= found.section + step < len(road.sections):
        same = [lane.id] if lane.id in road.sections[found.section + step].lanes else []
        return [_name(road.id, found.section + step, other) for other in links or same]
    link = road.after if found.along else road.before
    if link is None:
        return []
    if link.kind == "road":
        return _into(document, link.id, link.contact, links)
    names: list[str] = []
    both = road.before is not None and road.after is not None and road.before.id == road.after.id
    for incoming, connecting, contact, pairs in document.connections.get(link.id, []):
        if incoming == road.id and (not both or _touches(document, found, connecting, contact)):
            goals = [to for start, to in pairs or _own_pairs(document, connecting, contact)
                     if start == lane.id]  # fmt: skip
            names += _into(document, connecting, contact, goals)
    return names


def _own_pairs(document: Document, road: str, contact: str) -> list[tuple[int, int]]:
    """Lanes before and lanes of a connecting road, as its own lanes tell where its junction does
    not."""
    there = document.roads.get(road)
    if there is None or not there.sections:
        return []
    start = contact == "start"
    lanes = there.sections[0 if start else -1].lanes
    return [(before, name) for name, lane in lanes.items()
            for before in (lane.before if start else lane.after)]  # fmt: skip


def _touches(document: Document, found: _Strip, connecting: str, contact: str) -> bool:
    """Whether a connecting road begins near the end of a lane."""
    road = document.roads.get(connecting)
    if road is None or not road.pieces:
        return False
    s = np.array([0.0 if contact == "start" else road.length])
    there = reference_at(road.pieces, s)[0, :2]
    here = 0.5 * (found.left[-1] + found.right[-1])
    width = float(np.hypot(*(found.left[-1] - found.right[-1])))
    return bool(np.hypot(*(there - here)) < _NEAR + 4.0 * width)


def _into(document: Document, road: str, contact: str, lanes: list[int]) -> list[str]:
    """Names of lanes of another road, entered at its start or end, that lead into it."""
    there = document.roads.get(road)
    if there is None or not there.sections:
        return []
    section = 0 if contact == "start" else len(there.sections) - 1
    known = there.sections[section].lanes
    return [
        _name(road, section, lane)
        for lane in lanes
        if lane in known and _runs_along(there, known[lane]) == (contact == "start")
    ]


def _crosswalks(road: Road) -> list[NDArray[np.float64]]:
    rings = []
    for crossing in road.crosswalks if road.pieces else []:
        if len(crossing.road_corners) >= 3:
            corners = np.array(crossing.road_corners)
            line = reference_at(road.pieces, corners[:, 0])
            normal = np.stack([-np.sin(line[:, 2]), np.cos(line[:, 2])], axis=1)
            rings.append(line[:, :2] + corners[:, 1:] * normal)
        elif len(crossing.own_corners) >= 3:
            x, y, heading = reference_at(road.pieces, np.array([crossing.s]))[0]
            origin = np.array([x, y]) + crossing.t * np.array([-np.sin(heading), np.cos(heading)])
            turn = heading + crossing.heading
            rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            rings.append(origin + np.array(crossing.own_corners) @ rotation)
    return rings
