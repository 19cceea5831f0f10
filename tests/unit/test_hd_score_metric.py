"""HD-Score: plans with known verdicts, key frames, and the total from its parts."""

import math

import numpy as np
import pytest
from metric_scenes import Box, rollout, straight_ego
from roadworthy.rollout import Plans
from roadworthy_metrics.hd_score import HDScore

TERMS = ("nc", "dac", "ttc", "com", "step_score")


def straight_plan(speed, dt=0.5, count=8, turn=0.0):
    along = speed * dt * np.arange(1, count + 1)
    return np.stack([along * math.cos(turn), along * math.sin(turn), np.full(count, turn)], axis=1)


def repeated(pose, steps=40, every=5, dt=0.5):
    step = np.arange(0, steps, every)
    return Plans(step, np.broadcast_to(pose, (len(step), *pose.shape)).copy(), dt)


def hd(pose, *boxes, ego=None, **options):
    plans = pose if isinstance(pose, Plans) else repeated(pose)
    ego = straight_ego(10.0, 40) if ego is None else ego
    scores = HDScore().score(rollout(ego, boxes, plans=plans, **options))
    return {name: float(v[0]) for name, v in scores.values.items()}, scores.per_step


def test_a_good_drive_scores_one():
    values, _ = hd(straight_plan(10.0))
    assert all(values[name] == 1.0 for name in (*TERMS, "hd_score", "route_completion"))


def test_a_plan_into_a_standing_car():
    values, per_step = hd(straight_plan(10.0), Box(60.0, 0.0))
    t = 0.5 * np.arange(8)
    meets = 10.0 * (t + 3.0) + 4.049 >= 60.0 - 2.3
    close = 10.0 * (t + 3.0 + 1.0) + 4.049 >= 60.0 - 2.3
    assert (per_step["nc"][0, :40:5] == ~meets).all()
    assert (per_step["ttc"][0, :40:5] == ~close).all()
    assert 0.0 < values["nc"] < 1.0
    assert values["step_score"] == pytest.approx(np.mean(~meets * (5 * ~close + 2) / 7))


def test_a_plan_off_the_road():
    assert hd(straight_plan(10.0, turn=0.6))[0]["dac"] == 0.0


def test_an_uncomfortable_plan_loses_two_sevenths():
    jerky = straight_plan(10.0)
    jerky[3:, 0] -= 4.0
    values, _ = hd(jerky)
    assert (values["com"], values["nc"], values["dac"], values["ttc"]) == (0.0, 1.0, 1.0, 1.0)
    assert values["step_score"] == pytest.approx(5.0 / 7.0)


def test_plans_are_judged_every_half_second_and_at_half_second_poses():
    dense = Plans(np.arange(40), np.stack([straight_plan(10.0, 0.1, 40)] * 40), 0.1)
    values, per_step = hd(dense, Box(60.0, 0.0))
    coarse, _ = hd(straight_plan(10.0), Box(60.0, 0.0))
    assert values == pytest.approx(coarse)
    assert np.flatnonzero(np.isfinite(per_step["nc"][0])).tolist() == list(range(0, 40, 5))


def test_agents_are_where_they_went():
    """A car that leaves the spot before the plan gets there, and one that has gone since."""
    values, _ = hd(repeated(straight_plan(10.0), steps=1), Box(20.0, 0.0, 0.0, 12.0))
    assert values["nc"] == 1.0
    values, _ = hd(repeated(straight_plan(10.0), steps=1), Box(25.0, 0.0, last=5))
    assert values["nc"] == 1.0


def test_half_the_progress_is_half_the_score():
    ego = straight_ego(5.0, 40)
    values, _ = hd(repeated(straight_plan(5.0)), ego=ego, log=straight_ego(10.0, 40))
    assert values["step_score"] == 1.0
    assert values["hd_score"] == values["route_completion"] == pytest.approx(0.5)


def test_without_plans_it_is_undefined():
    values = HDScore().score(rollout(straight_ego(10.0, 40))).values
    assert np.isnan(values["hd_score"]).all()
    assert np.isnan(values["nc"]).all()


def test_total_follows_from_the_parts():
    rng = np.random.default_rng(2)
    for _ in range(30):
        boxes = [Box(*rng.uniform((10, -4, -3, 0), (60, 4, 3, 10))) for _ in range(3)]
        got, per_step = hd(straight_plan(10.0, turn=rng.uniform(-0.3, 0.3)), *boxes)
        nc, dac, ttc, com, step = (per_step[name][0, :40:5] for name in TERMS)
        assert step == pytest.approx(nc * dac * (5 * ttc + 2 * com) / 7)
        assert got["step_score"] == pytest.approx(step.mean())
        assert got["hd_score"] == pytest.approx(got["route_completion"] * got["step_score"])
