"""The severity dial: in which share of the variants a planner fails, by where the dial stood."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from markupsafe import Markup

from roadworthy.errors import DataError
from roadworthy.plainfile import read_plain
from roadworthy.report.lines import draw_lines
from roadworthy.stats import Interval, interval_of_ratios

__all__ = ["Dial", "dial_of", "dial_rows", "draw_dial"]


@dataclass(frozen=True)
class Dial:
    """A curve.

    Attributes:
        words: what the share is of.
        points: (severity, share with its 95 % interval, scenes resampled), ascending.
    """

    words: str
    points: tuple[tuple[float, Interval], ...]

    @property
    def monotone(self) -> bool:
        """Whether the share never falls as the dial goes up."""
        shares = [share.value for _, share in self.points]
        return all(a <= b for a, b in itertools.pairwise(shares))


def dial_of(rows: Sequence[Mapping[str, Any]], fails: str, of: str, words: str) -> Dial:
    """The curve of some counts.

    Args:
        rows: with `severity`, `scene` and counts; rows of one scene are one cluster.
        fails, of: names of the counts above and below the line.
        words: what the share is of.
    """
    points = []
    for severity in sorted({float(row["severity"]) for row in rows}):
        some = [row for row in rows if float(row["severity"]) == severity]
        scenes = sorted({str(row["scene"]) for row in some})
        place = {name: i for i, name in enumerate(scenes)}
        counts = np.zeros((2, len(scenes), 1))
        for row in some:
            counts[0, place[str(row["scene"])], 0] += float(row[fails])
            counts[1, place[str(row["scene"])], 0] += float(row[of])
        if counts[1].sum() > 0:
            points.append((severity, interval_of_ratios(counts[0], counts[1])[0]))
    return Dial(words, tuple(points))


def dial_rows(folder: Path) -> list[dict[str, Any]]:
    """What `figures.jsonl` says of the dial: rows with a severity, each of the scene before it.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    path = folder / "figures.jsonl"
    found, scene = [], ""
    try:
        for line in read_plain(path).splitlines():
            row = msgspec.json.decode(line, type=dict[str, Any])
            scene = str(row.get("scene", scene))
            if "severity" in row:
                found.append({**row, "scene": scene})
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise DataError(
            f"{path}: {error}",
            hint="`python -m roadworthy_generators.behaviour.figures` makes it.",
        ) from error
    return found


def draw_dial(dial: Dial) -> Markup:
    """Points with their band, as inline SVG."""
    x = [severity for severity, _ in dial.points]
    shares = [share for _, share in dial.points]
    return draw_lines(
        f"Share in which {dial.words}, by severity",
        [(0, dial.words, x, [share.value for share in shares])],
        bands=[([share.low for share in shares], [share.high for share in shares])],
        ticks=[(severity, f"{severity:g}") for severity in x],
        points=True,
    )
