"""A suite with every name resolved, every factory tried, and every path found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.comparison.casetable import column_name
from roadworthy.errors import PluginError, RoadworthyError, SuiteError, did_you_mean
from roadworthy.execution.bench import Confined, Setup
from roadworthy.isolation import host as isolation
from roadworthy.isolation.process import Confinement
from roadworthy.plugins import FactorySpec, registry
from roadworthy.provenance import named_files, path_hash
from roadworthy.scenario import content_hash
from roadworthy.score import MetricSpec
from roadworthy.suite import PluginConfig, Suite

__all__ = ["ResolvedSuite", "find_source", "require_column", "resolve_suite", "spec_of"]


@dataclass(frozen=True)
class ResolvedSuite:
    """What a suite names, ready to be made.

    Attributes:
        suite: as parsed.
        sources: how to make each source that is there; paths are absolute.
        simulator, metrics, planners: how to make them; planners by label.
        specs: by name, what each metric says of itself, and what identifies its plugin.
        described: by label, what identifies each planner, and whether it is privileged.
        simulated: what identifies the simulator.
        isolated: by label, how the kernel confines each isolated planner.
        notices: what was left out or cannot be had here, in a sentence each.
        data: where relative source paths were looked up first.
        hidden: what no isolated planner may read.
    """

    suite: Suite
    sources: tuple[FactorySpec, ...]
    simulator: FactorySpec
    metrics: tuple[FactorySpec, ...]
    planners: dict[str, FactorySpec]
    specs: dict[str, dict[str, Any]]
    described: dict[str, dict[str, Any]]
    simulated: dict[str, Any]
    isolated: dict[str, dict[str, Any]]
    notices: tuple[str, ...]
    data: Path | None
    hidden: tuple[Path, ...]

    @property
    def protocol(self) -> dict[str, Any]:
        """The simulator's name and options, as recorded."""
        return {"simulator": self.simulator.entry.name, **self.suite.simulator.options}

    def config_hash(self) -> str:
        """Hash of everything that can change a score."""
        sources = [(s.spec, dict(s.options)) for s in self.sources]
        for _, options in sources:
            if "path" in options:
                options["path"] = Path(options["path"]).name
        return content_hash(
            (
                self.suite.seed,
                self.suite.repetitions,
                sources,
                self.simulated,
                list(self.described.items()),
                [(name, s["version"], s["plugin"]) for name, s in self.specs.items()],
            )
        )

    def setup(self, rollouts: Path | None) -> Setup:
        """What a worker needs; replays are kept in `rollouts`, if anywhere."""
        run = self.suite.run
        return Setup(
            simulator=self.simulator,
            metrics=self.metrics,
            planners=self.planners,
            plan_time_limit_s=run.plan_time_limit_s,
            memory_limit_gb=run.memory_limit_gb,
            rollouts=rollouts,
            confined={
                label: Confined(
                    _confinement(self.suite, self.hidden), self.described[label]["privileged"]
                )
                for label in self.isolated
            },
            resources={config.label: config.resources for config in self.suite.planners},
        )


def resolve_suite(suite: Suite, data: Path | None, out: Path | None) -> ResolvedSuite:
    """Resolve names and try every factory but the sources' once, so that mistakes surface before
    any work.

    Args:
        suite: as parsed.
        data: where relative source paths are looked up first.
        out: the run directory, hidden from isolated planners; None where nothing is run.

    Raises:
        SuiteError, PluginError: naming file and field of what cannot be had.
    """
    if not suite.planners:
        raise SuiteError(
            f"{suite.path}: no planner is named",
            hint="Add [[planners]] with a name, or give --planner.",
        )
    home = Path(suite.path).parent
    notices: list[str] = []
    sources = []
    for config in suite.sources:
        source = find_source(config, data, home)
        if isinstance(source, str):
            notices.append(source)
        else:
            sources.append(source)
    hidden = (*([out.resolve()] if out else []), *_hidden(suite, sources, data))
    simulator = spec_of("simulators", suite.simulator, home)
    metrics = tuple(spec_of("metrics", config, home) for config in suite.metrics)
    planners = {c.label: spec_of("planners", c, home) for c in suite.planners}
    simulator.build()
    specs = {}
    for config, factory in zip(suite.metrics, metrics, strict=True):
        spec = _spec(factory)
        if spec.name in specs:
            raise SuiteError(f"{config.where}: a second metric is called {spec.name!r}")
        plugin = _identity(factory, config, factory.entry.content_hash)
        specs[spec.name] = msgspec.to_builtins(spec) | {"plugin": plugin}
    for i, rule in enumerate(suite.gate):
        require_column(rule.metric, specs, f"{suite.path}: gate[{i}].metric")
    described: dict[str, dict[str, Any]] = {}
    isolated: dict[str, dict[str, Any]] = {}
    for config in suite.planners:
        factory = planners[config.label]
        if config.isolation == "process":
            confinement = _confinement(suite, hidden)
            privileged, content, isolated[config.label] = isolation.describe(
                factory, confinement, suite.run.plan_time_limit_s
            )
            notices += _lacking(config.label, isolated[config.label])
        else:
            privileged = bool(getattr(factory.build(), "needs_log", False))
            content = factory.entry.content_hash
        identity = _identity(factory, config, content)
        described[config.label] = identity | {"privileged": privileged}
    return ResolvedSuite(
        suite=suite,
        sources=tuple(sources),
        simulator=simulator,
        metrics=metrics,
        planners=planners,
        specs=specs,
        described=described,
        simulated=_identity(simulator, suite.simulator, simulator.entry.content_hash),
        isolated=isolated,
        notices=tuple(notices),
        data=data,
        hidden=hidden,
    )


