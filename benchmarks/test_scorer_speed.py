"""Time of the PDM Score: many plans of one moment, PDM-Closed, and whole drives.

    pytest benchmarks/test_scorer_speed.py --benchmark-columns=min,median

CPU time of this process, one thread. The scenes are procedural four-way intersections, whose
agents are repeated elsewhere until there are as many as wanted. Units are in the names of
`extra_info`, with these goals: 0.2 ms per proposal, set-up 30 ms. Asserted are ratios to work done
in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import sample_plans, simulate_references
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import Scenario, Tracks
from roadworthy.testing import brief_of, moved, observe
from roadworthy.testing.scenes import logged_rollouts
from roadworthy_metrics.pdm.evaluate import evaluate
from roadworthy_metrics.pdms import PDMS
from roadworthy_metrics.plans import Moment, prepare, score_states
from roadworthy_planners.pdm_closed import PDMClosed
from roadworthy_sources.procedural.source import Procedural

PROPOSALS = 256
AGENTS = 26
pytestmark = pytest.mark.benchmark(timer=time.process_time)


def crowded(scene: Scenario, count: int) -> Scenario:
    """The scene with `count` agents: its own, and copies of them shifted by some 20 m."""
    tracks, rng = scene.agents, np.random.default_rng(0)
    rows = np.resize(np.arange(len(tracks)), count)
    state = tracks.state[rows].copy()
    extra = max(0, count - len(tracks))
    state[count - extra :, :, :2] += rng.normal(0.0, 20.0, (extra, 1, 2))
    agents = Tracks(
        tuple(f"agent-{k}" for k in range(count)),
        tracks.kind[rows],
        tracks.size[rows],
        state,
        tracks.valid[rows],
    )
    return replace(scene, agents=agents)


def four_ways(count: int, agents: int) -> list[Scenario]:
    source = Procedural(seed=5, count=count, families=["four_way"])
    return [crowded(scene, agents) for scene in source.scenarios() if isinstance(scene, Scenario)]


@pytest.fixture(scope="module")
def scene() -> Scenario:
    return max(four_ways(8, AGENTS), key=lambda s: len(s.map.lane_id))


@pytest.fixture(scope="module")
def moment(scene: Scenario) -> Moment:
    return prepare(scene, 1)


@pytest.fixture(scope="module")
def states(moment: Moment) -> NDArray[np.float64]:
    """Simulated plans that fan out: [256, 41, 11]."""
    rng = np.random.default_rng(1)
    t = 0.1 * np.arange(1, 41)
    speed, turn = rng.uniform(0.0, 14.0, (PROPOSALS, 1)), rng.normal(0.0, 0.1, (PROPOSALS, 1))
    yaw = turn * t
    step = 0.1 * speed * np.stack([np.cos(yaw), np.sin(yaw)])
    plans = np.concatenate([np.cumsum(step, axis=2), yaw[None]]).transpose(1, 2, 0)
    references = sample_plans(moment.ego, plans, 0.1)
    return simulate_references(moment.ego, references, moment.vehicle)


def cpu_ms(work: Callable[[], Any], rounds: int = 5) -> float:
    """The least CPU time of a few calls [ms]."""
    spent = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return 1e3 * min(spent)


def boxes(
    x: NDArray[np.float64], y: NDArray[np.float64], yaw: NDArray[np.float64], half: Any
) -> NDArray[Any]:
    """Shapely rectangles; arguments broadcast."""
    u, v = np.array([1.0, -1.0, -1.0, 1.0]), np.array([1.0, 1.0, -1.0, -1.0])
    lon, lat = np.asarray(half[0])[..., None] * u, np.asarray(half[1])[..., None] * v
    c, s = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    corners = np.stack([x[..., None] + lon * c - lat * s, y[..., None] + lon * s + lat * c], -1)
    rectangles: NDArray[Any] = shapely.polygons(corners)
    return rectangles


def peer(moment: Moment, states: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which plans meet whom: bool [P, A]. One STR-tree of the agents per step, as NAVSIM does.

    Covers the overlap tests of NC and TTC alone: five boxes of the ego per step.
    """
    agents, vehicle = moment.scene.agents, moment.vehicle
    half = 0.5 * vehicle.length, 0.5 * vehicle.width
    met = np.zeros((len(states), len(agents.radius)), bool)
    x = states[..., 0] + vehicle.rear_axle_to_centre * np.cos(states[..., 2])
    y = states[..., 1] + vehicle.rear_axle_to_centre * np.sin(states[..., 2])
    yaw, speed = states[..., 2], np.hypot(states[..., 3], states[..., 4])
    sizes = agents.half_length, agents.half_width
    trees = [
        shapely.STRtree(boxes(agents.x[t], agents.y[t], agents.yaw[t], sizes))
        for t in range(len(agents.x))
    ]
    for t in range(states.shape[1]):
        for ahead in (0, 0, 3, 6, 9):
            shift = 0.1 * ahead * speed[:, t]
            egos = boxes(
                x[:, t] + shift * np.cos(yaw[:, t]), y[:, t] + shift * np.sin(yaw[:, t]),
                yaw[:, t], half,
            )  # fmt: skip
            who, whom = trees[t + ahead].query(egos, predicate="intersects")
            if ahead == 0:
                met[who, whom] = True
    return met


