"""Safety: who is at fault, which cases belong to which metric, and what changes nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_scenes import Box, rollout, straight_ego, turned
from roadworthy.scenario import AgentKind
from roadworthy_metrics.comfort import Comfort
from roadworthy_metrics.hd_score import HDScore
from roadworthy_metrics.neuroncap import NeuroNCAP
from roadworthy_metrics.safety import Safety
from roadworthy_metrics.success import Success

PERSON = (0.6, 0.6, 1.7)
CONE = (0.4, 0.4, 0.7)
GROUPED = (
    "pedestrian_cyclist_collision",
    "intersection_collision",
    "cut_in_collision",
    "cut_in_ttc",
    "dynamic_collision",
    "static_collision",
)


def safety(*boxes, tags=("common",), speed=10.0, steps=50, **options):
    scores = Safety().score(rollout(straight_ego(speed, steps), boxes, tags, **options))
    return {name: float(value[0]) for name, value in scores.values.items()}, scores.events[0]


@pytest.mark.parametrize(
    ("box", "speed", "how", "at_fault"),
    [
        (Box(40.0, 0.0, math.pi, 5.0), 10.0, "active_front", True),
        (Box(30.0, 0.0), 10.0, "stopped_track", True),
        (Box(-15.0, 0.0, 0.0, 15.0), 10.0, "active_rear", False),
        (Box(0.0, 3.5, -0.2, 10.0 / math.cos(0.2)), 10.0, "active_lateral", False),
        (Box(20.0, 0.0, math.pi, 5.0), 0.0, "stopped_ego", False),
    ],
)
def test_fault(box, speed, how, at_fault):
    values, events = safety(box, speed=speed)
    met = [event for event in events if event["kind"] == "collision"]
    assert [(e["how"], e["at_fault"]) for e in met] == [(how, at_fault)]
    assert values["collision_any"] == 1.0
    assert values["collision_at_fault"] == values["dynamic_collision"] == float(at_fault)


def test_a_side_collision_between_lanes_is_the_egos_fault():
    box = Box(0.0, 4.6, -0.2, 10.0 / math.cos(0.2))
    ego = straight_ego(10.0, 30, y=1.2)
    values = Safety().score(rollout(ego, (box,))).values
    assert values["collision_at_fault"] == [1.0]


def test_the_step_of_a_collision():
    _, events = safety(Box(40.0, 0.0, math.pi, 5.0))
    gap = 40.0 - 2.3 - 4.049
    assert events[0]["step"] == math.ceil(gap / 15.0 * 10.0)


@pytest.mark.parametrize(
    ("tags", "defined"),
    [
        (("common",), {"dynamic_collision", "static_collision"}),
        (("real",), {"dynamic_collision", "static_collision"}),
        ((), {"dynamic_collision", "static_collision"}),
        (("common", "intersection"), {"dynamic_collision", "static_collision"}),
        (("rare",), set()),
        (("rare", "pedestrian_cyclist"), {"pedestrian_cyclist_collision"}),
        (("rare", "intersection"), {"intersection_collision"}),
        (("rare", "cut_in"), {"cut_in_collision", "cut_in_ttc"}),
        (("rare", "cut_in", "intersection"),
         {"cut_in_collision", "cut_in_ttc", "intersection_collision"}),
    ],
)  # fmt: skip
def test_a_case_counts_for_the_metrics_of_its_group_alone(tags, defined):
    person = Box(40.0, 0.0, math.pi, 5.0, size=PERSON, kind=AgentKind.PEDESTRIAN)
    values, _ = safety(person, tags=tags)
    assert {name for name in GROUPED if not math.isnan(values[name])} == defined
    for name in defined - {"static_collision"}:
        assert values[name] == 1.0
    assert values["collision_at_fault"] == values["ttc"] == 1.0


def test_kinds():
    person = Box(40.0, 0.0, size=PERSON, kind=AgentKind.PEDESTRIAN)
    rider = Box(40.0, 0.0, size=PERSON, kind=AgentKind.BICYCLE)
    cone = Box(40.0, 0.0, size=CONE, kind=AgentKind.TRAFFIC_CONE)
    tags = ("rare", "pedestrian_cyclist")
    for box, expected in ((person, 1.0), (rider, 1.0), (cone, 0.0), (Box(40.0, 0.0), 0.0)):
        assert safety(box, tags=tags)[0]["pedestrian_cyclist_collision"] == expected
    values, _ = safety(cone)
    assert (values["static_collision"], values["dynamic_collision"]) == (1.0, 0.0)
    values, _ = safety(person)
    assert (values["static_collision"], values["dynamic_collision"]) == (0.0, 1.0)


def test_a_near_miss_is_a_ttc_event_but_no_collision():
    braking = straight_ego(10.0, 30)
    t = 0.1 * np.arange(31)
    braking[15:, 3] = np.maximum(0.0, 10.0 - 5.0 * t)
    braking[16:, 0] = np.cumsum(0.1 * braking[15:-1, 3])
    values = Safety().score(rollout(braking, (Box(17.5, 0.0),), ("rare", "cut_in"))).values
    assert values["cut_in_ttc"] == [1.0]
    assert values["cut_in_collision"] == values["collision_any"] == [0.0]
    assert 0.0 < values["min_ttc"][0] < 1.0


def test_alone_on_the_road():
    values, events = safety()
    assert events == []
    assert values["distance_m"] == pytest.approx(50.0)
    assert values["min_ttc"] == 5.0
    assert not any(values[c.name] for c in Safety.spec.columns if c.per_distance
                   and not math.isnan(values[c.name]))  # fmt: skip


def test_every_event_column_can_be_given_per_distance():
    columns = {c.name: c for c in Safety.spec.columns}
    assert all(columns[name].per_distance for name in GROUPED)
    assert "distance_m" in columns


def crowd(seed):
    """A speed and up to four boxes, drawn so that no two things touch to the last bit."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform((-30, -8, -math.pi, 0), (60, 8, math.pi, 15), (rng.integers(1, 5), 4))
    return rng.uniform(0.0, 12.0), tuple(Box(*row) for row in rows)


