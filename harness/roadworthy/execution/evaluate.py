"""Simulate a batch of cases, score it, and turn both into records.

If anything fails for several cases together, each is done again alone, so that a fault is
always charged to the case that has it and no other case is lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from roadworthy.errors import PlannerOutputError
from roadworthy.execution.untouched import Untouched
from roadworthy.foreign import message_of, off_stdout, plain, traceback_of
from roadworthy.host import PlannerHost
from roadworthy.interrupts import pass_interrupt
from roadworthy.protocols import Metric, Simulator
from roadworthy.rollout import Case, CaseError, RolloutBatch, Status
from roadworthy.scenario import NO_DRIVABLE_AREA
from roadworthy.score import MetricSpec, Scores
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
    shown = Untouched(case.scenario for case in cases)
    try:
        try:
            with off_stdout():
                rollouts = simulator.run(cases, host)
        finally:
            if changed := shown.put_back():
                culprit = Status.PLANNER_ERROR
                raise PlannerOutputError(
                    f"the planner exchanged what it is shown: {', '.join(changed[:5])}",
                    hint="Let it copy what it wants to change.",
                )
        records = [
            msgspec.structs.replace(
                failed_record(label, index, case, rollouts.errors[row]),
                steps=int(rollouts.length[row]),
            )
            for row, (index, case) in enumerate(zip(indexes, cases, strict=True))
        ]
        culprit = Status.METRIC_ERROR
        good = [i for i, record in enumerate(records) if record.error is None]
        if good:
            driven = rollouts.select(good)
            with off_stdout():
                scores = [_Checked.of(metric, driven) for metric in metrics]
            for place, row in enumerate(good):
                records[row] = _scored(records[row], scores, place)
    except BaseException as error:  # whatever failed, it is charged to one case below
        pass_interrupt(error)
        if len(cases) == 1:
            return [Judged(_blame(label, indexes[0], cases[0], error, culprit))]
        return [
            judged
            for index, case in zip(indexes, cases, strict=True)
            for judged in evaluate(label, [index], [case], host, simulator, metrics)
        ]
    spent = (time.perf_counter() - begin) / len(cases)
    out = []
    for row, record in enumerate(records):
        seconds = {"planner": float(host.seconds[row]), "total": spent}
        out.append(Judged(msgspec.structs.replace(record, seconds=seconds), rollouts, row))
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
        else ErrorRecord.of(fault.type, fault.message, fault.step, fault.traceback),
    )


@dataclass(frozen=True)
class _Checked:
    """What a metric says of S rollouts, held to what it promises.

    Attributes:
        spec: of the metric.
        values: per case its values by column; None where undefined.
        events: per case.
    """

    spec: MetricSpec
    values: list[dict[str, float | None]]
    events: Sequence[list[dict[str, Any]]]

    @classmethod
    def of(cls, metric: Metric, rollouts: RolloutBatch) -> _Checked:
        """Let a metric judge.

        Raises:
            ValueError: naming the metric, what is wrong with its scores, and what was wanted.
        """
        spec, rows = metric.spec, len(rollouts)
        scores = metric.score(rollouts)
        if not isinstance(scores, Scores):
            raise ValueError(
                f"metric {spec.name!r} returned {type(scores).__name__}, wanted roadworthy.Scores"
            )
        if scores.spec != spec:
            raise ValueError(
                f"metric {spec.name!r} gave scores with another spec than its own; "
                "pass spec=self.spec"
            )
        values = [_column(scores, column.name, rows) for column in spec.columns]
        names = [column.name for column in spec.columns]
        by_case = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return cls(spec, by_case, _events(scores, rows))


def _column(scores: Scores, name: str, rows: int) -> list[float | None]:
    """The values of a column; None where undefined."""
    called = f"metric {scores.spec.name!r} gave column {name!r}"
    values = np.asarray(scores.values.get(name, ()))
    if values.shape != (rows,):
        raise ValueError(f"{called} with shape {values.shape}, wanted ({rows},)")
    if values.dtype.kind not in "fiub" or np.isinf(values).any():
        what = "an infinite value" if values.dtype.kind == "f" else f"type {values.dtype}"
        raise ValueError(f"{called} with {what}, wanted real numbers, NaN where undefined")
    return [None if math.isnan(value) else value for value in values.astype(np.float64).tolist()]


def _events(scores: Scores, rows: int) -> Sequence[list[dict[str, Any]]]:
    """The events of each case."""
    if not scores.events:
        return [[]] * rows
    if not isinstance(scores.events, (tuple, list)) or len(scores.events) != rows:
        raise ValueError(
            f"metric {scores.spec.name!r} gave events of {plain(repr(scores.events), 80)}, "
            f"wanted one list for each of {rows} rollouts"
        )
    for found in scores.events:
        if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
            raise ValueError(
                f"metric {scores.spec.name!r} gave the events {plain(repr(found), 80)}, "
                "wanted a list of dicts"
            )
    return scores.events


def _scored(record: CaseRecord, scores: Sequence[_Checked], place: int) -> CaseRecord:
    """The record with what the metrics say of rollout `place`.

    Raises:
        ValueError: naming the metric whose events no record can hold.
    """
    values: dict[str, dict[str, float | None]] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    edge_unknown = NO_DRIVABLE_AREA in record.tags
    for score in scores:
        name = score.spec.name
        values[name] = score.values[place]
        if edge_unknown:
            values[name] |= {c.name: None for c in score.spec.columns if c.drivable_area}
        kept = [
            e for e in score.events[place] if not (edge_unknown and e.get("kind") == "off_road")
        ]
        if kept:
            events[name] = _recordable(kept, name)
    return msgspec.structs.replace(record, values=values, events=events)


def _recordable(events: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """The events as they are read again from a record."""
    try:
        return msgspec.json.decode(msgspec.json.encode(events), type=list[dict[str, Any]])
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise ValueError(
            f"metric {metric!r} gave events that cannot be recorded: {error}; "
            "give plain dicts of text, int, float and bool"
        ) from error


def _blame(label: str, index: int, case: Case, error: BaseException, status: Status) -> CaseRecord:
    fault = CaseError(
        status, type(error).__name__, message_of(error), traceback=traceback_of(error)
    )
    return failed_record(label, index, case, fault)
