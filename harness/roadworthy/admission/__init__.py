"""Admission: every scenario passes here before it is driven.

`admit` either returns a scenario whose every array has the promised shape, type and finite
values, or raises a `ScenarioError` that names the scenario, the field, the index, the value
and what to do. What can be repaired without changing what the scene means is repaired, and
each repair is a sentence in `Scenario.repairs`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.admission.checks import FARTHEST, Report, frozen_copy
from roadworthy.admission.ego import check_ego, check_on_map
from roadworthy.admission.road_map import admit_map
from roadworthy.admission.tracks import admit_tracks
from roadworthy.scenario import HISTORY, Route, Scenario, Signals, SignalState
from roadworthy.vehicle import Vehicle

__all__ = ["MAX_STEPS", "admit"]

MAX_STEPS = 100_000
_MAX_ROUTE_POINTS = 1_000_000
_MAX_SIGNALS = 10_000
_MAX_TEXT = 256


def admit(scenario: Scenario) -> Scenario:
    """Validate a scenario, repair what can be repaired, and freeze its arrays.

    Scenarios that share one `RoadMap` object share the admitted one; admitting twice changes
    nothing.

    Returns:
        The scenario with C-contiguous, read-only arrays and its `repairs`.

    Raises:
        ScenarioError: the scene is not fit to be simulated; the message says why.
    """
    report = Report(str(scenario.id))
    _check_words(scenario, report)
    steps = len(scenario.ego)
    if not HISTORY + 1 <= steps <= MAX_STEPS:
        raise report.error(
            "ego", None, f"{steps} steps", f"Give {HISTORY + 1} to {MAX_STEPS} steps at 10 Hz."
        )
    _check_start(scenario.start, steps, report)
    if not isinstance(scenario.vehicle, Vehicle):
        raise report.error(
            "vehicle", None, type(scenario.vehicle).__name__, "Give a roadworthy.Vehicle."
        )
    ego = frozen_copy(scenario.ego, np.float64, "ego", (steps, 11), report)
    check_ego(ego, report)
    admitted = admit_map(scenario.map, report)
    route = _admit_route(scenario.route, admitted.lane_now, report)
    signals = _admit_signals(scenario.signals, steps, admitted.lane_now, report)
    agents = admit_tracks(scenario.agents, steps, report)
    check_on_map(ego, admitted, report)
    fresh = tuple(s for s in report.repairs if s not in scenario.repairs)
    parts = (
        (admitted.map, scenario.map), (ego, scenario.ego), (agents, scenario.agents),
        (route, scenario.route), (signals, scenario.signals),
    )  # fmt: skip
    if not fresh and all(now is given for now, given in parts) and type(scenario.tags) is tuple:
        return scenario
    return replace(
        scenario,
        map=admitted.map,
        ego=ego,
        agents=agents,
        route=route,
        signals=signals,
        start=int(scenario.start),
        tags=tuple(scenario.tags),
        repairs=tuple(scenario.repairs) + fresh,
    )


def _check_words(scenario: Scenario, report: Report) -> None:
    words: list[tuple[str, int | None, Any]] = [
        ("id", None, scenario.id),
        ("source", None, scenario.source),
        *(("tags", i, tag) for i, tag in enumerate(scenario.tags)),
    ]
    for field, index, word in words:
        if not isinstance(word, str) or not word or len(word) > _MAX_TEXT or not word.isprintable():
            raise report.error(
                field, index, repr(word)[:80], f"Give 1 to {_MAX_TEXT} printable characters."
            )


def _check_start(start: Any, steps: int, report: Report) -> None:
    if isinstance(start, bool) or not isinstance(start, (int, np.integer)):
        raise report.error("start", None, repr(start)[:80], "Give the index of the present.")
    if not HISTORY - 1 <= start <= steps - 2:
        raise report.error(
            "start",
            None,
            start,
            f"It must lie in [{HISTORY - 1}, {steps - 2}], so that there are {HISTORY} steps of "
            "history and at least one to drive.",
        )


def _admit_route(route: Any, lane_now: Any, report: Report) -> Route:
    if not isinstance(route, Route):
        raise report.error("route", None, type(route).__name__, "Give a roadworthy.Route.")
    lanes = frozen_copy(route.lanes, np.int64, "route.lanes", (None,), report)
    if not len(lanes):
        raise report.error("route.lanes", None, "empty", "Name at least one on-route lane.")
    report.check_indices(lanes, len(lane_now), "route.lanes", "lanes of the map")
    for i, lane in enumerate(lanes):
        if lane_now[lane] < 0:
            raise report.error(
                "route.lanes",
                i,
                int(lane),
                "That lane is unusable (its geometry was dropped): mend the lane or the route.",
            )
    line = frozen_copy(route.centreline, np.float64, "route.centreline", (None, 3), report)
    if len(line) > _MAX_ROUTE_POINTS:
        raise report.error(
            "route.centreline", None, f"{len(line)} points", f"At most {_MAX_ROUTE_POINTS}."
        )
    if not _is_plain(line):
        line = _mended_route(line, report)
    now = np.unique(lane_now[lanes])
    now.flags.writeable = False
    if _unchanged(route.lanes, now) and _unchanged(route.centreline, line):
        return route
    return Route(now, line)


@njit(cache=True, nogil=True, error_model="numpy")
def _is_plain(line: NDArray[np.float64]) -> bool:
    """Whether `_mended_route` surely gives the very same line.

    Args:
        line: [N, 3] x, y, heading.
    """
    for i in range(len(line)):
        for k in range(3):
            if not abs(line[i, k]) < FARTHEST:
                return False
        if line[i, 2] == 0.0:
            return False  # of 0 and -0 unwrapping makes 0
        if i:
            dx, dy = line[i, 0] - line[i - 1, 0], line[i, 1] - line[i - 1, 1]
            if not dx * dx + dy * dy > 1e-10 or not abs(line[i, 2] - line[i - 1, 2]) < 3.0:
                return False
    return len(line) >= 2


def _mended_route(line: NDArray[np.float64], report: Report) -> NDArray[np.float64]:
    """The route's line without duplicate points, its headings unwrapped."""
    report.check_finite(line, "route.centreline")
    keep = np.concatenate([[True], np.hypot(*np.diff(line[:, :2], axis=0).T) > 1e-6])[: len(line)]
    if not keep.all():
        report.note(f"route.centreline: {int((~keep).sum())} consecutive duplicate points removed.")
        line = line[keep]
    if len(line) < 2:
        raise report.error(
            "route.centreline",
            None,
            f"{len(line)} distinct points",
            "Give at least two, from behind the start to the goal.",
        )
    line = np.column_stack([line[:, :2], np.unwrap(line[:, 2])])
    line.flags.writeable = False
    return line


