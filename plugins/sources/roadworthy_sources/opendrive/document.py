"""The parts of an OpenDRIVE file, parsed and checked; nothing is interpreted yet."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree.ElementTree import Element

from roadworthy.errors import DataError

from roadworthy_sources.opendrive.reference import Cubic, Piece
from roadworthy_sources.reading.xmltree import attribute, number, read_xml, unread

__all__ = ["Crosswalk", "Document", "Lane", "Link", "Road", "Section", "read_document"]

_READ = frozenset({"header", "road", "junction", "userData", "include", "dataQuality"})
_READ_OF_ROADS = frozenset(
    {"link", "type", "planView", "lanes", "objects", "elevationProfile", "lateralProfile",
     "signals", "userData", "dataQuality"}
)  # fmt: skip
MAX_ROADS = 100_000
MAX_LENGTH = 5_000_000.0
_STEEPEST = 1e30
_UNITS = {"m/s": 1.0, "km/h": 1.0 / 3.6, "mph": 0.44704}
_SHAPES = {
    "line": (),
    "arc": ("curvature",),
    "spiral": ("curvStart", "curvEnd"),
    "poly3": ("a", "b", "c", "d"),
    "paramPoly3": ("aU", "bU", "cU", "dU", "aV", "bV", "cV", "dV"),
}


@dataclass(frozen=True, slots=True)
class Link:
    """What a road is joined to at one end: a `road` (at its `start` or `end`) or `junction`."""

    kind: str
    id: str
    contact: str


@dataclass(eq=False)
class Lane:
    """One lane of a section. Widths, or the outer border, over the section's own stations.
    `reversed`: driven against the way that its side of the road is (OpenDRIVE 1.8)."""

    id: int
    type: str
    widths: list[Cubic]
    borders: list[Cubic]
    before: list[int]
    after: list[int]
    limit: float
    mark: str
    change: str
    reversed: bool


@dataclass(eq=False)
class Section:
    """A lane section from station `s` to `end`."""

    s: float
    end: float
    lanes: dict[int, Lane]


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """Corners as (station, offset to the left) or, in its own frame, (u, v)."""

    s: float
    t: float
    heading: float
    road_corners: tuple[tuple[float, float], ...]
    own_corners: tuple[tuple[float, float], ...]


@dataclass(eq=False)
class Road:
    """One road."""

    id: str
    length: float
    junction: str
    left_hand: bool
    limit: float
    pieces: list[Piece]
    offsets: list[Cubic]
    sections: list[Section]
    before: Link | None
    after: Link | None
    crosswalks: list[Crosswalk]


@dataclass(eq=False)
class Document:
    """One file. `connections`: junction -> (incoming road, connecting road, contact,
    lane links)."""

    path: Path
    roads: dict[str, Road] = field(default_factory=dict)
    connections: dict[str, list[tuple[str, str, str, list[tuple[int, int]]]]] = field(
        default_factory=dict
    )
    notes: list[str] = field(default_factory=list)


def read_document(path: Path) -> Document:
    """Parse a file.

    Raises:
        DataError: no OpenDRIVE XML, duplicate ids, an unknown geometry, or a value that is no
            number; the message names file, road and field.
    """
    root = read_xml(path, "OpenDRIVE")
    document = Document(path, notes=_left_out(root))
    total = 0.0
    for element in root.findall("road"):
        road = _road(path, element, document.notes)
        if road.id in document.roads:
            raise DataError(f"{path}: two roads have the id {road.id!r}", hint="Make ids unique.")
        document.roads[road.id] = road
        total += road.length * max(sum(len(s.lanes) for s in road.sections), 1)
        if len(document.roads) > MAX_ROADS or total > MAX_LENGTH:
            raise DataError(
                f"{path}: more than {MAX_ROADS} roads or {MAX_LENGTH:.0f} m of lanes",
                hint="Cut the map.",
            )
    for element in root.findall("junction"):
        rows = document.connections.setdefault(attribute(path, element, "id", "junction"), [])
        for connection in element.findall("connection"):
            links = [
                (
                    _whole(path, link.get("from"), "laneLink"),
                    _whole(path, link.get("to"), "laneLink"),
                )
                for link in connection.findall("laneLink")
            ]
            rows.append(
                (
                    connection.get("incomingRoad", ""),
                    connection.get("connectingRoad", connection.get("linkedRoad", "")),
                    connection.get("contactPoint", "start"),
                    links,
                )
            )
    return document


def _left_out(root: Element) -> list[str]:
    """Sentences on what of a file is not read at all."""
    roads = root.findall("road")
    things = [
        o for road in roads for o in road.findall("objects/*") if o.get("type") != "crosswalk"
    ]
    notes = unread(root, _READ, "map")
    notes += unread([part for road in roads for part in road], _READ_OF_ROADS, "map: roads")
    notes += unread(things, (), "map: roads")
    notes += unread([s for road in roads for s in road.findall("signals/*")], (), "map: roads")
    heights = [e for name in ("elevationProfile/elevation", "lateralProfile/*")
               for road in roads for e in road.findall(name)]  # fmt: skip
    if any(e.get(key, "0").strip("+-0.eE") for e in heights for key in "abcd"):
        notes.append("map: read as if it were flat: its heights and slopes are left out.")
    layers = [e for road in roads for e in road.findall("lanes") if e.get("layer") == "temporary"]
    if layers:
        notes.append(f"map: temporary lanes of {len(layers)} roads left out.")
    return notes


def _whole(path: Path, text: str | None, where: str) -> int:
    value = number(path, text, where)
    if value != int(value) or abs(value) > 1000:
        raise DataError(f"{path}: {where} is {value}", hint="Lane ids are -1000 to 1000.")
    return int(value)


def _road(path: Path, element: Element, notes: list[str]) -> Road:
    name = attribute(path, element, "id", "road")
    where = f"road {name}"
    length = number(path, element.get("length"), f"{where}: length")
    layers = [e for e in element.findall("lanes") if e.get("layer") != "temporary"]
    lanes = layers[0] if layers else Element("lanes")
    if not 0.0 <= length <= MAX_LENGTH:
        raise DataError(f"{path}: {where}: length is {length}", hint=f"Wanted: 0 to {MAX_LENGTH}.")
    pieces = [_piece(path, g, f"{where}: geometry") for g in element.findall("planView/geometry")]
    pieces = sorted((p for p in pieces if p.length > 0.0), key=lambda p: p.s)
    kind = element.find("type/speed")
    sections = _sections(path, lanes, where, length)
    if not pieces or not sections:
        notes.append(f"map.road {name!r} dropped: it has no geometry or no lanes.")
        sections = []
    return Road(
        id=name,
        length=length,
        junction=element.get("junction", "-1"),
        left_hand=element.get("rule", "RHT") == "LHT",
        limit=math.nan if kind is None else _speed(path, kind, where),
        pieces=pieces,
        offsets=_cubics(path, lanes.findall("laneOffset"), "s", where),
        sections=sections,
        before=_link(element.find("link/predecessor")),
        after=_link(element.find("link/successor")),
        crosswalks=[
            _crosswalk(path, o, where)
            for o in element.findall("objects/object")
            if o.get("type") == "crosswalk"
        ],
    )


def _link(element: Element | None) -> Link | None:
    if element is None:
        return None
    return Link(
        element.get("elementType", "road"),
        element.get("elementId", ""),
        element.get("contactPoint", "start"),
    )


def _piece(path: Path, element: Element, where: str) -> Piece:
    s, x, y, heading, length = (
        number(path, element.get(key), f"{where}.{key}") for key in ("s", "x", "y", "hdg", "length")
    )
    if length > MAX_LENGTH or abs(x) > 1e8 or abs(y) > 1e8:
        raise DataError(f"{path}: {where} at s = {s} is too long or far", hint="Check the units.")
    for shape, keys in _SHAPES.items():
        found = element.find(shape)
        if found is not None:
            values = tuple(number(path, found.get(key), f"{where}.{shape}.{key}") for key in keys)
            if shape == "paramPoly3":
                values = (*values, 0.0 if found.get("pRange") == "arcLength" else 1.0)
            return Piece(s, x, y, heading, length, shape, values)
    raise DataError(
        f"{path}: {where} at s = {s} has no known shape", hint=f"Known: {list(_SHAPES)}."
    )


def _cubics(path: Path, elements: list[Element], station: str, where: str) -> list[Cubic]:
    """Polynomials by station. Over stretches of a few micrometres, as editors write them,
    coefficients may be huge."""
    rows = [
        Cubic(
            number(path, e.get(station), f"{where}: {e.tag}.{station}"),
            *(number(path, e.get(k), f"{where}: {e.tag}.{k}", _STEEPEST) for k in "abcd"),
        )
        for e in elements
    ]
    return sorted(rows, key=lambda c: c.s)


def _speed(path: Path, element: Element, where: str) -> float:
    """m/s; NaN for no limit."""
    text = element.get("max", "")
    if text in ("", "no limit", "undefined"):
        return math.nan
    unit = _UNITS.get(element.get("unit", "m/s").lower(), 1.0)
    limit = number(path, text, f"{where}: speed.max") * unit
    return limit if 0.0 < limit < 100.0 else math.nan


def _sections(path: Path, road: Element, where: str, length: float) -> list[Section]:
    """The sections of a `<lanes>`; where one is `singleSide`, the lanes of the other side go on."""
    elements = road.findall("laneSection")
    starts = [number(path, e.get("s"), f"{where}: laneSection.s") for e in elements]
    order = sorted(range(len(starts)), key=starts.__getitem__)
    sections = []
    for k, at in enumerate(order):
        end = starts[order[k + 1]] if k + 1 < len(order) else length
        lanes: dict[int, Lane] = {}
        for side in ("left", "center", "right"):
            for element in elements[at].findall(f"{side}/lane"):
                lane = _lane(path, element, where)
                if lane.id in lanes:
                    raise DataError(
                        f"{path}: {where}: lane {lane.id} twice in the section at s = {starts[at]}",
                        hint="Make lane ids unique.",
                    )
                lanes[lane.id] = lane
        if end > starts[at] >= 0.0:
            if sections and elements[at].get("singleSide") in ("true", "1"):
                lanes |= _going_on(sections[-1], starts[at], lanes)
            sections.append(Section(starts[at], min(end, length), lanes))
    return sections


def _going_on(before: Section, s: float, given: dict[int, Lane]) -> dict[int, Lane]:
    """The lanes of a section that go on beyond station `s`, on the side where none are given."""
    found = {}
    for name, lane in before.lanes.items():
        if name and not any(other * name > 0 for other in given):
            shift = before.s - s
            found[name] = replace(
                lane,
                widths=[replace(c, s=c.s + shift) for c in lane.widths],
                borders=[replace(c, s=c.s + shift) for c in lane.borders],
                before=[name],
            )
            lane.after = [name]
    return found


def _lane(path: Path, element: Element, where: str) -> Lane:
    name = _whole(path, element.get("id"), f"{where}: lane.id")
    inside = f"{where}: lane {name}"
    speed, mark = element.find("speed"), element.find("roadMark")
    return Lane(
        id=name,
        type=element.get("type", "none"),
        widths=_cubics(path, element.findall("width"), "sOffset", inside),
        borders=_cubics(path, element.findall("border"), "sOffset", inside),
        before=[_whole(path, e.get("id"), inside) for e in element.findall("link/predecessor")],
        after=[_whole(path, e.get("id"), inside) for e in element.findall("link/successor")],
        limit=math.nan if speed is None else _speed(path, speed, inside),
        mark="" if mark is None else mark.get("type", ""),
        change="" if mark is None else mark.get("laneChange", ""),
        reversed=element.get("direction") == "reversed",
    )


def _crosswalk(path: Path, element: Element, where: str) -> Crosswalk:
    inside = f"{where}: crosswalk"

    def corners(tag: str, keys: tuple[str, str]) -> tuple[tuple[float, float], ...]:
        found = element.findall(f".//{tag}")[:1000]
        return tuple(
            (number(path, c.get(keys[0]), inside), number(path, c.get(keys[1]), inside))
            for c in found
        )

    return Crosswalk(
        s=number(path, element.get("s"), inside),
        t=number(path, element.get("t"), inside),
        heading=number(path, element.get("hdg", "0"), inside),
        road_corners=corners("cornerRoad", ("s", "t")),
        own_corners=corners("cornerLocal", ("u", "v")),
    )
