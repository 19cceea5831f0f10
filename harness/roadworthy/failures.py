"""What a planner failed at: reasons, severities and first failing steps, from a run's records.

The columns that are read, by name; a run needs some of them for each reason it is to be mined
for, and what is missing is said (`Failures.missing`):

| reason | a case fails where one of these says so |
|---|---|
| `collision` | `pdms.nc` < 1, `epdms.nc` < 1 (so half collisions, with objects, count), `safety.collision_at_fault` > 0, `success.collision_at_fault` > 0 |
| `lane_departure` | `pdms.dac`, `pdms.ddc`, `epdms.dac` or `epdms.ddc` = 0, `success.off_road` > 0 |
| `stall` | `success.stalled` > 0; or progress 0, or below the first percentile among safe cases |
| `ttc` | `pdms.ttc` or `epdms.ttc` = 0, `safety.ttc` > 0 |
| `comfort` | `pdms.comfort`, `epdms.hc` or `comfort.comfortable` = 0 |

Progress is `success.progress_ratio`, else `pdms.ep`, else `epdms.ep`, the first that a case has.
The two EP are 0 wherever a multiplier of the score is, so they count for safe cases alone: those
without collision and lane departure. The percentile is taken per planner, and only over 100 safe
cases or more: of fewer it would be the lowest of them, however well that drove.

| reason | severity |
|---|---|
| `collision` | 0.85, and up to 0.15 more for an impact of 15 m/s (`neuroncap.impact_speed`); 0.7 where NC = ½ |
| `lane_departure` | 0.6; 0.5 where it was the driving direction alone |
| `stall` | 0.45 · (1 − progress), at least 0.01 |
| `ttc` | 0.2, and up to 0.1 more the shorter `safety.min_ttc` is below 1 s |
| `comfort` | 0.05, and up to 0.1 more by `comfort.share_within` |

A case's severity is that of its worst reason.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from roadworthy.comparison.casetable import ColumnKey, column_name
from roadworthy.errors import RunError, did_you_mean
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord, Run

__all__ = ["RULES", "FailedCase", "Failures", "Finding", "Reason", "find_failures"]

MIN_FOR_PERCENTILE = 100
PERCENTILE = 1.0


class Reason(StrEnum):
    """Why a case failed, worst first."""

    COLLISION = "collision"
    LANE_DEPARTURE = "lane_departure"
    STALL = "stall"
    TTC = "ttc"
    COMFORT = "comfort"


RULES: dict[Reason, dict[ColumnKey, tuple[str, float]]] = {
    Reason.COLLISION: {
        ("pdms", "nc"): ("<", 1.0),
        ("epdms", "nc"): ("<", 1.0),
        ("safety", "collision_at_fault"): (">", 0.0),
        ("success", "collision_at_fault"): (">", 0.0),
    },
    Reason.LANE_DEPARTURE: {
        ("pdms", "dac"): ("<=", 0.0),
        ("pdms", "ddc"): ("<=", 0.0),
        ("epdms", "dac"): ("<=", 0.0),
        ("epdms", "ddc"): ("<=", 0.0),
        ("success", "off_road"): (">", 0.0),
    },
    Reason.STALL: {
        ("success", "stalled"): (">", 0.0),
    },
    Reason.TTC: {
        ("pdms", "ttc"): ("<=", 0.0),
        ("epdms", "ttc"): ("<=", 0.0),
        ("safety", "ttc"): (">", 0.0),
    },
    Reason.COMFORT: {
        ("pdms", "comfort"): ("<=", 0.0),
        ("epdms", "hc"): ("<=", 0.0),
        ("comfort", "comfortable"): ("<=", 0.0),
    },
}
"""Reason -> column -> the comparison that means failure."""

PROGRESS: tuple[tuple[ColumnKey, bool], ...] = (
    (("success", "progress_ratio"), False),
    (("pdms", "ep"), True),
    (("epdms", "ep"), True),
)
"""Columns of progress, and whether they count for safe cases alone."""

_EVENTS: dict[Reason, frozenset[str]] = {
    Reason.COLLISION: frozenset({"collision"}),
    Reason.LANE_DEPARTURE: frozenset({"off_road", "oncoming"}),
    Reason.STALL: frozenset({"stall"}),
    Reason.TTC: frozenset({"ttc"}),
    Reason.COMFORT: frozenset({"uncomfortable"}),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One reason of one case: how bad in [0, 1], and the first step at which; -1 for no one."""

    reason: Reason
    severity: float
    step: int


class FailedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case that failed.

    Attributes:
        planner, key: which record.
        source, scenario, scenario_hash, repetition, tags: as the record has them.
        findings: the reasons, worst first.
    """

    planner: str
    key: str
    source: str
    scenario: str
    scenario_hash: str
    repetition: int
    tags: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def reason(self) -> Reason:
        """The worst of its reasons."""
        return self.findings[0].reason

    @property
    def severity(self) -> float:
        """Of the worst of its reasons."""
        return self.findings[0].severity

    @property
    def step(self) -> int:
        """First step at which anything failed; -1 where nothing did at one moment."""
        return min((f.step for f in self.findings if f.step >= 0), default=-1)


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a run.

    Attributes:
        cases: those that failed, in the order of the records.
        judged: how many cases were looked at.
        unjudged: how many were not, because they ended in an error.
        missing: reason -> columns that could say more about it, which the run does not have.
        blind: reasons that no column of the run tells of.
    """

    cases: tuple[FailedCase, ...]
    judged: int
    unjudged: int
    missing: dict[Reason, tuple[str, ...]]
    blind: tuple[Reason, ...]


def find_failures(run: Run, planners: Iterable[str] = ()) -> Failures:
    """The failed cases of a run.

    Args:
        run: complete or not.
        planners: labels; all that are not privileged (shown the log) unless given.

    Raises:
        RunError: an unknown planner, or no column tells of any reason.
    """
    chosen = tuple(planners) or tuple(
        label
        for label, described in run.manifest.planners.items()
        if not described.get("privileged")
    )
    for label in chosen:
        if label not in run.manifest.planners:
            raise RunError(
                f"{run.path}: there is no planner {label!r}",
                hint=did_you_mean(label, run.manifest.planners),
            )
    if not chosen:
        raise RunError(
            f"{run.path}: every planner was shown the log",
            hint="Name one with --planner to mine it nevertheless.",
        )
    offered = {
        (metric, str(column["name"]))
        for metric, spec in run.manifest.metrics.items()
        for column in spec["columns"]
    }
    columns = {reason: tuple(rules) for reason, rules in RULES.items()}
    columns[Reason.STALL] += tuple(key for key, _ in PROGRESS)
    missing = {
        reason: tuple(column_name(*key) for key in keys if key not in offered)
        for reason, keys in columns.items()
    }
    blind = tuple(r for r, keys in columns.items() if len(missing[r]) == len(keys))
    if len(blind) == len(columns):
        names = ", ".join(sorted({key[0] for keys in columns.values() for key in keys}))
        raise RunError(
            f"{run.path}: has none of the columns that tell of a failure",
            hint=f"Run the suite with some of the metrics {names}.",
        )
    found: dict[int, FailedCase] = {}
    judged = 0
    index = {id(record): i for i, record in enumerate(run.records)}
    for label in chosen:
        good = [r for r in run.records if r.planner == label and r.status is Status.OK]
        judged += len(good)
        floor = _progress_floor(good)
        for record in good:
            findings = _findings(record, floor)
            if findings:
                found[index[id(record)]] = _failed(record, findings)
    total = sum(r.planner in chosen for r in run.records)
    return Failures(
        cases=tuple(found[i] for i in sorted(found)),
        judged=judged,
        unjudged=total - judged,
        missing={reason: names for reason, names in missing.items() if names},
        blind=blind,
    )


