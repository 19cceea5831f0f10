"""Suites: what to drive, with what, and how to judge it, in one TOML file.

    name = "safety"
    seed = 7
    repetitions = 1
    metrics = ["pdms", "safety"]

    [[sources]]
    name = "argoverse2"
    path = "av2_logs"

    [simulator]
    name = "closed-loop"
    replan_hz = 2

    [[planners]]
    name = "idm"

    [run]
    executor = "process"
    workers = 2

    [[gate]]
    metric = "pdms"
    against = "baseline"
    margin = 0.01

Keys beside `name` in a source, simulator, planner or metric table are that plugin's
options. A relative `path` is looked up in the data folder where one is named (`--data` or
`ROADWORTHY_DATA`), else beside the suite file. Any other option that names a file or folder (a
text with a `/` or a `.` in it: `scenes`, `rig`, `checkpoint`) is looked up in the working
directory, else beside the suite file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from roadworthy.errors import SuiteError
from roadworthy.plugins.localfile import kebab
from roadworthy.tomlfile import check_keys, explain_invalid, parse_toml, read_suite_text

__all__ = [
    "GateConfig",
    "PluginConfig",
    "Resources",
    "RunConfig",
    "Suite",
    "load_suite",
    "override",
    "parse_suite",
    "plugin_config",
    "plugin_configs",
    "validate_label",
]

_RESERVED = {"name", "label", "optional"}
ISOLATION = ("none", "process")


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker that carries a planner needs. None of these changes a score.

    Attributes:
        gpus: GPUs; a fraction shares one (`ray` alone divides them).
        memory_gb: memory; `run.memory_limit_gb` unless given.
    """

    gpus: Annotated[float, msgspec.Meta(ge=0, le=1024)] = 0.0
    memory_gb: Annotated[float, msgspec.Meta(ge=0.25, le=4096)] | None = None


class PluginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin as a suite names it.

    Attributes:
        name: registered name, or for planners `./file.py:Attribute`.
        label: what reports call it; the name unless given.
        optional: for sources: skip with a notice where its `path` does not exist.
        isolation: for planners: `process` runs it confined, in a process of its own.
        resources: for planners: what a worker that carries it needs.
        options: passed to the plugin's factory.
        where: file and field, for error messages.
    """

    name: str
    label: str = ""
    optional: bool = False
    isolation: str = "none"
    resources: Resources = Resources()
    options: dict[str, Any] = {}
    where: str = ""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run. None of these changes a score.

    Attributes:
        executor: `inline` runs in this process, `process` in worker processes, which can be
            limited and killed, `ray` on a Ray cluster.
        ray_address: of the cluster; "" starts one on this machine.
        workers: worker processes; 0 means one per core.
        batch_size: cases simulated together.
        plan_time_limit_s: wall-clock limit for one plan.
        memory_limit_gb: memory limit of a worker process, and of an isolated planner's.
        cpu_limit_s: CPU-seconds of an isolated planner, per case.
        file_limit_mb: what an isolated planner may write.
        save_rollouts: keep what happened in each case, for replays.
    """

    executor: Literal["inline", "process", "ray"] = "process"
    ray_address: str = ""
    workers: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    plan_time_limit_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0
    memory_limit_gb: Annotated[float, msgspec.Meta(ge=0.25, le=4096)] = 4.0
    cpu_limit_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 300.0
    file_limit_mb: Annotated[float, msgspec.Meta(ge=1, le=1 << 20)] = 256.0
    save_rollouts: bool = True


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule that a run has to meet (`roadworthy.comparison.gate`); none changes a score.

    A rule sets one of `at_least` and `at_most` (absolute), or `against` with one of `margin`
    (not worse) and `improvement` (better).

    Attributes:
        metric: the column, such as `pdms`.
        planner: label; every planner unless given.
        at_least, at_most: what the mean has to keep to.
        against: `baseline`, the run given with --baseline, or the label of another planner.
        margin: by how much it may be worse, in the column's unit.
        improvement: by more than how much it has to be better.
        confidence: level of the two-sided interval whose end decides.
        min_scenarios: with fewer independent scenarios the rule cannot be judged.
        max_errors: with more cases that cannot be judged or compared, neither.
    """

    metric: Annotated[str, msgspec.Meta(min_length=1)]
    planner: str = ""
    at_least: float | None = None
    at_most: float | None = None
    against: str = ""
    margin: Annotated[float, msgspec.Meta(ge=0)] | None = None
    improvement: Annotated[float, msgspec.Meta(ge=0)] | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0.5, le=0.999)] = 0.95
    min_scenarios: Annotated[int, msgspec.Meta(ge=2)] = 10
    max_errors: Annotated[int, msgspec.Meta(ge=0)] = 0


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed suite. `sources`, `planners`, `metrics`, `gate` are in file order."""

    name: str
    description: str = ""
    seed: int = 0
    repetitions: int = 1
    sources: tuple[PluginConfig, ...]
    simulator: PluginConfig
    planners: tuple[PluginConfig, ...]
    metrics: tuple[PluginConfig, ...]
    run: RunConfig = RunConfig()
    gate: tuple[GateConfig, ...] = ()
    path: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    description: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    repetitions: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 1
    sources: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    simulator: dict[str, Any]
    planners: list[str | dict[str, Any]] = []
    metrics: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1)]
    run: RunConfig = RunConfig()
    gate: tuple[GateConfig, ...] = ()


