"""Runs a suite: scenarios are read, admitted, batched, driven, judged and recorded.

A run directory can be resumed at any time; cases that have a record are not run again, and
the scores of a complete run are the same bytes whatever happened in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.comparison.gate import BASELINE
from roadworthy.differences import differences
from roadworthy.errors import RunError, SuiteError, did_you_mean
from roadworthy.execution.bench import Task
from roadworthy.execution.executors import run_inline
from roadworthy.execution.pace import RunPlan, estimate, pace_keys, remember
from roadworthy.execution.workforce import compute, workforce
from roadworthy.joblog import JobLog
from roadworthy.plugins import registry
from roadworthy.provenance import collect, file_hash
from roadworthy.reading import Reading
from roadworthy.recorded import data_of, suite_beside, suite_of
from roadworthy.resolved import ResolvedSuite, resolve_suite
from roadworthy.rollout import Status
from roadworthy.scenario import content_hash
from roadworthy.signoff import fingerprint, write_hashes
from roadworthy.store import (
    FORMAT,
    CaseRecord,
    Manifest,
    Run,
    RunDirectory,
    read_run,
    scores_csv,
    write_file,
)
from roadworthy.suite import Suite
from roadworthy.summary import summary_of

__all__ = [
    "Again",
    "Progress",
    "check_suite",
    "drive_again",
    "resume",
    "run_suite",
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
    retry_errors: bool = False,
) -> Run:
    """Run a suite into a new folder, or go on with the same suite in an old one.

    Args:
        suite: what to run.
        out: the run directory.
        data: where relative source paths are looked up first.
        retry_errors: run cases again that are not `ok`.
        announce: told what is going to be done, before it begins.
        progress: called after each batch.

    Raises:
        SuiteError, PluginError, RunError: if it cannot be started or go on; finished cases
            are kept.
    """
    out = out.absolute()  # a planner may change the working directory
    resolved = resolve_suite(suite, data, out)
    with RunDirectory(out) as folder:
        manifest = _open(folder, resolved)
        if retry_errors and any(r.status is not Status.OK for r in folder.records.values()):
            manifest = msgspec.structs.replace(manifest, complete=False)
            folder.write_manifest(manifest)  # first: no gate may take the rest for the whole
            folder.forget_errors()
        with JobLog(out).watching():
            return _drive(folder, manifest, resolved, announce, progress)


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
        RunError: if there is no run, it is damaged, or of another suite, planner or version.
    """
    run = read_run(path)
    return run_suite(
        suite_of(run),
        path,
        data=data or data_of(run),
        announce=announce,
        progress=progress,
        retry_errors=retry_errors,
    )


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
    resolved = resolve_suite(suite, data, run.path)
    reading = Reading(resolved, ())
    wanted = set(keys)

    def tasks() -> Iterator[Task]:
        for index, case in reading.cases():
            for label in resolved.planners:
                if (label, case.key) in wanted:
                    wanted.discard((label, case.key))
                    yield Task(label, (index,), (case,))
            if not wanted:
                return

    records = [r for batch in run_inline(tasks(), resolved.setup(None)) for r in batch]
    return Again(
        records=tuple(records),
        planners=resolved.described,
        metrics=resolved.specs,
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
    resolved = resolve_suite(suite, data, None)
    for i, rule in enumerate(suite.gate):
        for field, name in (("planner", rule.planner), ("against", rule.against)):
            if name and name not in resolved.planners and (field, name) != ("against", BASELINE):
                raise SuiteError(
                    f"{suite.path}: gate[{i}].{field} = {name!r}: there is no such planner",
                    hint=did_you_mean(name, [*resolved.planners, BASELINE]),
                )
    for source in resolved.sources:
        source.build()
    return resolved.notices


def _open(folder: RunDirectory, resolved: ResolvedSuite) -> Manifest:
    """The manifest of this run: a new one, or the old one if it is of the same suite."""
    suite, data = resolved.suite, resolved.data
    config_hash = resolved.config_hash()
    old = folder.manifest()
    if old is not None:
        if old.config_hash != config_hash:
            raise RunError(
                f"{folder.path}: holds a run of another suite, planner or version: "
                + "; ".join(differences(old, resolved)),
                hint="Choose another folder with --out, or remove this one.",
            )
        return old
    if folder.records:
        raise RunError(
            f"{folder.path}: holds records but no run.json", hint="Choose another --out."
        )
    provenance = collect() | {"data": str(data.resolve()) if data else ""}
    provenance |= {
        "suite_file_hash": file_hash(Path(suite.path)) if Path(suite.path).is_file() else "",
        "suite_beside": suite_beside(suite, folder.path),
        "simulator_files": resolved.simulated["files"],
        "isolation": resolved.isolated,
    }
    manifest = Manifest(
        format=FORMAT,
        suite=msgspec.to_builtins(suite),
        config_hash=config_hash,
        planners=resolved.described,
        metrics=resolved.specs,
        protocol=resolved.protocol,
        provenance=provenance,
        notices=resolved.notices,
    )
    folder.write_manifest(manifest)
    return manifest


def _drive(
    folder: RunDirectory,
    manifest: Manifest,
    resolved: ResolvedSuite,
    announce: Callable[[RunPlan], None],
    progress: Callable[[Progress], None],
) -> Run:
    suite, hooks = resolved.suite, registry().hooks
    log = JobLog(folder.path)
    log.write(
        "start",
        config_hash=manifest.config_hash,
        suite=suite.name,
        planners=list(resolved.planners),
        done=len(folder.records),
        executor=suite.run.executor,
        git=collect()["git"],
    )
    for notice in resolved.notices:
        log.write("notice", level="warning", message=notice)
    reading = Reading(resolved, folder.records)
    setup = resolved.setup(folder.path if suite.run.save_rollouts else None)
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
        progress(Progress(len(folder.records), reading.total, errors))
        results = compute(suite, reading.tasks(), setup, workers, folder.path)
        with closing(results):  # here, and not when it is collected: workers end with the run
            for records in itertools.chain(results, reading.rejects()):
                folder.append(records)
                log.cases(records)
                errors += sum(r.status is not Status.OK for r in records)
                for record in records:
                    hooks.roadworthy_case_end(folder, record)
                progress(Progress(len(folder.records), reading.total, errors))
    run = _finish(folder, manifest, reading)
    remember(keys, run.records)
    log.write("end", cases=len(run.records), errors=errors, fingerprint=fingerprint(run.path))
    return run


def _finish(folder: RunDirectory, manifest: Manifest, reading: Reading) -> Run:
    """Write what is derived from the records of a complete run.

    Raises:
        RunError: there are records of other cases than the sources now give.
    """
    strange = [r for r in folder.records.values() if r.key not in reading.keys]
    if strange:
        raise RunError(
            f"{folder.path}: holds {len(strange)} records of cases that the sources do not give, "
            f"such as {strange[0].source}/{strange[0].scenario}: the data have changed",
            hint="Choose another folder with --out, or give the data as they were.",
        )
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
