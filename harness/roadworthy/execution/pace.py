"""How long a run is going to take, from what earlier runs on this machine took.

Kept in `pace.json` below the user's cache folder, and only ever used for a sentence: a file that
is absent, damaged or not writable costs the estimate and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import RunError
from roadworthy.scenario import content_hash
from roadworthy.store import CaseRecord, write_file
from roadworthy.usercache import user_cache

__all__ = ["RunPlan", "estimate", "pace_keys", "remember"]

_MOST = 1000


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run is about to do.

    Attributes:
        executor: its name.
        workers: how many work at once.
        devices: GPUs that they may use.
        batch_size: cases simulated together.
        cases: how many there are, None where a source does not say.
        done: how many have a record already.
        seconds: estimated wall time, None where nothing is known.
    """

    executor: str
    workers: int
    devices: tuple[str, ...]
    batch_size: int
    cases: int | None
    done: int
    seconds: float | None

    def __str__(self) -> str:
        cases = "cases as they are found" if self.cases is None else f"{self.cases} cases"
        done = f" ({self.done} done)" if self.done else ""
        many = "" if self.workers == 1 else "s"
        gpus = f"{len(self.devices)} GPU{'' if len(self.devices) == 1 else 's'}"
        time = "time unknown" if self.seconds is None else f"about {_spoken(self.seconds)}"
        return (
            f"{cases}{done} in batches of {self.batch_size}; {self.executor}, "
            f"{self.workers} worker{many}, {gpus if self.devices else 'no GPU'}; {time}"
        )


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def pace_keys(
    planners: Mapping[str, Any], protocol: Mapping[str, Any], metrics: Iterable[str]
) -> dict[str, str]:
    """By planner's label, the name under which its pace is kept."""
    return {
        label: content_hash((described, dict(protocol), sorted(metrics)))
        for label, described in planners.items()
    }


def estimate(keys: Mapping[str, str], cases: int | None, workers: int) -> float | None:
    """Wall time of `cases`, shared evenly by the planners of `keys`; None if a pace is unknown."""
    known = _read()
    if cases is None or not all(key in known for key in keys.values()):
        return None
    return max(0, cases) / len(keys) * sum(known[key] for key in keys.values()) / workers


def remember(keys: Mapping[str, str], records: Iterable[CaseRecord]) -> None:
    """Keep the pace of a finished run."""
    spent: dict[str, list[float]] = {}
    for record in records:
        if "total" in record.seconds:
            spent.setdefault(record.planner, []).append(record.seconds["total"])
    known = _read()
    for label, times in spent.items():
        known.pop(keys[label], None)
        known[keys[label]] = sum(times) / len(times)
    newest = dict(list(known.items())[-_MOST:])
    with contextlib.suppress(OSError, RunError, RuntimeError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_file(_path(), msgspec.json.encode(newest))


def _path() -> Path:
    return user_cache() / "pace.json"


def _read() -> dict[str, float]:
    try:
        return msgspec.json.decode(_path().read_bytes(), type=dict[str, float])
    except (OSError, RuntimeError, msgspec.MsgspecError):
        return {}
