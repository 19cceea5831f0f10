"""Training curves, read from a checkpoint's folder.

A trainer that writes `training.json` (a list of steps, each a table of numbers, under a name per
part of the training) or `curves.csv` (a row per step) beside its checkpoint has its curves shown.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

__all__ = ["Curve", "read_curves"]

JSON, CSV = "training.json", "curves.csv"
_STEPS = ("step", "epoch", "update", "iteration")
_MOST = 400


@dataclass(frozen=True)
class Curve:
    """One quantity over a training: steps and values [N], both finite."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


def read_curves(folder: Path) -> list[Curve]:
    """Curves in a checkpoint's folder; none where there are none, or they cannot be read."""
    try:
        if (folder / JSON).is_file():
            parts = msgspec.json.decode(
                (folder / JSON).read_bytes(), type=dict[str, list[dict[str, float | None]]]
            )
            rows = {name: steps for name, steps in parts.items() if steps}
        elif (folder / CSV).is_file():
            with (folder / CSV).open(newline="") as file:
                rows = {
                    "": [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]
                }
        else:
            return []
    except (OSError, UnicodeDecodeError, csv.Error, msgspec.MsgspecError, RecursionError):
        return []
    return [curve for name, table in rows.items() for curve in _curves(name, table, len(rows) > 1)]


def _curves(part: str, table: Sequence[Mapping[str, float | None]], several: bool) -> list[Curve]:
    names = list(dict.fromkeys(key for row in table for key in row))
    clock = next((name for name in _STEPS if name in names), None)
    found = []
    for name in names:
        if name in _STEPS:
            continue
        points = [
            (float(step), float(value))
            for i, row in enumerate(table)
            if (value := row.get(name)) is not None
            and math.isfinite(value)
            and (step := row.get(clock, i) if clock else i) is not None
        ]
        if len(points) > 1:
            thin = points[:: max(1, len(points) // _MOST)]
            steps, values = zip(*thin, strict=True)
            found.append(Curve(f"{part}: {name}" if several else name, steps, values))
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
