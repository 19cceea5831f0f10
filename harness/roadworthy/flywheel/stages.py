"""Stages: each is a folder named by the hash of its inputs, finished or not there.

    stages/
      drive-3f2a91c07b55/
        stage.json     kind, inputs, and the digest of each file that it stands for
        ...            what was made

`stage.json` is written last. A folder without one was not finished: the work is done again, and a
run directory goes on where it was. Every file is compared with its digest before a stage is used
again; one that differs is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from roadworthy.errors import PluginError, RoadworthyError, RunError
from roadworthy.foreign import traceback_of
from roadworthy.interrupts import pass_interrupt
from roadworthy.plainfile import read_plain
from roadworthy.provenance import file_hash
from roadworthy.scenario import content_hash
from roadworthy.store import claim, write_file

__all__ = ["Stage", "StageEvent", "Stages"]

FORMAT = 1
MANIFEST = "stage.json"
CLAIMS = ".stages.lock"
"""File of the folder in which whoever makes a stage locks the byte that stands for it."""
KEPT = "Finished stages are kept; mend it and give the same command again."


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What `stage.json` holds."""

    format: int
    kind: str
    key: str
    inputs: dict[str, Any]
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stage:
    """A finished stage.

    Attributes:
        kind: what was done.
        path: its folder.
        digest: hash of everything that it made.
    """

    kind: str
    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class StageEvent:
    """Something happened to a stage.

    Attributes:
        stage: name of its folder.
        state: `started`, `made`, or `kept` from before.
        label: what it is for, such as `seed 1, whole, round 2`.
    """

    stage: str
    state: Literal["started", "made", "kept"]
    label: str


class Stages:
    """The stages of one folder, which belongs to one flywheel at a time: use it as a context
    manager. Its workers have one of their own each, of the same folder, which they do not enter.

    Args:
        root: the folder.
        progress: told of each stage.
    """

    def __init__(self, root: Path, progress: Callable[[StageEvent], None]) -> None:
        self.root = root
        self._progress = progress
        self._lock: io.IOBase | None = None
        self._known: dict[str, Stage] = {}
        self._told: set[str] = set()

    def __enter__(self) -> Stages:
        self._lock = claim(self.root, "another flywheel is turning here")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def make(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path], Iterable[Path]],
        label: str = "",
        *,
        resumable: bool = False,
    ) -> Stage:
        """The stage of these inputs: as it was made before, or made now.

        Args:
            kind: what is done, a word for the folder's name.
            inputs: everything that can change what is made, as plain values.
            work: makes it in the folder given, which does not exist unless `resumable`; returns
                the files that the stage stands for (others may hold times and the like).
            label: what it is for, for progress.
            resumable: whether the work can go on in the folder of a try that was stopped.

        Raises:
            RoadworthyError: as the work raises it; a full disk, or whatever else a plugin raises,
                comes as `RunError` or `PluginError`. Nothing finished is lost.
        """
        plain = msgspec.to_builtins(dict(inputs))
        key = content_hash((FORMAT, kind, plain))
        path = self.root / "stages" / f"{kind}-{key[:12]}"
        if key in self._known:
            return self._known[key]
        with self._claimed(key):
            stage = self._finished(path, key)
            state: Literal["made", "kept"] = "kept" if stage else "made"
            if stage is None:
                self.tell(StageEvent(path.name, "started", label))
                with _named_errors(label or kind, path):
                    outputs = _work(work, path, resumable)
                    record = _Record(
                        format=FORMAT, kind=kind, key=key, inputs=plain, outputs=outputs
                    )
                    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
                    write_file(path / MANIFEST, text + b"\n")
                stage = Stage(kind, path, content_hash(outputs))
            self.tell(StageEvent(path.name, state, label))
        self._known[key] = stage
        return stage

    def tell(self, event: StageEvent) -> None:
        """Pass on what happened, here or in a worker; that a stage is there is news once."""
        if event.state != "kept" or event.stage not in self._told:
            self._progress(event)
        if event.state != "started":
            self._told.add(event.stage)

    @contextlib.contextmanager
    def _claimed(self, key: str) -> Iterator[None]:
        """Have a stage to oneself: wait for another worker that makes it. The kernel ends the
        claim of a process that died."""
        at = int(key[:12], 16)
        fcntl.lockf(self._claims, fcntl.LOCK_EX, 1, at)
        try:
            yield
        finally:
            fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, at)

    @functools.cached_property
    def _claims(self) -> io.IOBase:
        path = self.root / CLAIMS
        with _named_errors("stages", path):
            return path.open("wb")  # once: closing any handle would end all claims

    def _finished(self, path: Path, key: str) -> Stage | None:
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
            record = msgspec.json.decode(read_plain(path / MANIFEST), type=_Record)
            if (record.format, record.key) != (FORMAT, key):
                return None
            if all(file_hash(path / name) == digest for name, digest in record.outputs.items()):
                return Stage(record.kind, path, content_hash(record.outputs))
        return None


def _work(work: Callable[[Path], Iterable[Path]], path: Path, resumable: bool) -> dict[str, str]:
    """Make a stage but for its manifest; the digests of its files."""
    path.parent.mkdir(exist_ok=True)
    if not resumable and path.exists():
        shutil.rmtree(path)
    (path / MANIFEST).unlink(missing_ok=True)
    outputs = {str(file.relative_to(path)): file_hash(file) for file in sorted(work(path))}
    path.mkdir(parents=True, exist_ok=True)
    return outputs


@contextlib.contextmanager
def _named_errors(label: str, path: Path) -> Iterator[None]:
    """Has errors say in which stage they came up, and that what is finished is kept."""
    try:
        yield
    except RoadworthyError as error:
        raise type(error)(
            f"{label}: {error.message}", hint=f"{error.hint} {KEPT}".strip()
        ) from error
    except OSError as error:
        raise RunError(
            f"{label}: {error.filename or path}: {error.strerror or error}", hint=KEPT
        ) from error
    except BaseException as error:  # a plugin may raise anything
        pass_interrupt(error)
        text = traceback_of(error).rstrip()
        raise PluginError(f"{label}: stopped with\n{text}", hint=KEPT) from error
