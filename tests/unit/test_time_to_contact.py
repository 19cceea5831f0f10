"""Time to contact: closed forms, the stepped oracle, and what is left out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_scenes import CAR, NOSE, NOW, Box, rollout, straight_ego
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy_metrics.batch import half_sizes, vehicles
from roadworthy_metrics.ttc import HORIZON_S, contact_interval, time_to_contact


def ttc(batch):
    steps = batch.ego.shape[1] - NOW
    out, who = np.full((1, steps), np.nan), np.full((1, steps), -7, np.int32)
    time_to_contact(
        batch.ego, vehicles(batch), batch.agents, batch.agents_valid, half_sizes(batch),
        NOW, batch.length, HORIZON_S, out, who,
    )  # fmt: skip
    return out[0], who[0]


def test_head_on_closes_at_the_sum_of_speeds():
    seconds, who = ttc(rollout(straight_ego(10.0, 10), (Box(60.0, 0.0, math.pi, 5.0),)))
    gap = 60.0 - CAR[0] / 2 - NOSE
    assert seconds == pytest.approx(gap / 15.0 - 0.1 * np.arange(11), abs=1e-9)
    assert (who == 0).all()


def test_perpendicular_crossing_is_decided_by_the_later_of_the_two_axes():
    half_width = 2.297 / 2
    enter = (20.0 - CAR[0] / 2 - half_width) / 8.0
    seconds, _ = ttc(rollout(straight_ego(10.0, 4), (Box(20.0, -20.0, math.pi / 2, 8.0),)))
    assert seconds[0] == pytest.approx(enter, abs=1e-9)
    reach = (30.0 - CAR[1] / 2 - NOSE) / 10.0
    seconds, _ = ttc(rollout(straight_ego(10.0, 4), (Box(30.0, -20.0, math.pi / 2, 8.0),)))
    assert seconds[0] == pytest.approx(reach, abs=1e-9)


def test_a_crossing_that_just_misses_has_no_contact():
    late = Box(20.0, -20.0, math.pi / 2, 2.0)
    assert (ttc(rollout(straight_ego(10.0, 4), (late,)))[0] == HORIZON_S).all()


@pytest.mark.parametrize(
    "box",
    [
        Box(20.0, 0.0, 0.0, 10.0),
        Box(20.0, 0.0, 0.0, 12.0),
        Box(-20.0, 0.0, 0.0, 20.0),
        Box(20.0, 4.0, math.pi, 10.0),
        Box(70.0, 0.0, 0.0, 0.0),
        Box(20.0, 0.0, 0.0, 0.0, first=50),
    ],
    ids=["same speed", "faster ahead", "from behind", "other lane", "beyond 5 s", "not there"],
)
def test_no_contact(box):
    seconds, who = ttc(rollout(straight_ego(10.0, 8), (box,)))
    assert (seconds == HORIZON_S).all()
    assert (who == -1).all()


def test_a_standing_ego_has_no_contact_and_an_overlap_is_zero():
    towards = Box(20.0, 0.0, math.pi, 10.0)
    assert (ttc(rollout(straight_ego(0.0, 8), (towards,)))[0] == HORIZON_S).all()
    assert (ttc(rollout(straight_ego(1.0, 8), (Box(4.0, 0.0),)))[0] == 0.0).all()


def test_the_nearest_of_several_counts():
    seconds, who = ttc(rollout(straight_ego(10.0, 1), (Box(50.0, 0.0), Box(30.0, 0.0))))
    assert who[0] == 1
    assert seconds[0] == pytest.approx((30.0 - CAR[0] / 2 - NOSE) / 10.0)


angles = st.floats(-math.pi, math.pi)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-30, 30), st.floats(-30, 30), st.floats(-15, 15), st.floats(-15, 15), angles, angles
)  # fmt: skip
def test_interval_agrees_with_stepping(dx, dy, wx, wy, yaw_a, yaw_b):
    a = (math.cos(yaw_a), math.sin(yaw_a), 2.5, 1.1)
    b = (math.cos(yaw_b), math.sin(yaw_b), 2.3, 0.9)
    first, last = contact_interval(dx, dy, wx, wy, *a, *b)
    for t in np.linspace(-3.0, 3.0, 61):
        if min(abs(t - first), abs(t - last)) > 1e-6 and abs(first - last) > 1e-6:
            meets = boxes_intersect(0.0, 0.0, *a, dx + wx * t, dy + wy * t, *b)
            assert meets == (first < t < last)