def load_suite(path: Path) -> Suite:
    """Read a suite file.

    Raises:
        SuiteError: naming file, field, value, and what to do.
    """
    return parse_suite(read_suite_text(path), str(path))


def parse_suite(text: str, path: str) -> Suite:
    """Parse a suite's text; `path` is used in messages and for relative paths.

    Raises:
        SuiteError: naming file, field, value, and what to do.
    """
    raw = parse_toml(text, _File, path)
    check_keys(raw.get("run"), RunConfig, f"{path}: run")
    rules = raw.get("gate")
    for i, rule in enumerate(rules if isinstance(rules, list) else ()):
        check_keys(rule, GateConfig, f"{path}: gate[{i}]")
    try:
        file = msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise SuiteError(*explain_invalid(error, raw, path)) from error
    planners = _check_labels(plugin_configs(file.planners, "planners", path), f"{path}: planners")
    return Suite(
        name=file.name,
        description=file.description,
        seed=file.seed,
        repetitions=file.repetitions,
        sources=plugin_configs(file.sources, "sources", path),
        simulator=plugin_config(file.simulator, f"{path}: simulator"),
        planners=planners,
        metrics=plugin_configs(file.metrics, "metrics", path),
        run=file.run,
        gate=tuple(_check_rule(rule, f"{path}: gate[{i}]") for i, rule in enumerate(file.gate)),
        path=path,
    )


def override(
    suite: Suite,
    *,
    planners: Sequence[str] = (),
    executor: str | None = None,
    workers: int | None = None,
    isolation: str | None = None,
    ray_address: str | None = None,
) -> Suite:
    """The suite with what the command line says instead; file planners relative to here.

    Raises:
        SuiteError: if a value does not fit.
    """
    changes: dict[str, Any] = {}
    if planners:
        specs = [str(Path(p).absolute()) if ".py:" in p else p for p in planners]
        configs = tuple(plugin_config(spec, "--planner", is_planner=True) for spec in specs)
        changes["planners"] = _check_labels(configs, "--planner")
    if isolation is not None:
        changes["planners"] = tuple(
            msgspec.structs.replace(config, isolation=_check_isolation(isolation, "--isolation"))
            for config in changes.get("planners", suite.planners)
        )
    run: dict[str, Any] = {}
    if executor is not None:
        run["executor"] = executor
    if workers is not None:
        run["workers"] = workers
    if ray_address is not None:
        run["ray_address"] = ray_address
    try:
        changes["run"] = msgspec.convert(msgspec.to_builtins(suite.run) | run, RunConfig)
    except msgspec.ValidationError as error:
        raise SuiteError(f"run: {run}: {error}") from error
    return msgspec.structs.replace(suite, **changes)


