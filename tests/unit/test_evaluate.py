"""Judging a batch: whose fault is whose, and what is not judged at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from roads import Agent, ConstantVelocity, cases_of, make_scenario, straight_road
from roadworthy.execution.evaluate import evaluate
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, RolloutBatch, Status
from roadworthy.scenario import NO_DRIVABLE_AREA, Scenario
from roadworthy.score import Column, MetricSpec, Scores
from roadworthy.store import CaseRecord
from roadworthy_metrics.epdms import EPDMS
from roadworthy_metrics.hd_score import HDScore
from roadworthy_metrics.pdms import PDMS
from roadworthy_metrics.success import Success
from roadworthy_simulators.closed_loop import ClosedLoop


def scenes(count: int) -> list[Scenario]:
    road = straight_road(2)
    return [
        make_scenario(road, [Agent(x=40.0 + i, speed=8.0)], ego=(0, 0, 0, 8.0), seconds=3.0,
                      name=f"s{i}")
        for i in range(count)
    ]  # fmt: skip


def judge(cases: Sequence[Case], simulator: object, *metrics: object) -> list[CaseRecord]:
    host = PlannerHost(ConstantVelocity)
    return [
        judged.record
        for judged in evaluate("cv", range(len(cases)), cases, host, simulator, metrics)
    ]


class PickyMetric:
    """Raises for one scene, as a metric with a fault does."""

    spec = MetricSpec("picky", "1", (Column("x"),))

    def score(self, rollouts: RolloutBatch) -> Scores:
        if any(case.scenario.id == "s1" for case in rollouts.cases):
            raise ZeroDivisionError("s1")
        return Scores(self.spec, {"x": np.ones(len(rollouts))})


class ShortMetric(PickyMetric):
    def score(self, rollouts: RolloutBatch) -> Scores:
        return Scores(self.spec, {"x": np.ones(len(rollouts) + 1)})


class PickySimulator(ClosedLoop):
    def run(self, cases: Sequence[Case], host: PlannerHost) -> RolloutBatch:
        if any(case.scenario.id == "s2" for case in cases):
            raise RuntimeError("s2")
        return super().run(cases, host)


def test_a_metric_that_fails_on_one_scene_costs_that_scene() -> None:
    records = judge(cases_of(scenes(3)), ClosedLoop(), PickyMetric())
    assert [r.status for r in records] == [Status.OK, Status.METRIC_ERROR, Status.OK]
    assert records[1].error is not None
    assert records[1].error.type == "ZeroDivisionError"
    assert [r.values.get("picky") for r in records] == [{"x": 1.0}, None, {"x": 1.0}]


def test_a_metric_of_the_wrong_length_is_an_error() -> None:
    (record,) = judge(cases_of(scenes(1)), ClosedLoop(), ShortMetric())
    assert record.status is Status.METRIC_ERROR
    assert record.error is not None
    assert "shape (2,), wanted (1,)" in record.error.message


class OddMetric:
    """Gives what it is told to for each rollout."""

    spec = MetricSpec("odd", "1", (Column("x"),))

    def __init__(self, value: object, events: object = ()) -> None:
        self.value, self.events = value, events

    def score(self, rollouts: RolloutBatch) -> Scores:
        events: Any = self.events
        return Scores(self.spec, {"x": np.array([self.value] * len(rollouts))}, events=events)


class StrangeSpec(OddMetric):
    def score(self, rollouts: RolloutBatch) -> Scores:
        spec = MetricSpec("odd", "2", (Column("x"),))
        return Scores(spec, {"x": np.ones(len(rollouts))})


class NoScores(OddMetric):
    def score(self, rollouts: RolloutBatch) -> Scores:
        return None  # type: ignore[return-value]


class Exiting(OddMetric):
    def score(self, rollouts: RolloutBatch) -> Scores:
        raise SystemExit(0)


ENDLESS: dict[str, Any] = {"kind": "k", "step": 1}
ENDLESS["again"] = ENDLESS


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (OddMetric(1.0 + 1j), "column 'x' with type complex128"),
        (OddMetric("1.5"), "column 'x' with type <U3"),
        (OddMetric(None), "column 'x' with type object"),
        (OddMetric(np.inf), "column 'x' with an infinite value"),
        (OddMetric(1.0, 3), "wanted one list for each of 1 rollouts"),
        (OddMetric(1.0, ([], [])), "wanted one list for each of 1 rollouts"),
        (OddMetric(1.0, (None,)), "wanted a list of dicts"),
        (OddMetric(1.0, (["text"],)), "wanted a list of dicts"),
        (OddMetric(1.0, ([{"kind": "k", "step": np.int64(3)}],)), "numpy.int64"),
        (OddMetric(1.0, ([{"kind": "k\udcff", "step": 3}],)), "cannot be recorded"),
        (OddMetric(1.0, ([ENDLESS],)), "cannot be recorded"),
        (StrangeSpec(1.0), "another spec than its own"),
        (NoScores(1.0), "returned NoneType"),
        (Exiting(1.0), "0"),
    ],
)
def test_scores_that_no_record_can_hold_are_an_error_of_the_metric(
    metric: OddMetric, said: str
) -> None:
    (record,) = judge(cases_of(scenes(1)), ClosedLoop(), metric)
    assert record.status is Status.METRIC_ERROR
    assert record.error is not None
    assert said in record.error.message
    assert msgspec.json.decode(msgspec.json.encode(record), type=CaseRecord) == record


def test_what_is_undefined_or_whole_is_no_error() -> None:
    records = [
        judge(cases_of(scenes(1)), ClosedLoop(), OddMetric(value))[0].values["odd"]["x"]
        for value in (np.nan, 2, True)
    ]
    assert records == [None, 2.0, 1.0]


def test_a_simulator_that_fails_on_one_scene_costs_that_scene() -> None:
    records = judge(cases_of(scenes(3)), PickySimulator(), PDMS())
    assert [r.status for r in records] == [Status.OK, Status.OK, Status.SIMULATOR_ERROR]


@pytest.mark.parametrize("known", [True, False])
def test_nobody_is_judged_by_a_drivable_area_that_the_map_does_not_know(known: bool) -> None:
    """The ego leaves the road sideways: off road where the map knows, unjudged where not."""
    scene = scenes(1)[0]
    ego = scene.ego.copy()
    ego[:, 2] = 0.4
    tags = () if known else (NO_DRIVABLE_AREA,)
    (record,) = judge(
        cases_of([replace(scene, ego=ego, tags=tags)]),
        ClosedLoop(), PDMS(), EPDMS(), HDScore(), Success(),
    )  # fmt: skip
    off_road = [e for events in record.events.values() for e in events if e["kind"] == "off_road"]
    unjudged = {
        (metric, column)
        for metric, values in record.values.items()
        for column, value in values.items()
        if value is None
    }
    edge = {
        ("pdms", "pdms"), ("pdms", "dac"), ("epdms", "epdms"), ("epdms", "dac"),
        ("hd-score", "hd_score"), ("hd-score", "dac"),
        ("success", "success"), ("success", "success_strict"), ("success", "off_road"),
    }  # fmt: skip
    if known:
        assert record.values["success"]["off_road"] == 1.0
        assert off_road
        assert not unjudged & edge
    else:
        assert edge <= unjudged
        assert not off_road
        assert record.values["success"]["collision_at_fault"] == 0.0
