"""The sets of scenes that a flywheel names: read once, and kept apart."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roadworthy.errors import RunError
from roadworthy.flywheel.named import Named
from roadworthy.flywheel.scenes import read_store, refused_of, store_sources, write_store
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.scenario import Scenario
from roadworthy.splits import Origin, origin_of, require_disjoint

__all__ = ["Sets", "read_sets"]


class Sets:
    """Every named set as a stage; those of which nothing is there are left out.

    A worker gets them without their scenes, and reads those that it needs.

    Args:
        stages: set -> its stage.
        origins: set -> where its scenes come from.

    Attributes:
        stages: as given.
    """

    def __init__(self, stages: dict[str, Stage], origins: Mapping[str, list[Origin]]) -> None:
        self.stages = stages
        self._origins = origins
        self._scenes: dict[Path, list[Scenario]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Sets, (self.stages, {name: self._origins[name] for name in self.evaluated})

    @property
    def evaluated(self) -> list[str]:
        """Names of the sets that nothing may be trained on."""
        return [name for name in self.stages if name not in ("train", "mining")]

    def read(self, stage: Stage) -> list[Scenario]:
        """The scenes of a stage; those of the named sets are kept in memory."""
        known = self._scenes.get(stage.path)
        if known is not None:
            return known
        scenes = read_store(stage.path)
        if any(stage.path == one.path for one in self.stages.values()):
            self._scenes[stage.path] = scenes
        return scenes

    def refuse_leaks(self, scenes: Sequence[Scenario]) -> None:
        """Compare what is about to be trained on with all sets that are evaluated or chosen on.

        Raises:
            LeakError: they are related.
        """
        ours = [origin_of(scene) for scene in scenes]
        for name in self.evaluated:
            require_disjoint(ours, self._origins[name], "what is trained on", name)


def read_sets(named: Named, stages: Stages, workers: int) -> tuple[Sets, list[str]]:
    """Read every set, and compare each with each.

    Args:
        named: what the file names.
        stages: where.
        workers: processes that make scenes, where a source makes them by number.

    Returns:
        The sets, and what was left out, in a sentence each.

    Raises:
        LeakError: sets are related that must not be.
        RunError: nothing of a set is left.
        RoadworthyError: a source cannot be read.
    """
    made: dict[str, Stage] = {}
    notices: list[str] = []
    for name, specs in named.sources.items():
        if not specs:
            continue
        inputs = {"set": name, "sources": [named.described(spec) for spec in specs]}
        work = functools.partial(store_sources, specs, name, workers)
        made[name] = stages.make("scenes", inputs, work, name)
        refused = refused_of(made[name].path)
        if refused:
            notices.append(f"{name}: {len(refused)} scenes were refused, the first: {refused[0]}")
    origins: dict[str, list[Origin]] = {}
    sets = Sets(made, origins)
    for name, stage in made.items():
        origins[name] = [origin_of(scene) for scene in sets.read(stage)]
    if named.flywheel.related == "leave-out":
        _leave_out_related(sets, origins, stages, notices)
    names = list(origins)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            require_disjoint(origins[first], origins[second], first, second)
    return sets, notices


def _leave_out_related(
    sets: Sets, origins: dict[str, list[Origin]], stages: Stages, notices: list[str]
) -> None:
    """Drop scenes that are related to a set which matters more: those that are evaluated on,
    then validation, mining, training."""
    last = ("validation", "mining", "train")
    order = [name for name in sets.stages if name not in last] + list(last)
    taken: set[str] = set()
    before: list[str] = []
    for name in order:
        stage, all_of = sets.stages[name], origins[name]
        good = [i for i, origin in enumerate(all_of) if not origin.keys & taken]
        if len(good) < len(all_of):
            notices.append(
                f"{name}: {len(all_of) - len(good)} of {len(all_of)} scenes are left out, "
                "related to a set that is evaluated or chosen on."
            )
            if not good:
                raise RunError(
                    f"set {name!r}: every scene is related to another set",
                    hint="Take scenes of other logs and maps.",
                )
            scenes = sets.read(stage)
            sets.stages[name] = stages.make(
                "apart",
                {"scenes": stage.digest, "from": before},
                functools.partial(_write_some, [scenes[i] for i in good], name),
                name,
            )
            origins[name] = [all_of[i] for i in good]
        taken.update(*(origin.keys for origin in origins[name]))
        before.append(sets.stages[name].digest)


def _write_some(scenes: Sequence[Scenario], split: str, out: Path) -> list[Path]:
    return write_store(out, scenes, split)
