"""The parts of a CommonRoad file, parsed and checked; nothing is interpreted yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_sources.reading.lines import distinct
from roadworthy_sources.reading.xmltree import (
    attribute,
    number,
    read_xml,
    text_number,
    unread,
    word,
)

__all__ = ["Document", "Lanelet", "Light", "read_document"]

VERSIONS = ("2018a", "2018b", "2020a")
_MAX_LANELETS = 50_000
_OBSTACLES = ("dynamicObstacle", "staticObstacle", "obstacle")
_READ = frozenset(
    "scenarioTags location lanelet trafficSign trafficLight intersection dynamicObstacle "
    "staticObstacle obstacle planningProblem".split()
)
_READ_OF_LANELETS = frozenset(
    "leftBound rightBound predecessor successor adjacentLeft adjacentRight stopLine laneletType "
    "userOneWay userBidirectional trafficSignRef trafficLightRef speedLimit".split()
)
_READ_OF_OBSTACLES = frozenset("role type shape initialState trajectory occupancySet".split())
_SPEED_SIGNS = frozenset(
    "274 274.1 R2-1 C43 B14 B31 r301 R-301 R15 3.24 \u03a1-32 II.50".split()
) | {"A 1"}


@dataclass(eq=False)
class Lanelet:
    """One `<lanelet>`. `left_of` and `right_of` are (reference, same direction)."""

    id: str
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    left_marking: str
    right_marking: str
    successors: list[str]
    beside_left: tuple[str, bool] | None
    beside_right: tuple[str, bool] | None
    types: frozenset[str]
    users: frozenset[str]
    signs: list[str]
    lights: list[str]
    speed_limit: float
    stop_line: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Light:
    """One `<trafficLight>`: (time steps, colour) in turn, and for which directions."""

    cycle: tuple[tuple[int, str], ...]
    offset: int
    direction: str
    active: bool


@dataclass(eq=False)
class Document:
    """One file. `turns` maps a lanelet inside a junction to `left`, `straight` or `right`."""

    path: Path
    id: str
    dt: float
    source: str
    tags: frozenset[str]
    lanelets: dict[str, Lanelet]
    speed_signs: dict[str, float]
    lights: dict[str, Light]
    turns: dict[str, str]
    obstacles: list[Element]
    start: NDArray[np.float64] | None
    notes: list[str] = field(default_factory=list)


def read_document(path: Path) -> Document:
    """Parse a file.

    Raises:
        DataError: not CommonRoad XML of a version that is read, or damaged; the message
            names file, element and value.
    """
    root = read_xml(path, "commonRoad")
    version = root.get("commonRoadVersion", "")
    if version not in VERSIONS:
        raise DataError(
            f"{path}: commonRoadVersion is {version[:20]!r}",
            hint=f"Read are {', '.join(VERSIONS)}: convert the file with commonroad-io.",
        )
    dt = number(path, root.get("timeStepSize"), "timeStepSize")
    if not 0.01 <= dt <= 1.0:
        raise DataError(f"{path}: timeStepSize is {dt}", hint="Wanted: 0.01 to 1 s.")
    lanelets: dict[str, Lanelet] = {}
    notes: list[str] = []
    for element in root.findall("lanelet"):
        lanelet = _lanelet(path, element)
        if lanelet.id in lanelets:
            raise DataError(
                f"{path}: two lanelets have the id {lanelet.id!r}", hint="Mend the ids."
            )
        if len(lanelet.left) < 2 or len(lanelet.right) < 2:
            notes.append(f"map.lane {lanelet.id!r} dropped: a bound of it has no length.")
            continue
        lanelets[lanelet.id] = lanelet
        if len(lanelets) > _MAX_LANELETS:
            raise DataError(f"{path}: more than {_MAX_LANELETS} lanelets", hint="Cut the map.")
    obstacles = [e for kind in _OBSTACLES for e in root.findall(kind)]
    parts = [part for lanelet in root.findall("lanelet") for part in lanelet]
    notes += unread(root, _READ, "scene")
    notes += unread(parts, _READ_OF_LANELETS, "map: lanelets")
    notes += unread([p for e in obstacles for p in e], _READ_OF_OBSTACLES, "agents")
    signs = root.findall("trafficSign")
    speeds = _speed_signs(path, signs)
    lights = {attribute(path, e, "id", "trafficLight"): _light(path, e)
              for e in root.findall("trafficLight")}  # fmt: skip
    if dumb := len(signs) - len(speeds):
        notes.append(f"map: {dumb} traffic signs that set no speed not read.")
    if dark := sum(not (light.active and light.cycle) for light in lights.values()):
        notes.append(f"signals: {dark} traffic lights without a cycle, or switched off, left out.")
    if (problems := len(root.findall("planningProblem"))) > 1:
        notes.append(f"ego: of {problems} planning problems the first one's start is read.")
    tags = root.find("scenarioTags")
    words = root.get("tags", "").split() if tags is None else [t.tag for t in tags]
    problem = root.find("planningProblem/initialState")
    return Document(
        path=path,
        id=attribute(path, root, "benchmarkID", "commonRoad"),
        dt=dt,
        source=root.get("source", ""),
        tags=frozenset(words),
        lanelets=lanelets,
        speed_signs=speeds,
        lights=lights,
        turns=_turns(root),
        obstacles=obstacles,
        start=None if problem is None else _initial(path, problem),
        notes=notes,
    )


def _initial(path: Path, state: Element) -> NDArray[np.float64] | None:
    """Position [2] of a planning problem's initial state, None where it is not a point."""
    point = state.find("position/point")
    if point is None:
        return None
    where = "planningProblem.initialState.position"
    return np.array([text_number(path, point, axis, where) for axis in ("x", "y")])


