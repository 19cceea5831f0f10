"""The planners without learning: constant velocity, log replay, IDM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from roadworthy import (
    DT,
    AgentKind,
    EgoIndex,
    PlannerError,
    Ragged,
    Route,
    Scenario,
    SignalState,
    Tracks,
)
from roadworthy.testing import brief_of, check_planner, moved, observe, straight_road_scenario
from roadworthy.vehicle import PACIFICA
from roadworthy_planners.constant_velocity import ConstantVelocity
from roadworthy_planners.idm import IDM
from roadworthy_planners.log_replay import LogReplay


@pytest.mark.parametrize("planner", [ConstantVelocity, LogReplay, IDM])
def test_conformance(planner: type) -> None:
    check_planner(planner).assert_ok()


def plan(planner: Any, scene: Scenario, step: int = 0) -> NDArray[np.float64]:
    """Poses [N, 3] of one case."""
    briefs = [brief_of(scene, needs_log=getattr(planner, "needs_log", False))]
    planner.reset_batch(briefs)
    poses: NDArray[np.float64] = planner.plan_batch(observe([scene], step, briefs)).poses[0]
    return poses


def with_ego(scene: Scenario, **columns: Any) -> Scenario:
    ego = scene.ego.copy()
    for name, value in columns.items():
        ego[:, EgoIndex[name]] = value
    return replace(scene, ego=ego)


class TestConstantVelocity:
    def test_is_straight_at_the_length_of_the_velocity(self) -> None:
        poses = plan(ConstantVelocity(), with_ego(straight_road_scenario(), VX=3.0, VY=-4.0))
        assert poses[:, 0] == pytest.approx([2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0])
        assert not poses[:, 1:].any()


class TestLogReplay:
    def test_plans_the_logged_poses(self) -> None:
        scene = turning(straight_road_scenario(origin=(0.0, 0.0, 0.0), seconds=8.0))
        for step in (0, 7, 29):
            poses = plan(LogReplay(), scene, step)
            now = scene.ego[scene.start + step]
            assert to_world(poses, now) == pytest.approx(
                scene.ego[scene.start + step + 1 :][:50, :3], abs=1e-9
            )

    def test_goes_on_straight_beyond_the_logs_end(self) -> None:
        scene = straight_road_scenario(speed=5.0, seconds=1.0)
        assert plan(LogReplay(), scene, 0)[-1] == pytest.approx([25.0, 0.0, 0.0], abs=1e-9)
        assert plan(LogReplay(), scene, 9)[-1] == pytest.approx([25.0, 0.0, 0.0], abs=1e-9)

    def test_stands_where_the_log_ends_standing(self) -> None:
        scene = straight_road_scenario(speed=0.0, seconds=1.0)
        assert not plan(LogReplay(), scene, 5).any()

    def test_headings_go_on_over_the_cut_at_pi(self) -> None:
        scene = turning(straight_road_scenario(origin=(0.0, 0.0, 0.0)), wrap=True)
        for heading in (0.0, 3.0, 6.2, -3.1):
            poses = plan(LogReplay(), moved(scene, 1.0, 2.0, heading))
            assert np.abs(np.diff(poses[:, 2], prepend=0.0)).max() < 0.1

    def test_needs_its_log(self) -> None:
        with pytest.raises(PlannerError, match="no log"):
            LogReplay().reset_batch([brief_of(straight_road_scenario())])


def turning(scene: Scenario, wrap: bool = False) -> Scenario:
    """The ego on a circle of 20 m at 8 m/s, headings cut at pi where `wrap`."""
    ego = scene.ego.copy()
    angle = 0.4 * DT * (np.arange(len(ego)) - scene.start)
    ego[:, EgoIndex.X], ego[:, EgoIndex.Y] = 20.0 * np.sin(angle), 20.0 * (1.0 - np.cos(angle))
    ego[:, EgoIndex.YAW] = (angle + np.pi) % (2.0 * np.pi) - np.pi if wrap else angle
    return replace(scene, ego=ego)


def to_world(poses: NDArray[np.float64], ego: NDArray[np.float64]) -> NDArray[np.float64]:
    cos, sin = np.cos(ego[EgoIndex.YAW]), np.sin(ego[EgoIndex.YAW])
    x = ego[EgoIndex.X] + cos * poses[:, 0] - sin * poses[:, 1]
    y = ego[EgoIndex.Y] + sin * poses[:, 0] + cos * poses[:, 1]
    return np.stack([x, y, ego[EgoIndex.YAW] + poses[:, 2]], -1)


class TestMerging:
    @pytest.mark.parametrize("planner", [LogReplay, IDM])
    @pytest.mark.parametrize(("beside", "heading"), [(1.5, 0.0), (-0.8, 0.2), (0.0, -0.3)])
    def test_an_ego_beside_its_path_comes_back_to_it(
        self, planner: type, beside: float, heading: float
    ) -> None:
        scene = road(8.0)
        briefs = [brief_of(scene, needs_log=True)]
        driver = planner()
        driver.reset_batch(briefs)
        observations = observe([scene], 0, briefs)
        ego = observations.ego_state[0, -1]
        ego[EgoIndex.Y], ego[EgoIndex.YAW] = beside, heading
        poses = driver.plan_batch(observations).poses[0]
        # The plan begins as the ego points, goes where it points, and ends on the path.
        assert np.abs(poses[0, 1:]).max() < 0.15
        step = np.diff(poses[:30, :2], axis=0)
        along = np.arctan2(step[:, 1], step[:, 0])
        assert along == pytest.approx(0.5 * (poses[1:30, 2] + poses[:29, 2]), abs=0.02)
        end = to_world(poses[-1:], ego)[0]
        assert end[1:] == pytest.approx([0.0, 0.0], abs=0.02)

    @pytest.mark.parametrize("planner", [LogReplay, IDM])
    def test_a_standing_ego_beside_its_path_stays(self, planner: type) -> None:
        scene = with_agents(road(0.0), (PACIFICA.front + 2.5, 0.0, 0.0, 0.0))
        briefs = [brief_of(scene, needs_log=True)]
        driver = planner()
        driver.reset_batch(briefs)
        observations = observe([scene], 0, briefs)
        observations.ego_state[0, -1, [EgoIndex.Y, EgoIndex.YAW]] = 0.6, 0.1
        assert np.abs(driver.plan_batch(observations).poses[0]).max() < 0.05


def with_agents(scene: Scenario, *boxes: tuple[float, float, float, float]) -> Scenario:
    """Cars of 4 by 2 m at (x, y, yaw, speed) instead of the scene's agents, at every step."""
    count, steps = len(boxes), scene.steps
    state = np.zeros((count, steps, 5))
    for a, (x, y, yaw, speed) in enumerate(boxes):
        state[a] = (x, y, yaw, speed * np.cos(yaw), speed * np.sin(yaw))
    return replace(
        scene,
        agents=Tracks(
            id=tuple(str(a) for a in range(count)),
            kind=np.full(count, AgentKind.VEHICLE, np.int8),
            size=np.tile([4.0, 2.0, 1.5], (count, 1)),
            state=state,
            valid=np.ones((count, steps), np.bool_),
        ),
    )


