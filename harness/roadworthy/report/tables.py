"""`scores.parquet`: one row per planner and case, the exact values."""

from __future__ import annotations

import io

from roadworthy.report.view import View

__all__ = ["scores_parquet"]


def scores_parquet(view: View) -> bytes:
    """The scores of every entry of the view; a column per metric column, null where undefined."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        (entry, result)
        for i, entry in enumerate(view.entries)
        for case in view.cases
        if (result := case.results[i]) is not None
    ]
    records = [result.record for _, result in rows]
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
            (column.label, [result.value(column) for _, result in rows], pa.float64())
            for column in view.columns
        ),
    ]
    table = pa.Table.from_arrays(
        [pa.array(values, kind) for _, values, kind in fields], [name for name, _, _ in fields]
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
