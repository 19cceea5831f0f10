"""Distributions of metric columns, as inline SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from roadworthy.report.numbers import format_value
from roadworthy.report.view import Column, View

__all__ = ["HEIGHT", "WIDTH", "forest", "histogram", "histograms"]

WIDTH, HEIGHT = 320.0, 120.0
"""Of a histogram."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 6.0, 6.0, 14.0, 20.0
_BINS = 12


def histograms(view: View) -> list[tuple[Column, Markup]]:
    """A histogram for every column that has values, headline columns first."""
    ordered = [*view.headline, *(c for c in view.columns if c not in view.headline)]
    drawn = []
    places = {column.key: k for k, column in enumerate(view.columns)}
    for column in ordered:
        k = places[column.key]
        series = [
            np.array([row[k] for row in rows if row is not None and row[k] is not None], np.float64)
            for rows in view.values
        ]
        if any(len(values) for values in series):
            labels = [entry.label for entry in view.entries]
            drawn.append((column, histogram(column.label, labels, series)))
    return drawn


def histogram(
    title: str,
    labels: Sequence[str],
    series: Sequence[NDArray[np.float64]],
    of: str = "cases",
) -> Markup:
    """Shares of cases per bin, one bar per planner side by side.

    Args:
        title: of the column, for those who cannot see the picture.
        labels: of the planners.
        series: per planner its finite values.
        of: what the values are of.
    """
    joined = np.concatenate(list(series))
    low, high = _range(joined)
    bins = 2 if np.isin(joined, (0.0, 1.0)).all() else _BINS
    edges = np.linspace(low, high, bins + 1)
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in series]
    top = max(float(s.max()) for s in shares) or 1.0
    inner, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    slot = inner / bins
    bar = (slot - 3.0) / len(series)
    base = _TOP + tall
    parts = []
    for i, share in enumerate(shares):
        path = "".join(
            f"M{_LEFT + k * slot + 1.5 + i * bar:.1f} {base:g}v{-tall * s / top:.1f}"
            f"h{max(bar - 0.5, 0.5):.1f}V{base:g}z"
            for k, s in enumerate(share)
            if s > 0
        )
        parts.append(f'<path class="series-{i % 8}" d="{path}"/>')
    said = "; ".join(
        f"{label}: {len(v)} {of}"
        + (f", median {format_value(float(np.median(v)))}" if len(v) else "")
        for label, v in zip(labels, series, strict=True)
    )
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(f"Distribution of {title}. {said}")}">'
        f'<path class="axis" d="M{_LEFT:g} {base + 0.5:g}H{WIDTH - _RIGHT:g}"/>'
        f"{_axis_labels(low, high, flag=bins == 2)}"
        f'<text x="{_LEFT:g}" y="9">{top:.0%} of {of}</text>'
        f"{''.join(parts)}</svg>"
    )


def _axis_labels(low: float, high: float, flag: bool) -> str:
    """The ends of the axis; of a flag, 0 and 1 under the middle of their bars."""
    y = HEIGHT - 6.0
    if flag:
        quarter = (WIDTH - _LEFT - _RIGHT) / 4.0
        places = ((_LEFT + quarter, "0"), (_LEFT + 3.0 * quarter, "1"))
        return "".join(f'<text x="{x:g}" y="{y:g}" class="middle">{t}</text>' for x, t in places)
    return (
        f'<text x="{_LEFT:g}" y="{y:g}">{format_value(low)}</text>'
        f'<text x="{WIDTH - _RIGHT:g}" y="{y:g}" class="end">{format_value(high)}</text>'
    )


def forest(
    rows: Sequence[tuple[int, float | None, float | None, float | None]], about_zero: bool = False
) -> Markup:
    """Means with their intervals on one axis, one line each; for eyes alone.

    Args:
        rows: (colour, mean, low, high) of each line.
        about_zero: whether to put 0 in the middle.
    """
    known = [x for row in rows for x in row[1:] if x is not None]
    if not known:
        return Markup("")
    low, high = _range(np.array(known))
    if about_zero:
        high = max(map(abs, known)) or 1.0
        low = -high
    width, gap, edge = 200.0, 13.0, 6.0
    height = gap * len(rows) + 14.0

    def at(x: float) -> str:
        return f"{edge + (width - 2 * edge) * (x - low) / (high - low):.1f}"

    parts = []
    for i, (colour, mean, begin, end) in enumerate(rows):
        y = gap * i + 7.0
        if begin is not None and end is not None:
            parts.append(f'<path class="whisker" d="M{at(begin)} {y:g}H{at(end)}"/>')
        if mean is not None:
            parts.append(f'<circle class="series-{colour % 8}" cx="{at(mean)}" cy="{y:g}" r="4"/>')
    zero = f'<path class="zero" d="M{at(0.0)} 0V{height - 13:g}"/>' if low < 0.0 < high else ""
    return Markup(
        f'<svg class="forest" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">{zero}'
        f"{''.join(parts)}"
        f'<text x="{edge:g}" y="{height - 1:g}">{format_value(low)}</text>'
        f'<text x="{width - edge:g}" y="{height - 1:g}" class="end">{format_value(high)}</text>'
        "</svg>"
    )


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """0 to 1 for shares and flags, else from the least to the greatest value."""
    if values.min() >= 0.0 and values.max() <= 1.0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low - 0.5, high + 0.5
    return low, high