def _spec(factory: FactorySpec) -> MetricSpec:
    """What a metric says of itself.

    Raises:
        PluginError: it is no spec, or one that no run can hold.
    """
    metric = factory.build()
    spec = getattr(metric, "spec", None)
    try:
        if not isinstance(spec, MetricSpec):
            raise ValueError(f"it is of type {type(spec).__name__}")
        if msgspec.json.decode(msgspec.json.encode(spec), type=MetricSpec) != spec:
            raise ValueError("it holds what cannot be recorded")
        names = [column.name for column in spec.columns]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"its columns are {', '.join(names) or 'none'}; wanted one of a name")
        if not all(name and name.isprintable() for name in (spec.name, *names)):
            raise ValueError("a name in it is empty or cannot be printed")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PluginError(
            f"{factory.where}: metric {factory.entry.name!r} has no usable spec: {error}",
            hint="Set it to a roadworthy.MetricSpec(name, version, columns of unequal names).",
        ) from error
    return spec


def require_column(name: str, specs: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Refuse the name of a column that no metric gives.

    Args:
        name: as tables call it.
        specs: by name, what each metric says of itself.
        where: file and field.

    Raises:
        SuiteError: with the near names.
    """
    known = [column_name(m, str(c["name"])) for m, spec in specs.items() for c in spec["columns"]]
    if name not in known:
        raise SuiteError(
            f"{where} = {name!r}: no metric gives such a column", hint=did_you_mean(name, known)
        )


def spec_of(kind: str, config: PluginConfig, home: Path) -> FactorySpec:
    """How to make what a file names.

    Args:
        kind: one of `roadworthy.plugins.KINDS`.
        config: the plugin as the file names it.
        home: the file's folder; addresses such as `./mine.py:Mine` are relative to it, and so is
            an option that names something there and nothing from the working directory.

    Raises:
        PluginError: naming file and field, if there is no such plugin.
        SuiteError: its file cannot be looked up.
    """
    try:
        entry = registry().resolve(kind, config.name, base=home)
    except RoadworthyError as error:
        raise type(error)(f"{config.where}: {error.message}", hint=error.hint) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        reason = getattr(error, "strerror", error)
        raise SuiteError(f"{config.where}.name = {config.name[:200]!r}: {reason}") from error
    here = named_files(config.options)
    beside = {t: p for t, p in named_files(config.options, home).items() if t not in here}
    return FactorySpec(kind, entry.spec, config.options, config.where, beside)


def find_source(config: PluginConfig, data: Path | None, home: Path) -> FactorySpec | str:
    """How to make a source, with its `path`, if it has one, made absolute; or why an optional one
    is left out.

    Args:
        config: the source as the file names it.
        data: where a relative path is looked up first.
        home: where it is looked up next: the file's folder.

    Raises:
        SuiteError: its path is at neither place, or cannot be looked up.
        PluginError: there is no such source.
    """
    path = config.options.get("path")
    if not isinstance(path, str):
        return spec_of("sources", config, home)
    tried = [base / path for base in ([data] if data else []) + [home]]
    for candidate in tried:
        try:
            found = str(candidate.resolve()) if candidate.exists() else ""
        except OSError as error:
            raise SuiteError(f"{config.where}.path = {path[:200]!r}: {error.strerror}") from error
        if found:
            options = config.options | {"path": found}
            return spec_of("sources", msgspec.structs.replace(config, options=options), home)
    places = " and ".join(str(p) for p in tried)
    hint = "Name the folder that holds it with --data DIR or ROADWORTHY_DATA."
    if config.optional:
        return f"{config.label}: left out, {path!r} is not found at {places}. {hint}"
    raise SuiteError(f"{config.where}.path = {path!r}: not found at {places}", hint=hint)


def _identity(factory: FactorySpec, config: PluginConfig, content: str) -> dict[str, Any]:
    """What can change how a plugin behaves: who offers it, its code, where that is a file, its
    options as written, and the files, such as checkpoints, that those name.

    Raises:
        SuiteError: one of them cannot be read.
    """
    try:
        files = {text: path_hash(path) for text, path in factory.files.items()}
    except OSError as error:
        raise SuiteError(f"{config.where}: {error.filename}: {error.strerror}") from error
    return {
        "name": factory.entry.name,
        "options": config.options,
        "distribution": factory.entry.distribution,
        "version": factory.entry.version,
        "content_hash": content,
        "files": files,
    }


def _hidden(suite: Suite, sources: Iterable[FactorySpec], data: Path | None) -> tuple[Path, ...]:
    """What no isolated planner may read: logs, and the suite with its seeds."""
    paths = [Path(suite.path), *([data] if data else [])]
    paths += [Path(p) for s in sources if isinstance(p := s.options.get("path"), str)]
    return tuple(path.resolve() for path in paths if path.exists())


def _confinement(suite: Suite, hidden: tuple[Path, ...]) -> Confinement:
    run = suite.run
    return Confinement(run.cpu_limit_s, run.memory_limit_gb, run.file_limit_mb, hidden)


def _lacking(planner: str, found: dict[str, Any]) -> list[str]:
    """What the kernel would not do for an isolated planner, in a sentence each."""
    return [f"{planner}: isolated without {what}: {why}" for what, why in found["missing"].items()]
