"""Why a case counts as failed: errors, what metrics found, and totals of zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from roadworthy.comparison.casetable import column_name
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord

__all__ = ["NEAR_MISSES", "Reason", "event_text", "failed", "reasons_of"]

NEAR_MISSES = frozenset({"ttc"})
"""Kinds of events that warn, but do not make a case a failed one."""
_TOTALS = ("score", "success")


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        level: `error`: the case could not be judged; `fail`: it was judged a failure;
            `near`: it was judged a near miss.
        text: a few words, equal for equal reasons, for grouping.
        step: when, -1 where that is not one moment.
    """

    level: Literal["error", "fail", "near"]
    text: str
    step: int = -1


def reasons_of(record: CaseRecord, metrics: Mapping[str, Mapping[str, Any]]) -> tuple[Reason, ...]:
    """The reasons of one case, each once at its first step, errors and failures first.

    An event counts unless it says `at_fault: false`. Where one metric says of an agent who
    was at fault, events of other metrics that only say that the ego met it add nothing. Where
    no event explains a total of 0 that should be high, that total is itself the reason; a
    total is a headline column called as its metric, `score` or `success`.

    Args:
        record: the case.
        metrics: the metrics' specs, as the manifest has them.
    """
    if record.status is not Status.OK:
        error = record.error
        detail = f": {error.type}" if error else ""
        text = record.status.value.replace("_", " ") + detail
        return (Reason("error", text, error.step if error else -1),)
    first: dict[str, Reason] = {}
    found_events = [e for events in record.events.values() for e in events]
    judged = {e["agent"] for e in found_events if "at_fault" in e and "agent" in e}
    for event in found_events:
        kind = str(event.get("kind", "event"))
        blamed = event.get("at_fault")
        unjudged = blamed is None and kind not in NEAR_MISSES
        if blamed is False or (unjudged and event.get("agent") in judged):
            continue
        step = event.get("step")
        reason = Reason(
            "near" if kind in NEAR_MISSES else "fail",
            event_text(event),
            step if isinstance(step, int) else -1,
        )
        old = first.get(reason.text)
        if old is None or 0 <= reason.step < old.step:
            first[reason.text] = reason
    found = sorted(first.values(), key=lambda r: (r.level != "fail", r.step, r.text))
    if not any(r.level == "fail" for r in found):
        found[:0] = _zeros(record, metrics)
    return tuple(found)


def failed(reasons: tuple[Reason, ...]) -> bool:
    """Whether a case with these reasons failed, by error or by judgement."""
    return any(r.level != "near" for r in reasons)


def event_text(event: Mapping[str, Any]) -> str:
    """An event's kind in words, with how it came about where that is said."""
    text = str(event.get("kind", "event"))
    how = event.get("how")
    return f"{text}: {how}".replace("_", " ") if how else text.replace("_", " ")


def _zeros(record: CaseRecord, metrics: Mapping[str, Mapping[str, Any]]) -> list[Reason]:
    found = []
    for metric, spec in metrics.items():
        for column in spec["columns"]:
            name = column["name"]
            total = column["headline"] and name.replace("_", "-") in {metric, *_TOTALS}
            high = column["better"] == "higher" and not column["unit"]
            if total and high and record.values.get(metric, {}).get(name) == 0.0:
                found.append(Reason("fail", f"{column_name(metric, name)} = 0"))
    return found
