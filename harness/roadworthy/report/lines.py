"""Lines over one axis, with bands, as inline SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from roadworthy.report.numbers import format_value

__all__ = ["draw_lines"]

WIDTH, HEIGHT = 320.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 8.0, 22.0


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
