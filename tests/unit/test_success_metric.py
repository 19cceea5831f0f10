"""Success and progress of hand-made rollouts."""

from dataclasses import replace

import numpy as np
import pytest
from metric_scenes import Box, rollout, straight_ego
from roadworthy.rollout import CaseError, Status
from roadworthy_metrics.success import Success

COLUMNS = {column.name for column in Success.spec.columns}


def success(ego, *boxes, **options):
    values = Success().score(rollout(ego, boxes, **options)).values
    assert values.keys() == COLUMNS
    return {name: float(value[0]) for name, value in values.items()}


def test_driving_as_the_log_did():
    got = success(straight_ego(10.0, 40))
    assert got["success"] == got["route_completion"] == got["progress_ratio"] == 1.0
    assert got["progress_m"] == got["progress_logged_m"] == pytest.approx(40.0)
    assert got["stalled"] == got["off_road"] == got["collision_at_fault"] == 0.0


def test_an_at_fault_collision_fails_and_a_rear_end_does_not():
    assert success(straight_ego(10.0, 40), Box(30.0, 0.0))["success"] == 0.0
    got = success(straight_ego(10.0, 40), Box(-15.0, 0.0, 0.0, 15.0))
    assert (got["success"], got["success_strict"], got["collision_any"]) == (1.0, 0.0, 1.0)


def test_leaving_the_drivable_area_fails():
    ego = straight_ego(10.0, 40, y=13.8)
    assert success(ego)["success"] == 1.0
    ego = straight_ego(10.0, 40, y=13.9)
    got = success(ego)
    assert (got["success"], got["off_road"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("speed", "ratio", "completion", "stalled"),
    [(0.0, 0.0, 0.0, 1.0), (0.9, 0.09, 0.09, 1.0), (1.1, 0.11, 0.11, 0.0), (15.0, 1.5, 1.0, 0.0)],
)
def test_progress_against_the_log(speed, ratio, completion, stalled):
    got = success(straight_ego(speed, 40), log=straight_ego(10.0, 40))
    assert got["progress_ratio"] == pytest.approx(ratio)
    assert got["route_completion"] == pytest.approx(completion)
    assert got["stalled"] == stalled


def test_a_log_that_hardly_moved_is_no_yardstick():
    got = success(straight_ego(0.0, 40), log=straight_ego(1.2, 40))
    assert got["route_completion"] == 1.0
    assert np.isnan(got["progress_ratio"])
    assert np.isnan(got["stalled"])
    assert got["progress_logged_m"] == pytest.approx(4.8)


def test_the_log_is_taken_at_the_time_that_the_rollout_reached():
    got = success(straight_ego(10.0, 20), log=straight_ego(10.0, 60))
    assert got["progress_ratio"] == pytest.approx(1.0)


def test_driving_backwards_is_no_progress():
    assert success(straight_ego(-3.0, 40), log=straight_ego(5.0, 40))["progress_m"] == 0.0


def test_a_failed_case_is_no_success():
    batch = rollout(straight_ego(10.0, 40))
    failed = replace(batch, errors=(CaseError(Status.PLANNER_ERROR, "ValueError", "no"),))
    assert Success().score(failed).values["success"] == [0.0]
