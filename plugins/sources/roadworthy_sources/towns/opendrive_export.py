"""A town's map as an ASAM OpenDRIVE 1.7 file.

Every street is a road, every way through a junction a connecting road; slip roads join by direct
junctions. Reference lines are the cubic curves and arcs that the map's lanes were sampled from.
Traffic signals, stop lines, crosswalks and parking strips become signals and objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.curves import Curve
from roadworthy_sources.towns.junctions import CROSSWALK, slip_lanes
from roadworthy_sources.towns.streets import PARKING, Street
from roadworthy_sources.towns.town import KEEP_CLEAR, Town

__all__ = ["opendrive", "write_opendrive"]

Array = NDArray[np.float64]

_JUNCTION_ROADS = 1000
_SLIP_ROADS = 400
_FINE = 2000


def write_opendrive(town: Town, path: Path) -> None:
    """Write a town's map to a file.

    Raises:
        OSError: it cannot be written.
    """
    tree = ET.ElementTree(opendrive(town))
    ET.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def opendrive(town: Town) -> ET.Element:
    """A town's map as an `OpenDRIVE` element."""
    root = ET.Element("OpenDRIVE")
    xy = town.map.lane_centreline.values[:, :2]
    low, high = xy.min(axis=0) - 20.0, xy.max(axis=0) + 20.0
    ET.SubElement(
        root, "header", revMajor="1", revMinor="7", name=town.name, version="1.00",
        north=_n(high[1]), south=_n(low[1]), east=_n(high[0]), west=_n(low[0]),
    )  # fmt: skip
    for edge in town.streets.streets:
        root.append(_street(town, edge))
    junctions = []
    number = _JUNCTION_ROADS
    for node, place in enumerate(town.streets.plan.nodes):
        if place.kind in ("exit", "joint"):
            continue
        junction = ET.Element("junction", id=_junction_id(node), name=f"n{node}")
        for chain in _ways(town, node):
            root.append(_connecting(town, node, number, chain))
            come, lane = _road_of(chain[0])
            connection = ET.SubElement(
                junction, "connection", id=str(number - _JUNCTION_ROADS), incomingRoad=str(come),
                connectingRoad=str(number), contactPoint="start",
            )  # fmt: skip
            ET.SubElement(connection, "laneLink", attrib={"from": str(lane), "to": "-1"})
            number += 1
        junctions.append(junction)
    for number, (node, edge) in enumerate(town.streets.plan.slips, _SLIP_ROADS):
        root.append(_slip_road(town, node, edge, number))
        junctions.append(_direct_junction(town, node, edge, number))
    root.extend(junctions)
    return root


def _n(value: float) -> str:
    return f"{float(value):.10g}"


def _junction_id(node: int) -> str:
    return str(500 + node)


def _road_of(name: str) -> tuple[int, int]:
    """Road and lane id of a lane of a street: right lanes are negative."""
    place, word = name.split("/")
    k = int(word[1:]) + 1
    return int(place[1:]), -k if word[0] == "f" else k


def _ways(town: Town, node: int) -> list[list[str]]:
    """Every way through a junction, as lanes from the arriving to the leaving one."""
    lanes, plan = town.streets.lanes, town.streets.plan
    out: list[list[str]] = []
    for edge in plan.nodes[node].arms:
        for start in town.streets.arriving(node, edge):
            open_ways = [[start, after] for after in lanes[start].after]
            while open_ways:
                way = open_ways.pop(0)
                if way[-1].startswith("e"):
                    out.append(way)
                    continue
                open_ways += [[*way, n] for n in lanes[way[-1]].after if n not in way]
    return out


def _geometries(view: ET.Element, curves: Sequence[Curve]) -> float:
    """Write curves end to end; returns their length [m]."""
    s = 0.0
    for curve in curves:
        (x, y), yaw = curve.start
        long = _length(curve)
        place = ET.SubElement(
            view, "geometry", s=_n(s), x=_n(x), y=_n(y), hdg=_n(yaw), length=_n(long)
        )
        if curve.circle is not None:
            _, _, radius, _, turn = curve.circle
            ET.SubElement(place, "arc", curvature=_n((1.0 if turn > 0.0 else -1.0) / radius))
        elif curve.control is not None:
            c, d = (float(v) for v in exact.cos_sin(yaw))
            local = (curve.control - curve.control[0]) @ np.array([[c, -d], [d, c]])
            p0, p1, p2, p3 = local
            b, q, e = 3.0 * (p1 - p0), 3.0 * (p2 - 2.0 * p1 + p0), p3 - 3.0 * p2 + 3.0 * p1 - p0
            ET.SubElement(
                place, "paramPoly3", pRange="normalized",
                aU="0", bU=_n(b[0]), cU=_n(q[0]), dU=_n(e[0]),
                aV="0", bV="0", cV=_n(q[1]), dV=_n(e[1]),
            )  # fmt: skip
        s += long
    return s