def test_scoring_many_plans(benchmark: Any, moment: Moment, states: NDArray[np.float64]) -> None:
    benchmark.pedantic(lambda: score_states(moment, states), rounds=10, warmup_rounds=2)
    mine = 1e3 * benchmark.stats.stats.min
    theirs = cpu_ms(lambda: peer(moment, states))
    benchmark.extra_info["agents"] = len(moment.scene.agents.radius)
    benchmark.extra_info["ms_per_proposal"] = mine / PROPOSALS
    benchmark.extra_info["peer_collisions_ms_per_proposal"] = theirs / PROPOSALS
    benchmark.extra_info["ratio_to_peer_collisions"] = theirs / mine
    # The whole score costs less than the overlap tests of two of its terms by vectorised shapely.
    assert theirs > 4.0 * mine


def test_the_peer_finds_the_same_contacts(moment: Moment, states: NDArray[np.float64]) -> None:
    found = evaluate(moment.scene, states, moment.vehicle, 1, events=True).events
    mine = np.zeros((len(states), len(moment.scene.agents.radius)), bool)
    mine[found[:, 0], found[:, 2]] = True
    assert (mine == peer(moment, states)).all()
    assert mine.any()


def test_preparing_a_moment(benchmark: Any, scene: Scenario) -> None:
    """A map that was never seen, and its agents, against the overlaps of 64 plans."""
    places = iter(range(1, 1000))

    def elsewhere() -> tuple[tuple[Scenario, int], dict[str, Any]]:
        return (moved(scene, float(next(places)), 0.0, 0.0), 1), {}

    benchmark.pedantic(prepare, setup=elsewhere, rounds=20, warmup_rounds=2)
    known = prepare(scene, 1)
    x = np.zeros((64, 41, 11))
    x[:] = known.ego
    theirs = cpu_ms(lambda: peer(known, x))
    benchmark.extra_info["ms"] = 1e3 * benchmark.stats.stats.min
    benchmark.extra_info["ratio_to_peer_collisions_of_64"] = theirs / benchmark.extra_info["ms"]
    assert theirs > 2.0 * benchmark.extra_info["ms"]


def test_pdm_closed(benchmark: Any, moment: Moment, states: NDArray[np.float64]) -> None:
    """15 proposals made, simulated, scored, against the overlaps of as many plans."""
    scenes = four_ways(8, 32)
    briefs = [brief_of(s) for s in scenes]
    planner, observations = PDMClosed(), observe(scenes, 0, briefs)
    planner.reset_batch(briefs)
    benchmark.pedantic(planner.plan_batch, args=(observations,), rounds=10, warmup_rounds=2)
    mine = 1e3 * benchmark.stats.stats.min / len(scenes)
    theirs = cpu_ms(lambda: peer(moment, states[:15]))
    benchmark.extra_info["ms_per_plan"] = mine
    benchmark.extra_info["ratio_to_peer_collisions"] = theirs / mine
    assert theirs > 4.0 * mine


def overlaps(rollouts: RolloutBatch) -> NDArray[np.bool_]:
    """Whether the ego overlaps an agent: bool [S, A, T], by vectorised shapely."""
    ego, agents, valid = rollouts.ego[:, None], rollouts.agents, rollouts.agents_valid
    car = rollouts.cases[0].scenario.vehicle
    size = 0.5 * np.stack([case.scenario.agents.size[:, :2] for case in rollouts.cases])
    ahead = car.rear_axle_to_centre
    x = ego[..., 0] + ahead * np.cos(ego[..., 2])
    y = ego[..., 1] + ahead * np.sin(ego[..., 2])
    mine = boxes(x, y, ego[..., 2], (0.5 * car.length, 0.5 * car.width))
    theirs = boxes(
        agents[..., 0], agents[..., 1], agents[..., 2], (size[:, :, None, 0], size[:, :, None, 1])
    )
    shapely.prepare(mine)
    found: NDArray[np.bool_] = shapely.intersects(mine, theirs) & valid
    return found


def test_scoring_drives(benchmark: Any) -> None:
    """PDMS of drives of 15 s with 32 agents, maps packed before, against the overlaps alone."""
    rollouts = logged_rollouts(four_ways(16, 32))
    PDMS().score(rollouts)

    def fresh() -> tuple[tuple[RolloutBatch], dict[str, Any]]:
        return (replace(rollouts),), {}  # so that nothing kept per batch is found

    benchmark.pedantic(PDMS().score, setup=fresh, rounds=20, warmup_rounds=2)
    mine, theirs = 1e3 * benchmark.stats.stats.min, cpu_ms(lambda: overlaps(rollouts))
    steps = int(rollouts.length.sum()) + len(rollouts)
    benchmark.extra_info["agents"] = rollouts.agents.shape[1]
    benchmark.extra_info["us_per_step"] = 1e3 * mine / steps
    benchmark.extra_info["ratio_to_peer_overlaps"] = theirs / mine
    assert theirs > 10.0 * mine
