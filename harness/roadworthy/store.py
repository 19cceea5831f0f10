"""The run directory: what was asked, what came out, safe against being killed.

    run.json       what was run: the suite, provenance, hashes
    cases.jsonl    one record per finished case, appended and fsynced as cases finish
    rollouts/      what happened in each case, NPZ
    scores.csv     one row per case in suite order; the same bytes for any number of workers
    summary.json   the aggregated table
    hashes.json    the hashes of these, see `roadworthy.signoff`
    log.jsonl      what happened while it was made, see `roadworthy.joblog`

`cases.jsonl` is in order of completion and holds timings; `scores.csv` and `summary.json`
are derived from it when the run is complete, and hold neither.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from roadworthy.errors import RunError, RunStopped
from roadworthy.foreign import plain
from roadworthy.plainfile import read_plain
from roadworthy.rollout import Status
from roadworthy.score import Column

__all__ = [
    "CaseRecord",
    "ErrorRecord",
    "Manifest",
    "Run",
    "RunDirectory",
    "claim",
    "read_run",
    "write_file",
]

FORMAT = 1
CSV_HEAD = "planner index scenario source scenario_hash repetition seed status error steps".split()


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why a case is not `ok`."""

    type: str
    message: str
    step: int = -1
    traceback: str = ""

    @classmethod
    def of(cls, type: str, message: str, step: int = -1, traceback: str = "") -> ErrorRecord:
        """With texts that can be written and are not endless, whatever a plugin said."""
        return cls(
            type=plain(type),
            message=plain(message, 4_000),
            step=step,
            traceback=plain(traceback, 20_000),
        )


class CaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One finished case.

    Attributes:
        index: position in the suite: scenarios in source order, then repetitions.
        planner: label of the planner.
        key: hash of scenario, seed and protocol; with `planner` it names the record.
        scenario, source, tags: as the scenario says.
        scenario_hash: content hash of the scenario, "" where it was rejected.
        repetition, seed: which repetition, and its seed.
        status: how it ended.
        error: why, where it is not `ok`.
        steps: steps driven.
        values: metric -> column -> value; null where undefined.
        events: metric -> what it found, first failing steps and the like.
        seconds: wall time of planning and of everything, for information.
    """

    index: int
    planner: str
    key: str
    scenario: str
    source: str
    scenario_hash: str
    repetition: int
    seed: int
    status: Status
    tags: tuple[str, ...] = ()
    error: ErrorRecord | None = None
    steps: int = 0
    values: dict[str, dict[str, float | None]] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `run.json` holds.

    Attributes:
        format: version of this layout.
        suite: the suite as parsed.
        config_hash: hash of everything in the suite that can change a score.
        planners: per label its name, options, distribution, version, file hash, privileged flag.
        metrics: per metric its spec (name, version, columns, source, formula) and its plugin, as
            of a planner.
        protocol: the simulator's name and options.
        provenance: versions, git, hardware of the first start.
        notices: what was skipped and why.
        scenarios, data_hash, repairs: how many were read, the hash over their hashes, and what
            admission changed; filled in when the run is complete.
        complete: whether every case has a record.
    """

    format: int
    suite: dict[str, Any]
    config_hash: str
    planners: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    protocol: dict[str, Any]
    provenance: dict[str, Any]
    notices: tuple[str, ...] = ()
    scenarios: int = 0
    data_hash: str = ""
    repairs: dict[str, tuple[str, ...]] = {}
    complete: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True, eq=False, weakref=True):
    """A run as read back: its directory, manifest and records in suite order. Equal to itself
    alone."""

    path: Path
    manifest: Manifest
    records: tuple[CaseRecord, ...]


class RunDirectory:
    """A run directory open for writing. One writer at a time; use it as a context manager.

    Attributes:
        path: the folder.
        records: records already there, by (planner, key).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[tuple[str, str], CaseRecord] = {}
        self._lock: io.IOBase | None = None
        self._journal: io.FileIO | None = None
        self._owner = os.getpid()

    def __enter__(self) -> RunDirectory:
        self._lock = claim(self.path, "another run is writing here")
        journal = self.path / "cases.jsonl"
        records, whole = _read_journal(journal)
        if journal.exists() and whole < journal.stat().st_size:
            os.truncate(journal, whole)  # the line that a killed run did not finish
        self.records = {(r.planner, r.key): r for r in records}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def manifest(self) -> Manifest | None:
        """The manifest already there, or None."""
        path = self.path / "run.json"
        return _read_manifest(path) if path.exists() else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace `run.json`."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        write_file(self.path / "run.json", text + b"\n")

    def append(self, records: Sequence[CaseRecord]) -> None:
        """Append records and wait until they are on disk.

        Raises:
            RunStopped: if they cannot be written; what was appended before is kept.
        """
        if os.getpid() != self._owner:
            os._exit(1)  # a planner has forked this process: the copy must not write
        if not records:
            return
        try:
            if self._journal is None:
                self._journal = (self.path / "cases.jsonl").open("ab", buffering=0)
            _append(self._journal, b"".join(msgspec.json.encode(r) + b"\n" for r in records))
        except OSError as error:
            raise RunStopped(
                f"{self.path / 'cases.jsonl'}: cannot be written: {error.strerror}",
                hint="Finished cases are kept. Make room and `roadworthy resume` the folder.",
            ) from error
        for record in records:
            self.records[record.planner, record.key] = record

    def forget_errors(self) -> int:
        """Drop records that are not `ok` so that their cases run again; how many there were."""
        kept = [r for r in self.records.values() if r.status is Status.OK]
        dropped = len(self.records) - len(kept)
        if dropped:
            write_file(
                self.path / "cases.jsonl", b"".join(msgspec.json.encode(r) + b"\n" for r in kept)
            )
            self.records = {(r.planner, r.key): r for r in kept}
        return dropped


def claim(folder: Path, busy: str) -> io.IOBase:
    """Make a folder one's own for as long as the file returned is open, or this process lives.

    Args:
        folder: made if it is not there.
        busy: what to say if another holds it.

    Raises:
        RunError: another holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("wb")
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written: {error.strerror}",
            hint="Choose another folder with --out.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RunError(
            f"{folder}: {busy}", hint="Wait for it, or choose another folder with --out."
        ) from None
    return lock