seeds = st.integers(0, 2**32)
METRICS = (Safety(), Success(), Comfort(), NeuroNCAP(), HDScore())


def everything(batch):
    return {
        (m.spec.name, name): value for m in METRICS for name, value in m.score(batch).values.items()
    }


def assert_same(left, right, tolerance=0.0):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=tolerance, err_msg=str(name))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_padding_and_far_agents_change_nothing(seed):
    speed, around = crowd(seed)
    ego = straight_ego(speed, 30)
    plain = everything(rollout(ego, around))
    padded = rollout(ego, around, spare_agents=3, spare_steps=7)
    assert_same(plain, everything(padded))
    far = Box(5_000.0, 5_000.0, 0.3, 10.0)
    assert_same(plain, everything(rollout(ego, (*around, far))))


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(-math.pi, math.pi), st.floats(-1e3, 1e3))
def test_moving_and_turning_the_world_changes_nothing(seed, angle, shift):
    speed, around = crowd(seed)
    batch = rollout(straight_ego(speed, 30), around)
    moved = turned(batch, angle, shift, -2.0 * shift)
    assert_same(everything(batch), everything(moved), tolerance=1e-6)


def test_rows_of_a_batch_do_not_touch_each_other():
    a = rollout(straight_ego(10.0, 30), (Box(40.0, 0.0, math.pi, 5.0),))
    b = rollout(straight_ego(5.0, 30), (Box(10.0, 3.5, 0.0, 5.0),))
    both = replace(
        a,
        cases=a.cases + b.cases,
        errors=a.errors + b.errors,
        plans=a.plans + b.plans,
        **{
            name: np.concatenate([getattr(a, name), getattr(b, name)])
            for name in ("length", "ego", "agents", "agents_valid", "signals")
        },
    )
    together = everything(both)
    for row, alone in enumerate((everything(a), everything(b))):
        assert_same({k: v[row : row + 1] for k, v in together.items()}, alone)
