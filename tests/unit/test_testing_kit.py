"""The conformance kit finds each fault it is for, and nothing in what is sound."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from roadworthy import (
    Brief,
    Column,
    EgoIndex,
    MetricSpec,
    Observation,
    ObservationBatch,
    RolloutBatch,
    Scores,
    SignalState,
    StateIndex,
    Trajectory,
    TrajectoryBatch,
)
from roadworthy.admission import admit
from roadworthy.testing import (
    Outcome,
    Report,
    brief_of,
    check_metric,
    check_planner,
    logged_rollouts,
    moved,
    observe,
    straight_road_scenario,
)


def ahead(speed: float, n: int = 8) -> Trajectory:
    poses = np.zeros((n, 3))
    poses[:, 0] = speed * 0.5 * np.arange(1, n + 1)
    return Trajectory(poses, 0.5)


class Good:
    def reset(self, brief: Brief) -> None: ...

    def plan(self, observation: Observation) -> Trajectory:
        return ahead(float(observation.ego_state[-1, EgoIndex.VX]))


class GoodBatch:
    def reset_batch(self, briefs: Sequence[Brief]) -> None: ...

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        plans = [ahead(v).poses for v in observations.ego_state[:, -1, EgoIndex.VX]]
        return TrajectoryBatch(np.stack(plans), 0.5)


class NoPlan:
    def reset(self, brief: Brief) -> None: ...


class NoResetBatch(Good):
    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch: ...


class Nothing(Good):
    def plan(self, observation: Observation) -> Any:
        return None


class Degrees(Good):
    def plan(self, observation: Observation) -> Trajectory:
        plan = super().plan(observation)
        plan.poses[:, 2] = 45.0
        return plan


class Kilometres(Good):
    def plan(self, observation: Observation) -> Trajectory:
        plan = super().plan(observation)
        return Trajectory(plan.poses * 8.0, plan.dt)


class WorldFrame(Good):
    def plan(self, observation: Observation) -> Trajectory:
        plan = super().plan(observation)
        plan.poses[:, 2] = observation.ego_state[-1, EgoIndex.YAW]
        return plan


class Unseeded(Good):
    def plan(self, observation: Observation) -> Trajectory:
        return ahead(np.random.default_rng().uniform(1.0, 2.0))


class Remembers(Good):
    def __init__(self) -> None:
        self.fastest = 0.0

    def plan(self, observation: Observation) -> Trajectory:
        self.fastest = max(self.fastest, float(len(observation.agents_kind)))
        return ahead(self.fastest)


class Shares(Good):
    seen: ClassVar[list[float]] = []

    def reset(self, brief: Brief) -> None:
        self.seen.clear()

    def plan(self, observation: Observation) -> Trajectory:
        self.seen.append(float(observation.ego_state[-1, EgoIndex.VX]))
        return ahead(sum(self.seen) / len(self.seen))


class Hangs(Good):
    def plan(self, observation: Observation) -> Trajectory:
        if len(observation.agents_kind) > 100:
            while True:
                pass
        return super().plan(observation)


class Leaves(Good):
    def plan(self, observation: Observation) -> Trajectory:
        raise SystemExit(0)


class Scribbles(Good):
    def plan(self, observation: Observation) -> Trajectory:
        plan = super().plan(observation)
        observation.ego_state[:, :2] -= observation.ego_state[-1, :2].copy()
        return plan


class ScribblesOnTheMap(Good):
    def reset(self, brief: Brief) -> None:
        brief.map.lane_speed_limit[:] = 5.0


class MixesRows(GoodBatch):
    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        mean = float(observations.ego_state[:, -1, EgoIndex.VX].mean())
        return TrajectoryBatch(np.stack([ahead(mean).poses] * len(observations)), 0.5)


class IgnoresRows(GoodBatch):
    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        self.lanes = [float(len(b.map.lane_id)) for b in briefs]

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        plans = [ahead(self.lanes[i]).poses for i in range(len(observations))]
        return TrajectoryBatch(np.stack(plans), 0.5)


class TooFewRows(GoodBatch):
    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        return TrajectoryBatch(np.zeros((len(observations) + 1, 8, 3)), 0.5)


class Disagrees(GoodBatch, Good):
    def plan(self, observation: Observation) -> Trajectory:
        return ahead(1.0)


class Peeks(Good):
    """Finds the log where the harness does not offer it: in the frames of its callers."""

    def plan(self, observation: Observation) -> Trajectory:
        frame = sys._getframe()
        while "scenes" not in frame.f_locals:
            assert frame.f_back is not None
            frame = frame.f_back
        scene = frame.f_locals["scenes"][0]
        return ahead(float(np.hypot(*(scene.ego[-1, :2] - scene.ego[0, :2])) / 10.0))


class NeedsSomeone(Good):
    def plan(self, observation: Observation) -> Trajectory:
        return ahead(float(np.abs(observation.agents_state[:, -1, StateIndex.VX]).max()))


class Slow(Good):
    def plan(self, observation: Observation) -> Trajectory:
        time.sleep(0.11)
        return super().plan(observation)


class Short(Good):
    def plan(self, observation: Observation) -> Trajectory:
        return ahead(5.0, n=4)


class Repeats(Good):
    def plan(self, observation: Observation) -> Trajectory:
        plan = super().plan(observation)
        plan.poses[:, 0] -= plan.poses[0, 0]
        return plan


class Privileged(Good):
    needs_log = True

    def reset(self, brief: Brief) -> None:
        assert brief.log is not None
        self.end = brief.log.ego[-1, EgoIndex.VX]


def outcome(report: Report, check: str) -> Outcome:
    (found,) = [f.outcome for f in report.findings if f.check == check]
    return found


@pytest.mark.parametrize("planner", [Good, GoodBatch, Privileged])
def test_a_sound_planner_passes(planner: type) -> None:
    report = check_planner(planner)
    report.assert_ok()
    assert {f.outcome for f in report.findings} <= {Outcome.PASS, Outcome.SKIP, Outcome.NOTE}


@pytest.mark.parametrize(
    ("planner", "check", "words"),
    [
        (NoPlan, "interface", "define one of these pairs"),
        (NoResetBatch, "interface", "define reset_batch"),
        (Nothing, "trajectory", "plan() returned None. Return a roadworthy.Trajectory"),
        (Degrees, "trajectory", "give radians"),
        (Kilometres, "trajectory", "64 m/s"),
        (WorldFrame, "frame", "relative to the ego"),
        (Unseeded, "deterministic", "brief.seed"),
        (Remembers, "reset", "forget everything"),
        (Shares, "independent", "not in the class or module"),
        (Scribbles, "observation kept", "copy an array"),
        (MixesRows, "batch", "its own observation"),
        (IgnoresRows, "batch", "observations.rows"),
        (TooFewRows, "trajectory", "one plan per row"),
        (Disagrees, "batch", "let one call the other"),
        (NeedsSomeone, "no agents", "ValueError"),
    ],
)
def test_a_fault_is_found_by_its_check(planner: type, check: str, words: str) -> None:
    report = check_planner(planner)
    assert not report.ok
    assert outcome(report, check) is Outcome.FAIL
    assert words in str(report)
    with pytest.raises(AssertionError, match=check):
        report.assert_ok()


def test_a_plan_that_depends_on_the_future_is_found() -> None:
    report = check_planner(Peeks)
    assert outcome(report, "no peeking") is Outcome.FAIL


def test_writing_on_the_map_is_found() -> None:
    report = check_planner(ScribblesOnTheMap)
    assert outcome(report, "trajectory") is Outcome.FAIL
    assert "read-only" in str(report)


def test_one_object_for_all_is_found() -> None:
    planner = Good()
    assert outcome(check_planner(lambda: planner), "independent") is Outcome.FAIL


def test_a_local_factory_cannot_be_sent_to_workers() -> None:
    report = check_planner(lambda: Good(), "mine")
    assert outcome(report, "picklable") is Outcome.FAIL
    assert str(report).startswith("planner mine\n")


@pytest.mark.parametrize(
    ("planner", "check", "words"),
    [
        (Slow, "speed", "ms per plan"),
        (Short, "trajectory", "most metrics judge 4 s"),
        (Repeats, "trajectory", "should be at dt"),
    ],
)
def test_a_weakness_is_a_warning(planner: type, check: str, words: str) -> None:
    report = check_planner(planner)
    assert report.ok
    assert outcome(report, check) is Outcome.WARN
    assert words in str(report)


def test_a_privileged_planner_is_named_so() -> None:
    assert outcome(check_planner(Privileged), "no peeking") is Outcome.NOTE


def spec(**changes: Any) -> MetricSpec:
    column = Column("mean_speed", "neither", "m/s", "Mean speed of the drive.", headline=True)
    return MetricSpec(**{"name": "speed", "version": "1", "columns": (column,), **changes})


class GoodMetric:
    spec = spec()

    def score(self, rollouts: RolloutBatch) -> Scores:
        return Scores(self.spec, {"mean_speed": self.values(rollouts)})

    def values(self, rollouts: RolloutBatch) -> np.ndarray:
        return np.array(
            [
                rollouts.ego[s, rollouts.now : rollouts.now + n + 1, EgoIndex.VX].mean()
                for s, n in enumerate(rollouts.length)
            ]
        )


def metric(
    values: Callable[[Any, RolloutBatch], np.ndarray] | None = None, **changes: Any
) -> type[GoodMetric]:
    return type("Changed", (GoodMetric,), {**({"values": values} if values else {}), **changes})


def read_padding(self: GoodMetric, rollouts: RolloutBatch) -> np.ndarray:
    return rollouts.ego[:, rollouts.now :, EgoIndex.VX].mean(axis=1)


def rank(self: GoodMetric, rollouts: RolloutBatch) -> np.ndarray:
    return np.arange(float(len(rollouts)))


def scribble(self: GoodMetric, rollouts: RolloutBatch) -> np.ndarray:
    rollouts.ego[..., EgoIndex.VX] = 1.0
    return np.ones(len(rollouts))


def count(self: GoodMetric, rollouts: RolloutBatch) -> np.ndarray:
    self.calls = getattr(self, "calls", 0.0) + 1.0
    return np.full(len(rollouts), self.calls)


def normalise(self: GoodMetric, rollouts: RolloutBatch) -> np.ndarray:
    values = GoodMetric.values(self, rollouts)
    return values - np.mean(values)


def with_extras(**extras: Any) -> type[GoodMetric]:
    def score(self: GoodMetric, rollouts: RolloutBatch) -> Scores:
        return Scores(self.spec, {"mean_speed": self.values(rollouts)}, **extras)

    return metric(score=score)


def test_a_sound_metric_passes() -> None:
    report = check_metric(GoodMetric)
    report.assert_ok()
    assert {f.outcome for f in report.findings} == {Outcome.PASS, Outcome.SKIP}


@pytest.mark.parametrize(
    ("factory", "check", "words"),
    [
        (metric(spec=None), "interface", "has no spec"),
        (metric(score=None), "interface", "has no score"),
        (metric(spec=spec(name="My Metric")), "spec", "kebab"),
        (metric(spec=spec(version="")), "spec", "spec.version"),
        (metric(spec=spec(columns=())), "spec", "at least one"),
        (metric(spec=spec(columns=(Column("a"), Column("a")))), "spec", "named twice"),
        (metric(spec=spec(columns=(Column("a", headline=True, doc="."),))), "values", "differ"),
        (metric(lambda self, r: np.ones(3)), "values", "shape (3,)"),
        (metric(lambda self, r: np.full(len(r), np.inf)), "values", "infinite"),
        (metric(score=lambda self, r: {}), "values", "returned dict"),
        (metric(count), "deterministic", "keep no state"),
        (metric(rank), "order", "on its own"),
        (metric(read_padding), "alone", "no further than length"),
        (metric(scribble), "rollouts kept", "copy before changing"),
        (metric(normalise), "failed case", "keep rows apart"),
        (with_extras(per_step={"x": np.zeros((4, 3))}), "per step", "[S, T + 1]"),
        (with_extras(events=([],)), "events", "one each"),
        (with_extras(events=([{"kind": "x"}], [], [], [])), "events", "`step`"),
        (metric(lambda self, r: np.ones(len(r))), "picklable", "top level"),
    ],
)
def test_a_metric_fault_is_found_by_its_check(
    factory: type[GoodMetric], check: str, words: str
) -> None:
    report = check_metric(factory)
    assert outcome(report, check) is Outcome.FAIL
    assert words in str(report)


def test_a_review_ends_where_a_planner_hangs() -> None:
    report = check_planner(Hangs, time_limit_s=1.0)
    assert outcome(report, "200 agents") is Outcome.FAIL
    assert report.findings[-1].check == "200 agents"
    assert "had not ended after 1 s, in plan (" in report.findings[-1].sentence
    assert "the review stops here" in str(report)


def test_a_planner_that_exits_does_not_end_the_review() -> None:
    report = check_planner(Leaves)
    assert outcome(report, "trajectory") is Outcome.FAIL
    assert "SystemExit" in str(report)


def test_a_headline_that_is_undefined_is_a_warning() -> None:
    report = check_metric(metric(lambda self, r: np.full(len(r), np.nan)))
    assert outcome(report, "defined") is Outcome.WARN


@pytest.mark.parametrize("signal", [None, *SignalState])
@pytest.mark.parametrize("agents", [0, 1, 50])
def test_the_kits_scenes_are_admitted_as_they_are(signal: SignalState | None, agents: int) -> None:
    for lanes, speed in ((1, 0.0), (3, 8.0)):
        scene = straight_road_scenario(lanes=lanes, speed=speed, agents=agents, signal=signal)
        assert admit(scene).repairs == ()


def test_moving_a_scene_there_and_back_leaves_it() -> None:
    scene = straight_road_scenario(origin=(0.0, 0.0, 0.0))
    there = moved(moved(scene, 0.0, 0.0, 0.7), 10.0, -5.0, 0.0)
    assert there.ego[0] != pytest.approx(scene.ego[0])
    back = moved(moved(there, -10.0, 5.0, 0.0), 0.0, 0.0, -0.7)
    assert back.ego == pytest.approx(scene.ego, abs=1e-9)
    assert back.agents.state == pytest.approx(scene.agents.state, abs=1e-9)
    assert back.map.area_polygon.values == pytest.approx(scene.map.area_polygon.values, abs=1e-9)


def test_an_observation_is_what_the_log_has() -> None:
    scenes = [straight_road_scenario(agents=3), straight_road_scenario(agents=9)]
    briefs = [brief_of(s) for s in scenes]
    batch = observe(scenes, 4, briefs, rows=[1])
    assert batch.briefs == (briefs[1],)
    assert batch[0].ego_state[-1] == pytest.approx(scenes[1].ego[scenes[1].start + 4])
    assert len(batch[0].agents_kind) == 9
    both = observe(scenes, 4, briefs)
    assert both[0].agents_state.shape == (3, 16, 5)
    assert not both.agents_valid[0, 3:].any()


def test_logged_rollouts_hold_the_log_and_its_plan() -> None:
    scenes = [straight_road_scenario(seconds=5.0), straight_road_scenario(speed=3.0, seconds=8.0)]
    rollouts = logged_rollouts(scenes)
    assert rollouts.length.tolist() == [50, 80]
    assert rollouts.ego.shape[1] == 16 + 80
    assert rollouts.ego[1, rollouts.now] == pytest.approx(scenes[1].ego[scenes[1].start])
    assert rollouts.plans[0].poses[0, -1] == pytest.approx([32.0, 0.0, 0.0], abs=1e-9)
