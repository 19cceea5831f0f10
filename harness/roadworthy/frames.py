"""The scores of runs as a pandas table, for notebooks and papers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from roadworthy.store import read_run

__all__ = ["read_scores"]


def read_scores(*runs: str | Path) -> pd.DataFrame:
    """One row per run, planner and case, in suite order.

    Args:
        runs: run directories, complete or not.

    Returns:
        `run` (the directory's name), `planner`, `scenario`, `source`, `repetition`, `status`
        (a category), `tags` (tuples), `steps`, and one float column per metric column, named
        as in `pdms.nc`; NaN where a case has no such value.

    Raises:
        RunError: if a directory is none, or is damaged.
    """
    frames = [pd.DataFrame.from_records(list(_rows(Path(run)))) for run in runs]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if "status" in table:
        table["status"] = table["status"].astype("category")
    return table


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    run = read_run(path)
    names = [
        (metric, column["name"])
        for metric, spec in run.manifest.metrics.items()
        for column in spec["columns"]
    ]
    for record in run.records:
        row: dict[str, Any] = {
            "run": path.name,
            "planner": record.planner,
            "scenario": record.scenario,
            "source": record.source,
            "repetition": record.repetition,
            "status": record.status.value,
            "tags": record.tags,
            "steps": record.steps,
        }
        for metric, name in names:
            value = record.values.get(metric, {}).get(name)
            row[f"{metric}.{name}"] = float("nan") if value is None else value
        yield row
