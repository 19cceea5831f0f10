"""The sets of scenes that a flywheel names: read once, and kept apart."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from roadworthy.errors import RunError
from roadworthy.flywheel.named import Named
from roadworthy.flywheel.scenes import read_store, refused_of, store_sources, write_store
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.scenario import Scenario
from roadworthy.splits import Origin, origin_of, require_disjoint

__all__ = ["Sets"]


class Sets:
    """Every named set as a stage; those of which nothing is there are left out.

    Args:
        named: what the file names.
        stages: where.

    Attributes:
        stages: set -> its stage.
        notices: what was left out, in a sentence each.

    Raises:
        LeakError: sets are related that must not be.
        RunError: nothing of a set is left.
        RoadworthyError: a source cannot be read.
    """

    def __init__(self, named: Named, stages: Stages) -> None:
        self.stages: dict[str, Stage] = {}
        self.notices: list[str] = []
        self._make = stages.make
        self._scenes: dict[Path, list[Scenario]] = {}
        for name, specs in named.sources.items():
            if not specs:
                continue
            inputs = {"set": name, "sources": [named.described(spec) for spec in specs]}
            work = functools.partial(store_sources, specs, name)
            self.stages[name] = self._make("scenes", inputs, work, name)
            refused = refused_of(self.stages[name].path)
            if refused:
                self.notices.append(
                    f"{name}: {len(refused)} scenes were refused, the first: {refused[0]}"
                )
        self._origins: dict[str, list[Origin]] = {
            name: [origin_of(scene) for scene in self.read(stage)]
            for name, stage in self.stages.items()
        }
        if named.flywheel.related == "leave-out":
            self._leave_out_related()
        names = list(self._origins)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                require_disjoint(self._origins[first], self._origins[second], first, second)

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

    def _leave_out_related(self) -> None:
        """Drop scenes that are related to a set which matters more: those that are evaluated on,
        then validation, mining, training."""
        last = ("validation", "mining", "train")
        order = [name for name in self.stages if name not in last] + list(last)
        taken: set[str] = set()
        before: list[str] = []
        for name in order:
            stage, origins = self.stages[name], self._origins[name]
            good = [i for i, origin in enumerate(origins) if not origin.keys & taken]
            if len(good) < len(origins):
                self.notices.append(
                    f"{name}: {len(origins) - len(good)} of {len(origins)} scenes are left out, "
                    "related to a set that is evaluated or chosen on."
                )
                if not good:
                    raise RunError(
                        f"set {name!r}: every scene is related to another set",
                        hint="Take scenes of other logs and maps.",
                    )
                scenes = self.read(stage)
                self.stages[name] = self._make(
                    "apart",
                    {"scenes": stage.digest, "from": before},
                    functools.partial(_write_some, [scenes[i] for i in good], name),
                    name,
                )
                self._origins[name] = origins = [origins[i] for i in good]
            taken.update(*(origin.keys for origin in origins))
            before.append(self.stages[name].digest)


def _write_some(scenes: Sequence[Scenario], split: str, out: Path) -> list[Path]:
    return write_store(out, scenes, split)
