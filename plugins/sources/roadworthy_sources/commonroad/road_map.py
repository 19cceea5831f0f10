"""Lanelets as a road map, and traffic-light cycles as signals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from roadworthy.rings import union_rings
from roadworthy.scenario import AreaKind, LaneKind, RoadMap, Signals, SignalState

from roadworthy_sources.commonroad.document import Document, Lanelet, Light
from roadworthy_sources.reading.drafts import LaneDraft, junction_rings, put_together
from roadworthy_sources.reading.lines import middle, strip

__all__ = ["road_map_of", "signals_of"]

_SEAM = 0.15
_FOOT = frozenset({"sidewalk"})
_ASIDE = frozenset({"shoulder", "border", "restricted", "restricted_area", "parking"})
_SOLID = frozenset(
    "solid broad_solid solid_solid solid_dashed dashed_solid curb lowered_curb".split()
)
_COLOURS = {
    "green": SignalState.GREEN,
    "yellow": SignalState.YELLOW,
    "redYellow": SignalState.RED,
    "red": SignalState.RED,
}


def road_map_of(document: Document) -> RoadMap:
    """The road map.

    Lanes are lanelets that cars may use, centred between their bounds. Those that an
    intersection names as ways through it (or of type `intersection`) are connectors.
    Neighbours run the same way and have no solid line between. The drivable area is the
    union of all lanelets but pavements and crossings; gaps of up to 0.3 m are closed.

    Raises:
        DataError: no lanelet is for cars.
    """
    lanes, drivable, crossings = [], [], []
    on_foot = 0
    for lanelet in document.lanelets.values():
        ring = strip(lanelet.left, lanelet.right)
        if "crosswalk" in lanelet.types:
            crossings.append(ring)
        elif lanelet.types & _FOOT or lanelet.users == {"pedestrian"}:
            on_foot += 1
        else:
            drivable.append(ring)
            if not lanelet.types & _ASIDE:
                lanes.append(_draft(document, lanelet, ring))
    if on_foot:
        document.notes.append(f"map: {on_foot} lanelets for people on foot left out.")
    areas = [(AreaKind.DRIVABLE, ring) for ring in union_rings(drivable, _SEAM)]
    areas += [(AreaKind.INTERSECTION, ring) for ring in junction_rings(lanes)]
    areas += [(AreaKind.CROSSWALK, ring) for ring in crossings]
    stops = [
        (name, lanelet.stop_line)
        for name, lanelet in document.lanelets.items()
        if lanelet.stop_line is not None
    ]
    return put_together(str(document.path), lanes, areas, stops, notes=document.notes)


def _draft(document: Document, lanelet: Lanelet, ring: NDArray[np.float64]) -> LaneDraft:
    bike = "bicycleLane" in lanelet.types or lanelet.users == {"bicycle"}
    inside = lanelet.id in document.turns or "intersection" in lanelet.types
    limits = [document.speed_signs[s] for s in lanelet.signs if s in document.speed_signs]
    limit = min(limits, default=lanelet.speed_limit)
    return LaneDraft(
        id=lanelet.id,
        centreline=middle(lanelet.left, lanelet.right),
        polygon=ring,
        kind=LaneKind.BIKE if bike else LaneKind.CONNECTOR if inside else LaneKind.LANE,
        speed_limit=limit if 0.0 < limit < 100.0 else math.nan,
        successors=lanelet.successors,
        left=_reachable(lanelet.beside_left, lanelet.left_marking),
        right=_reachable(lanelet.beside_right, lanelet.right_marking),
    )


def _reachable(beside: tuple[str, bool] | None, marking: str) -> str | None:
    return None if beside is None or not beside[1] or marking in _SOLID else beside[0]


def signals_of(document: Document, road_map: RoadMap, first: int, steps: int) -> Signals:
    """Signals of the lanes behind each light.

    A light governs the ways through the junction that follow the lanelets which refer to
    it and whose direction it shows; lights without a cycle, or switched off, are left out.

    Args:
        document: the file.
        road_map: its map.
        first: the file's time step of the scene's first step.
        steps: length of the scene.
    """
    index = {name: i for i, name in enumerate(road_map.lane_id)}
    rows: dict[int, NDArray[np.int8]] = {}
    times = np.arange(steps) * (0.1 / document.dt) + first
    for lanelet in document.lanelets.values():
        for ref in lanelet.lights:
            light = document.lights.get(ref)
            if light is None or not light.active or not light.cycle:
                continue
            state = _states(light, times)
            for follower in lanelet.successors:
                turn = document.turns.get(follower)
                if follower in index and turn is not None and _shows(light.direction, turn):
                    rows.setdefault(index[follower], state)
    lanes = sorted(rows)
    if not lanes:
        return Signals.none(steps)
    return Signals(np.array(lanes, np.int64), np.stack([rows[lane] for lane in lanes]))


def _shows(direction: str, turn: str) -> bool:
    return direction == "all" or turn in direction.lower()


def _states(light: Light, times: NDArray[np.float64]) -> NDArray[np.int8]:
    """State of a light at time steps [T]. A cycle begins `offset` steps after step 0."""
    ends = np.cumsum([steps for steps, _ in light.cycle])
    phase = (times - light.offset) % ends[-1]
    colour = [_COLOURS.get(name, SignalState.UNKNOWN) for _, name in light.cycle]
    return np.array(colour, np.int8)[np.searchsorted(ends, phase, "right")]
