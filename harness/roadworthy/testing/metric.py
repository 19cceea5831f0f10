"""Reviews a metric."""

from __future__ import annotations

import pickle
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.rollout import CaseError, RolloutBatch, Status
from roadworthy.scenario import Scenario, SignalState, content_hash
from roadworthy.score import Column, MetricSpec, Scores
from roadworthy.testing.report import (
    TIME_LIMIT_S,
    Fault,
    Outcome,
    Remark,
    Report,
    Review,
    Watch,
    unwatched,
)
from roadworthy.testing.scenes import logged_rollouts, straight_road_scenario
from roadworthy.vehicle import EgoIndex

__all__ = ["check_metric"]

TOLERANCE = 1e-9
SLOW_MS = 50.0

Factory = Callable[[], Any]


def check_metric(
    factory: Factory,
    name: str = "",
    time_limit_s: float = TIME_LIMIT_S,
    watch: Watch = unwatched,
) -> Report:
    """Reviews a metric on rollouts made in code, in which everyone does what the log has.

    Args:
        factory: makes a fresh metric; called many times.
        name: for the report; the factory's by default.
        time_limit_s: for one check; one that takes longer is the last.
        watch: told of each check as it begins and ends.

    Returns:
        One finding per check. The first three must pass for the others to be made.
    """
    title = name or getattr(factory, "__name__", type(factory).__name__)
    review = Review("metric", title, time_limit_s, watch)
    scenes = _scenes()
    if not (
        review.check("interface", lambda: _interface(factory))
        and review.check("spec", lambda: _spec(factory().spec))
        and review.check("values", lambda: _values(factory, scenes))
    ):
        return review.report()
    for check, examine in (
        ("defined", _defined),
        ("deterministic", _deterministic),
        ("order", _order),
        ("alone", _alone),
        ("rollouts kept", _rollouts_kept),
        ("failed case", _failed_case),
        ("per step", _per_step),
        ("events", _events),
        ("speed", _speed),
    ):
        review.check(check, lambda examine=examine: examine(factory, scenes))  # type: ignore[misc]
    review.check("picklable", lambda: _picklable(factory))
    return review.report()


def _scenes() -> list[Scenario]:
    """Unequal in length, speed, agents and signals, so that every array of a batch is padded."""
    return [
        straight_road_scenario(),
        straight_road_scenario(lanes=3, agents=20, seconds=9.0, seed=1),
        straight_road_scenario(lanes=1, agents=0, speed=5.0, seed=2),
        straight_road_scenario(agents=9, speed=0.0, signal=SignalState.RED, seed=3),
    ]


def _interface(factory: Factory) -> str:
    metric = factory()
    if not callable(getattr(metric, "score", None)):
        raise Fault(f"{type(metric).__name__} has no score(rollouts); define it.")
    if not isinstance(getattr(metric, "spec", None), MetricSpec):
        raise Fault(f"{type(metric).__name__} has no spec; set it to a roadworthy.MetricSpec.")
    return "it has a spec, and scores."


