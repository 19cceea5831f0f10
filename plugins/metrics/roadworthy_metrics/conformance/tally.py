"""Counting agreement, metric by metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from roadworthy.conformance import ConformanceRow

__all__ = ["Tally"]


@dataclass
class _Count:
    tolerance: float
    informative: bool
    cases: set[str] = field(default_factory=set)
    values: int = 0
    agree: int = 0
    worst: float = 0.0
    first: str = ""
    exceptions: list[str] = field(default_factory=list)


class Tally:
    """Collects comparisons; rows keep the order in which metrics first appear."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def _count(self, metric: str, tolerance: float, informative: bool) -> _Count:
        return self._counts.setdefault(metric, _Count(tolerance, informative))

    def compare(
        self,
        metric: str,
        case: str,
        got: ArrayLike,
        want: ArrayLike,
        tolerance: float = 0.0,
        *,
        angle: int | None = None,
        exception: str = "",
        informative: bool = False,
    ) -> None:
        """Compare two arrays value by value; NaN agrees with NaN and inf with inf.

        Args:
            metric: the row to count in.
            case: where the values come from.
            got, want: ours and the reference's.
            tolerance: on the absolute difference, 0 for discrete values.
            angle: index in the last axis of a column to be compared modulo 2 pi.
            exception: why values may differ in this case; they then agree, and are listed.
            informative: whether the row cannot fail the check.
        """
        count = self._count(metric, tolerance, informative)
        count.cases.add(case)
        mine, theirs = np.asarray(got, np.float64), np.asarray(want, np.float64)
        if mine.shape != theirs.shape:
            count.values += theirs.size or 1
            count.worst = float("inf")
            count.first = count.first or f"{case}: shape {mine.shape}, wanted {theirs.shape}"
            return
        same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        error: NDArray[np.float64] = np.zeros(mine.shape)
        np.subtract(mine, theirs, out=error, where=~same & np.isfinite(mine) & np.isfinite(theirs))
        error[~same & ~(np.isfinite(mine) & np.isfinite(theirs))] = np.inf
        if angle is not None and error.size:
            error[..., angle] = (error[..., angle] + np.pi) % (2.0 * np.pi) - np.pi
        error = np.abs(error)
        good = error <= tolerance
        bad = np.argwhere(~good)
        count.values += good.size
        count.worst = max(count.worst, float(error.max(initial=0.0)))
        if len(bad) and exception:
            count.agree += good.size
            count.exceptions.append(f"{case}: {exception} ({len(bad)} values)")
            return
        count.agree += int(good.sum())
        if len(bad) and not count.first:
            at = tuple(int(i) for i in bad[0])
            count.first = f"{case}{list(at)}: got {mine[at]:.10g}, wanted {theirs[at]:.10g}"

    def compare_rows(self, metric: str, case: str, got: Any, want: Any) -> None:
        """Compare two collections of integer rows regardless of their order."""
        count = self._count(metric, 0.0, False)
        count.cases.add(case)
        mine = {tuple(int(v) for v in row) for row in got}
        theirs = {tuple(int(v) for v in row) for row in want}
        count.values += len(mine | theirs)
        count.agree += len(mine & theirs)
        if mine != theirs:
            count.worst = 1.0
            count.first = count.first or (
                f"{case}: only ours {sorted(mine - theirs)[:3]}, "
                f"only theirs {sorted(theirs - mine)[:3]}"
            )

    def rows(self) -> tuple[ConformanceRow, ...]:
        """One row per metric."""
        return tuple(
            ConformanceRow(
                metric=metric,
                cases=len(c.cases),
                values=c.values,
                agree=c.agree,
                worst=c.worst,
                tolerance=c.tolerance,
                first=c.first,
                exceptions=tuple(c.exceptions),
                informative=c.informative,
            )
            for metric, c in self._counts.items()
        )
