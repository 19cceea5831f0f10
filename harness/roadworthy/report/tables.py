"""`scores.parquet` and `scores.csv`: one row per planner and case, the exact values."""

from __future__ import annotations

import csv
import io
from collections import Counter

from roadworthy.report.view import Entry, Result, View
from roadworthy.store import CSV_HEAD, csv_row

__all__ = ["scores_csv", "scores_parquet"]


def scores_parquet(view: View) -> bytes:
    """The scores of every entry of the view; a column per metric column, null where undefined."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _rows(view)
    records = [result.record for _, result in rows]
    values = [row for of_entry in view.values for row in of_entry if row is not None]
    fields = [
        ("planner", [entry.label for entry, _ in rows], pa.string()),
        ("index", [r.index for r in records], pa.int64()),
        ("key", [r.key for r in records], pa.string()),
        ("source", [r.source for r in records], pa.string()),
        ("scenario", [r.scenario for r in records], pa.string()),
        ("scenario_hash", [r.scenario_hash for r in records], pa.string()),
        ("repetition", [r.repetition for r in records], pa.int64()),
        ("seed", [r.seed for r in records], pa.uint64()),
        ("tags", [list(r.tags) for r in records], pa.list_(pa.string())),
        ("status", [r.status.value for r in records], pa.string()),
        ("error", [r.error.type if r.error else None for r in records], pa.string()),
        ("failed", [result.failed for _, result in rows], pa.bool_()),
        ("reasons", [[x.text for x in res.reasons] for _, res in rows], pa.list_(pa.string())),
        ("steps", [r.steps for r in records], pa.int64()),
        *(
            (column.label, [row[k] for row in values], pa.float64())
            for k, column in enumerate(view.columns)
        ),
    ]
    table = pa.Table.from_arrays(
        [pa.array(cells, kind) for _, cells, kind in fields], [name for name, _, _ in fields]
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def scores_csv(view: View) -> str:
    """The scores as CSV, with the columns that a run's own `scores.csv` has."""
    several = Counter((metric, name) for metric, _, name in (c.key for c in view.columns))
    names = []
    for column in view.columns:
        metric, version, name = column.key
        mixed = f" (version {version})" if several[metric, name] > 1 else ""
        names.append(f"{metric}.{name}{mixed}")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CSV_HEAD, *names])
    for entry, result in _rows(view):
        values = result.values(view.columns)
        writer.writerow(csv_row(entry.label, result.record, values))
    return out.getvalue()


def _rows(view: View) -> list[tuple[Entry, Result]]:
    return [
        (entry, result)
        for i, entry in enumerate(view.entries)
        for case in view.cases
        if (result := case.results[i]) is not None
    ]
