"""A town: its map, who governs its junctions, and where its furniture stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from roadworthy.admission.checks import Report
from roadworthy.admission.road_map import admit_map
from roadworthy.routing import LaneGraph
from roadworthy.scenario import AreaKind, RoadMap
from roadworthy.seeding import generator
from roadworthy_simulators.traffic.lanes import Lanes, lanes_of

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.junctions import (
    Connector,
    Signals,
    build_streets,
    crosswalk,
    stop_lines,
)
from roadworthy_sources.towns.layout import draw_plan
from roadworthy_sources.towns.streets import PARKING, Street, Streets

__all__ = ["KEEP_CLEAR", "Crossing", "Town", "make_town"]

_PARKING_SHARE = 0.5
KEEP_CLEAR = 16.0
"""Parking strips keep this far from the ends of their street [m]."""
_MID_BLOCK_SHARE = 0.3
_ROOM = 95.0


@dataclass(frozen=True)
class Crossing:
    """A crosswalk.

    Attributes:
        lanes: lanes that it crosses.
        node: the junction whose signals govern it, -1 for none.
        edge: the street that it crosses.
        at: where on the street its middle is [m].
        to: how far along the street those who have crossed may walk on [m].
    """

    lanes: tuple[int, ...]
    node: int
    edge: int
    at: float
    to: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Town:
    """A town, ready to be lived in. L lanes.

    Attributes:
        name: unique per seed, such as "train-3".
        map: the admitted map, one object for all scenarios of the town.
        graph: its lane graph.
        lanes: the same lanes as the traffic kernels read them.
        streets: what the map was built from.
        connectors: the ways through its junctions.
        signals: its signalled junctions.
        crossings: its crosswalks.
        index: lane index by name.
        family: per lane the kind of place it is in.
    """

    name: str
    map: RoadMap
    graph: LaneGraph
    lanes: Lanes
    streets: Streets
    connectors: tuple[Connector, ...]
    signals: tuple[Signals, ...]
    crossings: tuple[Crossing, ...]
    index: dict[str, int]
    family: tuple[str, ...]


def make_town(seed: int, split: str, number: int) -> Town:
    """The town that seed, split and number name; the same on any machine."""
    name = f"{split}-{number}"
    for attempt in range(1000):
        rng = generator(seed, "town", split, number, attempt)
        streets = Streets(draw_plan(rng))
        built = build_streets(streets)
        if built is not None:
            return _furnish(name, streets, *built, rng)
    raise ValueError(f"town {name}: no plan of 1000 can be built")


def _furnish(
    name: str,
    streets: Streets,
    connectors: list[Connector],
    signals: list[Signals],
    rng: np.random.Generator,
) -> Town:
    places: list[tuple[int, int, float, tuple[float, ...]]] = []
    plan = streets.plan
    for k, edge in enumerate(plan.edges):
        street = streets.streets[k]
        for node in (edge.a, edge.b):
            kind = plan.nodes[node].kind
            if kind in ("exit", "joint"):
                continue
            crossed = kind == "signals" or rng.random() < 0.5
            stop_lines(streets, node, k, crossed)
            if crossed:
                crosswalk(streets, node, k)
                at = street.length - 2.5 if node == edge.b else 2.5
                to = (8.0 if node == edge.b else street.length - 8.0,)
                places.append((node if kind == "signals" else -1, k, at, to))
        if street.length > _ROOM and edge.lanes == 1:
            places += _mid_block(streets, street, rng)
        _park(streets, street, rng)
    built = streets.road_map()
    road_map = admit_map(built, Report(name)).map
    index = {lane: i for i, lane in enumerate(road_map.lane_id)}
    crossings = tuple(
        Crossing(
            tuple(index[n] for row in streets.streets[edge].lanes for n in row), node, edge, at, to
        )
        for node, edge, at, to in places
    )
    return Town(
        name=name,
        map=road_map,
        graph=LaneGraph(road_map),
        lanes=_exact_lanes(road_map),
        streets=streets,
        connectors=tuple(connectors),
        signals=tuple(signals),
        crossings=crossings,
        index=index,
        family=_families(streets),
    )


def _mid_block(
    streets: Streets, street: Street, rng: np.random.Generator
) -> list[tuple[int, int, float, tuple[float, ...]]]:
    """Perhaps a crosswalk in the middle of a street."""
    if rng.random() > _MID_BLOCK_SHARE:
        return []
    street.crossing = street.length * rng.uniform(0.45, 0.55)
    span = (street.crossing - 1.5, street.crossing + 1.5)
    streets.area(AreaKind.CROSSWALK, street.band(*span, -street.half, street.half))
    return [(-1, street.edge, street.crossing, (8.0, street.length - 8.0))]


def _park(streets: Streets, street: Street, rng: np.random.Generator) -> None:
    """Perhaps parking strips along a side street."""
    edge = streets.plan.edges[street.edge]
    draws = rng.random(2)
    if edge.lanes > 1 or street.length < 3.0 * KEEP_CLEAR:
        return
    street.parking = (bool(draws[0] < _PARKING_SHARE), bool(draws[1] < _PARKING_SHARE))
    for side, there in ((-1.0, street.parking[0]), (1.0, street.parking[1])):
        if there:
            low, high = sorted((side * street.half, side * (street.half + PARKING)))
            span = (KEEP_CLEAR, street.length - KEEP_CLEAR)
            streets.area(AreaKind.CARPARK, street.band(*span, low, high))


def _exact_lanes(road_map: RoadMap) -> Lanes:
    """The kernels' lanes, with cosines and sines that are the same on any machine."""
    lanes = lanes_of(road_map)
    sample, conflict = lanes.sample.copy(), lanes.conflict.copy()
    sample["cos"], sample["sin"] = exact.cos_sin(sample["yaw"])
    for field in ("left", "right"):
        sample[field] = exact.rounded(sample[field], 1e-6)
    for field in ("begin", "end", "other_begin", "other_end"):
        conflict[field] = exact.rounded(conflict[field], 1e-6)
    return lanes._replace(sample=sample, conflict=conflict)


def _families(streets: Streets) -> tuple[str, ...]:
    """Per lane: what one would call the place."""
    plan, out = streets.plan, []
    for name, lane in streets.lanes.items():
        place, number = name.split("/")[0][0], int(name.split("/")[0][1:])
        if place == "n":
            node = plan.nodes[number]
            arms = len(node.arms)
            out.append(
                "roundabout" if node.kind == "roundabout"
                else "t_junction" if arms == 3
                else "four_way"
            )  # fmt: skip
            continue
        if place == "x":
            out.append("merge")
            continue
        if lane.beside != ["", ""] and not lane.after:
            exits = plan.nodes[_end(streets, name)].kind == "exit"
            out.append("straight" if exits else "merge")
            continue
        street = streets.streets[number]
        bend = float(np.abs(street.curve.yaw - street.curve.yaw[0]).max())
        if street.crossing:
            out.append("crosswalk")
        else:
            out.append("curve" if bend > 0.25 else "straight")
    return tuple(out)


def _end(streets: Streets, name: str) -> int:
    edge = streets.plan.edges[int(name.split("/")[0][1:])]
    return edge.b if name.split("/")[1][0] == "f" else edge.a