def _length(curve: Curve) -> float:
    if curve.circle is not None:
        return curve.circle[2] * abs(curve.circle[4])
    if curve.control is None:
        return curve.length
    p = curve.control
    u = (np.arange(_FINE) + 0.5)[:, None] / _FINE
    w = 1.0 - u
    d = 3.0 * (w * w * (p[1] - p[0]) + 2.0 * w * u * (p[2] - p[1]) + u * u * (p[3] - p[2]))
    return float(exact.length(d[:, 0], d[:, 1]).mean())


def _lane(parent: ET.Element, number: int, width: float, before: int | None,
          after: int | None) -> None:  # fmt: skip
    lane = ET.SubElement(parent, "lane", id=str(number), type="driving", level="false")
    if before is not None or after is not None:
        link = ET.SubElement(lane, "link")
        if before is not None:
            ET.SubElement(link, "predecessor", id=str(before))
        if after is not None:
            ET.SubElement(link, "successor", id=str(after))
    ET.SubElement(lane, "width", sOffset="0", a=_n(width), b="0", c="0", d="0")


def _street(town: Town, edge: int) -> ET.Element:
    """The road of an edge."""
    street, plan = town.streets.streets[edge], town.streets.plan
    e = plan.edges[edge]
    road = ET.Element("road", name=f"e{edge}", id=str(edge), junction="-1", rule="RHT")
    link = ET.SubElement(road, "link")
    beyond: list[dict[int, int]] = []
    slips = {joint for joint, _ in plan.slips}
    for node, word in ((e.a, "predecessor"), (e.b, "successor")):
        ways: dict[int, int] = {}
        kind = plan.nodes[node].kind
        if node in slips:
            ET.SubElement(link, word, elementType="junction", elementId=_junction_id(node))
        elif kind == "joint":
            (other,) = [k for k in plan.nodes[node].arms if k != edge]
            there = plan.edges[other]
            contact = "start" if there.a == node else "end"
            ET.SubElement(link, word, elementType="road", elementId=str(other),
                          contactPoint=contact)  # fmt: skip
            flip = 1 if (contact == "start") == (word == "successor") else -1
            for k in range(1, min(e.lanes, there.lanes) + 1):
                ways |= {k: flip * k, -k: flip * -k}
        elif kind != "exit":
            ET.SubElement(link, word, elementType="junction", elementId=_junction_id(node))
        beyond.append(ways)
    place = ET.SubElement(road, "type", s="0", type="town")
    ET.SubElement(place, "speed", max=_n(e.limit), unit="m/s")
    view = ET.SubElement(road, "planView")
    road.set("length", _n(_geometries(view, [street.curve])))
    section = ET.SubElement(ET.SubElement(road, "lanes"), "laneSection", s="0")
    left = ET.SubElement(section, "left")
    for k in range(e.lanes + e.extra[1], 0, -1):
        _lane(left, k, plan.lane_width, beyond[0].get(k), beyond[1].get(k))
    ET.SubElement(ET.SubElement(section, "center"), "lane", id="0", type="none", level="false")
    right = ET.SubElement(section, "right")
    for k in range(1, e.lanes + e.extra[0] + 1):
        _lane(right, -k, plan.lane_width, beyond[0].get(-k), beyond[1].get(-k))
    road.append(_objects(town, street))
    road.append(_signals(town, street))
    return road


def _objects(town: Town, street: Street) -> ET.Element:
    """Crosswalks and parking strips."""
    out = ET.Element("objects")
    half, bands = street.half, []
    for node in street.crossed:
        at_end = town.streets.plan.edges[street.edge].b == node
        low, high = CROSSWALK
        span = (street.length - high, street.length - low) if at_end else (low, high)
        bands.append(("crosswalk", span, (-half, half)))
    if street.crossing:
        span = (street.crossing - 1.5, street.crossing + 1.5)
        bands.append(("crosswalk", span, (-half, half)))
    span = (KEEP_CLEAR, street.length - KEEP_CLEAR)
    for side, there in ((-1.0, street.parking[0]), (1.0, street.parking[1])):
        if there:
            bands.append(("parkingSpace", span, (side * half, side * (half + PARKING))))
    for k, (kind, (s0, s1), (t0, t1)) in enumerate(bands):
        middle = 0.5 * (s0 + s1)
        thing = ET.SubElement(
            out, "object", id=f"{street.edge}{k:02d}", name=kind, type=kind, s=_n(middle),
            t=_n(0.5 * (t0 + t1)), zOffset="0", orientation="none", hdg="0", pitch="0", roll="0",
            length=_n(s1 - s0), width=_n(abs(t1 - t0)), height="0",
        )  # fmt: skip
        outline = ET.SubElement(ET.SubElement(thing, "outlines"), "outline", id="0", closed="true")
        for n, (s, t) in enumerate(((s0, t0), (s1, t0), (s1, t1), (s0, t1))):
            ET.SubElement(outline, "cornerRoad", id=str(n), s=_n(s), t=_n(t), dz="0", height="0")
    return out


