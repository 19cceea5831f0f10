"""Speed of the closed loop: scenario-steps (0.1 s of one whole scene) per CPU-second.

    pytest benchmarks/test_simulator_speed.py --benchmark-columns=min,median

256 scenes of 15 s on a three-lane ring with IDM and MOBIL; what is timed is driving, set-up has
its own row. The rates stand in the extra columns. Goals: 60,000 run through with 32 agents
(scores included, so well above it here), 40,000 replanned at 2 Hz, 15,000 with 64 agents; two
threads 1.7 times one; 500 times highway-env with equally many vehicles.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from roads import ring_road, ring_scenario
from roadworthy.scenario import DT, HISTORY, Scenario
from roadworthy_simulators.world import World

SCENES = 256
STEPS = 150
NOW = HISTORY - 1


def ring_scenes(agents: int, logged: bool = False) -> list[Scenario]:
    road = ring_road()
    return [ring_scenario(road, agents, seed, logged=logged) for seed in range(SCENES)]


@pytest.fixture(scope="module")
def scenes() -> dict[int, list[Scenario]]:
    made = {agents: ring_scenes(agents) for agents in (32, 64)}
    run_through(World(made[32][:2]))
    replan(World(made[32][:2]))
    return made


def logged_plans(world: World) -> np.ndarray:
    """What the log did, as plans in the ego frame [S, 150, 3]."""
    plans = []
    for scenario in world.scenarios:
        log = scenario.ego[NOW:, :3]
        c, s = np.cos(log[0, 2]), np.sin(log[0, 2])
        ahead = log[1:] - log[0]
        plans.append(np.column_stack([ahead[:, :2] @ [[c, -s], [s, c]], ahead[:, 2]]))
    return np.stack(plans)


def run_through(world: World) -> None:
    """Follow one plan to the end."""
    n = len(world.scenarios)
    plans = logged_plans(world)
    world.drive(np.arange(n), plans, np.full(n, STEPS), np.full(n, DT), STEPS)


def replan(world: World, every: int = 5) -> None:
    """Observe the batch and plan straight on at the present speed, twice a second."""
    n = len(world.scenarios)
    rows, count, dt = np.arange(n), np.full(n, 8), np.full(n, 0.5)
    while world.step < STEPS:
        seen = world.observe(rows, [None] * n)
        plans = np.zeros((n, 8, 3))
        plans[:, :, 0] = seen.ego_state[:, -1, 3, None] * 0.5 * np.arange(1, 9)
        world.drive(rows, plans, count, dt, every)


@pytest.mark.benchmark(timer=time.process_time, min_rounds=5)
@pytest.mark.parametrize("agents", [32, 64])
@pytest.mark.parametrize("drive", [run_through, replan])
def test_scenario_steps(benchmark, scenes, agents, drive) -> None:
    benchmark.pedantic(drive, setup=lambda: ((World(scenes[agents]),), {}), rounds=5)
    rate = SCENES * STEPS / benchmark.stats.stats.min
    benchmark.extra_info["scenario_steps_per_cpu_second"] = round(rate)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("agents", [32, 64])
def test_set_up(benchmark, scenes, agents) -> None:
    benchmark.pedantic(World, args=(scenes[agents],), rounds=5, warmup_rounds=1)
    benchmark.extra_info["ms_per_scenario"] = 1e3 * benchmark.stats.stats.min / SCENES


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_threads(benchmark, scenes) -> None:
    def seconds(threads: int) -> float:
        best = np.inf
        for _ in range(5):
            world = World(scenes[32], threads=threads)
            begin = time.perf_counter()
            run_through(world)
            best = min(best, time.perf_counter() - begin)
            world.close()
        return best

    one = seconds(1)
    two = benchmark.pedantic(seconds, args=(2,), rounds=1)
    benchmark.extra_info["times_one_thread"] = one / two


@pytest.mark.benchmark(timer=time.process_time)
def test_against_highway_env(benchmark, scenes) -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="the comparison needs gymnasium")
    pytest.importorskip("highway_env", reason="the comparison needs highway-env")
    config = {
        "vehicles_count": 32,
        "lanes_count": 3,
        "simulation_frequency": 10,
        "policy_frequency": 10,
        "duration": 1000,
        "offscreen_rendering": True,
    }
    env = gymnasium.make("highway-v0", config=config)
    env.reset(seed=0)
    done, steps, spent = False, 0, 0.0
    while steps < 300:
        if done:
            env.reset(seed=steps)
        begin = time.process_time()
        done = env.step(1)[2]
        spent += time.process_time() - begin
        steps += 1
    theirs = steps / spent
    benchmark.pedantic(run_through, setup=lambda: ((World(scenes[32]),), {}), rounds=5)
    ours = SCENES * STEPS / benchmark.stats.stats.min
    benchmark.extra_info["highway_env_steps_per_second"] = theirs
    benchmark.extra_info["times_highway_env"] = ours / theirs
