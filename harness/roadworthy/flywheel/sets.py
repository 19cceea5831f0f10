"""The sets of scenes that a flywheel names: read once, and kept apart."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roadworthy.errors import RunError
from roadworthy.flywheel.config import SPLITS
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
        origins: set -> where its scenes come from, as far as that is known.

    Attributes:
        stages: as given.
    """

    def __init__(
        self, stages: Mapping[str, Stage], origins: Mapping[str, list[Origin]] | None = None
    ) -> None:
        self.stages = stages
        self._origins = dict(origins or {})
        self._scenes: dict[Path, list[Scenario]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Sets, (self.stages, {name: self.origins(name) for name in self.evaluated})

    @property
    def evaluated(self) -> list[str]:
        """Names of the sets that nothing may be trained on."""
        return [name for name in self.stages if name not in ("train", "mining")]

    def narrowed(self, stages: Mapping[str, Stage], origins: Mapping[str, list[Origin]]) -> Sets:
        """The same sets as other stages; scenes of those that stay are not read again."""
        sets = Sets(stages, origins)
        sets._scenes = {
            one.path: self.read(one) for one in stages.values() if one.path in self._scenes
        }
        return sets

    def origins(self, name: str) -> list[Origin]:
        """Where the scenes of a named set come from."""
        if name not in self._origins:
            self._origins[name] = [origin_of(scene) for scene in self.read(self.stages[name])]
        return self._origins[name]

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
            require_disjoint(ours, self.origins(name), "what is trained on", name)


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
        if not specs and name in SPLITS:
            raise RunError(
                f"set {name!r}: none of its sources is there",
                hint="Name the folder that holds them with --data DIR or ROADWORTHY_DATA.",
            )
        if not specs:
            continue
        inputs = {"set": name, "sources": [named.described(spec) for spec in specs]}
        work = functools.partial(store_sources, specs, name, workers)
        made[name] = stages.make("scenes", inputs, work, name)
        refused = refused_of(made[name].path)
        if refused:
            notices.append(f"{name}: {len(refused)} scenes were refused, the first: {refused[0]}")
    sets = Sets(made)
    if named.flywheel.related == "leave-out":
        sets, left_out = _leave_out_related(sets, stages)
        notices += left_out
    names = list(made)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            require_disjoint(sets.origins(first), sets.origins(second), first, second)
    return sets, notices


def _leave_out_related(sets: Sets, stages: Stages) -> tuple[Sets, list[str]]:
    """The sets without scenes that are related to a set which matters more: those that are
    evaluated on, then validation, mining, training. And how many those are, in sentences."""
    last = ("validation", "mining", "train")
    order = [name for name in sets.stages if name not in last] + list(last)
    kept = dict(sets.stages)
    origins: dict[str, list[Origin]] = {}
    notices: list[str] = []
    taken: set[str] = set()
    before: list[str] = []
    for name in order:
        stage, all_of = sets.stages[name], sets.origins(name)
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
            kept[name] = stages.make(
                "apart",
                {"scenes": stage.digest, "from": before},
                functools.partial(_write_some, [scenes[i] for i in good], name),
                name,
            )
        origins[name] = [all_of[i] for i in good]
        taken.update(*(origin.keys for origin in origins[name]))
        before.append(kept[name].digest)
    return sets.narrowed(kept, origins), notices


def _write_some(scenes: Sequence[Scenario], split: str, out: Path) -> list[Path]:
    return write_store(out, scenes, split)