def _unchanged(given: Any, now: NDArray[Any]) -> bool:
    """Whether what was given is already the array that was made of it, byte for byte."""
    return given is now or (
        isinstance(given, np.ndarray)
        and given.dtype == now.dtype
        and given.shape == now.shape
        and given.flags.c_contiguous
        and not given.flags.writeable
        and bool((given.view(np.uint8) == now.view(np.uint8)).all())
    )


def _admit_signals(signals: Any, steps: int, lane_now: Any, report: Report) -> Signals:
    if not isinstance(signals, Signals):
        raise report.error("signals", None, type(signals).__name__, "Give a roadworthy.Signals.")
    lane = frozen_copy(signals.lane, np.int64, "signals.lane", (None,), report)
    if len(lane) > _MAX_SIGNALS:
        raise report.error("signals.lane", None, f"{len(lane)} signals", f"At most {_MAX_SIGNALS}.")
    state = frozen_copy(signals.state, np.int8, "signals.state", (len(lane), steps), report)
    report.check_indices(lane, len(lane_now), "signals.lane", "lanes of the map")
    wrong = (state < 0) | (state > max(SignalState))
    if wrong.any():
        where = np.argwhere(wrong)[0]
        raise report.error(
            "signals.state",
            where.tolist(),
            int(state[tuple(where)]),
            f"Signal states are 0 to {max(SignalState):d} (SignalState).",
        )
    if len(np.unique(lane)) != len(lane):
        values, counts = np.unique(lane, return_counts=True)
        raise report.error(
            "signals.lane",
            None,
            int(values[counts > 1][0]),
            "Two signals govern this lane: merge their states into one row.",
        )
    gone = lane_now[lane] < 0
    if gone.any():
        report.note(f"signals: {int(gone.sum())} dropped with the lanes that they governed.")
    kept = lane_now[lane][~gone]
    if _unchanged(signals.lane, kept) and state is signals.state:
        return signals
    lane, state = kept, state[~gone]
    lane.flags.writeable = False
    state.flags.writeable = False
    return Signals(lane, state)
