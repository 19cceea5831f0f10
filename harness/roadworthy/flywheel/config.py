"""What a flywheel is asked to do, in one TOML file; see `docs/flywheel.md` for an example.

Sets of scenes are named under `[[sources.NAME]]`: `train`, `mining`, `validation` and `test` are
needed, any other set is one more to evaluate on. Nothing in one of them may be related to anything
in another (`roadworthy.splits`): such a run is refused, or, with `related = "leave-out"`, goes on
without the scenes of training, mining and validation that are related to what is evaluated on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from roadworthy.errors import SuiteError, did_you_mean
from roadworthy.suite import (
    GateConfig,
    PluginConfig,
    RunConfig,
    plugin_config,
    plugin_configs,
    validate_label,
)
from roadworthy.tomlfile import check_keys, explain_invalid, parse_toml, read_suite_text

__all__ = [
    "DATA",
    "SPLITS",
    "Arm",
    "Flywheel",
    "Generation",
    "Mining",
    "Pretraining",
    "Rule",
    "Scaling",
    "load_flywheel",
    "parse_flywheel",
]

SPLITS = ("train", "mining", "validation", "test")
"""The sets that every flywheel has."""

DATA = ("train", "mining", "mined", "variants", "driven-mined", "driven-variants")
"""What an arm can train on: the logs of two splits; what was mined; variants of it; and both as
the planner itself drove them, in closed loop."""

Related = Literal["refuse", "leave-out"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Pretraining(msgspec.Struct, frozen=True, kw_only=True):
    """How the base planner is made.

    Attributes:
        trainer: makes a planner from nothing, or from the one that `planner` names.
        data: set -> share; see `Arm.data`.
    """

    trainer: PluginConfig
    data: Mapping[str, float]


class Mining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How failures are mined.

    Attributes:
        limit: how many clusters to keep at most.
        parts: the mining set is cut into so many parts, by log, and each round mines the next
            one, beginning again after the last.
        repetitions: how often each scene is driven.
    """

    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    parts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    repetitions: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """How what was mined is varied.

    Attributes:
        generator: makes variants.
        variants: how many are asked for per mined scene.
        reaction_s: reaction time that a variant's certificate allows the driver.
    """

    generator: PluginConfig
    variants: int = 4
    reaction_s: float = 1.0


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One way of making the base planner better.

    Attributes:
        name: its label.
        trainer: makes a better planner from a planner and cases.
        data: set (of `DATA`) -> share of the cases. Shares are relative: as many cases are taken
            as the set that runs out first allows. A list of sets in the file is all of each, and
            a share of 0 here.
        rounds: how often.
        gated: whether a round must be accepted on the validation set, or is rolled back.
        smaller: option of the trainer -> factor by which it is multiplied in each round after the
            first, whatever became of the one before.
        without: tags of scenes that this arm must not see: a rare family to be held out, first its
            own tag, then those of what a generator makes of its kind.
        reference: label of the arm that it is compared with besides the base.
    """

    name: str
    trainer: PluginConfig
    data: Mapping[str, float]
    rounds: int = 1
    gated: bool = True
    smaller: Mapping[str, float] = {}
    without: tuple[str, ...] = ()
    reference: str = ""


class Rule(GateConfig, frozen=True, kw_only=True):
    """What a round must meet on the validation set, for the scenes of one group; else as a suite's
    gate (`roadworthy.comparison.gate`).

    Attributes:
        group: `rare`, `common` or `all`.
    """

    group: Literal["rare", "common", "all"] = "all"


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pre-training on more data.

    Attributes:
        multiples: of the data; ascending, from 1. The training source holds the largest; each
            smaller one is the beginning of it.
        metric: the column that the data-equivalence multiplier is read from.
        group: on which scenes of the test set.
        arm: the arm that is laid over the curve.
    """

    multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    metric: str = "success"
    group: Literal["rare", "common", "all"] = "rare"
    arm: str


