"""Records as arrays: one row per case, one column per metric column, and the scenario of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.store import CaseRecord, Manifest

__all__ = ["CaseTable", "ColumnKey", "bounds_of", "column_name", "columns_of", "tabulate"]

GROUP_TAG = "log:"
"""Scenarios with an equal tag that begins so are one cluster: they share a log."""

_NONE: dict[str, float | None] = {}

ColumnKey = tuple[str, str]
"""(metric, column)."""


@dataclass(frozen=True, eq=False)
class CaseTable:
    """N cases of S scenarios.

    Attributes:
        records: the N cases.
        values: [N, K], NaN where undefined.
        scenario: int64 [N], row of each case's scenario.
        names: the S scenarios as (source, id), in order of appearance.
        groups: int64 [S], equal for scenarios of one log; see `GROUP_TAG`.
    """

    records: tuple[CaseRecord, ...]
    values: NDArray[np.float64]
    scenario: NDArray[np.int64]
    names: tuple[tuple[str, str], ...]
    groups: NDArray[np.int64]

    def scenario_means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """[S, K]: mean over the cases of each scenario in which [N, K] `values` is defined."""
        defined = np.isfinite(values)
        sums = np.zeros((len(self.names), values.shape[1]))
        counts = np.zeros_like(sums)
        np.add.at(sums, self.scenario, np.where(defined, values, 0.0))
        np.add.at(counts, self.scenario, defined)
        return np.where(counts > 0.0, sums / np.maximum(counts, 1.0), np.nan)


def tabulate(records: Iterable[CaseRecord], columns: Sequence[ColumnKey]) -> CaseTable:
    """The table of the given records, whatever their status."""
    rows = tuple(records)
    values = np.empty((len(rows), len(columns)))
    scenarios: dict[tuple[str, str], int] = {}
    groups: dict[tuple[str, str], int] = {}
    scenario = np.empty(len(rows), np.int64)
    group_of: list[int] = []
    for i, record in enumerate(rows):
        name = (record.source, record.scenario)
        if name not in scenarios:
            scenarios[name] = len(scenarios)
            log = next((tag for tag in record.tags if tag.startswith(GROUP_TAG)), None)
            # A scenario that names no log is a cluster of its own.
            cluster = ("scenario", "/".join(name)) if log is None else (record.source, log)
            group_of.append(groups.setdefault(cluster, len(groups)))
        scenario[i] = scenarios[name]
    metrics = dict.fromkeys(metric for metric, _ in columns)
    found = {metric: [record.values.get(metric, _NONE) for record in rows] for metric in metrics}
    for k, (metric, column) in enumerate(columns):
        values[:, k] = np.array([of.get(column) for of in found[metric]], np.float64)  # None: NaN
    return CaseTable(rows, values, scenario, tuple(scenarios), np.array(group_of, np.int64))


def columns_of(manifest: Manifest) -> dict[ColumnKey, dict[str, Any]]:
    """(metric, column) -> the column's spec, in the suite's order."""
    return {
        (metric, str(column["name"])): column
        for metric, spec in manifest.metrics.items()
        for column in spec["columns"]
    }


def bounds_of(
    columns: Iterable[dict[str, Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[K] least and [K] greatest value of each column, infinite where it has none."""
    known = [column.get("bounds") or (-np.inf, np.inf) for column in columns]
    least, most = np.array(known, np.float64).reshape(-1, 2).T
    return least, most


def column_name(metric: str, column: str) -> str:
    """What tables call a column: `pdms.nc`, or `success` where both names are equal."""
    return column if metric == column else f"{metric}.{column}"
