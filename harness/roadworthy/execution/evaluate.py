"""Simulate a batch of cases, score it, and turn both into records.

If anything fails for several cases together, each is done again alone, so that a fault is
always charged to the case that has it and no other case is lost.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from roadworthy.host import PlannerHost
from roadworthy.protocols import Metric, Simulator
from roadworthy.rollout import Case, CaseError, RolloutBatch, Status
from roadworthy.scenario import NO_DRIVABLE_AREA
from roadworthy.score import Scores
from roadworthy.store import CaseRecord, ErrorRecord

__all__ = ["Judged", "evaluate", "failed_record"]


@dataclass(frozen=True, eq=False)
class Judged:
    """A record, and where the rollout is kept: row `row` of `rollouts` (None: there is none)."""

    record: CaseRecord
    rollouts: RolloutBatch | None = None
    row: int = 0


def evaluate(
    label: str,
    indexes: Sequence[int],
    cases: Sequence[Case],
    host: PlannerHost,
    simulator: Simulator,
    metrics: Sequence[Metric],
) -> list[Judged]:
    """Drive and judge `cases`; one `Judged` per case, in order.

    Args:
        label: the planner's label in the records.
        indexes: the cases' positions in the suite.
        cases: what to drive.
        host: carries the planner.
        simulator: drives.
        metrics: judge.
    """
    begin = time.perf_counter()
    culprit = Status.SIMULATOR_ERROR
    try:
        rollouts = simulator.run(cases, host)
        culprit = Status.METRIC_ERROR
        good = [i for i, error in enumerate(rollouts.errors) if error is None]
        driven = rollouts.select(good)
        scores = [metric.score(driven) for metric in metrics] if good else []
        _check_scores(scores, len(good))
        plain = [_plain(score) for score in scores]
    except Exception as error:  # whatever failed, it is charged to one case below
        if len(cases) == 1:
            return [Judged(_blame(label, indexes[0], cases[0], error, culprit))]
        return [
            judged
            for index, case in zip(indexes, cases, strict=True)
            for judged in evaluate(label, [index], [case], host, simulator, metrics)
        ]
    spent = (time.perf_counter() - begin) / len(cases)
    place = {row: i for i, row in enumerate(good)}
    out = []
    for row, (index, case) in enumerate(zip(indexes, cases, strict=True)):
        fault = rollouts.errors[row]
        record = failed_record(label, index, case, fault)
        if fault is None:
            record = _scored(record, scores, plain, place[row])
        seconds = {"planner": float(host.seconds[row]), "total": spent}
        record = msgspec.structs.replace(record, steps=int(rollouts.length[row]), seconds=seconds)
        out.append(Judged(record, rollouts, row))
    return out


def failed_record(label: str, index: int, case: Case, fault: CaseError | None) -> CaseRecord:
    """A record without scores."""
    scenario = case.scenario
    return CaseRecord(
        index=index,
        planner=label,
        key=case.key,
        scenario=scenario.id,
        source=scenario.source,
        scenario_hash=scenario.hash,
        repetition=case.repetition,
        seed=case.seed,
        tags=scenario.tags,
        status=Status.OK if fault is None else fault.status,
        error=None
        if fault is None
        else ErrorRecord(
            type=fault.type, message=fault.message, step=fault.step, traceback=fault.traceback
        ),
    )


def _plain(score: Scores) -> list[dict[str, float | None]]:
    """Per case its values by column; None where undefined."""
    names = [column.name for column in score.spec.columns]
    columns = (np.asarray(score.values[name], np.float64).tolist() for name in names)
    plain = [[value if math.isfinite(value) else None for value in c] for c in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*plain, strict=True)]


def _scored(
    record: CaseRecord,
    scores: Sequence[Scores],
    plain: Sequence[list[dict[str, float | None]]],
    row: int,
) -> CaseRecord:
    values: dict[str, dict[str, float | None]] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    edge_unknown = NO_DRIVABLE_AREA in record.tags
    for score, rows in zip(scores, plain, strict=True):
        values[score.spec.name] = rows[row]
        if edge_unknown:
            blank = {column.name: None for column in score.spec.columns if column.drivable_area}
            values[score.spec.name] |= blank
        found = score.events[row] if score.events else []
        kept = [e for e in found if not (edge_unknown and e.get("kind") == "off_road")]
        if kept:
            events[score.spec.name] = kept
    return msgspec.structs.replace(record, values=values, events=events)


def _check_scores(scores: Sequence[Scores], rows: int) -> None:
    for score in scores:
        for column in score.spec.columns:
            got = np.shape(score.values.get(column.name, ()))
            if got != (rows,):
                raise ValueError(
                    f"metric {score.spec.name!r} gave column {column.name!r} with shape {got}, "
                    f"wanted ({rows},)"
                )


def _blame(label: str, index: int, case: Case, error: Exception, status: Status) -> CaseRecord:
    text = "".join(traceback.format_exception(error, limit=-8))
    fault = CaseError(status, type(error).__name__, str(error), traceback=text)
    return failed_record(label, index, case, fault)
