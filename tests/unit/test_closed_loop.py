"""The closed loop and its world: exact replay, bit identity, and nothing of the future."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from crossing_scenes import busy_crossing
from roads import (
    Agent,
    ConstantVelocity,
    FromFunction,
    cases_of,
    host_of,
    make_scenario,
    ring_road,
    ring_scenario,
    standing,
    straight_road,
)
from roadworthy.dynamics.simulate import simulate_plans
from roadworthy.errors import SimulatorError
from roadworthy.host import PlannerHost
from roadworthy.observation import Observation
from roadworthy.rollout import Case, RolloutBatch, Status
from roadworthy.scenario import HISTORY, Scenario, SignalState
from roadworthy.trajectory import Trajectory
from roadworthy.vehicle import EgoIndex
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_simulators.world import StartNoise, World

NOW = HISTORY - 1
RING = ring_road()


def mixed_scenes() -> list[Scenario]:
    """Different maps, horizons, numbers of agents, and signals."""
    road = straight_road(3)
    signals = {"l0": np.arange(HISTORY + 40) % 4}
    return [
        ring_scenario(RING, 20, 1, seconds=6.0),
        make_scenario(road, [Agent(x=30.0, speed=9.0)], ego=(0, 0, 0, 8.0), seconds=4.0,
                      signals=signals, name="road"),
        busy_crossing(3, seconds=5.0),
        ring_scenario(RING, 7, 2, seconds=3.0),
    ]  # fmt: skip


def equal_rollouts(a: RolloutBatch, i: int, b: RolloutBatch, j: int) -> bool:
    """Whether two rollouts are the same bits, padding aside."""
    if a.length[i] != b.length[j]:
        return False
    rows, agents = HISTORY + a.length[i], len(a.cases[i].scenario.agents)
    signals = len(a.cases[i].scenario.signals.lane)
    return (
        np.array_equal(a.ego[i, :rows], b.ego[j, :rows])
        and np.array_equal(a.agents[i, :agents, :rows], b.agents[j, :agents, :rows])
        and np.array_equal(a.agents_valid[i, :agents, :rows], b.agents_valid[j, :agents, :rows])
        and np.array_equal(a.signals[i, :signals, :rows], b.signals[j, :signals, :rows])
        and np.array_equal(a.plans[i].poses, b.plans[j].poses)
    )


@pytest.mark.parametrize("traffic", ["replay", "idm"])
def test_results_depend_neither_on_threads_nor_on_the_batch(traffic: str) -> None:
    cases = cases_of(mixed_scenes())
    together = ClosedLoop(traffic=traffic).run(cases, PlannerHost(ConstantVelocity))
    threaded = ClosedLoop(traffic=traffic, threads=3).run(cases, PlannerHost(ConstantVelocity))
    shuffled = ClosedLoop(traffic=traffic).run(cases[::-1], PlannerHost(ConstantVelocity))
    for i, case in enumerate(cases):
        alone = ClosedLoop(traffic=traffic).run([case], PlannerHost(ConstantVelocity))
        assert equal_rollouts(together, i, alone, 0)
        assert equal_rollouts(together, i, threaded, i)
        assert equal_rollouts(together, i, shuffled, len(cases) - 1 - i)


def test_replay_is_the_log_bit_by_bit() -> None:
    scenes = mixed_scenes()
    rollouts = ClosedLoop(traffic="replay").run(cases_of(scenes), host_of(standing))
    for i, scenario in enumerate(scenes):
        n, rows = len(scenario.agents), HISTORY + rollouts.length[i]
        assert rollouts.length[i] == scenario.horizon
        assert np.array_equal(rollouts.agents[i, :n, :rows], scenario.agents.state[:, :rows])
        assert np.array_equal(rollouts.agents_valid[i, :n, :rows], scenario.agents.valid[:, :rows])
        signals = len(scenario.signals.lane)
        assert np.array_equal(rollouts.signals[i, :signals, :rows], scenario.signals.state)
        assert np.array_equal(rollouts.ego[i, :HISTORY], scenario.ego[:HISTORY])


def test_the_ego_is_driven_by_the_tracker_and_the_bicycle() -> None:
    """One plan for the whole horizon is what the batch simulation of the same plan gives."""
    plan = np.column_stack([9.0 * np.arange(1, 9) * 0.5, 0.3 * np.arange(1, 9), np.full(8, 0.03)])
    scenario = make_scenario(straight_road(1), ego=(5.0, 1.0, 0.1, 8.0), seconds=4.0)
    host = host_of(lambda observation: Trajectory(plan, 0.5))
    rollouts = ClosedLoop(replan_hz=0.2).run(cases_of([scenario]), host)
    expected = simulate_plans(scenario.ego[NOW], plan[None], 0.5, scenario.vehicle, 50)[0]
    assert np.array_equal(rollouts.ego[0, NOW:], expected[:41])


def test_a_plan_that_ends_is_held_where_it_ends() -> None:
    scenario = make_scenario(straight_road(1), ego=(0.0, 0.0, 0.0, 5.0), seconds=10.0)
    host = host_of(lambda observation: Trajectory(np.array([[4.0, 0.0, 0.0]]), 1.0))
    rollouts = ClosedLoop(replan_hz=0.1).run(cases_of([scenario]), host)
    assert rollouts.ego[0, -1, EgoIndex.VX] == pytest.approx(0.0, abs=0.05)
    assert rollouts.ego[0, -1, EgoIndex.X] < 12.0


@pytest.mark.parametrize(("hz", "plans"), [(10.0, 40), (2.0, 8), (1.0, 4), (0.2, 1)])
def test_replans_come_at_their_rate(hz: float, plans: int) -> None:
    scenario = make_scenario(straight_road(1), ego=(0, 0, 0, 5.0), seconds=4.0)
    rollouts = ClosedLoop(replan_hz=hz).run(cases_of([scenario]), host_of(standing))
    assert rollouts.plans[0].step.tolist() == [i * round(10 / hz) for i in range(plans)]
    assert rollouts.plans[0].poses.shape == (plans, 8, 3)


def test_duration_ends_the_drive() -> None:
    cases = cases_of(mixed_scenes())
    rollouts = ClosedLoop(duration_s=3.5).run(cases, host_of(standing))
    assert rollouts.length.tolist() == [35, 35, 35, 30]
    assert rollouts.ego.shape[1] == HISTORY + 35


@pytest.mark.parametrize(
    "options",
    [
        {"replan_hz": 3.0},
        {"replan_hz": 0.0},
        {"replan_hz": 20.0},
        {"traffic": "smart"},
        {"duration_s": 0.0},
        {"threads": 0},
        {"start_yaw_rad": -0.1},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(SimulatorError, match=next(iter(options))):
        ClosedLoop(**options)


def test_a_failing_planner_stops_its_own_case_alone() -> None:
    scenes = [ring_scenario(RING, 5, seed, seconds=4.0) for seed in range(3)]
    cases = cases_of(scenes)

    class Sulks:
        count = itertools.count()

        def reset(self, brief: object) -> None:
            self.number = next(self.count)

        def plan(self, observation: Observation) -> Trajectory:
            if self.number == 1 and observation.step == 20:
                raise ValueError("no more")
            return standing(observation)

    rollouts = ClosedLoop().run(cases, PlannerHost(Sulks))
    fine = ClosedLoop().run(cases, host_of(standing))
    assert rollouts.length.tolist() == [40, 20, 40]
    assert [e is None for e in rollouts.errors] == [True, False, True]
    fault = rollouts.errors[1]
    assert fault is not None
    assert (fault.status, fault.type, fault.step) == (Status.PLANNER_ERROR, "ValueError", 20)
    assert not rollouts.ego[1, NOW + 21 :].any()
    for i in (0, 2):
        assert equal_rollouts(rollouts, i, fine, i)


def test_a_planner_that_fails_at_reset_is_not_driven() -> None:
    class Broken(FromFunction):
        def reset(self, brief: object) -> None:
            raise RuntimeError("not today")

    cases = cases_of([ring_scenario(RING, 3, 0, seconds=2.0)])
    rollouts = ClosedLoop().run(cases, PlannerHost(lambda: Broken(standing)))
    assert rollouts.length.tolist() == [0]
    assert rollouts.errors[0] is not None


@pytest.mark.parametrize("traffic", ["replay", "idm"])
def test_observations_hold_the_past_and_nothing_else(traffic: str) -> None:
    scenario = mixed_scenes()[1]
    seen: list[Observation] = []

    def look(observation: Observation) -> Trajectory:
        seen.append(observation)
        return standing(observation)

    rollouts = ClosedLoop(traffic=traffic, replan_hz=10.0).run(cases_of([scenario]), host_of(look))
    for step, observation in enumerate(seen):
        span = slice(step, step + HISTORY)
        assert observation.step == step
        assert np.array_equal(observation.ego_state, rollouts.ego[0, span])
        assert np.array_equal(observation.agents_state, rollouts.agents[0, :, span])
        assert np.array_equal(observation.agents_valid, rollouts.agents_valid[0, :, span])
        assert np.array_equal(observation.signal_state, scenario.signals.state[:, NOW + step])
        assert observation.brief.log is None
        for array in vars(observation).values():
            if isinstance(array, np.ndarray):
                owner = array if array.base is None else array.base
                assert owner.size <= array.size


def test_the_batch_that_is_observed_has_no_way_back_to_the_world() -> None:
    world = World(mixed_scenes())
    batch = world.observe(np.arange(4), [None] * 4)
    own = (world.ego, world.agents, world.valid, world.signals, *world._batch)
    for array in vars(batch).values():
        if isinstance(array, np.ndarray):
            assert not any(np.shares_memory(array, o) for o in own)
    assert not world.ego[:, NOW + 1 :].any()
    assert not world.agents[:, :, NOW + 1 :].any()
    assert not world.signals[:, :, NOW + 1 :].any()


def test_perturbed_starts_depend_on_the_seed_of_the_case_alone() -> None:
    scene = make_scenario(straight_road(1), ego=(0, 0, 0, 8.0), seconds=2.0)
    options = {"start_lateral_m": 0.5, "start_yaw_rad": 0.1, "start_speed_mps": 1.0}
    cases = [Case(scene, i, seed) for i, seed in enumerate((7, 2**63 + 5, 99, 7))]
    rollouts = ClosedLoop(**options).run(cases, host_of(standing))
    start = rollouts.ego[:, NOW]
    assert np.array_equal(start[0], start[3])
    assert len({tuple(row) for row in start}) == 3
    alone = ClosedLoop(**options).run(cases[1:2], host_of(standing))
    assert np.array_equal(alone.ego[0, NOW], start[1])
    lateral = StartNoise(lateral=0.5).draw(7)
    assert start[0, EgoIndex.Y] == lateral[0]
    assert (start[:, EgoIndex.VX] >= 0.0).all()
    assert np.array_equal(rollouts.ego[0, :NOW], scene.ego[:NOW])


def test_perturbations_have_the_asked_deviations() -> None:
    draws = np.array([StartNoise(0.5, 0.1, 2.0).draw(seed) for seed in range(2000)])
    assert draws.std(axis=0) == pytest.approx([0.5, 0.1, 2.0], rel=0.06)
    assert np.abs(draws.mean(axis=0) / [0.5, 0.1, 2.0]).max() < 0.08


def random_plans(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    poses = np.zeros((n, 8, 3))
    poses[:, :, 0] = np.cumsum(rng.uniform(0.0, 6.0, (n, 8)), axis=1)
    poses[:, :, 1] = rng.uniform(-0.2, 0.2, (n, 1)) * np.arange(8)
    return poses, np.full(n, 8), np.full(n, 0.5)


@pytest.mark.parametrize("traffic", ["replay", "idm"])
def test_a_restored_world_goes_on_bit_by_bit(traffic: str) -> None:
    scenes = mixed_scenes()
    rows = np.arange(len(scenes))
    rng = np.random.default_rng(5)
    first, second, third = (random_plans(rng, len(scenes)) for _ in range(3))
    world = World(scenes, traffic=traffic)
    world.drive(rows, *first, 10)
    saved = world.save()
    world.drive(rows, *second, 15)
    wanted = [a.copy() for a in (world.ego, world.agents, world.valid, world.signals)]
    later = world.save()
    for start in (world, World(scenes, traffic=traffic)):
        start.restore(saved)
        start.drive(rows, *third, 20)
        start.restore(saved)
        assert start.step == 10
        start.drive(rows, *second, 15)
        got = (start.ego, start.agents, start.valid, start.signals)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, got, strict=True))
        for a, b in zip(start.save().arrays, later.arrays, strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_world_can_be_driven_in_steps_of_any_length() -> None:
    scene = ring_scenario(RING, 16, 4, seconds=6.0)
    plan = np.column_stack([8.0 * np.arange(1, 61) * 0.1, np.zeros(60), np.zeros(60)])[None]
    world = World([scene])
    for steps in (1, 3, 7, 20):
        world.drive(np.arange(1), plan, np.array([60]), np.array([0.1]), steps)
    assert world.step == 31
    assert world.ego[0, : NOW + 32].any(axis=1).all()
    assert not world.ego[0, NOW + 32 :].any()
    with pytest.raises(ValueError, match="at least one step"):
        world.drive(np.arange(1), plan, np.array([60]), np.array([0.1]), 0)
    world.drive(np.arange(1), plan, np.array([60]), np.array([0.1]), 500)
    assert world.step == 60
    with pytest.raises(ValueError, match="has ended"):
        world.drive(np.arange(1), plan, np.array([60]), np.array([0.1]), 1)


def test_scenes_without_agents_or_lanes_are_driven() -> None:
    empty = make_scenario(straight_road(1), ego=(0, 0, 0, 5.0), seconds=2.0)
    rollouts = ClosedLoop().run(cases_of([empty]), host_of(standing))
    assert rollouts.errors == (None,)
    assert rollouts.agents.shape[1] == 0


def test_red_is_seen_by_the_planner_and_kept_in_the_rollout() -> None:
    state = np.full(HISTORY + 20, SignalState.RED)
    state[NOW + 10 :] = SignalState.GREEN
    scene = make_scenario(straight_road(1), seconds=2.0, signals={"l0": state})
    rollouts = ClosedLoop().run(cases_of([scene]), host_of(standing))
    assert np.array_equal(rollouts.signals[0, 0], state)


def test_an_adversary_keeps_to_its_log_among_traffic_that_reacts() -> None:
    """Both cars' logs drive through a stopped ego; only the one that may react stops for it."""
    road = straight_road(1)
    scene = make_scenario(road, [Agent(x=-40.0, speed=9.0)], ego=(30.0, 0, 0, 0.0), seconds=8.0)
    stubborn = replace(
        scene, id="stubborn", agents=replace(scene.agents, reactive=np.zeros(1, np.bool_))
    )
    rollouts = ClosedLoop(traffic="idm").run(cases_of([scene, stubborn]), host_of(standing))
    log = scene.agents.state[0, : HISTORY + 80, :2]
    assert np.array_equal(rollouts.agents[1, 0, : HISTORY + 80, :2], log)
    assert rollouts.agents[0, 0, NOW + 80, 0] < 26.0 < log[-1, 0]
