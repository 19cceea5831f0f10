"""A small flywheel that truly turns: sets of scenes, and its file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import StoreWriter
from roadworthy_sources.towns import Towns

PLUGIN = Path(__file__).parent / "planners" / "headway.py"
COUNTS = {"train": ("common", 5), "mining": ("rare", 10), "validation": ("rare", 15),
          "test": ("rare", 10)}  # fmt: skip


def write_sets(folder: Path) -> Path:
    """A store per split, of towns that have nothing in common."""
    for split, (distribution, count) in COUNTS.items():
        towns = Towns(split=split, distribution=distribution, count=count, towns=3)
        write_set(folder / split, towns.scenarios())
    return folder


def write_set(path: Path, scenes: Iterable[Any]) -> None:
    with StoreWriter(path) as store:
        for scene in scenes:
            if isinstance(scene, Scenario):
                store.add(scene)


def search(**options: Any) -> dict[str, Any]:
    return {"name": f"{PLUGIN}:Search", **options}


def wheel_file(path: Path, sets: Path, **changes: Any) -> Path:
    """A flywheel's file, with top-level keys replaced."""
    wheel: dict[str, Any] = {
        "name": "tiny",
        "seeds": [1],
        "planner": f"{PLUGIN}:Headway",
        "metrics": ["success", "pdms"],
        "simulator": {"name": "closed-loop"},
        "sources": {
            name: [{"name": "store", "path": str(sets / name)}] for name in COUNTS
        },
        "pretrain": {"trainer": search(objective="haste")},
        "generation": {"generator": "perturb", "variants": 2},
        "arms": [
            {
                "name": "whole",
                "trainer": search(step=1.0),
                "data": {"train": 1, "driven-variants": 2},
                "smaller": {"step": 0.7},
                "rounds": 2,
            }
        ],
        "accept": [
            {"group": "rare", "metric": "success", "improvement": 0.0, "confidence": 0.8,
             "min_scenarios": 2},
            {"group": "rare", "metric": "success.route_completion", "margin": 0.3,
             "min_scenarios": 2},
        ],
        "run": {"executor": "inline", "batch_size": 64},
    }  # fmt: skip
    path.write_text(tomli_w.dumps(wheel | changes))
    return path


def load_file(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())
