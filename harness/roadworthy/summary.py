"""The aggregated table of a run: one row per planner and metric column.

Repetitions are averaged within a scenario first; scenarios then count once each. Cases that
are not `ok` leave the denominator, and the table says how many did and why. Every mean comes
with its 95 % confidence interval, see `roadworthy.stats`.
"""

from __future__ import annotations

import math
from collections import Counter
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy import stats
from roadworthy.comparison.casetable import CaseTable, bounds_of, columns_of, tabulate
from roadworthy.rollout import Status
from roadworthy.store import Run

__all__ = ["ColumnSummary", "PlannerSummary", "summarise", "summary_of"]

_METRES = 1.0e6
"""1,000 km."""


class ColumnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric column for one planner.

    Attributes:
        metric, column: which.
        scenarios: scenarios in the denominator (those where the column is defined).
        mean: mean over scenarios, null if there are none.
        low, high: 95 % confidence interval of the mean, null if there is none.
        interval: how it was found, such as `studentised` or `exact`; see
            `roadworthy.stats.intervals`.
        per_1000_km: events per 1,000 km driven, for columns that count events.
        per_1000_km_low, per_1000_km_high: its 95 % confidence interval; where there was no
            event, Garwood's upper bound.
    """

    metric: str
    column: str
    scenarios: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    interval: str = "none"
    per_1000_km: float | None = None
    per_1000_km_low: float | None = None
    per_1000_km_high: float | None = None


class PlannerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One planner: how its cases ended, and its columns."""

    planner: str
    cases: int
    status: dict[str, int]
    columns: tuple[ColumnSummary, ...]


_kept: WeakKeyDictionary[Run, tuple[PlannerSummary, ...]] = WeakKeyDictionary()


def summary_of(run: Run) -> tuple[PlannerSummary, ...]:
    """`summarise`, once for as long as the run lives."""
    found = _kept.get(run)
    return _kept.setdefault(run, summarise(run)) if found is None else found


def summarise(run: Run) -> tuple[PlannerSummary, ...]:
    """Summaries in the suite's order of planners, metrics and columns."""
    out = []
    for label in run.manifest.planners:
        records = [r for r in run.records if r.planner == label]
        ended = Counter(r.status.value for r in records)
        table = tabulate((r for r in records if r.status is Status.OK), [*columns_of(run.manifest)])
        out.append(
            PlannerSummary(
                planner=label,
                cases=len(records),
                status={s.value: ended[s.value] for s in Status if ended[s.value]},
                columns=_columns(run, table),
            )
        )
    return tuple(out)


def _columns(run: Run, table: CaseTable) -> tuple[ColumnSummary, ...]:
    means = table.scenario_means(table.values)
    out = []
    driven: dict[str, NDArray[np.float64]] = {}
    bounds = bounds_of(columns_of(run.manifest).values())
    intervals = stats.interval_of_means(means, table.groups, bounds=bounds)
    for k, ((metric, name), column) in enumerate(columns_of(run.manifest).items()):
        interval = intervals[k]
        summary = ColumnSummary(
            metric=metric,
            column=name,
            scenarios=interval.scenarios,
            mean=interval.value if interval.scenarios else None,
            low=_tidy(interval.low),
            high=_tidy(interval.high),
            interval=interval.method,
        )
        if column.get("per_distance"):
            if metric not in driven:
                met = (r.values.get(metric, {}).get("distance_m") or 0.0 for r in table.records)
                driven[metric] = np.array(list(met)) / _METRES
            summary = _per_distance(summary, table, k, driven[metric])
        out.append(summary)
    return tuple(out)


def _per_distance(
    summary: ColumnSummary, table: CaseTable, column: int, driven: NDArray[np.float64]
) -> ColumnSummary:
    """With events per 1,000 km, over the cases where the column is defined.

    Args:
        summary: of the column.
        table: the cases.
        column: which of its columns.
        driven: [N] distance of each case [1,000 km].
    """
    defined = np.isfinite(table.values[:, column])
    pair = np.where(defined, [table.values[:, column], driven], 0.0)
    clusters = np.zeros((len(table.names), 2))
    np.add.at(clusters, table.groups[table.scenario], pair.T)
    events, distance = clusters.sum(axis=0)
    if distance <= 0.0:
        return summary
    if events > 0.0:
        interval = stats.interval_of_ratios(clusters[:, :1], clusters[:, 1:])[0]
        low, high = interval.low, interval.high
    else:
        low, high = 0.0, stats.poisson_upper(distance)
    return msgspec.structs.replace(
        summary,
        per_1000_km=float(events / distance),
        per_1000_km_low=_tidy(low),
        per_1000_km_high=_tidy(high),
    )


def _tidy(bound: float) -> float | None:
    """Six digits: the resampling is not sharper, and they are the same on every machine."""
    return float(f"{bound:.6g}") if math.isfinite(bound) else None
