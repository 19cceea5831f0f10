"""Trainings of a flywheel, as stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import PluginError
from roadworthy.flywheel.named import CACHE, CHECKPOINT, Named
from roadworthy.flywheel.scenes import cases_of, mix
from roadworthy.flywheel.sets import Sets
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.plugins import FactorySpec
from roadworthy.scenario import Scenario
from roadworthy.store import write_file

__all__ = ["Lesson", "Trained", "train"]

TRAINED = "trained.json"


@dataclass(frozen=True)
class Trained:
    """A trained planner: its stage, its checkpoint, and how many scenes of each set it was
    trained on."""

    stage: Stage
    path: Path
    scenes: dict[str, int]


@dataclass(frozen=True)
class Lesson:
    """What a planner is to be taught.

    Attributes:
        trainer: who teaches.
        sets: name -> scenes.
        digests: what names those scenes in a stage's inputs.
        shares: name -> relative share; see `roadworthy.flywheel.scenes.mix`.
        seed: of the training.
        label: for progress.
    """

    trainer: FactorySpec
    sets: Mapping[str, Sequence[Scenario]]
    digests: Mapping[str, Any]
    shares: Mapping[str, float]
    seed: int
    label: str


def train(
    lesson: Lesson, planner: Trained | None, named: Named, sets: Sets, stages: Stages
) -> Trained:
    """Teach a planner, or one that there is none of yet.

    Raises:
        LeakError: what it would be trained on is related to what is evaluated on.
        PluginError: the trainer stopped, or what it returned is no checkpoint.
    """
    trainer, seed = lesson.trainer, lesson.seed
    inputs = {
        "trainer": named.described(trainer),
        "planner": named.described(named.planner),
        "checkpoint": planner.stage.digest if planner else "",
        "data": dict(lesson.digests),
        "shares": dict(lesson.shares),
        "seed": seed,
    }

    def work(out: Path) -> list[Path]:
        scenes, counts = mix(lesson.sets, lesson.shares, seed)
        sets.refuse_leaks(scenes)
        protocol = {"simulator": named.simulator.entry.name, **named.simulator.options}
        cases = cases_of(scenes, seed, protocol)
        pupil = named.with_checkpoint(planner.path).build() if planner else named.before_training()
        (out / CHECKPOINT).mkdir(parents=True)
        teacher = named.with_cache(trainer, stages.root / CACHE).build()
        made = teacher.train(pupil, cases, out / CHECKPOINT, seed)
        return _checkpoint_files(trainer, out, made, counts)

    stage = stages.make("train", inputs, work, lesson.label)
    made = msgspec.json.decode((stage.path / TRAINED).read_bytes(), type=_Made)
    return Trained(stage, stage.path / made.checkpoint, made.scenes)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """What `trained.json` holds."""

    checkpoint: str
    scenes: dict[str, int]


def _checkpoint_files(
    trainer: FactorySpec, out: Path, made: object, counts: dict[str, int]
) -> list[Path]:
    """The files of a checkpoint, and `trained.json`, which says where it lies."""
    path = Path(made) if isinstance(made, (str, Path)) else None
    if path is None or not path.exists() or not path.resolve().is_relative_to(out.resolve()):
        raise PluginError(
            f"{trainer.where}: trainer {trainer.entry.name!r} returned {made!r}",
            hint=f"Return the path of what was written, in the folder given ({out / CHECKPOINT}).",
        )
    place = str(path.resolve().relative_to(out.resolve()))
    write_file(out / TRAINED, msgspec.json.encode(_Made(checkpoint=place, scenes=counts)))
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    files = [f for f in files if "tfevents" not in f.name]  # TensorBoard's hold times
    if not files:
        raise PluginError(f"{trainer.where}: trainer {trainer.entry.name!r} wrote nothing")
    return [out / place if path.is_file() else out / f.resolve().relative_to(out.resolve())
            for f in files] + [out / TRAINED]  # fmt: skip