def _spec(spec: MetricSpec) -> str:
    if not isinstance(spec.name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", spec.name):
        raise Fault(f"spec.name is {spec.name!r}; name it in kebab case, as it is registered.")
    if not isinstance(spec.version, str) or not spec.version:
        raise Fault(
            f"spec.version is {spec.version!r}; give a string, changed whenever a value may."
        )
    columns = list(spec.columns)
    if not columns or not all(isinstance(c, Column) for c in columns):
        raise Fault("spec.columns holds no columns; give at least one roadworthy.Column.")
    twice = [n for n, count in Counter(c.name for c in columns).items() if count > 1]
    if twice:
        raise Fault(f"the column {twice[0]!r} is named twice; columns are known by name.")
    headline = [c.name for c in columns if c.headline]
    if not headline:
        raise Remark(
            Outcome.WARN, "no column is a headline; mark the one that the summary should show."
        )
    silent = [c.name for c in columns if not c.doc]
    if silent:
        raise Remark(
            Outcome.WARN, f"{_listed(silent)} without a doc; say in a sentence what it means."
        )
    return f"version {spec.version}, {len(columns)} columns, headline {', '.join(headline)}."


def _values(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric = factory()
    scores = metric.score(logged_rollouts(scenes))
    if not isinstance(scores, Scores):
        raise Fault(f"score() returned {type(scores).__name__}; return a roadworthy.Scores.")
    if scores.spec != metric.spec:
        raise Fault("the scores carry another spec than the metric; pass spec=self.spec.")
    declared, given = {c.name for c in metric.spec.columns}, set(scores.values)
    if declared != given:
        raise Fault(
            "the columns declared and given differ: "
            f"missing {sorted(declared - given)}, undeclared {sorted(given - declared)}."
        )
    for name, values in scores.values.items():
        if np.shape(values) != (len(scenes),):
            raise Fault(
                f"{name} has shape {np.shape(values)} for {len(scenes)} rollouts; give one value "
                "per rollout."
            )
        if np.isinf(np.asarray(values, np.float64)).any():
            raise Fault(f"{name} is infinite for a valid rollout; give NaN where it is undefined.")
    return f"{len(given)} columns of {len(scenes)} finite values, or NaN."


def _defined(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric = factory()
    values = metric.score(logged_rollouts(scenes)).values
    gaps = {n: int(np.isnan(np.asarray(v, np.float64)).sum()) for n, v in values.items()}
    headline = [c.name for c in metric.spec.columns if c.headline and gaps[c.name]]
    if headline:
        raise Remark(
            Outcome.WARN,
            f"{_listed(headline)} undefined for some plain rollouts, which then leave the "
            "denominator; mend it unless that is meant.",
        )
    others = [n for n, count in gaps.items() if count]
    if others:
        raise Remark(
            Outcome.NOTE,
            f"{_listed(others)} undefined (NaN) for some plain rollouts; is that meant?",
        )
    return "every column is defined for every plain rollout."


def _deterministic(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric, rollouts = factory(), logged_rollouts(scenes)
    wanted = metric.score(rollouts)
    for got in (metric.score(rollouts), factory().score(rollouts)):
        if off := _difference(wanted, got, range(len(scenes))):
            raise Fault(f"scoring the same rollouts twice differs by {off:.3g}; keep no state.")
    return "scoring twice gives the same bytes."


def _order(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric, order = factory(), list(range(len(scenes)))[::-1]
    wanted = metric.score(logged_rollouts(scenes))
    got = metric.score(logged_rollouts([scenes[i] for i in order]))
    off = _difference(wanted, got, order)
    if off > TOLERANCE:
        raise Fault(
            f"the order of the rollouts changes a value by {off:.3g}; judge each on its own."
        )
    return "the order of the rollouts does not matter."


def _alone(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric = factory()
    wanted = metric.score(logged_rollouts(scenes))
    for i, scene in enumerate(scenes):
        got = metric.score(logged_rollouts([scene]))
        off = _difference(wanted, got, [i])
        if off > TOLERANCE:
            raise Fault(
                f"a rollout scored alone differs by {off:.3g} from the same in a padded batch; "
                "read no further than length[s], and no agent that is not valid."
            )
    return "a rollout scores the same alone and in a padded batch."


def _rollouts_kept(factory: Factory, scenes: Sequence[Scenario]) -> str:
    rollouts = logged_rollouts(scenes)
    before = _arrays_hash(rollouts)
    factory().score(rollouts)
    if before != _arrays_hash(rollouts):
        raise Fault("it writes into the rollouts, which other metrics read; copy before changing.")
    return "the rollouts are left as they were."


def _failed_case(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric = factory()
    wanted = metric.score(logged_rollouts(scenes))
    error = CaseError(Status.PLANNER_ERROR, "ValueError", "made to fail", 0)
    rollouts = logged_rollouts(scenes, [error, *[None] * (len(scenes) - 1)])
    rollouts.length[0] = 0
    rollouts.ego[0, rollouts.now + 1 :] = np.nan
    rollouts.ego[0, : rollouts.now + 1, EgoIndex.VX] += 1.0
    rollouts.agents_valid[0, :, rollouts.now + 1 :] = False
    got = metric.score(rollouts)
    kept = list(range(1, len(scenes)))
    rest = Scores(got.spec, {n: np.asarray(v)[1:] for n, v in got.values.items()})
    off = _difference(wanted, rest, kept)
    if off > TOLERANCE:
        raise Fault(f"a failed case in the batch changes the others by {off:.3g}; keep rows apart.")
    return "a failed case in the batch leaves the others as they are."


def _per_step(factory: Factory, scenes: Sequence[Scenario]) -> str:
    rollouts = logged_rollouts(scenes)
    per_step = factory().score(rollouts).per_step
    wanted = (len(scenes), rollouts.ego.shape[1] - rollouts.now)
    for name, values in per_step.items():
        if np.shape(values) != wanted:
            raise Fault(
                f"per_step[{name!r}] has shape {np.shape(values)}; give [S, T + 1] = {wanted}."
            )
    if not per_step:
        raise Remark(Outcome.SKIP, "it gives nothing per step; plots and mining would use it.")
    return f"{', '.join(per_step)} per step."


def _events(factory: Factory, scenes: Sequence[Scenario]) -> str:
    import msgspec

    events = factory().score(logged_rollouts(scenes)).events
    if not events:
        raise Remark(Outcome.SKIP, "it gives no events; reports would show when and where.")
    if len(events) != len(scenes):
        raise Fault(f"{len(events)} lists of events for {len(scenes)} rollouts; give one each.")
    flat = [event for case in events for event in case]
    msgspec.json.encode(flat)
    for event in flat:
        if not isinstance(event, dict) or not {"kind", "step"} <= set(event):
            raise Fault(f"the event {event!r} is no dict with `kind` and `step`.")
    return f"{len(flat)} events in {len(scenes)} plain rollouts."


def _speed(factory: Factory, scenes: Sequence[Scenario]) -> str:
    metric, rollouts = factory(), logged_rollouts(list(scenes) * 8)
    metric.score(rollouts)  # the first call may compile
    begin = time.perf_counter()
    metric.score(rollouts)
    each = 1e3 * (time.perf_counter() - begin) / len(rollouts)
    found = f"{each:.2g} ms per rollout of 6 to 9 s"
    if each > SLOW_MS:
        raise Remark(Outcome.WARN, f"{found}; work on the whole batch at once.")
    return f"{found}."


def _picklable(factory: Factory) -> str:
    try:
        again = pickle.loads(pickle.dumps(factory))
    except Exception as error:  # pickling runs the plugin's own code
        raise Fault(
            f"the factory cannot be sent to a worker process ({type(error).__name__}: {error}); "
            "use a class or function at the top level of a module."
        ) from error
    again()
    return "the factory can be sent to worker processes."


def _difference(wanted: Scores, got: Scores, rows: Sequence[int]) -> float:
    """Largest difference between `got` and rows `rows` of `wanted`; NaN equals NaN alone."""
    worst = 0.0
    for name, values in wanted.values.items():
        a: NDArray[np.float64] = np.asarray(values, np.float64)[list(rows)]
        b = np.asarray(got.values[name], np.float64)
        if (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        worst = max(worst, float(np.nan_to_num(np.abs(a - b)).max(initial=0.0)))
    return worst


def _arrays_hash(rollouts: RolloutBatch) -> str:
    arrays = [v for v in vars(rollouts).values() if isinstance(v, np.ndarray)]
    return content_hash((*arrays, *(plan.poses for plan in rollouts.plans)))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
