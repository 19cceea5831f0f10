"""Sets of scenes on disk: read from sources, kept apart, mixed, and driven into new ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.admission import admit
from roadworthy.comparison.casetable import GROUP_TAG
from roadworthy.driven import DRIVEN, scene_of_rollout
from roadworthy.errors import DataError, ScenarioError
from roadworthy.host import PlannerHost
from roadworthy.plugins import FactorySpec
from roadworthy.recognition import read_numbered
from roadworthy.rollout import Case
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.seeding import derive_seed
from roadworthy.store import write_file

__all__ = [
    "cases_of",
    "cut_parts",
    "drive_scenes",
    "mix",
    "read_store",
    "refused_of",
    "store_sources",
    "write_store",
]

SCENES = "scenes"
"""Folder of a stage in which its store lies."""
REFUSED = "refused.json"
_SHORTEST = 10
_BATCH = 64


def read_store(stage: Path) -> list[Scenario]:
    """All scenes of a stage.

    Raises:
        DataError: one is damaged.
    """
    found = []
    for scene in ScenarioStore(stage / SCENES).scenarios():
        if not isinstance(scene, Scenario):
            raise DataError(f"{stage / SCENES}: {scene.id}: {scene.reason}")
        found.append(scene)
    return found


def write_store(stage: Path, scenes: Iterable[Scenario], split: str) -> list[Path]:
    """Write scenes as a stage's store; the files that it consists of."""
    with StoreWriter(stage / SCENES) as store:
        for scene in scenes:
            store.add(scene, split=split)
    return [file for file in (stage / SCENES).rglob("*") if file.is_file()]


def store_sources(
    sources: Sequence[FactorySpec], split: str, workers: int, stage: Path
) -> list[Path]:
    """Read sources into a stage's store, those that make scenes by number in so many processes.
    Refused scenes are counted in `refused.json`.

    Raises:
        DataError: they give no scene that can be driven.
    """
    refused: list[str] = []

    def scenes() -> Iterator[Scenario]:
        seen: set[tuple[str, str]] = set()
        for scene in itertools.chain.from_iterable(read_numbered(s, workers) for s in sources):
            if not isinstance(scene, Scenario):
                refused.append(f"{scene.source}/{scene.id}: {scene.error}: {scene.reason}")
            elif (scene.source, scene.id) in seen:
                refused.append(f"{scene.source}/{scene.id}: a second scenario of this name")
            else:
                seen.add((scene.source, scene.id))
                yield scene
        if not seen:
            why = f"; the first of {len(refused)} refused: {refused[0]}" if refused else ""
            raise DataError(f"set {split!r}: its sources give no scene that can be driven{why}")

    files = write_store(stage, scenes(), split)
    write_file(stage / REFUSED, msgspec.json.encode(refused))
    return [*files, stage / REFUSED]


def refused_of(stage: Path) -> list[str]:
    """What `store_sources` could not take, in sentences."""
    return msgspec.json.decode((stage / REFUSED).read_bytes(), type=list[str])


def cut_parts(scenes: Sequence[Scenario], parts: int) -> list[list[Scenario]]:
    """Scenes in so many parts, of about equal size: their logs, which stay whole, are dealt out in
    turn, so that each part has of every source."""
    logs: dict[str, list[Scenario]] = {}
    for scene in scenes:
        log = next((t for t in scene.tags if t.startswith(GROUP_TAG)), f"/{scene.id}")
        logs.setdefault(f"{scene.source}/{log}", []).append(scene)
    found: list[list[Scenario]] = [[] for _ in range(parts)]
    for i, members in enumerate(logs.values()):
        found[i % parts] += members
    return found


def mix(
    sets: Mapping[str, Sequence[Scenario]], shares: Mapping[str, float], seed: int
) -> tuple[list[Scenario], dict[str, int]]:
    """Scenes of several sets by their shares, as many as the set that runs out first allows.

    Args:
        sets: name -> scenes.
        shares: name -> relative share; 0 for all of a set.
        seed: of the draw without replacement, and of the order.

    Returns:
        The scenes, and how many there are of each set.

    Raises:
        DataError: a set is empty.
    """
    for name in shares:
        if not sets[name]:
            raise DataError(f"the set {name!r} is empty, so there is nothing of it to train on")
    most = min((len(sets[name]) / share for name, share in shares.items() if share), default=0.0)
    chosen: list[Scenario] = []
    counts: dict[str, int] = {}
    for name, share in shares.items():
        order = sorted(sets[name], key=lambda s: derive_seed(seed, "mix", s.hash))
        counts[name] = max(1, round(most * share)) if share else len(order)
        chosen += order[: counts[name]]
    return sorted(chosen, key=lambda s: derive_seed(seed, "order", s.hash)), counts


def cases_of(
    scenes: Iterable[Scenario], seed: int, protocol: Mapping[str, Any]
) -> tuple[Case, ...]:
    """A case per scene, with its seed."""
    return tuple(Case(s, 0, derive_seed(seed, "case", s.hash, 0), protocol) for s in scenes)


def drive_scenes(
    scenes: Sequence[Scenario],
    planner: FactorySpec,
    simulator: FactorySpec,
    seed: int,
    stage: Path,
    *,
    time_limit_s: float,
) -> list[Path]:
    """Drive scenes, and store what happened as scenes whose log is the planner's own drive.

    Such a scene starts where the old one did, and everybody in it did what they did in the
    simulator. Drives that failed with an error, or were shorter than a second, are left out.

    Args:
        scenes: what to drive.
        planner, simulator: who drives, and where.
        seed: of the cases.
        stage: the folder for the store.
        time_limit_s: for one plan.

    Raises:
        DataError: no drive is left.
    """
    world = simulator.build()
    left_out: list[str] = []

    def driven() -> Iterator[Scenario]:
        count = 0
        protocol = {"simulator": simulator.entry.name, **simulator.options}
        everything = cases_of(scenes, seed, protocol)
        for begin in range(0, len(everything), _BATCH):
            cases = everything[begin : begin + _BATCH]
            rollouts = world.run(cases, PlannerHost(planner.build, time_limit_s))
            for row, case in enumerate(cases):
                error = rollouts.errors[row]
                name = f"{case.scenario.source}/{case.scenario.id}"
                if error is not None or rollouts.length[row] < _SHORTEST:
                    left_out.append(f"{name}: {error.type if error else 'too short'}")
                    continue
                try:
                    scene = admit(scene_of_rollout(rollouts, row))
                except ScenarioError as refusal:
                    left_out.append(f"{name}: {refusal.message}")
                    continue
                count += 1
                yield scene
        if not count:
            first = f"; the first: {left_out[0]}" if left_out else ""
            raise DataError(f"none of {len(scenes)} scenes could be driven{first}")

    files = write_store(stage, driven(), DRIVEN)
    write_file(stage / "left_out.json", msgspec.json.encode(left_out))
    return [*files, stage / "left_out.json"]
