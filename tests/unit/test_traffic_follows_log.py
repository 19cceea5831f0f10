"""Reactive traffic does what the log did until something makes it do otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from crossing_scenes import drive_standing, overlaps
from roads import CAR, Agent, Lane, cases_of, make_map, make_scenario, straight_road
from roadworthy.admission import admit
from roadworthy.host import PlannerHost
from roadworthy.scenario import DT, HISTORY, LaneKind, Scenario, SignalState
from roadworthy_metrics.pdms import PDMS
from roadworthy_planners.log_replay import LogReplay
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_simulators.world import World
from roadworthy_sources.argoverse2 import Argoverse2

NOW = HISTORY - 1
FAR = (-500.0, 500.0, 0.0, 0.0)
TRUCK = (9.5, 2.6, 3.2)


def along(speed: np.ndarray, x: float = 0.0, y: np.ndarray | float = 0.0) -> np.ndarray:
    """Poses [T, 3] of a log with these speeds [T], at `x` at step 0, heading where it goes."""
    arc = np.r_[0.0, np.cumsum(0.5 * (speed[1:] + speed[:-1]) * DT)]
    arc += x - arc[NOW]
    y = np.broadcast_to(y, arc.shape)
    dx, dy = np.gradient(arc), np.gradient(y)
    return np.column_stack([arc, y, np.where(dx > 1e-9, np.arctan2(dy, np.maximum(dx, 1e-9)), 0.0)])


def seconds(*parts: tuple[float, float, float]) -> np.ndarray:
    """Speeds [T] of a log: the first value in the history, then (seconds, from, to) each."""
    rows = [np.linspace(a, b, round(t / DT), endpoint=False) for t, a, b in parts]
    return np.r_[np.full(HISTORY, parts[0][1]), np.concatenate(rows)]


def driven(scenario: Scenario) -> World:
    world = World([scenario])
    drive_standing(world, scenario.horizon)
    return world


def assert_as_logged(world: World, agent: int = 0) -> None:
    log = world.scenarios[0].agents
    assert world.valid[0, agent].all()
    assert np.array_equal(world.agents[0, agent], log.state[agent])


STOPS = seconds((2.0, 8.0, 8.0), (4.0, 8.0, 0.0), (2.0, 0.0, 0.0), (4.0, 0.0, 8.0), (3.0, 8.0, 8.0))


def test_an_undisturbed_vehicle_has_its_logged_speeds_and_path() -> None:
    """A stop where the map has none, a slow start, and a wave about an offset of 0.6 m."""
    wave = 0.6 + 0.3 * np.sin(0.02 * np.arange(len(STOPS)))
    agent = Agent(poses=along(STOPS, 20.0, wave))
    assert_as_logged(driven(make_scenario(straight_road(1), [agent], ego=FAR)))


def test_a_logged_lane_change_is_driven_as_logged() -> None:
    over = 3.5 / (1.0 + np.exp(-0.12 * (np.arange(HISTORY + 150) - 80)))
    agent = Agent(poses=along(np.full(HISTORY + 150, 10.0), 20.0, over))
    world = driven(make_scenario(straight_road(2), [agent], ego=FAR))
    assert_as_logged(world)
    assert world._batch.agent["lane"][0, 0] == 1


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("side", [2.7, -2.7])
def test_a_parked_car_beside_the_path_is_passed(side: float, logged: bool) -> None:
    """2.7 m from centre to centre leave a truck 0.45 m; its speed never falls."""
    truck = Agent(x=20.0, speed=8.0, size=TRUCK, last=10**9 if logged else 0)
    parked = Agent(x=60.0, y=side)
    world = driven(make_scenario(straight_road(1), [truck, parked], ego=FAR, seconds=10.0))
    speed = np.hypot(*world.agents[0, 0, NOW:, 3:].T)
    assert speed.min() >= 8.0 - 1e-9
    assert not overlaps(world, 0)
    if logged:
        assert_as_logged(world)


def test_an_opposing_car_beside_the_path_is_passed() -> None:
    car, other = Agent(x=20.0, speed=8.0), Agent(x=120.0, y=2.9, yaw=np.pi, speed=6.0)
    world = driven(make_scenario(straight_road(1), [car, other], ego=FAR, seconds=10.0))
    assert_as_logged(world, 0)
    assert_as_logged(world, 1)


@pytest.mark.parametrize("logged", [True, False])
def test_a_parked_car_on_the_path_is_not(logged: bool) -> None:
    """The log drives through it: that log is not relied on."""
    car = Agent(x=20.0, speed=8.0, last=10**9 if logged else 0)
    world = driven(make_scenario(straight_road(1), [car, Agent(x=80.0, y=-1.5)], ego=FAR))
    front = world.agents[0, 0, -1, 0] + 0.5 * CAR[0]
    assert 73.0 < front < 80.0 - 0.5 * CAR[0]
    assert not overlaps(world, 0)


def test_who_is_late_does_not_stop_again_where_the_log_stopped_for_something_else() -> None:
    """Held up by an ego that stood where its log drove on, then left."""
    count = HISTORY + 300
    speed = np.r_[STOPS, np.full(count - len(STOPS), 8.0)]
    ego = along(np.full(count, 8.0), 60.0)
    scenario = make_scenario(
        straight_road(1), [Agent(poses=along(speed, 20.0))], ego_poses=ego, seconds=30.0
    )
    world = World([scenario])
    away = np.column_stack([np.r_[np.zeros(39), 12.0 * DT * np.arange(1, 262)], np.zeros((300, 2))])
    world.drive(np.arange(1), away[None], np.array([300]), np.array([DT]), 300)
    track = world.agents[0, 0, NOW:]
    assert world.ego[0, NOW + 30, 0] < 70.0
    assert track[100, 0] < scenario.agents.state[0, NOW + 100, 0]
    driven_speed = np.hypot(*track[:, 3:].T)
    assert driven_speed[-1] == pytest.approx(8.0, rel=0.11)
    assert driven_speed.max() <= 1.1 * 8.0 + 1e-9
    gap = world.ego[0, NOW:, 0] - 1.127 - track[:, 0] - 0.5 * CAR[0]
    assert gap.min() > 0.0


def test_who_tails_the_ego_in_the_log_brakes_only_if_the_ego_does() -> None:
    """A gap of half a second, far below what the model wants."""
    ego = along(np.full(HISTORY + 80, 10.0), 50.0)
    car = Agent(x=50.0 - 1.127 - 5.0 - 0.5 * CAR[0], speed=10.0)
    scenario = make_scenario(straight_road(1), [car], ego_poses=ego, seconds=8.0)
    world = World([scenario])
    plan = np.column_stack([10.0 * DT * np.arange(1, 81), np.zeros((80, 2))])
    world.drive(np.arange(1), plan[None], np.array([80]), np.array([DT]), 80)
    assert_as_logged(world)
    world = World([scenario])
    drive_standing(world, 80)
    assert np.hypot(*world.agents[0, 0, -1, 3:]) < 0.1
    gap = world.ego[0, NOW:, 0] - 1.127 - world.agents[0, 0, NOW:, 0] - 0.5 * CAR[0]
    assert gap.min() > 0.0


def test_a_log_that_runs_a_red_light_is_stopped() -> None:
    x = np.linspace(0.0, 200.0, 41)
    road = make_map(
        {
            "in": Lane(np.column_stack([x, np.zeros(41)]), next=("box",)),
            "box": Lane(np.column_stack([200.0 + x, np.zeros(41)]), kind=LaneKind.CONNECTOR),
        }
    )
    agent = Agent(x=100.0, speed=13.0)
    scenario = make_scenario(road, [agent], ego=FAR, signals={"box": SignalState.RED})
    assert driven(scenario).agents[0, 0, -1, 0] + 0.5 * CAR[0] <= 200.0


def test_who_is_as_logged_at_the_end_of_its_log_is_gone_with_it() -> None:
    agent = Agent(x=20.0, speed=8.0, last=40)
    world = driven(make_scenario(straight_road(1), [agent], ego=FAR))
    assert np.array_equal(world.valid[0], world.scenarios[0].agents.valid)


def test_gaps_in_a_log_are_bridged() -> None:
    agent = Agent(x=20.0, speed=8.0)
    scenario = make_scenario(straight_road(1), [agent], ego=FAR)
    scenario.agents.valid[0, NOW + 20 : NOW + 30] = False
    whole = scenario.agents.state.copy()
    scenario.agents.state[0, NOW + 20 : NOW + 30] = 0.0
    world = driven(scenario)
    assert world.valid[0].all()
    assert world.agents[0] == pytest.approx(whole, abs=1e-9)


@pytest.mark.real_logs
@pytest.mark.parametrize("replan_hz", [2.0, 10.0])
@pytest.mark.parametrize("traffic", ["idm", "replay"])
def test_log_replay_is_safe_on_real_logs(
    data_dir: Path, traffic: Literal["idm", "replay"], replan_hz: float
) -> None:
    """On every log the ego that does what it did touches nobody and stays on the road."""
    path = data_dir / "av2_logs"
    if not path.is_dir():
        pytest.skip(f"no Argoverse 2 logs in {data_dir}")
    scenarios = [admit(s) for s in Argoverse2(str(path)).scenarios()]
    assert scenarios
    loop = ClosedLoop(replan_hz=replan_hz, traffic=traffic)
    scores = PDMS().score(loop.run(cases_of(scenarios), PlannerHost(LogReplay))).values
    assert scores["nc"].tolist() == [1.0] * len(scenarios)
    assert scores["dac"].tolist() == [1.0] * len(scenarios)
