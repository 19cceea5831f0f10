"""The planner PDM-Closed: where it goes, and that nothing makes it fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from roadworthy import AgentKind, EgoIndex, LaneKind, Route, Scenario, SignalState, Tracks
from roadworthy.testing import brief_of, check_planner, observe, straight_road_scenario
from roadworthy.vehicle import PACIFICA
from roadworthy_planners.pdm_closed import PDMClosed


def test_conformance() -> None:
    check_planner(PDMClosed, time_limit_s=600.0).assert_ok()  # the first use compiles


def road(speed: float = 8.0, **options: Any) -> Scenario:
    """A straight road along x with the ego at the origin, and nobody else."""
    given: dict[str, Any] = {"agents": 0, "origin": (0.0, 0.0, 0.0)} | options
    return straight_road_scenario(speed=speed, **given)


def with_box(scene: Scenario, x: float, y: float, kind: AgentKind, count: int = 1) -> Scenario:
    """Standing boxes of 4 by 2 m, one behind the other from (x, y) on."""
    state = np.zeros((count, scene.steps, 5))
    state[..., 0], state[..., 1] = x + 6.0 * np.arange(count)[:, None], y
    tracks = Tracks(
        id=tuple(str(k) for k in range(count)),
        kind=np.full(count, kind, np.int8),
        size=np.tile([4.0, 2.0, 1.5], (count, 1)),
        state=state,
        valid=np.ones((count, scene.steps), np.bool_),
    )
    return replace(scene, agents=tracks)


def plan(scene: Scenario, **ego: float) -> NDArray[np.float64]:
    """Poses [40, 3] from the scene's present, with some of the ego's state replaced."""
    planner, briefs = PDMClosed(), [brief_of(scene)]
    planner.reset_batch(briefs)
    observations = observe([scene], 0, briefs)
    for name, value in ego.items():
        observations.ego_state[0, -1, EgoIndex[name]] = value
    poses: NDArray[np.float64] = planner.plan_batch(observations).poses[0]
    assert poses.shape == (40, 3)
    assert np.isfinite(poses).all()
    return poses


def test_a_free_road_is_driven_faster() -> None:
    poses = plan(road(speed=8.0))
    assert 38.0 < poses[-1, 0] < 48.0
    assert np.abs(poses[:, 1:]).max() < 1e-6


@pytest.mark.parametrize("kind", [AgentKind.VEHICLE, AgentKind.PEDESTRIAN, AgentKind.BARRIER])
def test_it_does_not_drive_into_what_stands_ahead(kind: AgentKind) -> None:
    poses = plan(with_box(road(speed=8.0), 26.0, 0.0, kind))
    assert poses[-1, 0] + PACIFICA.front < 24.0


def test_a_red_light_is_kept_and_a_green_one_passed() -> None:
    def furthest(state: SignalState) -> float:
        return float(plan(road(speed=8.0, signal=state), X=30.0)[-1, 0])

    assert furthest(SignalState.RED) + PACIFICA.front < 30.5
    assert furthest(SignalState.GREEN) > 35.0


def test_an_ego_beside_the_road_comes_back_to_its_path() -> None:
    poses = plan(road(speed=8.0), Y=1.4, YAW=0.1)
    assert np.abs(poses[0]).max() < 1.0
    # In the ego's frame, the path runs 1.4 m to the right and 0.1 rad clockwise.
    cos, sin = np.cos(0.1), np.sin(0.1)
    y = 1.4 + sin * poses[:, 0] + cos * poses[:, 1]
    assert y[0] == pytest.approx(1.4, abs=0.2)
    assert min(abs(y[-1] - offset) for offset in (-1.0, 0.0, 1.0)) < 0.05


def test_a_plan_belongs_to_its_row_and_not_to_the_batch() -> None:
    scenes = [straight_road_scenario(seed=k, agents=4 + 9 * k) for k in range(3)]
    briefs = [brief_of(scene) for scene in scenes]
    planner = PDMClosed()
    planner.reset_batch(briefs)
    together = planner.plan_batch(observe(scenes, 0, briefs)).poses
    for k, scene in enumerate(scenes):
        assert (together[k] == plan(scene)).all()


def _no_route(scene: Scenario) -> Scenario:
    return replace(scene, route=replace(scene.route, lanes=np.zeros(0, np.int64)))


def _bike_route(scene: Scenario) -> Scenario:
    kinds = np.full(len(scene.map.lane_id), LaneKind.BIKE, np.int8)
    return replace(scene, map=replace(scene.map, lane_kind=kinds))


def _short_route(scene: Scenario) -> Scenario:
    return replace(scene, route=Route(scene.route.lanes, scene.route.centreline[:2]))


def _doubled_route(scene: Scenario) -> Scenario:
    line = np.repeat(scene.route.centreline, 2, axis=0)
    return replace(scene, route=Route(scene.route.lanes, line))


def _no_limits(scene: Scenario) -> Scenario:
    limits = np.full(len(scene.map.lane_id), np.nan)
    return replace(scene, map=replace(scene.map, lane_speed_limit=limits))


@pytest.mark.parametrize(
    "odd",
    [_no_route, _bike_route, _short_route, _doubled_route, _no_limits,
     lambda scene: with_box(scene, 9.0, 0.5, AgentKind.VEHICLE, 300),
     lambda scene: with_box(scene, 0.0, 0.0, AgentKind.VEHICLE, 2)],
    ids=["no lanes", "bike lanes", "two points", "doubled points", "no limits", "300 agents",
         "overlapping"],
)  # fmt: skip
@pytest.mark.parametrize(
    "ego",
    [{}, {"VX": 0.0}, {"VX": -1.0}, {"Y": 300.0}, {"X": 5000.0}, {"YAW": 3.1}, {"VX": 40.0},
     {"STEER": 1.0, "AX": -9.0, "VY": 2.0}],
    ids=["as it is", "standing", "backwards", "off the road", "past the end", "against",
         "too fast", "skidding"],
)  # fmt: skip
def test_odd_scenes_are_planned(odd: Any, ego: dict[str, float]) -> None:
    plan(odd(road(agents=6, signal=SignalState.RED)), **ego)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-400.0, 400.0), y=st.floats(-60.0, 60.0), yaw=st.floats(-7.0, 7.0),
    speed=st.floats(-2.0, 35.0), seed=st.integers(0, 20),
)  # fmt: skip
def test_any_ego_is_planned_for(x: float, y: float, yaw: float, speed: float, seed: int) -> None:
    poses = plan(road(seed=seed, agents=20), X=x, Y=y, YAW=yaw, VX=speed)
    assert np.hypot(*poses[0, :2]) < 0.2 + 0.2 * abs(speed)
    assert np.hypot(*np.diff(poses[:, :2], axis=0).T).max() < 0.2 + 0.2 * abs(speed) + 0.7