def _failed(record: CaseRecord, findings: tuple[Finding, ...]) -> FailedCase:
    return FailedCase(
        planner=record.planner,
        key=record.key,
        source=record.source,
        scenario=record.scenario,
        scenario_hash=record.scenario_hash,
        repetition=record.repetition,
        tags=record.tags,
        findings=findings,
    )


def _value(record: CaseRecord, key: ColumnKey) -> float | None:
    return record.values.get(key[0], {}).get(key[1])


def _said(record: CaseRecord, reason: Reason) -> set[ColumnKey]:
    """The columns by which a case fails for a reason."""
    found = set()
    for key, (comparison, bound) in RULES[reason].items():
        value = _value(record, key)
        if value is None:
            continue
        if {"<": value < bound, "<=": value <= bound, ">": value > bound}[comparison]:
            found.add(key)
    return found


def _safe(record: CaseRecord) -> bool:
    return not (_said(record, Reason.COLLISION) or _said(record, Reason.LANE_DEPARTURE))


def _progress(record: CaseRecord) -> float | None:
    """Progress over that wanted, or None where nothing is said of it."""
    for key, only_safe in PROGRESS:
        value = _value(record, key)
        if value is not None and (not only_safe or _safe(record)):
            return value
    return None


def _progress_floor(records: Iterable[CaseRecord]) -> float:
    """The progress below which a safe case has stalled; 0 where there are too few of them."""
    made = [p for r in records if _safe(r) and (p := _progress(r)) is not None]
    if len(made) < MIN_FOR_PERCENTILE:
        return 0.0
    return float(np.percentile(made, PERCENTILE))


def _findings(record: CaseRecord, floor: float) -> tuple[Finding, ...]:
    found = []
    for reason in Reason:
        said = _said(record, reason)
        progress = _progress(record) if reason is Reason.STALL else None
        slow = progress is not None and (progress <= 0.0 or (progress < floor and _safe(record)))
        if said or slow:
            severity = round(_severity(record, reason, said, progress), 6)
            found.append(
                Finding(reason=reason, severity=severity, step=_first_step(record, reason))
            )
    return tuple(sorted(found, key=lambda f: -f.severity))


def _severity(
    record: CaseRecord, reason: Reason, said: set[ColumnKey], progress: float | None
) -> float:
    if reason is Reason.COLLISION:
        nc = [v for m in ("pdms", "epdms") if (v := _value(record, (m, "nc"))) is not None]
        if nc and min(nc) > 0.0:
            return 0.7
        return 0.85 + 0.15 * _share(_value(record, ("neuroncap", "impact_speed")), 15.0)
    if reason is Reason.LANE_DEPARTURE:
        return 0.5 if all(column == "ddc" for _, column in said) else 0.6
    if reason is Reason.STALL:
        return max(0.01, 0.45 * (1.0 - _share(progress, 1.0)))
    if reason is Reason.TTC:
        least = _value(record, ("safety", "min_ttc"))
        return 0.2 + (0.0 if least is None else 0.1 * (1.0 - _share(least, 1.0)))
    within = _value(record, ("comfort", "share_within"))
    return 0.05 + (0.0 if within is None else 0.1 * (1.0 - _share(within, 1.0)))


def _share(value: float | None, whole: float) -> float:
    return 0.0 if value is None else min(max(value / whole, 0.0), 1.0)


def _first_step(record: CaseRecord, reason: Reason) -> int:
    steps = [
        step
        for events in record.events.values()
        for event in events
        if event.get("kind") in _EVENTS[reason]
        and event.get("at_fault") is not False
        and (step := _step(event)) >= 0
    ]
    return min(steps, default=-1)


def _step(event: Mapping[str, Any]) -> int:
    step = event.get("step")
    return step if isinstance(step, int) else -1
