"""Turns the wheel: pre-train, evaluate, mine, generate, roll out, post-train, evaluate, and again.

Every step is a stage (`roadworthy.flywheel.stages`). Everything that can change what a stage makes
is in its inputs, so that equal flywheels make equal bytes, killed and started again or not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import PluginError, RunError
from roadworthy.failures import find_failures
from roadworthy.flywheel.config import Arm, Flywheel, Rule
from roadworthy.flywheel.scenes import (
    SCENES,
    cases_of,
    cut_parts,
    drive_scenes,
    mix,
    read_store,
    refused_of,
    store_sources,
    write_store,
)
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.gate import BASELINE, RuleVerdict, gate
from roadworthy.mining import MANIFEST as MINED
from roadworthy.mining import mine
from roadworthy.options import describe_options
from roadworthy.plugins import Entry, FactorySpec
from roadworthy.provenance import named_files, path_hash
from roadworthy.resolved import find_source, spec_of
from roadworthy.runner import run_suite
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed
from roadworthy.splits import Origin, origin_of, require_disjoint
from roadworthy.store import Run, read_run, write_file
from roadworthy.suite import PluginConfig, Suite
from roadworthy.variants import generate_set

__all__ = [
    "BASE",
    "CHECKPOINT",
    "EmptyHardSet",
    "Evaluation",
    "Round",
    "Trained",
    "Turned",
    "Wheel",
    "of_group",
]

BASE = "base"
"""Label of the planner before post-training."""
CHECKPOINT = "checkpoint"
"""Option of the planner that names what a trainer made, and the folder in which it makes it."""
CACHE = "cache"
"""Option of a trainer that names a folder to keep what it computes of scenes, and that folder."""
RUN = "run"
TRAINED = "trained.json"


class EmptyHardSet(RunError):
    """The planner failed at nothing that it could be trained on."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one round.

    Attributes:
        arm, seed, number: which; numbers from 1.
        options: the trainer's, after all smaller steps.
        scenes: set -> how many scenes of it were trained on.
        accepted: whether the planner was kept.
        verdicts: of the rules; none where the arm is not gated.
        note: in words, where there is something to say.
        trained: stage of the trained planner, "" if none was trained.
    """

    arm: str
    seed: int
    number: int
    options: dict[str, Any] = {}
    scenes: dict[str, int] = {}
    accepted: bool
    verdicts: tuple[RuleVerdict, ...] = ()
    note: str = ""
    trained: str = ""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One run on a set that is evaluated on.

    Attributes:
        arm: label of the planner; `base` before post-training, `base-4x` on four times the data.
        seed: of its training.
        set: name of the set.
        open_loop: whether by the second simulator.
        stage: folder of the stage.
    """

    arm: str
    seed: int
    set: str
    open_loop: bool = False
    stage: str


@dataclass(frozen=True)
class Trained:
    """A trained planner: its stage, its checkpoint, and how many scenes of each set it was
    trained on."""

    stage: Stage
    path: Path
    scenes: dict[str, int]

    @property
    def options(self) -> dict[str, Any]:
        """For the planner's factory."""
        return {CHECKPOINT: str(self.path)}


@dataclass(frozen=True)
class Turned:
    """What a flywheel did.

    Attributes:
        rounds: every round of every arm, in order.
        evaluations: every run on a set that is evaluated on.
        scenes: set -> (scenes, rare scenes).
        checkpoints: (arm, seed) -> folder of the checkpoint.
        notices: what was left out, and why.
    """

    rounds: tuple[Round, ...]
    evaluations: tuple[Evaluation, ...]
    scenes: dict[str, tuple[int, int]]
    checkpoints: dict[tuple[str, int], Path]
    notices: tuple[str, ...]


