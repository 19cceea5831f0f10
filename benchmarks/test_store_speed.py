"""Speed of the scenario store: scenes of 15 s with 32 agents per CPU-second.

    pytest benchmarks/test_store_speed.py --benchmark-columns=min,median

Read is a stream of whole scenes, every array of them summed, with and without comparing each
with its content hash (which a run computes anyway). The goal is 500 per second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import ScenarioStore, StoreWriter, validate_store
from roadworthy.testing.scenes import straight_road_scenario

SCENES = 400


def fresh() -> list[Scenario]:
    """Scenes of unlike content; every second one is on a map of its own."""
    made = [
        straight_road_scenario(agents=32, lanes=3, seconds=15.0, length=400.0, seed=seed,
                               origin=(10.0 * seed, 0.0, 0.1))
        for seed in range(SCENES // 2)
    ]  # fmt: skip
    return [scene for s in made for scene in (s, replace(s, id=f"{s.id}-again"))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speed") / "store"
    with StoreWriter(path) as writer:
        for scene in fresh():
            writer.add(scene)
    return path


def read(path: Path, verify: bool) -> int:
    count = 0
    for scene in ScenarioStore(path).scenarios(verify=verify):
        assert isinstance(scene, Scenario)
        scene.ego.sum()
        scene.agents.state.sum()
        scene.map.lane_polygon.values.sum()
        count += 1
    return count


def rate(benchmark: Any, job: Callable[[], object]) -> float:
    """Scenes per CPU-second, the best of the rounds."""
    spent = []

    def timed() -> None:
        begin = time.process_time()
        job()
        spent.append(time.process_time() - begin)

    benchmark.pedantic(timed, rounds=3, warmup_rounds=1)
    best = SCENES / min(spent)
    benchmark.extra_info["scenes_per_cpu_second"] = round(best)
    print(f"\n{best:.0f} scenes per CPU-second")
    return best


@pytest.mark.parametrize("verify", [False, True], ids=["streamed", "compared"])
def test_read(benchmark: Any, store: Path, verify: bool) -> None:
    assert rate(benchmark, lambda: read(store, verify)) >= 500


def test_write(benchmark: Any, tmp_path: Path) -> None:
    scenes = fresh()
    for scene in scenes:
        assert scene.hash  # is known by the time a scene is written

    def write() -> None:
        with StoreWriter(tmp_path / str(time.monotonic_ns())) as writer:
            for scene in scenes:
                writer.add(scene)

    assert rate(benchmark, write) >= 200


def test_validate(benchmark: Any, store: Path) -> None:
    assert rate(benchmark, lambda: list(validate_store(store))) >= 50
