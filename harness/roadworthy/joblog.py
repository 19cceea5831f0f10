"""What happened while a run was made, one JSON object per line, for machines that watch.

`log.jsonl` lies in the run directory beside the records, and grows with every start of the run. It
is about the work, not the result: it holds times, and is no part of the run's fingerprint. Every
line has `time` (UTC, RFC 3339), `level` and `event`; the rest depends on the event:

    start      config_hash, suite, planners, done, git, executor
    plan       message: workers, batch size, estimated time
    notice     message
    case       planner, scenario, source, repetition, key, status, steps, seconds, error
    end        cases, errors, fingerprint
    stopped    error, message
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from roadworthy.foreign import message_of
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord

__all__ = ["JobLog"]

Level = Literal["info", "warning", "error"]


class JobLog:
    """Appends to the log of a run directory. A log that cannot be written costs nothing else.

    Args:
        run: the run directory.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / "log.jsonl"

    def write(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """One line."""
        self._append([_line(event, level, fields)])

    def cases(self, records: list[CaseRecord]) -> None:
        """One line for each finished case."""
        self._append([_case(record) for record in records])

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Notes down what ends the block before its time."""
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, (KeyboardInterrupt, GeneratorExit))
            level: Level = "warning" if interrupted else "error"
            self.write(
                "stopped", level=level, error=type(error).__name__, message=message_of(error)
            )
            raise

    def _append(self, lines: list[bytes]) -> None:
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(b"".join(lines))


def _line(event: str, level: Level, fields: dict[str, Any]) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"time": now, "level": level, "event": event} | fields) + b"\n"


def _case(record: CaseRecord) -> bytes:
    error = record.error
    fields = {
        "planner": record.planner,
        "scenario": record.scenario,
        "source": record.source,
        "repetition": record.repetition,
        "key": record.key,
        "status": record.status.value,
        "steps": record.steps,
        "seconds": record.seconds,
        "error": {"type": error.type, "message": error.message} if error else None,
    }
    return _line("case", "info" if record.status is Status.OK else "warning", fields)