class Wheel:
    """A flywheel with every name resolved.

    Args:
        flywheel: what to do.
        stages: where.
        data: where relative source paths are looked up first.

    Raises:
        SuiteError, PluginError: something that it names cannot be made.
    """

    def __init__(self, flywheel: Flywheel, stages: Stages, data: Path | None = None) -> None:
        self.flywheel = flywheel
        self._stages = stages
        self._data = data
        self._notices: list[str] = []
        self._rounds: list[Round] = []
        self._evaluations: list[Evaluation] = []
        self._checkpoints: dict[tuple[str, int], Path] = {}
        self._scenes: dict[Path, list[Scenario]] = {}
        self._code: dict[Entry, str] = {}
        self._origins: dict[str, list[Origin]] = {}
        self._planner = self._spec("planners", flywheel.planner)
        self._simulator = self._spec("simulators", flywheel.simulator)
        self._simulator.build()
        for metric in (*flywheel.metrics, *flywheel.open_loop_metrics):
            self._spec("metrics", metric).build()
        if flywheel.open_loop is not None:
            self._spec("simulators", flywheel.open_loop).build()
        for config in (flywheel.pretrain.trainer, *(arm.trainer for arm in flywheel.arms)):
            self._spec("trainers", config).build()
        if flywheel.generation is not None:
            self._spec("generators", flywheel.generation.generator).build()
        self._sources = {name: self._located(name) for name in flywheel.sources}
        for specs in self._sources.values():
            for spec in specs:
                spec.build()
        self._sets: dict[str, Stage] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """What was left out so far, in a sentence each."""
        return tuple(self._notices)

    def turn(self) -> Turned:
        """Do everything.

        Raises:
            LeakError: sets are related that must not be.
            EmptyHardSet: nothing to mine in a first round.
            RoadworthyError: a stage cannot be made; those before it are kept.
        """
        self._read_sets()
        for seed in self.flywheel.seeds:
            base = self._pretrain(seed, self._multiples[0])
            self._finish(BASE, seed, base)
            for multiple in self._multiples[1:]:
                self._finish(f"{BASE}-{multiple}x", seed, self._pretrain(seed, multiple))
            for arm in self.flywheel.arms:
                self._finish(arm.name, seed, self._post_train(arm, seed, base))
        return Turned(
            rounds=tuple(self._rounds),
            evaluations=tuple(self._evaluations),
            scenes={
                name: (len(scenes), sum(self.flywheel.rare in s.tags for s in scenes))
                for name, scenes in ((n, self._read(stage)) for n, stage in self._sets.items())
            },
            checkpoints=dict(self._checkpoints),
            notices=self.notices,
        )

    @property
    def _multiples(self) -> tuple[int, ...]:
        return (1,) if self.flywheel.scaling is None else self.flywheel.scaling.multiples

    # What is named

    def _spec(self, kind: str, config: PluginConfig) -> FactorySpec:
        return spec_of(kind, config, self.flywheel.home)

    def _described(self, spec: FactorySpec) -> dict[str, Any]:
        """What a stage's inputs say of a plugin: its code, options and the files that those name.

        Of a source's `path` it is the name alone: what lies there is too large to be read again,
        and is taken as it was when the stage was made.
        """
        options = dict(spec.options)
        apart = (options.get("path"), options.get(CACHE))
        files = [path for text, path in named_files(options).items() if text not in apart]
        if isinstance(options.get("path"), str):
            options["path"] = Path(options["path"]).name
        entry = spec.entry
        if entry not in self._code:
            self._code[entry] = entry.code_hash
        return {
            "name": entry.name,
            "options": options,
            "version": entry.version,
            "code": self._code[entry],
            "files": [path_hash(path) for path in files],
        }

    def _located(self, name: str) -> tuple[FactorySpec, ...]:
        """The sources of a set, with paths found; optional ones that are not there left out."""
        found = []
        for config in self.flywheel.sources[name]:
            source = find_source(config, self._data, self.flywheel.home)
            if isinstance(source, str):
                self._notices.append(f"{name}: {source}")
            else:
                found.append(source)
        return tuple(found)

    # Sets

    def _read_sets(self) -> None:
        for name, specs in self._sources.items():
            if not specs:
                continue
            inputs = {"set": name, "sources": [self._described(spec) for spec in specs]}
            work = functools.partial(store_sources, specs, name)
            self._sets[name] = self._stages.make("scenes", inputs, work, name)
            refused = refused_of(self._sets[name].path)
            if refused:
                self._notices.append(
                    f"{name}: {len(refused)} scenes were refused, the first: {refused[0]}"
                )
        self._origins = {
            name: [origin_of(scene) for scene in self._read(stage)]
            for name, stage in self._sets.items()
        }
        if self.flywheel.related == "leave-out":
            self._leave_out_related()
        names = list(self._origins)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                require_disjoint(self._origins[first], self._origins[second], first, second)

    def _leave_out_related(self) -> None:
        """Drop scenes that are related to a set which matters more: those that are evaluated on,
        then validation, mining, training."""
        last = ("validation", "mining", "train")
        order = [name for name in self._sets if name not in last] + list(last)
        taken: set[str] = set()
        before: list[str] = []
        for name in order:
            stage, origins = self._sets[name], self._origins[name]
            good = [i for i, origin in enumerate(origins) if not origin.keys & taken]
            if len(good) < len(origins):
                self._notices.append(
                    f"{name}: {len(origins) - len(good)} of {len(origins)} scenes are left out, "
                    "related to a set that is evaluated or chosen on."
                )
                if not good:
                    raise RunError(
                        f"set {name!r}: every scene is related to another set",
                        hint="Take scenes of other logs and maps.",
                    )
                scenes = self._read(stage)
                self._sets[name] = self._stages.make(
                    "apart",
                    {"scenes": stage.digest, "from": before},
                    functools.partial(_write_some, [scenes[i] for i in good], name),
                    name,
                )
                self._origins[name] = origins = [origins[i] for i in good]
            taken.update(*(origin.keys for origin in origins))
            before.append(self._sets[name].digest)

    def _read(self, stage: Stage) -> list[Scenario]:
        """The scenes of a stage; those of the named sets are kept in memory."""
        known = self._scenes.get(stage.path)
        if known is not None:
            return known
        scenes = read_store(stage.path)
        if any(stage.path == one.path for one in self._sets.values()):
            self._scenes[stage.path] = scenes
        return scenes

    @property
    def _evaluated(self) -> list[str]:
        """Sets that nothing may be trained on."""
        return [name for name in self._sets if name not in ("train", "mining")]

    def _train_prefix(self, multiple: int) -> list[Scenario]:
        scenes = self._read(self._sets["train"])
        return scenes[: max(1, len(scenes) * multiple // self._multiples[-1])]

    # Training

    def _pretrain(self, seed: int, multiple: int) -> Trained:
        pretrain = self.flywheel.pretrain
        scenes = {"train": self._train_prefix(multiple), "mining": self._read(self._sets["mining"])}
        digests = {name: [self._sets[name].digest, len(scenes[name])] for name in pretrain.data}
        times = f" on {multiple}x the data" if multiple > 1 else ""
        return self._train(
            self._spec("trainers", pretrain.trainer),
            None,
            {name: scenes[name] for name in pretrain.data},
            digests,
            pretrain.data,
            derive_seed(seed, "pretrain"),
            f"seed {seed}, pre-training{times}",
        )

    def _train(
        self,
        trainer: FactorySpec,
        planner: Trained | None,
        sets: Mapping[str, Sequence[Scenario]],
        digests: Mapping[str, Any],
        shares: Mapping[str, float],
        seed: int,
        label: str,
    ) -> Trained:
        inputs = {
            "trainer": self._described(trainer),
            "planner": self._described(self._planner),
            "checkpoint": planner.stage.digest if planner else "",
            "data": dict(digests),
            "shares": dict(shares),
            "seed": seed,
        }

        def work(out: Path) -> list[Path]:
            scenes, counts = mix(sets, shares, seed)
            ours = [origin_of(scene) for scene in scenes]
            for name in self._evaluated:
                require_disjoint(ours, self._origins[name], "what is trained on", name)
            protocol = {"simulator": self._simulator.entry.name, **self._simulator.options}
            (out / CHECKPOINT).mkdir(parents=True)
            made = (
                self._with_cache(trainer)
                .build()
                .train(
                    self._build(planner), cases_of(scenes, seed, protocol), out / CHECKPOINT, seed
                )
            )
            return _checkpoint_files(trainer, out, made, counts)

        stage = self._stages.make("train", inputs, work, label)
        made = msgspec.json.decode((stage.path / TRAINED).read_bytes(), type=_Made)
        return Trained(stage, stage.path / made.checkpoint, made.scenes)

    def _with_cache(self, trainer: FactorySpec) -> FactorySpec:
        """A trainer that can keep what it computes of a scene (option `cache`) shares it with all
        trainings of this folder; as it is found by content, it changes nothing that is trained."""
        if CACHE in trainer.options or CACHE not in describe_options(trainer.entry.load()):
            return trainer
        options = {**trainer.options, CACHE: str((self._stages.root / CACHE).resolve())}
        return FactorySpec(trainer.kind, trainer.spec, options, trainer.where)

    def _build(self, planner: Trained | None) -> Any:
        """The planner object; None where it takes a checkpoint, and there is none yet."""
        if planner is not None:
            return self._with(planner).build()
        wants = describe_options(self._planner.entry.load()).get(CHECKPOINT, "= none")
        if CHECKPOINT not in self._planner.options and "=" not in wants:
            return None
        return self._planner.build()

    def _with(self, planner: Trained) -> FactorySpec:
        spec = self._planner
        return FactorySpec(spec.kind, spec.spec, {**spec.options, **planner.options}, spec.where)

    # Rounds

    def _post_train(self, arm: Arm, seed: int, base: Trained) -> Trained:
        planner, rejected = base, 0
        for number in range(1, arm.rounds + 1):
            label = f"seed {seed}, {arm.name}, round {number}"
            options = dict(arm.trainer.options)
            for option, factor in arm.smaller.items():
                value = options[option] * factor**rejected
                options[option] = (
                    max(1, round(value))
                    if isinstance(options[option], int)
                    else float(f"{value:.12g}")
                )
            trainer = FactorySpec(
                "trainers", self._spec("trainers", arm.trainer).spec, options, arm.trainer.where
            )
            try:
                sets, digests = self._data_of(arm, seed, number, planner, label)
            except EmptyHardSet as empty:
                if number == 1:
                    raise
                self._rounds.append(
                    Round(arm=arm.name, seed=seed, number=number, accepted=False,
                          note=f"The arm ends here. {empty.message}")
                )  # fmt: skip
                break
            after = self._train(
                trainer, planner, sets, digests, arm.data,
                derive_seed(seed, "post-train", arm.name, number), label,
            )  # fmt: skip
            verdicts = self._judge(arm, seed, planner, after, label)
            accepted = all(v.passed for v in verdicts)
            self._rounds.append(
                Round(
                    arm=arm.name,
                    seed=seed,
                    number=number,
                    options=options,
                    scenes=after.scenes,
                    accepted=accepted,
                    verdicts=verdicts,
                    note="" if accepted else "Rolled back.",
                    trained=after.stage.path.name,
                )
            )
            if accepted:
                planner = after
            else:
                rejected += 1
        return planner

    def _judge(
        self, arm: Arm, seed: int, before: Trained, after: Trained, label: str
    ) -> tuple[RuleVerdict, ...]:
        if not arm.gated:
            return ()
        old = self._drive(before, "validation", "planner", label)
        new = self._drive(after, "validation", "planner", label)
        return judge_round(
            read_run(new.path / RUN), read_run(old.path / RUN), self.flywheel.accept,
            self.flywheel.rare,
        )  # fmt: skip

    def _data_of(
        self, arm: Arm, seed: int, number: int, planner: Trained, label: str
    ) -> tuple[dict[str, list[Scenario]], dict[str, Any]]:
        """The sets that an arm's round trains on, and what names them."""
        sets: dict[str, list[Scenario]] = {}
        digests: dict[str, Any] = {}
        for name in arm.data:
            if name in ("train", "mining"):
                stage = self._sets[name]
                scenes = self._train_prefix(1) if name == "train" else self._read(stage)
                digests[name] = [stage.digest, len(scenes), arm.without]
                sets[name] = [s for s in scenes if not arm.without or arm.without not in s.tags]
                continue
            stage = self._mined(planner, number, label, arm.without)
            if name.endswith("variants"):
                stage = self._varied(stage, derive_seed(seed, "vary", number), label)
            if name.startswith("driven"):
                stage = self._driven(stage, planner, derive_seed(seed, "drive", number), label)
            digests[name] = [stage.digest, arm.without]
            sets[name] = self._read(stage)
        return sets, digests

    def _mined(self, planner: Trained, number: int, label: str, without: str) -> Stage:
        config = self.flywheel.mining
        whole = self._sets["mining"]
        part = whole
        if config.parts > 1:
            index = (number - 1) % config.parts
            part = self._stages.make(
                "part",
                {"scenes": whole.digest, "parts": config.parts, "index": index},
                lambda out: write_store(
                    out, cut_parts(self._read(whole), config.parts)[index], "mining"
                ),
                label,
            )
        driven = self._drive_stage(planner, part, "planner", label, config.repetitions)

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
        mined = self._stages.make("mined", inputs, work, label)
        if not without:
            return mined

        def keep(out: Path) -> list[Path]:
            kept = [scene for scene in self._read(mined) if without not in scene.tags]
            if not kept:
                raise EmptyHardSet(
                    f"without {without!r} nothing that was mined is left",
                    hint="Mine more or harder scenes.",
                )
            return write_store(out, kept, "mining")

        return self._stages.make("kept", {"mined": mined.digest, "without": without}, keep, label)

    def _varied(self, mined: Stage, seed: int, label: str) -> Stage:
        generation = self.flywheel.generation
        assert generation is not None, "checked when the file was read"
        generator = self._spec("generators", generation.generator)

        def work(out: Path) -> list[Path]:
            generate_set(
                self._read(mined),
                generator.build(),
                generator.entry.name,
                generation.variants,
                seed,
                out / SCENES,
                options=generator.options,
                reaction_s=generation.reaction_s,
            )
            return [file for file in (out / SCENES).rglob("*") if file.is_file()]

        inputs = {
            "mined": mined.digest,
            "generator": self._described(generator),
            "variants": generation.variants,
            "reaction_s": generation.reaction_s,
            "seed": seed,
        }
        return self._stages.make("varied", inputs, work, label)

    def _driven(self, scenes: Stage, planner: Trained, seed: int, label: str) -> Stage:
        inputs = {
            "scenes": scenes.digest,
            "planner": self._described(self._planner),
            "checkpoint": planner.stage.digest,
            "simulator": self._described(self._simulator),
            "seed": seed,
        }
        return self._stages.make(
            "driven",
            inputs,
            lambda out: drive_scenes(
                self._read(scenes), self._with(planner), self._simulator, seed, out,
                time_limit_s=self.flywheel.run.plan_time_limit_s,
            ),
            label,
        )  # fmt: skip

    # Evaluation

    def _finish(self, arm: str, seed: int, planner: Trained) -> None:
        """Evaluate a finished planner on every set that is not trained or chosen on."""
        self._checkpoints[arm, seed] = planner.path
        keep = seed == self.flywheel.seeds[0] and not arm.startswith(f"{BASE}-")
        label = f"seed {seed}, {arm}"
        for name in self._evaluated:
            if name == "validation":
                continue
            stage = self._drive(planner, name, arm, label, save=keep)
            self._evaluations.append(
                Evaluation(arm=arm, seed=seed, set=name, stage=stage.path.name)
            )
            if name == "test" and self.flywheel.open_loop is not None:
                stage = self._drive(planner, name, arm, label, open_loop=True)
                self._evaluations.append(
                    Evaluation(arm=arm, seed=seed, set=name, open_loop=True, stage=stage.path.name)
                )

    def _drive(
        self,
        planner: Trained,
        name: str,
        planner_label: str,
        label: str,
        *,
        save: bool = False,
        open_loop: bool = False,
    ) -> Stage:
        return self._drive_stage(
            planner, self._sets[name], planner_label, f"{label}, {name}", 1, save, open_loop
        )

    def _drive_stage(
        self,
        planner: Trained,
        scenes: Stage,
        planner_label: str,
        label: str,
        repetitions: int = 1,
        save: bool = False,
        open_loop: bool = False,
    ) -> Stage:
        wheel = self.flywheel
        simulator = wheel.open_loop if open_loop and wheel.open_loop else wheel.simulator
        metrics = (open_loop and wheel.open_loop_metrics) or wheel.metrics
        options = {**wheel.planner.options, **planner.options}
        suite = Suite(
            name=f"{wheel.name}-{planner_label}",
            seed=0,
            repetitions=repetitions,
            sources=(
                PluginConfig(
                    name="store",
                    label="store",
                    options={"path": str((scenes.path / SCENES).resolve())},
                    where=f"{wheel.path}: stage {scenes.path.name}",
                ),
            ),
            simulator=simulator,
            planners=(
                msgspec.structs.replace(wheel.planner, label=planner_label, options=options),
            ),
            metrics=metrics,
            run=msgspec.structs.replace(wheel.run, save_rollouts=save),
            path=wheel.path,
        )

        def work(out: Path) -> list[Path]:
            run = run_suite(suite, out / RUN)
            return [run.path / "scores.csv", run.path / "summary.json"]

        inputs = {
            "scenes": scenes.digest,
            "planner": self._described(self._planner),
            "checkpoint": planner.stage.digest,
            "label": planner_label,
            "simulator": self._described(self._spec("simulators", simulator)),
            "metrics": [self._described(self._spec("metrics", m)) for m in metrics],
            "repetitions": repetitions,
            "rollouts": save,
        }
        return self._stages.make("drive", inputs, work, label, resumable=True)


def judge_round(new: Run, old: Run, rules: Sequence[Rule], rare: str) -> tuple[RuleVerdict, ...]:
    """Whether a planner may take the place of the one before.

    Args:
        new, old: runs of both on the validation set.
        rules: what must hold.
        rare: tag of rare scenes.
    """
    found: list[RuleVerdict] = []
    for rule in rules:
        relative = rule.margin is not None or rule.improvement is not None
        asked = msgspec.structs.replace(rule, against=BASELINE if relative else "")
        mine, theirs = of_group(new, rule.group, rare), of_group(old, rule.group, rare)
        if not mine.records:
            found.append(
                RuleVerdict(
                    rule=f"{rule.group} scenes: {rule.metric}",
                    planner=next(iter(new.manifest.planners)),
                    passed=False,
                    judged=False,
                    reason=f"The validation set has no {rule.group} scene.",
                )
            )
            continue
        verdict = gate(mine, [asked], theirs)
        for one in verdict.rules:
            words = f"{rule.group} scenes: {one.rule}"
            found.append(msgspec.structs.replace(one, rule=words))
    return tuple(found)


def of_group(run: Run, group: str, rare: str) -> Run:
    """A run with the records of one group of scenes alone: `rare`, `common`, `all`, or those that
    have a tag."""
    if group == "all":
        return run
    if group in ("rare", "common"):
        kept = tuple(r for r in run.records if (rare in r.tags) == (group == "rare"))
    else:
        kept = tuple(r for r in run.records if group in r.tags)
    return msgspec.structs.replace(run, records=kept)


def _write_some(scenes: Sequence[Scenario], split: str, out: Path) -> list[Path]:
    return write_store(out, scenes, split)


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