def read_run(path: Path) -> Run:
    """Read a run directory, complete or not.

    Raises:
        RunError: if it is none, is damaged, or is of another version.
    """
    manifest_path = path / "run.json"
    if not manifest_path.is_file():
        raise RunError(f"{path}: is no run directory (it has no run.json)")
    manifest = _read_manifest(manifest_path)
    order = {label: i for i, label in enumerate(manifest.planners)}
    unique = {(r.planner, r.key): r for r in _read_journal(path / "cases.jsonl")[0]}
    for record in unique.values():
        if record.planner not in order:
            raise RunError(
                f"{path / 'cases.jsonl'}: planner {record.planner!r} is not in run.json",
                hint="The folder mixes two runs; run the suite again into a fresh one.",
            )
    records = sorted(unique.values(), key=lambda r: (order[r.planner], r.index, r.repetition))
    return Run(path=path, manifest=manifest, records=tuple(records))


def scores_csv(run: Run) -> str:
    """All records as CSV, suite order, floats in shortest exact form."""
    columns = [
        (metric, column["name"])
        for metric, spec in run.manifest.metrics.items()
        for column in spec["columns"]
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CSV_HEAD, *(f"{metric}.{name}" for metric, name in columns)])
    for r in run.records:
        values = [r.values.get(metric, {}).get(name) for metric, name in columns]
        writer.writerow(csv_row(r.planner, r, values))
    return out.getvalue()


def csv_row(planner: str, record: CaseRecord, values: Iterable[float | None]) -> list[object]:
    """The cells under `CSV_HEAD` and the metric columns; floats in shortest exact form."""
    r = record
    row: list[object] = [planner, r.index, r.scenario, r.source, r.scenario_hash, r.repetition]
    row += [r.seed, r.status.value, r.error.type if r.error else "", r.steps]
    return row + ["" if v is None or math.isnan(v) else repr(v) for v in values]


def _append(file: io.FileIO, data: bytes) -> None:
    """Append whole lines or nothing, and wait until they are on disk."""
    before = file.seek(0, os.SEEK_END)
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(before)
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        RunStopped: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise RunStopped(
            f"{path}: cannot be written: {error.strerror}",
            hint="Make room, and `roadworthy resume` the run or make the file again.",
        ) from error


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(read_plain(path), type=Manifest)
        manifest = _checked(manifest)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
    if manifest.format != FORMAT:
        raise RunError(
            f"{path}: format {manifest.format}, this version reads {FORMAT}",
            hint="Run the suite again with this version.",
        )
    return manifest


class _Plugin(msgspec.Struct, frozen=True):
    name: str = ""
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    content_hash: str = ""
    files: dict[str, str] = {}


class _Planner(_Plugin, frozen=True):
    privileged: bool = False


class _Metric(msgspec.Struct):
    columns: tuple[Column, ...]
    name: str = ""
    version: str = ""
    source: str = ""
    formula: str = ""
    plugin: _Plugin = _Plugin()


class _Suite(msgspec.Struct):
    name: str = ""
    description: str = ""


class _Provenance(msgspec.Struct):
    roadworthy: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    git: dict[str, Any] = {}
    platform: str = ""
    machine: str = ""
    processor: str = ""
    cores: int | None = None
    data: str = ""


def _checked(manifest: Manifest) -> Manifest:
    """The manifest with every key that others rely on; perhaps a stranger wrote it.

    Raises:
        ValidationError, ValueError: if it is not what a run writes.
    """
    msgspec.convert(manifest.suite, _Suite)
    msgspec.convert(manifest.provenance, _Provenance)
    for label in manifest.planners:
        if not label or label in (".", "..") or set("/\\\0") & set(label) or len(label) > 255:
            raise ValueError(f"planners: {label[:80]!r} cannot name a folder")
    planners = {
        label: msgspec.to_builtins(msgspec.convert(planner, _Planner))
        for label, planner in manifest.planners.items()
    }
    metrics = {}
    for name, spec in manifest.metrics.items():
        metric = msgspec.convert(spec, _Metric)
        if len({column.name for column in metric.columns}) != len(metric.columns):
            raise ValueError(f"metrics: {name!r} has two columns of one name")
        metrics[name] = msgspec.to_builtins(metric)
    return msgspec.structs.replace(manifest, planners=planners, metrics=metrics)


def _read_journal(path: Path) -> tuple[list[CaseRecord], int]:
    """Records of the whole lines, and how many bytes those take."""
    try:
        data = read_plain(path)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    return list(_decode(data[:whole].splitlines(), path)), whole


def _decode(lines: Iterable[bytes], path: Path) -> Iterable[CaseRecord]:
    decoder = msgspec.json.Decoder(CaseRecord)
    for number, line in enumerate(lines, 1):
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RunError(
                f"{path}:{number}: is damaged: {error}",
                hint="Remove that line; `roadworthy resume` then runs its case again.",
            ) from error