class Flywheel(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed flywheel.

    Attributes:
        name, description: of the whole.
        seeds: each is one independent training; evaluations use the same cases for all.
        planner: what is trained; gets the option `checkpoint`.
        simulator: of the closed loop.
        open_loop: a second simulator for the test sets, if any.
        metrics: judge every evaluation; `open_loop_metrics` those of the second simulator.
        sources: set -> its sources.
        pretrain, mining, generation: the stages before an arm's training.
        arms: ways of post-training, in file order.
        accept: rules that a gated round has to meet.
        headline: columns of the report's table; the metrics' own headline columns unless given.
        rare: tag of rare scenes.
        related: what becomes of related sets: `refuse` the run, or `leave-out` such scenes.
        scaling: pre-training on more data, if wanted.
        run: how evaluations are run.
        path: the file.
    """

    name: str
    description: str
    seeds: tuple[int, ...]
    planner: PluginConfig
    simulator: PluginConfig
    open_loop: PluginConfig | None
    metrics: tuple[PluginConfig, ...]
    open_loop_metrics: tuple[PluginConfig, ...]
    sources: Mapping[str, tuple[PluginConfig, ...]]
    pretrain: Pretraining
    mining: Mining
    generation: Generation | None
    arms: tuple[Arm, ...]
    accept: tuple[Rule, ...]
    headline: tuple[str, ...]
    rare: str
    related: Related
    scaling: Scaling | None
    run: RunConfig
    path: str

    @property
    def home(self) -> Path:
        """The folder that relative paths start from."""
        return Path(self.path).parent


class _ArmTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    trainer: str | dict[str, Any]
    data: dict[str, Positive] | list[str]
    rounds: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    gated: bool = True
    smaller: dict[str, Positive] = {}
    without: str | list[str] = []
    reference: str = ""


class _PretrainTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    trainer: str | dict[str, Any]
    data: dict[str, Positive] | list[str] = msgspec.field(default_factory=lambda: ["train"])


class _GenerationTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    generator: str | dict[str, Any]
    variants: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    reaction_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: str = ""
    seeds: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1)]
    planner: str | dict[str, Any]
    simulator: dict[str, Any]
    open_loop: dict[str, Any] | None = None
    metrics: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1)]
    open_loop_metrics: list[str | dict[str, Any]] = []
    sources: dict[str, Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]]
    pretrain: _PretrainTable
    mining: Mining = Mining()
    generation: _GenerationTable | None = None
    arms: list[_ArmTable] = []
    accept: tuple[Rule, ...] = ()
    headline: list[str] = []
    rare: str = "rare"
    related: Related = "refuse"
    scaling: Scaling | None = None
    run: RunConfig = RunConfig()


def load_flywheel(path: Path) -> Flywheel:
    """Read a flywheel's file.

    Raises:
        SuiteError: naming file, field, value, and what to do.
    """
    return parse_flywheel(read_suite_text(path), str(path))


def parse_flywheel(text: str, path: str) -> Flywheel:
    """Parse a flywheel's text; `path` is used in messages and for relative paths.

    Raises:
        SuiteError: naming file, field, value, and what to do.
    """
    raw = parse_toml(text, _File, path)
    for key, schema in (
        ("pretrain", _PretrainTable), ("mining", Mining), ("generation", _GenerationTable),
        ("scaling", Scaling), ("run", RunConfig),
    ):  # fmt: skip
        check_keys(raw.get(key), schema, f"{path}: {key}")
    listed: dict[str, type[msgspec.Struct]] = {"arms": _ArmTable, "accept": Rule}
    for key, each in listed.items():
        tables = raw.get(key)
        for i, table in enumerate(tables if isinstance(tables, list) else ()):
            check_keys(table, each, f"{path}: {key}[{i}]")
    try:
        file = msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise SuiteError(*explain_invalid(error, raw, path)) from error
    return _checked(_parsed(file, path))


def _parsed(file: _File, path: str) -> Flywheel:
    generation = file.generation
    return Flywheel(
        name=validate_label(file.name, f"{path}: name"),
        description=file.description,
        seeds=tuple(file.seeds),
        planner=plugin_config(file.planner, f"{path}: planner"),
        simulator=plugin_config(file.simulator, f"{path}: simulator"),
        open_loop=None
        if file.open_loop is None
        else plugin_config(file.open_loop, f"{path}: open_loop"),
        metrics=plugin_configs(file.metrics, "metrics", path),
        open_loop_metrics=plugin_configs(file.open_loop_metrics, "open_loop_metrics", path),
        sources={
            name: plugin_configs(tables, f"sources.{name}", path)
            for name, tables in file.sources.items()
        },
        pretrain=Pretraining(
            trainer=plugin_config(file.pretrain.trainer, f"{path}: pretrain.trainer"),
            data=_shares(file.pretrain.data),
        ),
        mining=file.mining,
        generation=None
        if generation is None
        else Generation(
            generator=plugin_config(generation.generator, f"{path}: generation.generator"),
            variants=generation.variants,
            reaction_s=generation.reaction_s,
        ),
        arms=tuple(
            Arm(
                name=validate_label(arm.name, f"{path}: arms[{i}].name"),
                trainer=plugin_config(arm.trainer, f"{path}: arms[{i}].trainer"),
                data=_shares(arm.data),
                rounds=arm.rounds,
                gated=arm.gated,
                smaller=arm.smaller,
                without=(arm.without,) if isinstance(arm.without, str) else tuple(arm.without),
                reference=arm.reference,
            )
            for i, arm in enumerate(file.arms)
        ),
        accept=file.accept,
        headline=tuple(file.headline),
        rare=file.rare,
        related=file.related,
        scaling=file.scaling,
        run=file.run,
        path=path,
    )


def _checked(flywheel: Flywheel) -> Flywheel:
    """What the schema cannot say."""
    path = flywheel.path
    for name in SPLITS:
        if name not in flywheel.sources:
            raise SuiteError(
                f"{path}: there is no set {name!r}",
                hint=f"Add [[sources.{name}]]; a flywheel has {', '.join(SPLITS)}.",
            )
    for name in flywheel.sources:
        validate_label(name, f"{path}: sources.{name}")
    if len(set(flywheel.seeds)) < len(flywheel.seeds):
        raise SuiteError(f"{path}: seeds = {list(flywheel.seeds)}: one is named twice")
    _check_data(flywheel.pretrain.data, ("train", "mining"), f"{path}: pretrain.data")
    labels = ["base"]
    for i, arm in enumerate(flywheel.arms):
        where = f"{path}: arms[{i}]"
        if arm.name in labels:
            raise SuiteError(f"{where}: a second arm is called {arm.name!r}")
        _check_data(arm.data, DATA, f"{where}.data")
        varied = [name for name in arm.data if name.endswith("variants")]
        if varied and flywheel.generation is None:
            raise SuiteError(
                f"{where}.data names {varied[0]!r}, but nothing is generated",
                hint="Add [generation] with a generator.",
            )
        for option in arm.smaller:
            value = arm.trainer.options.get(option)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SuiteError(
                    f"{where}.smaller.{option}: the trainer's {option} is {value!r}",
                    hint="Name an option that arms.trainer sets to a number.",
                )
        if arm.gated and not flywheel.accept:
            raise SuiteError(
                f"{where} is gated, but there is no rule to accept a round by",
                hint="Add [[accept]] tables, or `gated = false`.",
            )
        if arm.reference and arm.reference not in labels:
            raise SuiteError(
                f"{where}.reference = {arm.reference!r}: no arm before it is called so",
                hint=did_you_mean(arm.reference, labels),
            )
        labels.append(arm.name)
    for i, rule in enumerate(flywheel.accept):
        where = f"{path}: accept[{i}]"
        given = [k for k in ("at_least", "at_most", "margin", "improvement")
                 if getattr(rule, k) is not None]  # fmt: skip
        if len(given) != 1:
            raise SuiteError(
                f"{where}: has {' and '.join(given) or 'no condition'}",
                hint="A rule sets one of improvement, margin, at_least, at_most.",
            )
        if rule.planner or rule.against:
            raise SuiteError(
                f"{where}: it is always the new planner that is judged, against the one before",
                hint="Drop `planner` and `against`.",
            )
    scaling = flywheel.scaling
    if scaling is not None:
        found = scaling.multiples
        if len(found) < 2 or found[0] != 1 or list(found) != sorted(set(found)):
            raise SuiteError(
                f"{path}: scaling.multiples = {list(found)}",
                hint="Give two or more, ascending, from 1.",
            )
        if scaling.arm not in labels[1:]:
            raise SuiteError(
                f"{path}: scaling.arm = {scaling.arm!r}: there is no such arm",
                hint=did_you_mean(scaling.arm, labels[1:]),
            )
    return flywheel


def _shares(data: dict[str, float] | list[str]) -> dict[str, float]:
    return dict.fromkeys(data, 0.0) if isinstance(data, list) else data


def _check_data(data: Mapping[str, float], known: tuple[str, ...], where: str) -> None:
    if not data:
        raise SuiteError(f"{where} is empty", hint=f"Name some of {', '.join(known)}.")
    for name in data:
        if name not in known:
            raise SuiteError(f"{where} names {name!r}", hint=did_you_mean(name, known))
