"""Runs a suite: scenarios are read, admitted, batched, driven, judged and recorded.

A run directory can be resumed at any time; cases that have a record are not run again, and
the scores of a complete run are the same bytes whatever happened in between.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.admission import admit
from roadworthy.errors import PluginError, RoadworthyError, RunError, ScenarioError, SuiteError
from roadworthy.executors import Confined, Setup, Task, run_inline
from roadworthy.isolation import host as isolation
from roadworthy.isolation.process import Confinement
from roadworthy.joblog import JobLog
from roadworthy.pace import RunPlan, estimate, pace_keys, remember
from roadworthy.plugins import FactorySpec, Registry, registry
from roadworthy.provenance import collect, file_hash, named_files, path_hash
from roadworthy.rollout import Case, Status
from roadworthy.scenario import Rejected, Scenario, content_hash
from roadworthy.seeding import derive_seed
from roadworthy.signoff import fingerprint, write_hashes
from roadworthy.store import (
    FORMAT,
    CaseRecord,
    ErrorRecord,
    Manifest,
    Run,
    RunDirectory,
    read_run,
    scores_csv,
    write_file,
)
from roadworthy.suite import PluginConfig, Suite
from roadworthy.summary import summary_of
from roadworthy.workforce import compute, workforce

__all__ = [
    "Again",
    "Progress",
    "check_suite",
    "drive_again",
    "resume",
    "run_suite",
    "suite_of",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `total` is what the sources say until all scenarios have been read, None
    if they do not."""

    done: int
    total: int | None
    errors: int


