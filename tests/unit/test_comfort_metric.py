"""Comfort over rollouts: signals with known derivatives, bounds, and shares."""

import numpy as np
import pytest
from metric_scenes import NOW, rollout, straight_ego
from roadworthy_metrics.comfort import BOUNDS, Comfort


def scored(**columns):
    """Comfort of 4 s at 10 m/s with some ego columns replaced from step 0 on."""
    ego = straight_ego(10.0, 40)
    for index, values in columns.items():
        ego[NOW:, int(index[1:])] = values
    scores = Comfort().score(rollout(ego))
    return {name: float(v[0]) for name, v in scores.values.items()}, scores.per_step


T = 0.1 * np.arange(41)


def test_constant_velocity_is_comfortable():
    values, per_step = scored()
    assert values["comfortable"] == values["share_within"] == 1.0
    assert all(values[name] == 0.0 for name in values if name.startswith("max"))
    assert (per_step["within_bounds"] == 1.0).all()


def test_a_linear_acceleration_has_its_slope_as_jerk():
    values, _ = scored(_5=-1.0 + 0.5 * T)
    assert values["max_lon_accel"] == pytest.approx(1.0, abs=0.05)
    assert values["max_braking"] == pytest.approx(1.0)
    assert values["max_lon_jerk"] == pytest.approx(0.5, abs=0.07)
    assert values["comfortable"] == 1.0


def test_a_turn_accelerates_by_speed_times_yaw_rate():
    values, _ = scored(_2=0.3 * T)
    assert values["max_yaw_rate"] == pytest.approx(0.3)
    assert values["max_lat_accel"] == pytest.approx(3.0)
    assert values["max_yaw_accel"] == pytest.approx(0.0, abs=1e-6)
    assert values["comfortable"] == 1.0
    values, _ = scored(_2=0.6 * T)
    assert values["max_lat_accel"] == pytest.approx(6.0)
    assert values["comfortable"] == values["share_within"] == 0.0


def test_the_heading_may_pass_pi():
    heading = np.pi - 0.2 + 0.1 * T
    wrapped = (heading + np.pi) % (2 * np.pi) - np.pi
    assert scored(_2=wrapped)[0] == pytest.approx(scored(_2=heading)[0], abs=1e-6)


def test_the_share_counts_the_steps_beyond_bounds():
    values, per_step = scored(_5=np.where(T < 2.0, 0.0, -5.0))
    within = per_step["within_bounds"][0]
    assert values["comfortable"] == 0.0
    assert values["share_within"] == within.mean()
    assert within[:15].all()
    assert not within[25:].any()
    assert values["max_braking"] == pytest.approx(5.0, rel=0.1)


def test_the_verdict_follows_from_the_maxima():
    rng = np.random.default_rng(3)
    names = {"max_lat_accel": "lat_accel", "max_jerk": "jerk", "max_lon_jerk": "lon_jerk",
             "max_yaw_accel": "yaw_accel", "max_yaw_rate": "yaw_rate"}  # fmt: skip
    verdicts = set()
    for size in (0.1, 0.3, 0.5, 0.7, 1.0):
        values, _ = scored(_5=size * rng.normal(size=41), _2=0.02 * size * rng.normal(size=41))
        good = values["max_lon_accel"] < BOUNDS["lon_accel"][1]
        good &= -values["max_braking"] > BOUNDS["lon_accel"][0]
        good &= all(values[name] < BOUNDS[bound][1] for name, bound in names.items())
        assert values["comfortable"] == float(good)
        verdicts.add(good)
    assert verdicts == {True, False}


def test_a_rollout_too_short_to_differentiate_is_undefined():
    values = Comfort().score(rollout(straight_ego(10.0, 2))).values
    assert all(np.isnan(v).all() for v in values.values())
