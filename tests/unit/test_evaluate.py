"""Judging a batch: whose fault is whose, and what is not judged at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
