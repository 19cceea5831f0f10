"""The PDM Score's terms of rollouts, shared by `pdms` and `epdms`.

A rollout in open loop is one plan, and is scored as NAVSIM scores it; any other is a drive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import DT, SignalState
from roadworthy.score import SHARE, Column

from .batch import once_per_batch
from .contacts import driven_areas, driven_states, scenes
from .pdm.area import Area
from .pdm.collision import CollisionKind
from .pdm.comfort import history_states
from .pdm.evaluate import Evaluation, Term, evaluate
from .pdm.scene import Lights, pack_lights
from .pdm.totals import multiplier
from .plans import PlanScores, prepare, score_states
from .progress import MOVED_M, route_progress

__all__ = ["DAC", "EP", "NC", "OFFICIAL", "TTC", "Driven", "driven", "read_lights"]

NC = Column(
    "nc", doc="No at-fault collision: 0 with a road user, 0.5 with an object, else 1", bounds=SHARE
)
DAC = Column(
    "dac",
    doc="Drivable area compliance: 0 if a corner ever leaves it",
    drivable_area=True,
    bounds=SHARE,
)
EP = Column(
    "ep", doc="Ego progress: a plan's over PDM-Closed's, a drive's over the log's", bounds=SHARE
)
TTC = Column("ttc", doc="Time to collision: 0 if ever below 1 s", bounds=SHARE)
OFFICIAL = Column(
    "official",
    better="neither",
    doc="1 where a plan was scored as NAVSIM does (open loop), 0 for a drive",
    bounds=SHARE,
)

_HISTORY_ROWS = (0, 5, 10, 15)
_NC, _TTC = int(Term.NC), int(Term.TTC)
_FAILURES = {
    int(Term.DAC): "off_road",
    int(Term.DDC): "oncoming",
    int(Term.TLC): "red_light",
    int(Term.LK): "off_centreline",
    int(Term.COMFORT): "uncomfortable",
}
_FLAGS = {
    "multiple_lanes": int(Area.MULTIPLE_LANES),
    "off_road": int(Area.NON_DRIVABLE),
    "oncoming": int(Area.ONCOMING),
}


@dataclass(frozen=True, eq=False)
class Driven:
    """S rollouts under one version of the score. Rows of failed cases are NaN.

    Attributes:
        value: float64 [S, 7] by `Term`.
        ep: float64 [S], ego progress: of a plan against PDM-Closed, of a drive against the log.
        official: float64 [S], 1 where these are NAVSIM's terms of a plan, 0 for a drive.
        evaluations: per case the whole evaluation of one trajectory, or None if it failed.
        per_step: name -> float64 [S, T + 1], 1 where the step is so, NaN beyond the end.
        events: per case, in the order of time.
    """

    value: NDArray[np.float64]
    ep: NDArray[np.float64]
    official: NDArray[np.float64]
    evaluations: tuple[Evaluation | None, ...]
    per_step: dict[str, NDArray[np.float64]]
    events: tuple[list[dict[str, Any]], ...]


def read_lights(rollouts: RolloutBatch, row: int) -> Lights | None:
    """The connectors on the route with a signal in one rollout, None where there are none."""
    scenario = rollouts.cases[row].scenario
    lanes = scenario.signals.lane
    held = np.flatnonzero(np.isin(lanes, scenario.route.lanes))
    if len(held) == 0:
        return None
    rings = [scenario.map.lane_polygon[int(lanes[k])] for k in held]
    steps = slice(rollouts.now, rollouts.now + int(rollouts.length[row]) + 1)
    red = rollouts.signals[row, held, steps] == SignalState.RED
    offsets = np.cumsum([0, *(len(ring) for ring in rings)])
    return pack_lights(red, np.concatenate(rings), offsets)


def _evaluate(rollouts: RolloutBatch, version: int) -> tuple[Evaluation | None, ...]:
    out: list[Evaluation | None] = []
    stamps = np.round(np.array(_HISTORY_ROWS) * DT * 1e6).astype(np.int64)
    for i, (case, scene) in enumerate(zip(rollouts.cases, scenes(rollouts), strict=True)):
        if rollouts.errors[i] is not None:
            out.append(None)
            continue
        history, seen = None, scene
        if version == 2:
            history = history_states(rollouts.ego[i, _HISTORY_ROWS, :], stamps)
            lights = read_lights(rollouts, i)
            seen = scene if lights is None else scene._replace(lights=lights)
        states, area = driven_states(rollouts, i)[None], driven_areas(rollouts)[i][None]
        out.append(evaluate(seen, states, case.scenario.vehicle, version, history, area=area))
    return tuple(out)


def _events(found: Evaluation) -> list[dict[str, Any]]:
    first = found.first_step[0].tolist()
    out: list[dict[str, Any]] = []
    if first[_NC] >= 0:
        out.append(
            {
                "kind": "collision",
                "step": first[_NC],
                "agent": int(found.collision_agent[0]),
                "how": CollisionKind(int(found.collision_kind[0])).name.lower(),
                "at_fault": True,
            }
        )
    if first[_TTC] >= 0:
        out.append({"kind": "ttc", "step": first[_TTC], "agent": int(found.ttc_agent[0])})
    out += [
        {"kind": kind, "step": first[term]} for term, kind in _FAILURES.items() if first[term] >= 0
    ]
    return sorted(out, key=lambda event: int(event["step"]))


def _along_log(
    rollouts: RolloutBatch, value: NDArray[np.float64], version: int
) -> NDArray[np.float64]:
    """EP of drives: progress over that of the log, float64 [S]."""
    progress = route_progress(rollouts)
    product = multiplier(value, version)
    near = np.where(product == 0.0, 0.0, np.where(np.isnan(product), np.nan, 1.0))
    return np.where(progress.logged > MOVED_M, progress.completion + 0.0 * product, near)


def _scores_of_plans(rollouts: RolloutBatch, version: int) -> list[PlanScores | None]:
    return [
        None
        if rollouts.errors[i] is not None
        else score_states(prepare(case.scenario, version), driven_states(rollouts, i)[None])
        for i, case in enumerate(rollouts.cases)
    ]


def _driven(rollouts: RolloutBatch, version: int) -> Driven:
    count = len(rollouts)
    length = rollouts.ego.shape[1] - rollouts.now
    value, ep = np.full((count, 7), np.nan), np.full(count, np.nan)
    if rollouts.open_loop:
        plans = _scores_of_plans(rollouts, version)
        found = tuple(None if one is None else one.evaluation for one in plans)
        for i, plan in enumerate(plans):
            if plan is not None:
                value[i], ep[i] = plan.value[0], plan.ep[0]
    else:
        found = _evaluate(rollouts, version)
        for i, one in enumerate(found):
            if one is not None:
                value[i] = one.value[0]
        ep = _along_log(rollouts, value, version)
    per_step = {name: np.full((count, length), np.nan) for name in _FLAGS}
    for i, one in enumerate(found):
        if one is not None:
            for name, flag in _FLAGS.items():
                per_step[name][i, : one.area.shape[1]] = (one.area[0] & flag) != 0
    failed = np.array([one is None for one in found], bool)
    official = np.where(failed, np.nan, float(rollouts.open_loop))
    events = tuple([] if one is None else _events(one) for one in found)
    return Driven(value, ep, official, found, per_step, events)


def _version_1(rollouts: RolloutBatch) -> Driven:
    return _driven(rollouts, 1)


def _version_2(rollouts: RolloutBatch) -> Driven:
    return _driven(rollouts, 2)


_BY_VERSION: dict[int, Callable[[RolloutBatch], Driven]] = {
    1: once_per_batch(_version_1),
    2: once_per_batch(_version_2),
}


def driven(rollouts: RolloutBatch, version: int) -> Driven:
    """Terms of the score.

    Of a plan (a rollout in open loop) they are NAVSIM's: see `plans`. A drive is scored over all
    its steps, 0 to the end. The definitions are those of the PDM Score for its 41 states; for
    longer rollouts they slide (see `roadworthy_metrics.pdm.evaluate.evaluate`). TTC meets the
    agents as they were simulated. EP has no reference planner: it is the ego's progress along the
    route over that of the log in the same time, at most 1; where the log moved no more than 5 m
    it is 1, or 0 where the multiplier is 0.

    Args:
        rollouts: S rollouts; those with an error get NaN.
        version: 1 or 2.
    """
    return _BY_VERSION[version](rollouts)
