"""A log of a town: one run of its traffic, of which several egos' drives are cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import HISTORY, STATE_SIZE, AgentKind, SignalState
from roadworthy_simulators.traffic.occupancy import make_occupancy
from roadworthy_simulators.traffic.state import BODY, Records

from roadworthy_sources.towns.contacts import touching
from roadworthy_sources.towns.driving import Cast, drive
from roadworthy_sources.towns.people import Crowd, Draw, populate
from roadworthy_sources.towns.town import Town

__all__ = ["AFTER", "BEFORE", "STEPS", "WARM", "Log", "blank_log", "run_log", "step_through"]

Array = NDArray[np.float64]

STEPS = HISTORY + 150
"""Steps of a scenario: 1.5 s of history, the present, and 15 s to drive."""
BEFORE = 4
AFTER = 4
"""Steps beyond either end of a scenario, for derivatives."""
WARM = 150
"""Steps that traffic has to sort itself out before a scenario begins."""

_GREEN = ((70.0, 150.0), (160.0, 330.0))
_YELLOW = 30
_ALL_RED = 15


@dataclass(eq=False)
class Log:
    """What happened. A agents, G signals, R steps, of which a scenario begins at `WARM`.

    Attributes:
        town: where.
        crowd: who.
        cast: everyone's state; changed while driving.
        signal_lane: int64 [G]; signal: int8 [G, R].
        state: [A, R, 5] `StateIndex` of box centres.
        lane: int64 [A, R], lane followed, -1 for none.
        present: bool [A, R].
        origin: `AGENT` [A], everyone's state before the first step.
    """

    town: Town
    crowd: Crowd
    cast: Cast
    signal_lane: NDArray[np.int64]
    signal: NDArray[np.int8]
    state: Array
    lane: NDArray[np.int64]
    present: NDArray[np.bool_]
    origin: Records


def _signals(
    town: Town, draw: Draw, steps: int
) -> tuple[NDArray[np.int64], NDArray[np.int8], dict[int, list[tuple[int, int]]]]:
    """Lanes with signals, their states [G, steps], and per node the green times of its phases."""
    lanes: list[int] = []
    rows: list[NDArray[np.int8]] = []
    green: dict[int, list[tuple[int, int]]] = {}
    for junction in town.signals:
        lasts = [int(draw.uniform(*_GREEN[_main(town, names)])) for names in junction.groups]
        at = -int(draw.uniform(0.0, float(sum(lasts) + len(lasts) * (_YELLOW + _ALL_RED))))
        phases: list[tuple[int, int]] = []
        states = [np.full(steps, SignalState.RED, np.int8) for _ in junction.groups]
        while at < steps:
            for group, last in enumerate(lasts):
                end = at + last
                phases.append((at, end))
                states[group][max(at, 0) : max(end, 0)] = SignalState.GREEN
                states[group][max(end, 0) : max(end + _YELLOW, 0)] = SignalState.YELLOW
                at = end + _YELLOW + _ALL_RED
        green[junction.node] = phases
        for names, state in zip(junction.groups, states, strict=True):
            for name in names:
                lanes.append(town.index[name])
                rows.append(state)
    signal = np.array(rows, np.int8).reshape(len(rows), steps)
    return np.array(lanes, np.int64), signal, green


def _main(town: Town, names: tuple[str, ...]) -> bool:
    """Whether one of some connectors begins on a main street."""
    come = {c.name: c.arms[0] for c in town.connectors}
    return any(town.streets.plan.edges[come[name]].main for name in names)


def run_log(town: Town, rng: np.random.Generator) -> Log:
    """Fill a town and let everyone drive."""
    draw = Draw(rng)
    steps = WARM + STEPS + AFTER
    signal_lane, signal, green = _signals(town, draw, steps)
    crowd = populate(town, draw, steps, green)
    log = blank_log(town, crowd, crowd.cast(draw), signal_lane, signal)
    step_through(log)
    return log


def blank_log(
    town: Town,
    crowd: Crowd,
    cast: Cast,
    signal_lane: NDArray[np.int64],
    signal: NDArray[np.int8],
) -> Log:
    """A log in which nothing has happened yet."""
    count, steps = len(crowd.people), signal.shape[1]
    return Log(
        town, crowd, cast, signal_lane, signal,
        np.zeros((count, steps, STATE_SIZE)), np.full((count, steps), -1, np.int64),
        np.zeros((count, steps), np.bool_), cast.agents.copy(),
    )  # fmt: skip


def step_through(log: Log) -> None:
    """Drive a log from its first step to its last."""
    count = len(log.crowd.people)
    occ = make_occupancy(len(log.town.lanes.lane), count)
    drive(
        log.town.lanes, occ, np.zeros(count, BODY), log.cast, log.signal_lane, log.signal,
        log.state, log.lane, log.present, 0, log.signal.shape[1] - 1,
    )  # fmt: skip
    _thin_out(log)


def _thin_out(log: Log) -> None:
    """Take away people on foot who walk into one another or into something that stands."""
    agents, rows = log.cast.agents, np.flatnonzero(log.cast.path_of >= 0)
    there = log.present[rows]
    half = np.stack([agents["half_length"][rows], agents["half_width"][rows]], axis=1)
    on_foot = agents["kind"][rows] == AgentKind.PEDESTRIAN
    gone = touching(log.state[rows], there, half, on_foot)
    log.present[rows[gone]] = False
