"""A run's fingerprint, and whether a run is what it was when it got it.

`hashes.json` of a complete run lists every file that the run wrote by its hash. The hash of
that list is the run's *fingerprint*: who signs a run off signs that. Reports are made from the
run and are not part of it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import RunError
from roadworthy.plainfile import read_plain
from roadworthy.provenance import file_hash
from roadworthy.store import CaseRecord, Run, scores_csv, write_file
from roadworthy.summary import summarise

__all__ = [
    "TOLERANCE",
    "Differences",
    "check_derived",
    "check_hashes",
    "compare_records",
    "differences",
    "fingerprint",
    "write_hashes",
]

TOLERANCE = 1e-6
"""How far numbers may be apart on another machine, whose processor rounds otherwise."""


NAME = "hashes.json"
_FILES = ("run.json", "cases.jsonl", "scores.csv", "summary.json")
_FOLDERS = ("rollouts", "maps")


class _Hashes(msgspec.Struct, frozen=True):
    algorithm: str
    files: dict[str, str]


def write_hashes(run: Path) -> str:
    """Write `hashes.json` of a complete run; its fingerprint."""
    files = {name: file_hash(run / name) for name in _present(run)}
    text = msgspec.json.encode(_Hashes("blake2b-128", files))
    write_file(run / NAME, msgspec.json.format(text, indent=1) + b"\n")
    return fingerprint(run)


def fingerprint(run: Path) -> str:
    """BLAKE2b (128 bit, hex) over the names and hashes in `hashes.json`.

    Raises:
        RunError: if there is none, or it is damaged.
    """
    lines = (f"{name} {digest}\n" for name, digest in sorted(_read(run).files.items()))
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def check_hashes(run: Path) -> list[str]:
    """What is not as it was when the run was complete: changed, gone, or added.

    Raises:
        RunError: if there is no `hashes.json`, or it is damaged.
    """
    listed = _read(run).files
    present = set(_present(run))
    problems = [f"{name}: is gone" for name in sorted(set(listed) - present)]
    problems += [
        f"{name}: was not there when the run ended" for name in sorted(present - set(listed))
    ]
    for name in sorted(present & set(listed)):
        if file_hash(run / name) != listed[name]:
            problems.append(f"{name}: was changed after the run")
    return problems


def check_derived(run: Run) -> list[str]:
    """Which of the tables do not follow from the records."""
    problems = []
    try:
        if read_plain(run.path / "scores.csv") != scores_csv(run).encode():
            problems.append("scores.csv: does not follow from cases.jsonl")
        summary = msgspec.json.decode(read_plain(run.path / "summary.json"))
        if differences(msgspec.to_builtins(summarise(run)), summary).worst > TOLERANCE:
            problems.append("summary.json: does not follow from cases.jsonl")
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        problems.append(f"a table cannot be read: {error}")
    return problems


@dataclass(frozen=True)
class Differences:
    """How two records differ.

    Attributes:
        places: where, such as `values.pdms.nc`.
        worst: largest difference of two numbers, relative to the larger where that is above 1;
            infinite where anything else differs.
    """

    places: tuple[str, ...]
    worst: float


def differences(ours: Any, theirs: Any) -> Differences:
    """Compare plain values, such as JSON holds, place by place."""
    places: list[str] = []
    worst = 0.0

    def walk(a: Any, b: Any, where: str) -> None:
        nonlocal worst
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted(a.keys() | b.keys(), key=str):
                walk(a.get(key), b.get(key), f"{where}.{key}" if where else str(key))
        elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                walk(x, y, f"{where}[{i}]")
        elif a != b:
            places.append(where)
            numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b))
            apart = abs(a - b) / max(1.0, abs(a), abs(b)) if numbers else math.inf
            worst = max(worst, apart)

    walk(ours, theirs, "")
    return Differences(tuple(places), worst)


def compare_records(signed: CaseRecord, again: CaseRecord) -> Differences:
    """What a case did then and does now: all of its record but timings and tracebacks."""
    return differences(_facts(signed), _facts(again))


def _facts(record: CaseRecord) -> Any:
    facts = msgspec.to_builtins(record)
    facts.pop("seconds")
    facts["error"] = record.error.type if record.error else None
    return facts


def _present(run: Path) -> list[str]:
    found = [name for name in _FILES if (run / name).is_file()]
    for folder in _FOLDERS:
        inside = (p for p in (run / folder).rglob("*") if p.is_file())
        found += [p.relative_to(run).as_posix() for p in inside if ".part" not in p.suffixes]
    return found


def _read(run: Path) -> _Hashes:
    path = run / NAME
    try:
        return msgspec.json.decode(read_plain(path), type=_Hashes)
    except FileNotFoundError:
        raise RunError(
            f"{path}: is absent",
            hint="The run is not complete, or older than fingerprints; `roadworthy resume` it.",
        ) from None
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