def _points(path: Path, element: Element | None, where: str) -> NDArray[np.float64]:
    """[N, 2] of the `<point>` children, without repeated points."""
    rows = [] if element is None else [
        [text_number(path, p, "x", where), text_number(path, p, "y", where)]
        for p in element.findall("point")
    ]  # fmt: skip
    return distinct(np.array(rows, np.float64).reshape(-1, 2))


def _refs(element: Element, name: str) -> list[str]:
    return [ref for child in element.findall(name) if (ref := child.get("ref"))]


def _lanelet(path: Path, element: Element) -> Lanelet:
    name = attribute(path, element, "id", "lanelet")
    where = f"lanelet {name}"
    left, right = element.find("leftBound"), element.find("rightBound")

    def beside(tag: str) -> tuple[str, bool] | None:
        found = element.find(tag)
        ref = None if found is None else found.get("ref")
        return None if ref is None else (ref, found.get("drivingDir") == "same")

    limit = element.find("speedLimit")
    stop = element.find("stopLine")
    ends = None if stop is None else _points(path, stop, f"{where}.stopLine")
    lefts = _points(path, left, f"{where}.leftBound")
    rights = _points(path, right, f"{where}.rightBound")
    if stop is not None and (ends is None or len(ends) != 2):
        ends = np.stack([lefts[-1], rights[-1]]) if len(lefts) and len(rights) else None
    users = [*element.findall("userOneWay"), *element.findall("userBidirectional")]
    return Lanelet(
        id=name,
        left=lefts,
        right=rights,
        left_marking=word(left, "lineMarking"),
        right_marking=word(right, "lineMarking"),
        successors=_refs(element, "successor"),
        beside_left=beside("adjacentLeft"),
        beside_right=beside("adjacentRight"),
        types=frozenset((t.text or "").strip() for t in element.findall("laneletType")),
        users=frozenset((u.text or "").strip() for u in users),
        signs=_refs(element, "trafficSignRef"),
        lights=_refs(element, "trafficLightRef"),
        speed_limit=np.nan if limit is None else number(path, limit.text, f"{where}.speedLimit"),
        stop_line=ends,
    )


def _speed_signs(path: Path, signs: list[Element]) -> dict[str, float]:
    """Sign id -> speed limit [m/s], of signs that set one."""
    found = {}
    for sign in signs:
        name = attribute(path, sign, "id", "trafficSign")
        for element in sign.findall("trafficSignElement"):
            value = word(element, "additionalValue")
            if word(element, "trafficSignID") in _SPEED_SIGNS and value:
                speed = number(path, value, f"trafficSign {name}.additionalValue")
                if 0.0 < speed < 100.0:
                    found[name] = speed
    return found


def _light(path: Path, element: Element) -> Light:
    where = f"trafficLight {element.get('id')}"
    cycle = []
    for part in element.findall("cycle/cycleElement"):
        steps = text_number(path, part, "duration", f"{where}.cycleElement")
        if 0.0 < steps < 1e6:
            cycle.append((int(steps), word(part, "color")))
    offset = element.findtext("cycle/timeOffset")
    return Light(
        cycle=tuple(cycle),
        offset=0 if offset is None else int(number(path, offset, f"{where}.timeOffset")),
        direction=word(element, "direction", "all"),
        active=word(element, "active", "true") in ("true", "1"),
    )


def _turns(root: Element) -> dict[str, str]:
    found = {}
    for incoming in root.findall("intersection/incoming"):
        for way in ("Left", "Straight", "Right"):
            for ref in _refs(incoming, f"successors{way}") + _refs(incoming, f"outgoing{way}"):
                found[ref] = way.lower()
    return found
