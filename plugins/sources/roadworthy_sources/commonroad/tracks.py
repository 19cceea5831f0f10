"""Obstacles as tracks at 10 Hz."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.scenario import STATE_SIZE, AgentKind, StateIndex

from roadworthy_sources.commonroad.document import Document
from roadworthy_sources.reading.tracks import Track, grid_of, on_grid, smoothed
from roadworthy_sources.reading.xmltree import attribute, text_number, word

__all__ = ["MAX_STEP", "read_tracks"]

MAX_STEP = 50_000
_MAX_OBSTACLES = 10_000
_KIND = {
    "car": AgentKind.VEHICLE,
    "truck": AgentKind.VEHICLE,
    "bus": AgentKind.VEHICLE,
    "taxi": AgentKind.VEHICLE,
    "train": AgentKind.VEHICLE,
    "priorityVehicle": AgentKind.VEHICLE,
    "parkedVehicle": AgentKind.VEHICLE,
    "motorcycle": AgentKind.BICYCLE,
    "bicycle": AgentKind.BICYCLE,
    "pedestrian": AgentKind.PEDESTRIAN,
    "constructionZone": AgentKind.BARRIER,
    "roadBoundary": AgentKind.BARRIER,
    "median_strip": AgentKind.BARRIER,
    "medianStrip": AgentKind.BARRIER,
}
_PARTS = frozenset({"rectangle", "circle", "polygon"})
_GENERIC = frozenset({"unknown", "pillar", "building"})
_HEIGHT = {"truck": 3.2, "bus": 3.2, "train": 3.5, "pedestrian": 1.75}

_Part = tuple[NDArray[np.float64], NDArray[np.float64], float]


def read_tracks(document: Document, smooth: int = 0) -> list[Track]:
    """All obstacles with exact states, from the file's time step 0 on.

    Args:
        document: the file.
        smooth: samples of the local quadratic fit that positions are smoothed by; 0 for none.

    Returns:
        Tracks of one length; obstacles without exact states are noted and left out, and so is
        what their states do not tell alone (signals, sets).

    Raises:
        DataError: a state without a value, a step outside 0 to 50,000, two obstacles of one id.
    """
    path = document.path
    if len(document.obstacles) > _MAX_OBSTACLES:
        raise DataError(f"{path}: {len(document.obstacles)} obstacles", hint="Cut the scenario.")
    raw = []
    for element in document.obstacles:
        name = attribute(path, element, "id", element.tag)
        shape = _shape(path, element.find("shape"), f"obstacle {name}")
        rows = _states(document, element, f"obstacle {name}")
        if shape is None or rows is None or element.find("occupancySet") is not None:
            what = "shape" if shape is None else "trajectory of exact states"
            document.notes.append(f"agents {name!r} dropped: it has no {what}.")
            continue
        raw.append((name, element, shape, *rows))
    last = max((int(steps[-1]) for *_, steps, _ in raw), default=0)
    grid = grid_of(str(path), np.array([0.0, last * document.dt]), len(raw))
    tracks = []
    for name, element, (size, offset, turn), steps, values in raw:
        state, valid = _placed(values, offset, turn), np.ones(len(steps), bool)
        times = steps * document.dt
        if len(steps) == 1 and _is_static(element):
            state, valid = np.repeat(state, len(grid), axis=0), np.ones(len(grid), bool)
        else:
            state, valid = on_grid(times, state, valid, grid)
        if smooth and valid.sum() >= 3:
            begin, end = np.flatnonzero(valid)[[0, -1]]
            if valid[begin : end + 1].all():
                state[begin : end + 1] = smoothed(state[begin : end + 1], smooth)
        what = word(element, "type", "unknown")
        kind = _KIND.get(what, AgentKind.GENERIC_OBJECT)
        if what not in _KIND and what not in _GENERIC:
            document.notes.append(f"agents {name!r}: unknown type {what[:40]!r} read as an object.")
        box = np.array([*size, _HEIGHT.get(what, 1.6)])
        tracks.append(Track(name, kind, box, state, valid))
    return tracks


def _is_static(element: Element) -> bool:
    return element.tag == "staticObstacle" or word(element, "role") == "static"


def _shape(path: Path, element: Element | None, where: str) -> _Part | None:
    """Length and width [2], the box's centre [2] and heading in the obstacle's frame; of a shape
    of several parts, the box around them."""
    if element is None:
        return None
    if sum(child.tag in _PARTS for child in element) > 1:
        return _around([part for child in element if (part := _part(path, child, where))])
    return next((part for child in element if (part := _part(path, child, where))), None)


def _around(parts: list[_Part]) -> _Part | None:
    """The upright box around some."""
    corners = []
    for size, centre, turn in parts:
        c, s = np.cos(turn), np.sin(turn)
        box = 0.5 * size * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        corners.append(centre + box @ np.array([[c, s], [-s, c]]))
    if not corners:
        return None
    low, high = np.concatenate(corners).min(axis=0), np.concatenate(corners).max(axis=0)
    return high - low, 0.5 * (low + high), 0.0


def _part(path: Path, shape: Element, where: str) -> _Part | None:
    if shape.tag == "rectangle":
        size = [text_number(path, shape, name, where) for name in ("length", "width")]
        has_turn = shape.find("orientation") is not None
        turn = text_number(path, shape, "orientation", where) if has_turn else 0.0
        return np.array(size), _centre(path, shape, where), turn
    if shape.tag == "circle":
        radius = text_number(path, shape, "radius", where)
        return np.full(2, 2.0 * radius), _centre(path, shape, where), 0.0
    if shape.tag == "polygon":
        corners = np.array(
            [[text_number(path, p, axis, where) for axis in ("x", "y")]
             for p in shape.findall("point")]
        ).reshape(-1, 2)  # fmt: skip
        if len(corners) >= 3:
            low, high = corners.min(axis=0), corners.max(axis=0)
            return high - low, 0.5 * (low + high), 0.0
    return None


def _centre(path: Path, shape: Element, where: str) -> NDArray[np.float64]:
    centre = shape.find("center")
    if centre is None:
        return np.zeros(2)
    return np.array([text_number(path, centre, axis, where) for axis in ("x", "y")])


def _states(
    document: Document, element: Element, where: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Time steps [N], increasing, and x, y, heading, speed [N, 4]; None where not exact."""
    path, first = document.path, element.find("initialState")
    states = ([] if first is None else [first]) + element.findall("trajectory/state")
    rows: dict[int, list[float]] = {}
    for state in states:
        point = state.find("position/point")
        heading = state.find("orientation")
        if point is None or heading is None or heading.find("exact") is None:
            return None
        time, speed = state.find("time"), state.find("velocity")
        if time is not None and time.find("intervalStart") is not None:
            return None
        step = 0.0 if time is None else text_number(path, time, "exact", f"{where}.time")
        if not (0.0 <= step <= MAX_STEP and step == int(step)):
            raise DataError(f"{path}: {where}: time is {step}", hint=f"Wanted: 0 to {MAX_STEP}.")
        exact = speed is not None and speed.find("exact") is not None
        if int(step) in rows:
            document.notes.append(f"agents: {where}: of two states at step {step:.0f} the last.")
        rows[int(step)] = [
            text_number(path, point, "x", f"{where}.position"),
            text_number(path, point, "y", f"{where}.position"),
            text_number(path, heading, "exact", f"{where}.orientation"),
            text_number(path, speed, "exact", f"{where}.velocity") if exact else 0.0,
        ]  # type: ignore[arg-type]
    if not rows:
        return None
    steps = sorted(rows)
    return np.array(steps, np.int64), np.array([rows[s] for s in steps])


def _placed(
    values: NDArray[np.float64], offset: NDArray[np.float64], turn: float
) -> NDArray[np.float64]:
    """[N, 5] states of the box's centre from x, y, heading, speed of the obstacle."""
    out = np.zeros((len(values), STATE_SIZE))
    heading = values[:, 2]
    cos, sin = np.cos(heading), np.sin(heading)
    out[:, StateIndex.X] = values[:, 0] + cos * offset[0] - sin * offset[1]
    out[:, StateIndex.Y] = values[:, 1] + sin * offset[0] + cos * offset[1]
    out[:, StateIndex.YAW] = heading + turn
    out[:, StateIndex.VX] = values[:, 3] * cos
    out[:, StateIndex.VY] = values[:, 3] * sin
    return out