def _signals(town: Town, street: Street) -> ET.Element:
    """A traffic light at each end that leads to a signalled junction."""
    out = ET.Element("signals")
    e = town.streets.plan.edges[street.edge]
    for k, (node, s, t, way) in enumerate(
        ((e.b, street.length - 5.0, -street.half - 0.5, "+"), (e.a, 5.0, street.half + 0.5, "-"))
    ):
        if town.streets.plan.nodes[node].kind == "signals":
            ET.SubElement(
                out, "signal", id=f"{street.edge}{50 + k}", name="light", s=_n(s), t=_n(t),
                zOffset="3", dynamic="yes", orientation=way, country="OpenDRIVE", type="1000001",
                subtype="-1", height="0.9", width="0.3",
            )  # fmt: skip
    return out


def _slip_road(town: Town, node: int, edge: int, number: int) -> ET.Element:
    """The road of a slip road, one lane wide."""
    lane = town.streets.lanes[slip_lanes(town.streets, node, edge)[0]]
    road = ET.Element("road", name=f"x{edge}", id=str(number), junction="-1", rule="RHT")
    link = ET.SubElement(road, "link")
    ET.SubElement(link, "successor", elementType="junction", elementId=_junction_id(node))
    kind = ET.SubElement(road, "type", s="0", type="town")
    ET.SubElement(kind, "speed", max=_n(lane.limit), unit="m/s")
    view = ET.SubElement(road, "planView")
    road.set("length", _n(_geometries(view, [lane.curve])))
    _one_lane(road, lane.width, None, None)
    return road


def _direct_junction(town: Town, node: int, edge: int, number: int) -> ET.Element:
    """Where a slip road comes in: a street, the slip road, and the wider street after them."""
    streets, plan = town.streets, town.streets.plan
    (before,) = [k for k in plan.nodes[node].arms if k != edge]
    junction = ET.Element("junction", id=_junction_id(node), name=f"n{node}", type="direct")
    _, onto = slip_lanes(streets, node, edge)
    through = zip(streets.arriving(node, before), streets.leaving(node, edge), strict=False)
    back = zip(streets.arriving(node, edge), streets.leaving(node, before), strict=True)
    links = [
        (before, edge, [(_road_of(a)[1], _road_of(b)[1]) for a, b in through]),
        (edge, before, [(_road_of(a)[1], _road_of(b)[1]) for a, b in back]),
        (number, edge, [(-1, _road_of(onto)[1])]),
    ]
    for k, (come, go, lanes) in enumerate(links):
        contact = "start" if plan.edges[go].a == node else "end"
        connection = ET.SubElement(
            junction, "connection", id=str(k), incomingRoad=str(come), linkedRoad=str(go),
            contactPoint=contact,
        )  # fmt: skip
        for one, two in lanes:
            ET.SubElement(connection, "laneLink", attrib={"from": str(one), "to": str(two)})
    return junction


def _one_lane(road: ET.Element, width: float, before: int | None, after: int | None) -> None:
    """The lane of a road whose reference line is the middle of its one lane."""
    element = ET.SubElement(road, "lanes")
    ET.SubElement(element, "laneOffset", s="0", a=_n(0.5 * width), b="0", c="0", d="0")
    section = ET.SubElement(element, "laneSection", s="0")
    ET.SubElement(ET.SubElement(section, "center"), "lane", id="0", type="none", level="false")
    _lane(ET.SubElement(section, "right"), -1, width, before, after)


def _connecting(town: Town, node: int, number: int, chain: list[str]) -> ET.Element:
    """The road of a way through a junction, one lane wide."""
    lanes, plan = town.streets.lanes, town.streets.plan
    (come, come_lane), (go, go_lane) = _road_of(chain[0]), _road_of(chain[-1])
    road = ET.Element("road", name=f"n{node}-{number}", id=str(number),
                      junction=_junction_id(node), rule="RHT")  # fmt: skip
    link = ET.SubElement(road, "link")
    for word, edge, lane in (("predecessor", come, come_lane), ("successor", go, go_lane)):
        arrives = word == "predecessor"
        contact = "end" if (lane < 0) == arrives else "start"
        ET.SubElement(link, word, elementType="road", elementId=str(edge), contactPoint=contact)
    kind = ET.SubElement(road, "type", s="0", type="town")
    ET.SubElement(kind, "speed", max=_n(min(lanes[n].limit for n in chain)), unit="m/s")
    view = ET.SubElement(road, "planView")
    road.set("length", _n(_geometries(view, [lanes[n].curve for n in chain[1:-1]])))
    _one_lane(road, plan.lane_width, come_lane, go_lane)
    return road
