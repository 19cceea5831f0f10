"""The open loop is NAVSIM's protocol: one plan, 40 steps, agents as logged."""

from __future__ import annotations

import numpy as np
import pytest
from roads import Agent, cases_of, host_of, make_scenario, standing, straight_road
from roadworthy.dynamics.simulate import simulate_plans
from roadworthy.errors import SimulatorError
from roadworthy.observation import Observation
from roadworthy.rollout import Status
from roadworthy.scenario import HISTORY
from roadworthy.trajectory import Trajectory
from roadworthy_simulators.open_loop import OpenLoop

NOW = HISTORY - 1


def curve(seconds: float, dt: float = 0.5) -> np.ndarray:
    t = np.arange(1, round(seconds / dt) + 1) * dt
    return np.column_stack([8.0 * t, 0.2 * t * t, 0.04 * t])


def scene(seconds: float = 8.0, **options):
    agents = [Agent(x=20.0, speed=5.0), Agent(x=40.0, y=3.0, speed=9.0, last=25)]
    return make_scenario(straight_road(1), agents, ego=(0, 0, 0.2, 8.0), seconds=seconds, **options)


def test_the_plan_is_tracked_for_forty_steps_while_the_log_replays() -> None:
    scenario = scene()
    calls: list[Observation] = []

    def plan(observation: Observation) -> Trajectory:
        calls.append(observation)
        return Trajectory(curve(4.0), 0.5)

    rollouts = OpenLoop().run(cases_of([scenario]), host_of(plan))
    assert [c.step for c in calls] == [0]
    assert rollouts.length.tolist() == [40]
    assert rollouts.ego.shape[1] == HISTORY + 40
    expected = simulate_plans(scenario.ego[NOW], curve(4.0)[None], 0.5, scenario.vehicle)[0]
    assert np.array_equal(rollouts.ego[0, NOW:], expected)
    rows = HISTORY + 40
    assert np.array_equal(rollouts.agents[0], scenario.agents.state[:, :rows])
    assert np.array_equal(rollouts.agents_valid[0], scenario.agents.valid[:, :rows])
    assert rollouts.plans[0].step.tolist() == [0]


@pytest.mark.parametrize("dt", [0.1, 0.25, 0.5, 1.0])
def test_longer_plans_are_cut(dt: float) -> None:
    cut, whole = (
        OpenLoop().run(cases_of([scene()]), host_of(lambda o, s=s: Trajectory(curve(s, dt), dt)))
        for s in (4.0, 6.0)
    )
    assert np.array_equal(cut.ego, whole.ego)


def test_a_short_plan_is_the_planners_error_and_names_the_poses_wanted() -> None:
    def plan(observation: Observation) -> Trajectory:
        seconds = 3.5 if observation.ego_state[-1, 0] == 0.0 else 4.0
        return Trajectory(curve(seconds), 0.5)

    other = make_scenario(straight_road(1), ego=(5.0, 0, 0, 8.0), seconds=8.0)
    rollouts = OpenLoop().run(cases_of([scene(), other]), host_of(plan))
    fault = rollouts.errors[0]
    assert fault is not None
    assert fault.status is Status.PLANNER_ERROR
    assert "3.50 s" in fault.message
    assert "8 poses at dt = 0.5" in fault.message
    assert rollouts.errors[1] is None
    assert rollouts.length.tolist() == [0, 40]


def test_a_log_of_less_than_four_seconds_is_no_scenario_for_it() -> None:
    rollouts = OpenLoop().run(cases_of([scene(3.0), scene()]), host_of(standing))
    fault = rollouts.errors[0]
    assert fault is not None
    assert fault.status is Status.INVALID_SCENARIO
    assert "3.0 s" in fault.message
    assert rollouts.errors[1] is None
    assert rollouts.length.tolist() == [0, 40]


def test_threads_do_not_change_the_result() -> None:
    cases = cases_of([scene() for _ in range(5)])
    plan = host_of(lambda o: Trajectory(curve(4.0), 0.5))
    one = OpenLoop().run(cases, plan)
    three = OpenLoop(threads=3).run(cases, host_of(lambda o: Trajectory(curve(4.0), 0.5)))
    assert np.array_equal(one.ego, three.ego)
    with pytest.raises(SimulatorError, match="threads"):
        OpenLoop(threads=0)
