"""Training curves: read from a checkpoint's folder, drawn as inline SVG.

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
import numpy as np
from markupsafe import Markup, escape

from roadworthy.report.numbers import format_value

__all__ = ["Curve", "draw_lines", "read_curves"]

JSON, CSV = "training.json", "curves.csv"
_STEPS = ("step", "epoch", "update", "iteration")
_MOST = 400
WIDTH, HEIGHT = 320.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 8.0, 22.0


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


def draw_lines(
    title: str,
    series: Sequence[tuple[int, str, Sequence[float], Sequence[float]]],
    *,
    bands: Sequence[tuple[Sequence[float], Sequence[float]] | None] = (),
    levels: Sequence[tuple[int, str, float, float | None, float | None]] = (),
    ticks: Sequence[tuple[float, str]] = (),
    points: bool = False,
) -> Markup:
    """Lines over one axis.

    Args:
        title: for those who cannot see the picture.
        series: (colour, label, x, y) of each line.
        bands: per line its lower and upper ends, or None.
        levels: (colour, label, y, low, high) of horizontal lines with a band.
        ticks: (x, text) below the axis; the ends of x unless given.
        points: whether to mark the points.
    """
    xs = [x for _, _, across, _ in series for x in across]
    ys = [y for _, _, _, values in series for y in values]
    ys += [y for band in bands if band for end in band for y in end if math.isfinite(y)]
    ys += [y for _, _, *ends in levels for y in ends if y is not None and math.isfinite(y)]
    if not xs or not ys:
        return Markup("")
    low, high = min(ys), max(ys)
    pad = 0.05 * (high - low) or 0.5
    low, high = low - pad, high + pad
    left, right = min(xs), max(xs)
    if right <= left:
        right = left + 1.0

    def at(x: float, y: float) -> str:
        across = _LEFT + (WIDTH - _LEFT - _RIGHT) * (x - left) / (right - left)
        up = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (y - low) / (high - low)
        return f"{across:.1f} {up:.1f}"

    parts = []
    for colour, _, level, begin, end in levels:
        if begin is not None and end is not None:
            box = f"M{at(left, begin)}L{at(right, begin)}L{at(right, end)}L{at(left, end)}z"
            parts.append(f'<path class="series-{colour % 8} band" d="{box}"/>')
        parts.append(
            f'<path class="line-{colour % 8} dashed" d="M{at(left, level)}L{at(right, level)}"/>'
        )
    for i, (colour, _, x, y) in enumerate(series):
        band = bands[i] if i < len(bands) else None
        if band is not None:
            lower, upper = band
            there = [
                (a, b, c) for a, b, c in zip(x, lower, upper, strict=True) if math.isfinite(b + c)
            ]
            if there:
                edge = [at(a, b) for a, b, _ in there] + [at(a, c) for a, _, c in reversed(there)]
                parts.append(f'<path class="series-{colour % 8} band" d="M{"L".join(edge)}z"/>')
        line = "L".join(at(a, b) for a, b in zip(x, y, strict=True))
        parts.append(f'<path class="line-{colour % 8}" d="M{line}"/>')
        if points:
            for a, b in zip(x, y, strict=True):
                across, up = at(a, b).split()
                parts.append(f'<circle class="series-{colour % 8}" cx="{across}" cy="{up}" r="3"/>')
    base = HEIGHT - _BOTTOM
    marks = ticks or ((left, _tick(left)), (right, _tick(right)))
    for tick, text in marks:
        place = at(tick, low).split()[0]
        anchor = "middle" if ticks else "end" if tick == right else ""
        parts.append(f'<text x="{place}" y="{HEIGHT - 6:g}" class="{anchor}">{escape(text)}</text>')
    heights = {_tick(v): v for v in np.linspace(low + pad, high - pad, 3).tolist()}
    for text, value in heights.items():
        height = float(at(left, value).split()[1])
        parts.append(f'<text x="{_LEFT - 5:g}" y="{height + 4:.1f}" class="end">{text}</text>')
        parts.append(f'<path class="axis" d="M{_LEFT:g} {height:.1f}H{WIDTH - _RIGHT:g}"/>')
    said = "; ".join(
        f"{label}: from {format_value(y[0])} to {format_value(y[-1])}" for _, label, _, y in series
    )
    return Markup(
        f'<svg class="plot lines" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(f"{title}. {said}")}">'
        f'<path class="axis" d="M{_LEFT:g} {base:g}H{WIDTH - _RIGHT:g}"/>{"".join(parts)}</svg>'
    )


def _tick(y: float) -> str:
    text = f"{y:,.0f}" if abs(y) >= 1000.0 else f"{y:.3g}"
    return text.replace("-", "−")
