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
import io
import shutil
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from roadworthy.errors import PluginError, RoadworthyError, RunError
from roadworthy.provenance import file_hash
from roadworthy.scenario import content_hash
from roadworthy.store import claim, write_file

__all__ = ["Stage", "StageEvent", "Stages"]

FORMAT = 1
MANIFEST = "stage.json"
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
    """The stages of one folder. One writer at a time; use it as a context manager.

    Args:
        root: the folder.
        progress: told of each stage.
    """

    def __init__(self, root: Path, progress: Callable[[StageEvent], None]) -> None:
        self.root = root
        self._progress = progress
        self._lock: io.IOBase | None = None
        self._known: dict[str, Stage] = {}

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
        known = self._known.get(key) or self._finished(path, key)
        if known is not None:
            if key not in self._known:
                self._progress(StageEvent(path.name, "kept", label))
            self._known[key] = known
            return known
        self._progress(StageEvent(path.name, "started", label))
        try:
            path.parent.mkdir(exist_ok=True)
            if not resumable and path.exists():
                shutil.rmtree(path)
            (path / MANIFEST).unlink(missing_ok=True)
            outputs = {str(file.relative_to(path)): file_hash(file) for file in sorted(work(path))}
            record = _Record(format=FORMAT, kind=kind, key=key, inputs=plain, outputs=outputs)
            path.mkdir(parents=True, exist_ok=True)
            text = msgspec.json.format(msgspec.json.encode(record), indent=2)
            write_file(path / MANIFEST, text + b"\n")
        except RoadworthyError as error:
            raise type(error)(
                f"{label or kind}: {error.message}", hint=f"{error.hint} {KEPT}".strip()
            ) from error
        except OSError as error:
            raise RunError(
                f"{label or kind}: {error.filename or path}: {error.strerror or error}", hint=KEPT
            ) from error
        except Exception as error:  # a plugin may raise anything
            text_of = "".join(traceback.format_exception(error, limit=-8)).rstrip()
            raise PluginError(f"{label or kind}: stopped with\n{text_of}", hint=KEPT) from error
        stage = Stage(kind, path, content_hash(outputs))
        self._known[key] = stage
        self._progress(StageEvent(path.name, "made", label))
        return stage

    def _finished(self, path: Path, key: str) -> Stage | None:
        with contextlib.suppress(OSError, msgspec.MsgspecError, RecursionError):
            record = msgspec.json.decode((path / MANIFEST).read_bytes(), type=_Record)
            if (record.format, record.key) != (FORMAT, key):
                return None
            if all(file_hash(path / name) == digest for name, digest in record.outputs.items()):
                return Stage(record.kind, path, content_hash(record.outputs))
        return None