def road(speed: float = 8.0, **options: Any) -> Scenario:
    """A straight road along x with the ego at the origin, and nobody else."""
    return straight_road_scenario(speed=speed, agents=0, origin=(0.0, 0.0, 0.0), **options)


def follow(scene: Scenario, seconds: float, planner: IDM | None = None) -> Iterator[list[float]]:
    """Drives on plans followed to the letter, replanned at 10 Hz: yields (x, y, yaw, v)."""
    planner = planner or IDM()
    briefs = [brief_of(scene)]
    planner.reset_batch(briefs)
    observations = observe([scene], 0, briefs)
    ego = observations.ego_state[0, -1]
    for _ in range(round(seconds / DT)):
        poses = planner.plan_batch(observations).poses[0]
        speed = float(np.hypot(*poses[0, :2])) / DT
        ego[:3] = to_world(poses[:1], ego)[0]
        # The mean speed over a step, and that at its beginning, give the one at its end.
        ego[EgoIndex.VX] = max(0.0, 2.0 * speed - ego[EgoIndex.VX])
        yield [*ego[:3], float(ego[EgoIndex.VX])]


class TestIDM:
    def test_the_free_acceleration_is_treibers(self) -> None:
        poses = plan(IDM(), road(speed=8.0, length=5000.0))
        v = 8.0 + DT * (1.0 - (8.0 / 13.9) ** 4)
        assert poses[0, 0] == pytest.approx(0.5 * (8.0 + v) * DT, abs=1e-6)

    def test_the_acceleration_behind_a_leader_is_treibers(self) -> None:
        gap = 20.0
        scene = with_agents(road(speed=8.0), (PACIFICA.front + gap + 2.0, 0.0, 0.0, 6.0))
        wish = 1.0 + 8.0 * 1.5 + 8.0 * (8.0 - 6.0) / (2.0 * np.sqrt(1.0 * 3.0))
        v = 8.0 + DT * (1.0 - (8.0 / 13.9) ** 4 - (wish / gap) ** 2)
        assert plan(IDM(), scene)[0, 0] == pytest.approx(0.5 * (8.0 + v) * DT)

    def test_without_limits_the_option_is_the_target(self) -> None:
        scene = road(speed=6.0, length=5000.0)
        unlimited = replace(scene.map, lane_speed_limit=np.full(len(scene.map.lane_id), np.nan))
        poses = plan(IDM(target_speed=6.0), replace(scene, map=unlimited))
        assert poses[:, 0] == pytest.approx(0.6 * np.arange(1, 41), abs=1e-4)

    def test_a_lower_limit_ahead_is_met_by_comfortable_braking(self) -> None:
        scene = road(speed=13.0, length=400.0)
        limit = np.where(np.arange(6) % 3 == 0, 13.9, 5.0)  # from the junction on, 60 m ahead
        slow = replace(scene, map=replace(scene.map, lane_speed_limit=limit))
        driven = list(follow(slow, 14.0))
        assert max(v for x, _, _, v in driven if x > 64.0) < 6.0
        speeds = [13.0, *(v for *_, v in driven)]
        assert np.diff(speeds).min() / DT > -3.5

    @pytest.mark.parametrize("speed", [0.0, 4.0, 12.0])
    def test_stops_behind_a_standing_car(self, speed: float) -> None:
        scene = with_agents(road(speed), (50.0, 0.3, 0.1, 0.0))
        driven = list(follow(scene, 30.0))
        front = driven[-1][0] + PACIFICA.front
        assert 45.0 < front < 47.8
        assert driven[-1][3] < 0.2

    @pytest.mark.parametrize("speed", [0.0, 4.0, 12.0])
    def test_stops_at_a_red_light_and_not_at_others(self, speed: float) -> None:
        for state in SignalState:
            driven = list(follow(road(speed, signal=state), 20.0))
            front = driven[-1][0] + PACIFICA.front
            if state is SignalState.RED:
                assert 57.5 < front < 60.0
            else:
                assert front > 100.0

    def test_a_light_that_turns_red_behind_the_bumper_is_passed(self) -> None:
        scene = road(8.0, signal=SignalState.RED)
        shifted = moved(scene, -57.0, 0.0, 0.0)
        past = with_ego(shifted, X=scene.ego[:, EgoIndex.X])
        assert plan(IDM(), past)[-1, 0] > 30.0

    def test_a_red_light_of_another_lane_is_no_leader(self) -> None:
        scene = road(8.0, lanes=2, signal=SignalState.RED)
        ours = scene.signals.state.copy()
        ours[0] = SignalState.GREEN
        scene = replace(scene, signals=replace(scene.signals, state=ours))
        assert list(follow(scene, 15.0))[-1][0] > 80.0

    def test_the_routes_end_is_reached_by_the_rear_axle(self) -> None:
        driven = list(follow(road(8.0, length=160.0), 60.0))
        assert driven[-1][0] == pytest.approx(100.0, abs=0.5)

    @pytest.mark.parametrize(
        ("box", "in_the_way"),
        [
            ((30.0, 0.0, 0.0, 0.0), True),
            ((30.0, 2.0, 0.0, 0.0), True),
            ((30.0, 2.3, 0.0, 0.0), False),
            ((30.0, -2.3, 0.0, 0.0), False),
            ((30.0, 2.9, np.pi / 2, 0.0), True),
            ((30.0, 3.3, np.pi / 2, 0.0), False),
            ((-20.0, 0.0, 0.0, 0.0), False),
            ((-3.0, 0.0, 0.0, 8.0), False),
            ((140.0, 0.0, 0.0, 0.0), False),
        ],
    )
    def test_what_overlaps_the_corridor_ahead_leads(
        self, box: tuple[float, float, float, float], in_the_way: bool
    ) -> None:
        free = plan(IDM(), road())
        held = plan(IDM(), with_agents(road(), box))
        assert (held[-1, 0] < free[-1, 0] - 1.0) == in_the_way

    def test_a_long_vehicle_across_the_road_is_seen_between_its_corners(self) -> None:
        scene = with_agents(road(), (40.0, 0.0, np.pi / 2, 0.0))
        scene = replace(scene, agents=replace(scene.agents, size=np.array([[18.0, 2.5, 3.0]])))
        assert list(follow(scene, 20.0))[-1][0] + PACIFICA.front < 38.8

    def test_the_nearest_leads(self) -> None:
        boxes = [(60.0, 0.0, 0.0, 0.0), (30.0, 0.0, 0.0, 8.0), (90.0, 0.0, 0.0, 0.0)]
        near = plan(IDM(), with_agents(road(), boxes[1]))
        assert plan(IDM(), with_agents(road(), *boxes)) == pytest.approx(near)

    def test_agents_that_are_not_there_are_not_seen(self) -> None:
        scene = with_agents(road(), (20.0, 0.0, 0.0, 0.0))
        gone = replace(scene.agents, valid=np.zeros_like(scene.agents.valid))
        assert plan(IDM(), replace(scene, agents=gone)) == pytest.approx(plan(IDM(), road()))

    def test_curves_are_followed_within_the_lateral_acceleration(self) -> None:
        angle = np.linspace(0.0, np.pi / 2, 40)
        before = np.stack([np.arange(-60.0, 60.0, 2.0), *np.zeros((2, 60))], -1)
        curve = np.stack([60.0 + 15.0 * np.sin(angle), 15.0 - 15.0 * np.cos(angle), angle], -1)
        after = np.stack(
            [np.full(60, 75.0), 15.0 + np.arange(2.0, 122.0, 2.0), np.full(60, np.pi / 2)], -1
        )
        line = np.concatenate([before, curve, after])
        scene = road(10.0)
        bent = replace(
            scene,
            route=Route(np.arange(1), line),
            map=replace(
                scene.map,
                lane_id=("bend",),
                lane_centreline=Ragged.of([line], 3),
                lane_speed_limit=np.array([13.9]),
            ),
        )
        driven = np.array(list(follow(bent, 14.0)))
        offset = np.hypot(driven[:, None, 0] - line[:, 0], driven[:, None, 1] - line[:, 1]).min(1)
        assert offset.max() < 1.05  # half the spacing of the points
        turning = (driven[:, 2] > 0.2) & (driven[:, 2] < 1.3)
        assert (driven[turning, 3] ** 2 / 15.0).max() < 3.5
        assert driven[-1, 1] > 20.0

    @settings(max_examples=60, deadline=None)
    @given(
        speed=st.floats(0.0, 20.0),
        x=st.floats(8.0, 120.0),
        y=st.floats(-4.0, 4.0),
        yaw=st.floats(-3.2, 3.2),
        leader=st.floats(0.0, 15.0),
    )
    def test_plans_are_forward_smooth_and_within_what_tyres_give(
        self, speed: float, x: float, y: float, yaw: float, leader: float
    ) -> None:
        poses = plan(IDM(), with_agents(road(speed), (x, y, yaw, leader)))
        v = np.diff(poses[:, 0], prepend=0.0) / DT
        assert (v >= -1e-9).all()
        assert np.abs(poses[:, 1:]).max() < 1e-9
        assert np.diff(v).min() / DT > -8.0 - 1e-6
        assert np.diff(v).max() / DT < 1.0 + 1e-6

    @pytest.mark.parametrize("name", ["target_speed", "min_gap", "headway", "max_accel"])
    def test_parameters_must_be_positive(self, name: str) -> None:
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match=name):
                IDM(**{name: value})

    def test_a_plan_with_32_agents_costs_microseconds(self) -> None:
        scenes = [straight_road_scenario(agents=32, lanes=3, seed=i) for i in range(128)]
        briefs = [brief_of(s) for s in scenes]
        planner, observations = IDM(), observe(scenes, 0, briefs)
        planner.reset_batch(briefs)
        planner.plan_batch(observations)

        def microseconds() -> float:
            begin = time.process_time()
            planner.plan_batch(observations)
            return 1e6 * (time.process_time() - begin) / len(scenes)

        assert min(microseconds() for _ in range(20)) < 16.0  # about 5 on an idle core