def run_suite(
    suite: Suite,
    out: Path,
    *,
    data: Path | None = None,
    announce: Callable[[RunPlan], None] = lambda plan: None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Run:
    """Run a suite into a new folder, or go on with the same suite in an old one.

    Args:
        suite: what to run.
        out: the run directory.
        data: where relative source paths are looked up first.
        announce: told what is going to be done, before it begins.
        progress: called after each batch.

    Raises:
        SuiteError, PluginError, RunError: if it cannot be started or go on; finished cases
            are kept.
    """
    plugins = registry()
    plan = _plan(suite, plugins, data, out)
    with RunDirectory(out) as folder:
        manifest = _open(folder, suite, plan)
        with JobLog(out).watching():
            return _drive(folder, manifest, suite, plan, plugins, announce, progress)


def resume(
    path: Path,
    *,
    data: Path | None = None,
    retry_errors: bool = False,
    announce: Callable[[RunPlan], None] = lambda plan: None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Run:
    """Finish the run in `path`.

    Args:
        path: a run directory.
        data: where relative source paths are looked up first; as it was, if not given.
        retry_errors: run cases again that are not `ok`.
        announce: told what is going to be done, before it begins.
        progress: called after each batch.

    Raises:
        RunError: if there is no run, or it is damaged.
    """
    manifest = read_run(path).manifest
    suite = suite_of(manifest, path)
    if retry_errors:
        with RunDirectory(path) as folder:
            folder.forget_errors()
    recorded = manifest.provenance.get("data")
    return run_suite(
        suite,
        path,
        data=data or (Path(recorded) if recorded else None),
        announce=announce,
        progress=progress,
    )


def suite_of(manifest: Manifest, path: Path) -> Suite:
    """The suite that a run is of.

    Raises:
        RunError: if its record is damaged.
    """
    try:
        return msgspec.convert(manifest.suite, Suite)
    except msgspec.ValidationError as error:
        raise RunError(f"{path / 'run.json'}: suite: {error}") from error


def drive_again(
    run: Run, suite: Suite, keys: Collection[tuple[str, str]], *, data: Path | None = None
) -> Again:
    """Drive some cases of a run afresh, here, and touch nothing of the run.

    Args:
        run: the run.
        suite: its suite, perhaps with paths of this machine.
        keys: (planner, case key) of what to drive.
        data: where relative source paths are looked up first.

    Raises:
        SuiteError, PluginError, RunError: if it cannot be driven.
    """
    plan = _plan(suite, registry(), data, run.path)
    reading = _Reading(RunDirectory(run.path), suite, plan)
    wanted = set(keys)

    def tasks() -> Iterator[Task]:
        for index, case in reading.cases():
            for label in plan.planners:
                if (label, case.key) in wanted:
                    wanted.discard((label, case.key))
                    yield Task(label, (index,), (case,))
            if not wanted:
                return

    records = [r for batch in run_inline(tasks(), _setup(suite, plan, None)) for r in batch]
    return Again(
        records=tuple(records),
        planners=plan.described,
        metrics=plan.specs,
        data_hash=content_hash(sorted(reading.hashes)) if reading.is_complete else "",
    )


@dataclass(frozen=True)
class Again:
    """What `drive_again` found.

    Attributes:
        records: of the cases that are still to be found.
        planners, metrics: as in a `Manifest`, of now.
        data_hash: as in a `Manifest`, or "" if not every scenario had to be read.
    """

    records: tuple[CaseRecord, ...]
    planners: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    data_hash: str


def check_suite(suite: Suite, data: Path | None = None) -> tuple[str, ...]:
    """Make every plugin that a suite names once, with its options, and drive nothing.

    Args:
        suite: what to check.
        data: where relative source paths are looked up first.

    Returns:
        What is left out or cannot be had here, in a sentence each.

    Raises:
        RoadworthyError: it could not be run; says where and why.
    """
    plan = _plan(suite, registry(), data, Path(suite.path).parent)
    for source in plan.sources:
        source.build()
    return plan.notices


@dataclass(frozen=True)
class _Plan:
    """A suite with every name resolved."""

    sources: tuple[FactorySpec, ...]
    simulator: FactorySpec
    metrics: tuple[FactorySpec, ...]
    planners: dict[str, FactorySpec]
    specs: dict[str, dict[str, Any]]
    described: dict[str, dict[str, Any]]
    isolated: dict[str, dict[str, Any]]
    notices: tuple[str, ...]
    data: Path | None
    hidden: tuple[Path, ...]


def _plan(suite: Suite, plugins: Registry, data: Path | None, out: Path) -> _Plan:
    """Resolve names and try every factory once, so that mistakes surface before any work."""
    if not suite.planners:
        raise SuiteError(
            f"{suite.path}: no planner is named",
            hint="Add [[planners]] with a name, or give --planner.",
        )
    home = Path(suite.path).parent
    notices: list[str] = []
    sources = []
    for config in suite.sources:
        located = _locate(config, data, home)
        if isinstance(located, str):
            notices.append(located)
        else:
            sources.append(_spec("sources", located, plugins, home))
    hidden = (out.resolve(), *_hidden(suite, sources, data))
    simulator = _spec("simulators", suite.simulator, plugins, home)
    metrics = tuple(_spec("metrics", config, plugins, home) for config in suite.metrics)
    planners = {c.label: _spec("planners", c, plugins, home) for c in suite.planners}
    simulator.build()
    specs = {}
    for config, factory in zip(suite.metrics, metrics, strict=True):
        spec = factory.build().spec
        if spec.name in specs:
            raise SuiteError(f"{config.where}: a second metric is called {spec.name!r}")
        specs[spec.name] = msgspec.to_builtins(spec)
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
        described[config.label] = {
            "name": factory.entry.name,
            "options": config.options,
            "distribution": factory.entry.distribution,
            "version": factory.entry.version,
            "content_hash": content,
            "files": _file_hashes(config),
            "privileged": privileged,
        }
    return _Plan(
        tuple(sources),
        simulator,
        metrics,
        planners,
        specs,
        described,
        isolated,
        tuple(notices),
        data,
        hidden,
    )


def _file_hashes(config: PluginConfig) -> dict[str, str]:
    """Hashes of the files that a plugin's options name, such as checkpoints."""
    try:
        return {text: path_hash(path) for text, path in named_files(config.options).items()}
    except OSError as error:
        raise SuiteError(f"{config.where}: {error.filename}: {error.strerror}") from error


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


def _spec(kind: str, config: PluginConfig, plugins: Registry, home: Path) -> FactorySpec:
    try:
        entry = plugins.resolve(kind, config.name, base=home)
    except RoadworthyError as error:
        raise type(error)(f"{config.where}: {error.message}", hint=error.hint) from error
    return FactorySpec(kind, entry.spec, config.options, config.where)


def _locate(config: PluginConfig, data: Path | None, home: Path) -> PluginConfig | str:
    """The source with its path made absolute, or why it is left out."""
    path = config.options.get("path")
    if not isinstance(path, str):
        return config
    tried = [base / path for base in ([data] if data else []) + [home]]
    for candidate in tried:
        if candidate.exists():
            options = config.options | {"path": str(candidate.resolve())}
            return msgspec.structs.replace(config, options=options)
    places = " and ".join(str(p) for p in tried)
    hint = "Name the folder that holds it with --data DIR or ROADWORTHY_DATA."
    if config.optional:
        return f"{config.label}: left out, {path!r} is not there. {hint}"
    raise SuiteError(f"{config.where}.path = {path!r}: not found at {places}", hint=hint)


def _config_hash(suite: Suite, plan: _Plan) -> str:
    """Hash of everything that can change a score."""
    sources = [(s.spec, dict(s.options)) for s in plan.sources]
    for _, options in sources:
        if "path" in options:
            options["path"] = Path(options["path"]).name
    return content_hash(
        (
            suite.seed,
            suite.repetitions,
            sources,
            _protocol(plan, suite),
            [(label, plan.described[label]) for label in plan.planners],
            [(name, spec["version"]) for name, spec in plan.specs.items()],
        )
    )


def _protocol(plan: _Plan, suite: Suite) -> dict[str, Any]:
    return {"simulator": plan.simulator.entry.name, **suite.simulator.options}


def _open(folder: RunDirectory, suite: Suite, plan: _Plan) -> Manifest:
    """The manifest of this run: a new one, or the old one if it is of the same suite."""
    config_hash = _config_hash(suite, plan)
    old = folder.manifest()
    if old is not None:
        if old.config_hash != config_hash:
            raise RunError(
                f"{folder.path}: holds a run of another suite, planner or version "
                f"({old.suite.get('name')!r}, config {old.config_hash[:8]}, now {config_hash[:8]})",
                hint="Choose another folder with --out.",
            )
        return old
    if folder.records:
        raise RunError(
            f"{folder.path}: holds records but no run.json", hint="Choose another --out."
        )
    provenance = collect() | {"data": str(plan.data.resolve()) if plan.data else ""}
    provenance |= {
        "suite_file_hash": file_hash(Path(suite.path)) if Path(suite.path).is_file() else "",
        "simulator_files": _file_hashes(suite.simulator),
        "isolation": plan.isolated,
    }
    manifest = Manifest(
        format=FORMAT,
        suite=msgspec.to_builtins(suite),
        config_hash=config_hash,
        planners=plan.described,
        metrics=plan.specs,
        protocol=_protocol(plan, suite),
        provenance=provenance,
        notices=plan.notices,
    )
    folder.write_manifest(manifest)
    return manifest


def _drive(
    folder: RunDirectory,
    manifest: Manifest,
    suite: Suite,
    plan: _Plan,
    plugins: Registry,
    announce: Callable[[RunPlan], None],
    progress: Callable[[Progress], None],
) -> Run:
    log = JobLog(folder.path)
    log.write(
        "start",
        config_hash=manifest.config_hash,
        suite=suite.name,
        planners=list(plan.planners),
        done=len(folder.records),
        executor=suite.run.executor,
        git=collect()["git"],
    )
    for notice in plan.notices:
        log.write("notice", level="warning", message=notice)
    reading = _Reading(folder, suite, plan)
    setup = _setup(suite, plan, folder.path if suite.run.save_rollouts else None)
    keys = pace_keys(manifest.planners, manifest.protocol, manifest.metrics)
    errors = sum(r.status is not Status.OK for r in folder.records.values())
    with workforce(suite) as (workers, devices):
        todo = None if reading.total is None else reading.total - len(folder.records)
        ahead = RunPlan(
            suite.run.executor,
            workers,
            devices,
            suite.run.batch_size,
            reading.total,
            len(folder.records),
            estimate(keys, todo, workers),
        )
        announce(ahead)
        log.write("plan", message=str(ahead))
        results = compute(suite, reading.tasks(), setup, workers, folder.path)
        progress(Progress(len(folder.records), reading.total, errors))
        for records in itertools.chain(reading.rejects(), results, reading.rejects()):
            folder.append(records)
            log.cases(records)
            errors += sum(r.status is not Status.OK for r in records)
            for record in records:
                plugins.hooks.roadworthy_case_end(folder, record)
            progress(Progress(len(folder.records), reading.total, errors))
    run = _finish(folder, manifest, reading)
    remember(keys, run.records)
    log.write("end", cases=len(run.records), errors=errors, fingerprint=fingerprint(run.path))
    return run


def _setup(suite: Suite, plan: _Plan, rollouts: Path | None) -> Setup:
    return Setup(
        simulator=plan.simulator,
        metrics=plan.metrics,
        planners=plan.planners,
        plan_time_limit_s=suite.run.plan_time_limit_s,
        memory_limit_gb=suite.run.memory_limit_gb,
        rollouts=rollouts,
        confined={
            label: Confined(_confinement(suite, plan.hidden), plan.described[label]["privileged"])
            for label in plan.isolated
        },
        resources={config.label: config.resources for config in suite.planners},
    )


class _Reading:
    """Reads scenarios as tasks need them, and remembers what the manifest has to say of them."""

    def __init__(self, folder: RunDirectory, suite: Suite, plan: _Plan) -> None:
        self._folder = folder
        self._suite = suite
        self._plan = plan
        self._protocol = _protocol(plan, suite)
        self._rejected: list[CaseRecord] = []
        self.hashes: list[str] = []
        self.repairs: dict[str, tuple[str, ...]] = {}
        scenes = [_length(spec) for spec in plan.sources]
        known = [n for n in scenes if n is not None]
        self.is_complete = False
        self.total: int | None = None
        if len(known) == len(scenes):
            self.total = sum(known) * suite.repetitions * len(plan.planners)

    def tasks(self) -> Iterator[Task]:
        """Batches of cases that have no record yet, planner by planner."""
        done = self._folder.records
        for batch in _batched(self.cases(), self._suite.run.batch_size):
            for label in self._plan.planners:
                todo = [(i, case) for i, case in batch if (label, case.key) not in done]
                if todo:
                    indexes, cases = zip(*todo, strict=True)
                    yield Task(label, indexes, cases)

    def rejects(self) -> Iterator[list[CaseRecord]]:
        """Records of the scenes rejected since the last call."""
        done = self._folder.records
        fresh = [r for r in self._rejected if (r.planner, r.key) not in done]
        self._rejected.clear()
        if fresh:
            yield fresh

    def cases(self) -> Iterator[tuple[int, Case]]:
        """Every case of the suite with its scenario's position in it."""
        index = 0
        for scene in self._scenes():
            if isinstance(scene, Rejected):
                self._reject(index, scene)
            else:
                name = f"{scene.source}/{scene.id}"
                self.hashes.append(scene.hash)
                if scene.repairs:
                    self.repairs[name] = scene.repairs
                for repetition in range(self._suite.repetitions):
                    seed = derive_seed(self._suite.seed, "case", scene.hash, repetition)
                    yield index, Case(scene, repetition, seed, self._protocol)
            index += 1
        cases = len(self.hashes) * self._suite.repetitions + index - len(self.hashes)
        self.total = cases * len(self._plan.planners)
        self.is_complete = True

    def _scenes(self) -> Iterator[Scenario | Rejected]:
        seen: set[tuple[str, str]] = set()
        for spec in self._plan.sources:
            for scene in _read(spec):
                if isinstance(scene, Rejected):
                    yield scene
                elif (scene.source, scene.id) in seen:
                    reason = "a second scenario of this name; leave one of its sources out"
                    yield Rejected(f"{scene.id}#2", scene.source, "DuplicateScenario", reason)
                else:
                    seen.add((scene.source, scene.id))
                    yield scene

    def _reject(self, index: int, scene: Rejected) -> None:
        for label in self._plan.planners:
            self._rejected.append(
                CaseRecord(
                    index=index,
                    planner=label,
                    key=content_hash(("rejected", scene.source, scene.id, self._protocol)),
                    scenario=scene.id,
                    source=scene.source,
                    scenario_hash="",
                    repetition=0,
                    seed=0,
                    status=Status.INVALID_SCENARIO,
                    error=ErrorRecord(type=scene.error, message=scene.reason),
                )
            )


def _length(spec: FactorySpec) -> int | None:
    """How many scenes a source says that it has, None if it does not."""
    try:
        return len(spec.build())
    except Exception:  # what is wrong with it comes to light when it is read
        return None


def _read(spec: FactorySpec) -> Iterator[Scenario | Rejected]:
    """A source's scenes, admitted."""
    try:
        for scene in spec.build().scenarios():
            if isinstance(scene, Rejected):
                yield scene
                continue
            try:
                admitted = admit(scene)
            except ScenarioError as error:
                yield Rejected(scene.id, scene.source, type(error).__name__, str(error))
            else:
                yield admitted
    except RoadworthyError:
        raise
    except Exception as error:  # a source is a plugin and may raise anything
        raise PluginError(
            f"{spec.where}: source {spec.entry.name!r} stopped with {traceback.format_exc()}",
            hint="Finished cases are kept.",
        ) from error


def _batched(cases: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(cases)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _finish(folder: RunDirectory, manifest: Manifest, reading: _Reading) -> Run:
    """Write what is derived from the records of a complete run."""
    complete = msgspec.structs.replace(
        manifest,
        scenarios=len(reading.hashes),
        data_hash=content_hash(sorted(reading.hashes)),
        repairs=reading.repairs,
        complete=True,
    )
    folder.write_manifest(complete)
    run = read_run(folder.path)
    write_file(folder.path / "scores.csv", scores_csv(run).encode())
    table = msgspec.json.encode(summary_of(run))
    write_file(folder.path / "summary.json", msgspec.json.format(table, indent=2) + b"\n")
    write_hashes(folder.path)
    return run
