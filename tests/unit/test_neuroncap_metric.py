"""NeuroNCAP: known impact speeds, and the reference of taking no action."""

import math

import numpy as np
import pytest
from metric_scenes import CAR, NOSE, NOW, Box, rollout, straight_ego
from roadworthy_metrics.neuroncap import NeuroNCAP


def neuroncap(ego, *boxes):
    scores = NeuroNCAP().score(rollout(ego, boxes))
    return {name: float(v[0]) for name, v in scores.values.items()}, scores.events[0]


def braking_ego(speed, deceleration, steps, after=0.0):
    """Constant deceleration from `after` seconds on, to a stop."""
    ego = straight_ego(speed, steps)
    t = np.maximum(0.0, 0.1 * np.arange(steps + 1) - after)
    stop = speed / deceleration
    held = np.minimum(t, stop)
    ego[NOW:, 0] = speed * (np.minimum(0.1 * np.arange(steps + 1), after) + held)
    ego[NOW:, 0] -= 0.5 * deceleration * held**2
    ego[NOW:, 3] = speed - deceleration * held
    return ego


def test_no_collision_is_five_stars():
    values, events = neuroncap(straight_ego(10.0, 40))
    assert values["neuroncap"] == 5.0
    assert math.isnan(values["impact_speed"])
    assert events == []


def test_taking_no_action_is_no_star():
    values, _ = neuroncap(straight_ego(10.0, 40), Box(40.0, 0.0, math.pi, 5.0))
    assert values["impact_speed"] == values["reference_speed"] == pytest.approx(15.0)
    assert values["neuroncap"] == pytest.approx(0.0)
    assert values["reference_collision"] == 1.0


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi])
def test_impact_speed_is_that_of_the_relative_velocity(yaw):
    box = Box(20.0 - 4.0 * math.cos(yaw), -4.0 * math.sin(yaw), yaw, 2.0)
    values, _ = neuroncap(straight_ego(10.0, 40), box)
    relative = math.hypot(10.0 - 2.0 * math.cos(yaw), 2.0 * math.sin(yaw))
    assert values["impact_speed"] == pytest.approx(relative)


def test_braking_softens_the_impact():
    deceleration, at = 4.0, 14.0
    values, events = neuroncap(braking_ego(10.0, deceleration, 60), Box(at, 0.0))
    gap = at - CAR[0] / 2 - NOSE
    time = (10.0 - math.sqrt(100.0 - 2 * deceleration * gap)) / deceleration
    step = math.ceil(10.0 * time)
    assert events[0]["step"] == step
    assert values["impact_speed"] == pytest.approx(10.0 - deceleration * 0.1 * step)
    assert values["reference_speed"] == pytest.approx(10.0)
    assert values["neuroncap"] == pytest.approx(4.0 * (1.0 - values["impact_speed"] / 10.0))


def test_stopping_short_is_five_stars_where_no_action_would_have_crashed():
    values, _ = neuroncap(braking_ego(10.0, 4.0, 60), Box(25.0, 0.0))
    assert (values["neuroncap"], values["reference_collision"]) == (5.0, 1.0)


def test_a_needless_collision_is_measured_by_the_initial_speed():
    """The ego brakes in front of a follower that no action would have kept at a distance."""
    follower = Box(-8.0, 0.0, 0.0, 10.0)
    values, _ = neuroncap(braking_ego(10.0, 4.0, 60, after=1.0), follower)
    assert values["reference_collision"] == 0.0
    assert values["reference_speed"] == 10.0
    assert 0.0 < values["impact_speed"] < 10.0
    assert values["neuroncap"] == pytest.approx(4.0 * (1.0 - values["impact_speed"] / 10.0))


def test_a_standing_ego_that_is_hit_has_no_star():
    values, _ = neuroncap(straight_ego(0.0, 40), Box(20.0, 6.0, -math.pi / 2, 1.5))
    assert values["neuroncap"] == 5.0
    ego = straight_ego(0.0, 40)
    ego[NOW + 1 :, 0] = 0.5 * np.arange(40)
    ego[NOW + 1 :, 3] = 5.0
    values, _ = neuroncap(ego, Box(12.0, 0.0))
    assert (values["reference_speed"], values["neuroncap"]) == (0.0, 0.0)


def test_an_overlap_at_the_start_is_nobodys_doing():
    values, _ = neuroncap(straight_ego(10.0, 40), Box(3.0, 0.0, 0.0, 10.0))
    assert values["neuroncap"] == 5.0


def test_of_two_met_at_once_the_harder_impact_counts():
    boxes = (Box(20.0, 1.0), Box(20.0 + 0.5 * 1.2, -1.0, math.pi, 0.5))
    values, events = neuroncap(straight_ego(10.0, 40), *boxes)
    assert events[0]["agent"] == 1
    assert values["impact_speed"] == pytest.approx(10.5)


def test_total_follows_from_the_columns():
    rng = np.random.default_rng(1)
    for _ in range(40):
        box = Box(*rng.uniform((5, -4, -3, 0), (40, 4, 3, 10)))
        got, _ = neuroncap(braking_ego(10.0, 2.0, 40), box)
        expected = 5.0
        if got["collision"]:
            expected = 4.0 * max(0.0, 1.0 - got["impact_speed"] / got["reference_speed"])
        assert got["neuroncap"] == pytest.approx(expected)