def validate_label(label: str, where: str) -> str:
    """A label that can name a folder on any system.

    Raises:
        SuiteError: if it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", label):
        raise SuiteError(
            f"{where}: {label!r} cannot be a label",
            hint="Use letters, digits, '.', '_', '+', '-', at most 64.",
        )
    return label


def _check_labels(planners: tuple[PluginConfig, ...], where: str) -> tuple[PluginConfig, ...]:
    labels = [planner.label for planner in planners]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise SuiteError(
                f"{where}: two planners are called {label!r}",
                hint='In a suite, give one of them `label = "another-name"`.',
            )
    return planners


def _default_label(name: str) -> str:
    """The name itself, or of an address its attribute: `./mine.py:MyPlanner` -> `my-planner`."""
    return kebab(name.rpartition(":")[2]) if ":" in name else name


def _check_rule(rule: GateConfig, where: str) -> GateConfig:
    kinds = ("at_least", "at_most", "margin", "improvement")
    given = [name for name in kinds if getattr(rule, name) is not None]
    if len(given) != 1:
        raise SuiteError(
            f"{where}: has {' and '.join(given) or 'no condition'}",
            hint=f"A rule sets one of {', '.join(kinds)}; write a second rule for a second one.",
        )
    relative = given[0] in ("margin", "improvement")
    if relative and not rule.against:
        raise SuiteError(
            f"{where}: {given[0]} of what?", hint='Add `against = "baseline"` or a planner.'
        )
    if rule.against and not relative:
        raise SuiteError(
            f"{where}: {given[0]} is absolute, so `against` = {rule.against!r} has no meaning",
            hint="Drop `against`, or use `margin` or `improvement`.",
        )
    if rule.against and rule.against == rule.planner:
        raise SuiteError(f"{where}: {rule.planner!r} is compared with itself")
    return rule


def plugin_configs(
    tables: list[dict[str, Any]] | list[str | dict[str, Any]], field: str, path: str
) -> tuple[PluginConfig, ...]:
    """Each as `plugin_config` reads it; `field` and `path` are for messages."""
    return tuple(
        plugin_config(table, f"{path}: {field}[{i}]", is_planner=field == "planners")
        for i, table in enumerate(tables)
    )


def _check_isolation(value: object, where: str) -> str:
    if value not in ISOLATION:
        raise SuiteError(
            f"{where} = {value!r}: wanted {' or '.join(map(repr, ISOLATION))}",
            hint="`process` runs the planner confined, in a process of its own.",
        )
    return str(value)


def _resources(table: object, where: str) -> Resources:
    check = f"{where}.resources"
    check_keys(table, Resources, check)
    try:
        return msgspec.convert(table, Resources)
    except msgspec.ValidationError as error:
        raise SuiteError(
            f"{check} = {table!r}: {error}", hint="Such as { gpus = 1, memory_gb = 8 }."
        ) from error


def plugin_config(
    table: str | dict[str, Any], where: str, *, is_planner: bool = False
) -> PluginConfig:
    """A plugin as a suite names it: a name alone, or a table with its options; a suite's planner
    has besides those the keys `isolation` and `resources`.

    Raises:
        SuiteError: it has no name, or a reserved key of another type.
    """
    if isinstance(table, str):
        table = {"name": table}
    for key, kind in (("name", str), ("label", str), ("optional", bool)):
        if key in table and not isinstance(table[key], kind):
            raise SuiteError(f"{where}.{key} = {table[key]!r}: wanted a {kind.__name__}")
    reserved = _RESERVED | ({"isolation", "resources"} if is_planner else set())
    name = table.get("name")
    if not name:
        raise SuiteError(f"{where}: has no name", hint='Add `name = "..."`.')
    return PluginConfig(
        name=name,
        label=validate_label(table.get("label") or _default_label(name), f"{where}.label"),
        optional=table.get("optional", False),
        isolation=_check_isolation(table.get("isolation", "none"), f"{where}.isolation")
        if is_planner
        else "none",
        resources=_resources(table.get("resources", {}), where) if is_planner else Resources(),
        options={key: value for key, value in table.items() if key not in reserved},
        where=where,
    )
