"""Does a unit of a flywheel: pre-train; or mine, generate, roll out, post-train, again; or
evaluate.

Every step is a stage (`roadworthy.flywheel.stages`). Everything that can change what a stage makes
is in its inputs, so that equal flywheels make equal bytes, killed and started again or not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from roadworthy.comparison.gate import RuleVerdict
from roadworthy.errors import RunError
from roadworthy.failures import find_failures
from roadworthy.flywheel.config import Arm, Flywheel
from roadworthy.flywheel.evaluating import RUN, Evaluation, drive
from roadworthy.flywheel.hindsight import look_back
from roadworthy.flywheel.judging import Round, judge_round
from roadworthy.flywheel.named import Named
from roadworthy.flywheel.scenes import SCENES, cut_parts, drive_scenes, write_store
from roadworthy.flywheel.sets import Sets
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.flywheel.training import Lesson, Trained, train
from roadworthy.flywheel.units import BASE, Outcome, Unit
from roadworthy.mining import MANIFEST as MINED
from roadworthy.mining import mine
from roadworthy.plugins import FactorySpec
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed
from roadworthy.store import read_run
from roadworthy.variants import generate_set

__all__ = ["EmptyHardSet", "Wheel"]

_PLANNER = "planner"
"""Label of whoever drives to be mined or judged: arms with equal planners then share the run."""


class EmptyHardSet(RunError):
    """The planner failed at nothing that it could be trained on."""


class Wheel:
    """A flywheel, ready to be turned: every name is resolved, and every set is there.

    Args:
        named: the plugins that its file names.
        stages: where.
        sets: its sets.
        data: where what was mined finds its data.
        helpers: processes that make variants.
    """

    def __init__(
        self, named: Named, stages: Stages, sets: Sets, data: Path | None = None, helpers: int = 1
    ) -> None:
        self.flywheel: Flywheel = named.flywheel
        self._named = named
        self._stages = stages
        self._sets = sets
        self._data = data
        self._helpers = helpers

    def do(self, unit: Unit, planner: Trained | None) -> Outcome:
        """Do a unit.

        Args:
            unit: which.
            planner: what an arm begins with, or what is evaluated; None for a base.

        Raises:
            EmptyHardSet: nothing to mine in a first round.
            RoadworthyError: a stage cannot be made; those before it are kept.
        """
        if planner is None:
            return Outcome(self._pretrain(unit.seed, unit.multiple))
        if unit.evaluation:
            return self._evaluate(unit, planner)
        arm = next(arm for arm in self.flywheel.arms if arm.name == unit.arm)
        return self._post_train(arm, unit.seed, planner)

    def _scenes_of(self, name: str, multiple: int = 1) -> list[Scenario]:
        """The scenes of a named set; of `train` as many as a multiple of the least."""
        scenes = self._sets.read(self._sets.stages[name])
        if name == "train":
            most = self.flywheel.scaling.multiples[-1] if self.flywheel.scaling else 1
            return scenes[: max(1, len(scenes) * multiple // most)]
        return scenes

    # Training

    def _train(self, lesson: Lesson, planner: Trained | None) -> Trained:
        return train(lesson, planner, self._named, self._sets, self._stages)

    def _pretrain(self, seed: int, multiple: int) -> Trained:
        pretrain = self.flywheel.pretrain
        sets = {name: self._scenes_of(name, multiple) for name in pretrain.data}
        times = f" on {multiple}x the data" if multiple > 1 else ""
        lesson = Lesson(
            trainer=self._named.spec("trainers", pretrain.trainer),
            sets=sets,
            digests={
                name: [self._sets.stages[name].digest, len(scenes)] for name, scenes in sets.items()
            },
            shares=pretrain.data,
            seed=derive_seed(seed, "pretrain"),
            label=f"seed {seed}, pre-training{times}",
        )
        return self._train(lesson, None)

    def _post_train(self, arm: Arm, seed: int, base: Trained) -> Outcome:
        """The planner that an arm ends with, and its rounds."""
        planner = base
        rounds: list[Round] = []
        known: dict[str, list[Stage]] = {}
        for number in range(1, arm.rounds + 1):
            label = f"seed {seed}, {arm.name}, round {number}"
            trainer = self._trainer_of(arm, number)
            try:
                sets, digests = self._data_of(arm, seed, number, planner, label, known)
            except EmptyHardSet as empty:
                if number == 1:
                    raise
                note = f"The arm ends here. {empty.message}"
                rounds.append(
                    Round(arm=arm.name, seed=seed, number=number, accepted=False, note=note)
                )
                break
            of_round = derive_seed(seed, "post-train", arm.name, number)
            lesson = Lesson(trainer, sets, digests, arm.data, of_round, label)
            after = self._train(lesson, planner)
            verdicts = self._judge(arm, planner, after, label)
            accepted = all(v.passed for v in verdicts)
            rounds.append(
                Round(
                    arm=arm.name,
                    seed=seed,
                    number=number,
                    options=dict(trainer.options),
                    scenes=after.scenes,
                    accepted=accepted,
                    verdicts=verdicts,
                    note="" if accepted else "Rolled back.",
                    trained=after.stage.path.name,
                )
            )
            if accepted:
                planner = after
        return Outcome(planner, tuple(rounds))

    def _trainer_of(self, arm: Arm, number: int) -> FactorySpec:
        """An arm's trainer in a round; later rounds take smaller steps."""
        options = dict(arm.trainer.options)
        for option, factor in arm.smaller.items():
            value = options[option] * factor ** (number - 1)
            whole = isinstance(options[option], int)
            options[option] = max(1, round(value)) if whole else float(f"{value:.12g}")
        return replace(self._named.spec("trainers", arm.trainer), options=options)

    def _judge(
        self, arm: Arm, before: Trained, after: Trained, label: str
    ) -> tuple[RuleVerdict, ...]:
        if not arm.gated:
            return ()
        validation = self._sets.stages["validation"]
        old, new = (
            read_run(self._drive(one, validation, _PLANNER, f"{label}, validation").path / RUN)
            for one in (before, after)
        )
        return judge_round(new, old, self.flywheel.accept, self.flywheel.rare)

    # What a round is trained on

    def _data_of(
        self,
        arm: Arm,
        seed: int,
        number: int,
        planner: Trained,
        label: str,
        known: dict[str, list[Stage]],
    ) -> tuple[dict[str, list[Scenario]], dict[str, Any]]:
        """The sets that an arm's round trains on, and what names them.

        Args:
            known: set -> its stages of the rounds before; this round's are added. What they mined
                and varied is driven anew: a round that dropped it would forget what it taught.
        """
        made = [name for name in arm.data if name not in ("train", "mining")]
        if made:
            mined = self._mined(planner, number, label)
            known.setdefault("mined", []).append(mined)
            if any(name.endswith("variants") for name in made):
                varied = self._varied(mined, derive_seed(seed, "vary", number), label)
                known.setdefault("variants", []).append(varied)
        for name in made:
            if name.startswith("driven-"):
                known.setdefault(name, []).extend(
                    self._driven(stage, planner, derive_seed(seed, "drive"), label)
                    for stage in known[name.removeprefix("driven-")]
                )
        sets: dict[str, list[Scenario]] = {}
        digests: dict[str, Any] = {}
        for name in arm.data:
            if name in made:
                digests[name] = [[stage.digest for stage in known[name]], arm.without]
                scenes = [scene for stage in known[name] for scene in self._sets.read(stage)]
            else:
                scenes = self._scenes_of(name)
                digests[name] = [self._sets.stages[name].digest, len(scenes), arm.without]
            kept = {s.hash: s for s in scenes if not set(arm.without).intersection(s.tags)}
            if not kept:
                raise EmptyHardSet(
                    f"without {', '.join(arm.without)} nothing is left of the set {name!r}",
                    hint="Mine more or harder scenes.",
                )
            sets[name] = list(kept.values())
        return sets, digests

    def _mined(self, planner: Trained, number: int, label: str) -> Stage:
        config = self.flywheel.mining
        part = self._part(number, label)
        driven = self._drive(planner, part, _PLANNER, label, repetitions=config.repetitions)

        def work(out: Path) -> list[Path]:
            run = driven.path / RUN
            found = find_failures(read_run(run))
            if not found.cases:
                raise EmptyHardSet(
                    f"the planner failed at none of {found.judged} cases of the set 'mining'",
                    hint="Mine more or harder scenes.",
                )
            mine(run, out / SCENES, limit=config.limit, data=self._data)
            # mining.json names the run by a hash in which the checkpoint's place counts
            return [f for f in (out / SCENES).rglob("*") if f.is_file() and f.name != MINED]

        inputs = {"run": driven.digest, "limit": config.limit}
        return self._stages.make("mined", inputs, work, label)

    def _part(self, number: int, label: str) -> Stage:
        """What a round mines: the next part of the set, beginning again after the last."""
        whole, parts = self._sets.stages["mining"], self.flywheel.mining.parts
        if parts == 1:
            return whole
        index = (number - 1) % parts
        return self._stages.make(
            "part",
            {"scenes": whole.digest, "parts": parts, "index": index},
            lambda out: write_store(
                out, cut_parts(self._sets.read(whole), parts)[index], "mining"
            ),
            label,
        )  # fmt: skip

    def _varied(self, mined: Stage, seed: int, label: str) -> Stage:
        generation = self.flywheel.generation
        assert generation is not None, "checked when the file was read"
        generator = self._named.spec("generators", generation.generator)

        def work(out: Path) -> list[Path]:
            generate_set(
                self._sets.read(mined),
                generator.build,
                generator.entry.name,
                generation.variants,
                seed,
                out / SCENES,
                options=generator.options,
                reaction_s=generation.reaction_s,
                workers=self._helpers,
            )
            return [file for file in (out / SCENES).rglob("*") if file.is_file()]

        inputs = {
            "mined": mined.digest,
            "generator": self._named.described(generator),
            "variants": generation.variants,
            "reaction_s": generation.reaction_s,
            "seed": seed,
        }
        return self._stages.make("varied", inputs, work, label)

    def _driven(self, scenes: Stage, planner: Trained, seed: int, label: str) -> Stage:
        simulator = self._named.simulator
        inputs = {
            "scenes": scenes.digest,
            "planner": self._named.described(self._named.planner),
            "checkpoint": planner.stage.digest,
            "simulator": self._named.described(simulator),
            "seed": seed,
        }
        return self._stages.make(
            "driven",
            inputs,
            lambda out: drive_scenes(
                self._sets.read(scenes), self._named.with_checkpoint(planner.path), simulator,
                seed, out, time_limit_s=self.flywheel.run.plan_time_limit_s,
            ),
            label,
        )  # fmt: skip

    # Evaluation

    def _drive(self, planner: Trained, scenes: Stage, called: str, label: str, **how: Any) -> Stage:
        return drive(planner, scenes, self._named, self._stages, called=called, label=label, **how)

    def _evaluate(self, unit: Unit, planner: Trained) -> Outcome:
        """Evaluate a finished planner on every set that is not trained or chosen on, and look back
        at the failures of the first seed's."""
        arm, seed = unit.label, unit.seed
        evaluations: list[Evaluation] = []
        lookback = None
        save = seed == self.flywheel.seeds[0] and unit.multiple == 1
        if unit.arm == BASE and unit.multiple == 1 and any(a.gated for a in self.flywheel.arms):
            # first rounds are judged by it, and need not wait for it where it is made beside them
            validation = self._sets.stages["validation"]
            self._drive(planner, validation, _PLANNER, f"seed {seed}, {arm}, validation")
        for name in self._sets.evaluated:
            if name == "validation":
                continue
            label = f"seed {seed}, {arm}, {name}"
            scenes = self._sets.stages[name]
            stage = self._drive(planner, scenes, arm, label, save=save)
            if name == "test" and save:
                looked = look_back(
                    stage, self._sets.read(scenes), planner, self._named, self._stages, label
                )
                lookback = looked.path.name
            evaluations.append(Evaluation(arm=arm, seed=seed, set=name, stage=stage.path.name))
            if name == "test" and self.flywheel.open_loop is not None:
                stage = self._drive(planner, scenes, arm, label, open_loop=True)
                evaluations.append(
                    Evaluation(arm=arm, seed=seed, set=name, open_loop=True, stage=stage.path.name)
                )
        return Outcome(planner, evaluations=tuple(evaluations), lookback=lookback)
