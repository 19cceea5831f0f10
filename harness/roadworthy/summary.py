"""The aggregated table of a run: one row per planner and metric column.

Repetitions are averaged within a scenario first; scenarios then count once each. Cases that
are not `ok` leave the denominator, and the table says how many did and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec
import numpy as np

from roadworthy.rollout import Status
from roadworthy.store import CaseRecord, Run

__all__ = ["ColumnSummary", "PlannerSummary", "summarise"]


class ColumnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric column for one planner.

    Attributes:
        metric, column: which.
        scenarios: scenarios in the denominator (those where the column is defined).
        mean: mean over scenarios, null if there are none.
        per_1000_km: events per 1,000 km driven, for columns that count events.
    """

    metric: str
    column: str
    scenarios: int
    mean: float | None
    per_1000_km: float | None = None


class PlannerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One planner: how its cases ended, and its columns."""

    planner: str
    cases: int
    status: dict[str, int]
    columns: tuple[ColumnSummary, ...]


def summarise(run: Run) -> tuple[PlannerSummary, ...]:
    """Summaries in the suite's order of planners, metrics and columns."""
    out = []
    for label in run.manifest.planners:
        records = [r for r in run.records if r.planner == label]
        good = [r for r in records if r.status is Status.OK]
        ended = Counter(r.status.value for r in records)
        columns = tuple(
            _column(good, metric, column)
            for metric, spec in run.manifest.metrics.items()
            for column in spec["columns"]
        )
        out.append(
            PlannerSummary(
                planner=label,
                cases=len(records),
                status={s.value: ended[s.value] for s in Status if ended[s.value]},
                columns=columns,
            )
        )
    return tuple(out)


def _column(records: list[CaseRecord], metric: str, column: dict[str, object]) -> ColumnSummary:
    name = str(column["name"])
    groups: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    events = metres = 0.0
    for record in records:
        values = record.values.get(metric, {})
        value = values.get(name)
        if value is None:
            continue
        groups[record.source, record.scenario].append(value)
        events += value
        metres += values.get("distance_m") or 0.0
    means = np.array([np.mean(group) for group in groups.values()])
    rate = None
    if column.get("per_distance") and metres > 0.0:
        rate = events / (metres / 1.0e6)
    return ColumnSummary(
        metric=metric,
        column=name,
        scenarios=len(means),
        mean=float(means.mean()) if len(means) else None,
        per_1000_km=rate,
    )
