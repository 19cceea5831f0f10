"""The data that the page's script reads, as JSON that is inert inside HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from roadworthy.report.reasons import NEAR_MISSES, event_text
from roadworthy.report.view import Case, Result, View

__all__ = ["inert_json", "payload_of"]

_TRACEBACK = 3000
_MESSAGE = 1000


def payload_of(view: View, replays: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Everything the script needs, short keys for what is there per case.

    Args:
        view: what is shown.
        replays: case id -> per entry its replay's index, as `replays.encode` gives it.
    """
    texts: dict[str, int] = {}
    return {
        "entries": [{"label": e.label, "privileged": e.privileged} for e in view.entries],
        "columns": [
            {
                "label": c.label,
                "better": c.better,
                "unit": c.unit,
                "doc": c.doc,
                "headline": c in view.headline,
            }
            for c in view.columns
        ],
        "primary": view.columns.index(view.primary) if view.primary else -1,
        "cases": [_case(view, i, case, texts) for i, case in enumerate(view.cases)],
        "worst": [view.cases.index(case) for case in _shown_worst(view)],
        "replays": dict(replays),
        "texts": list(texts),
    }


def inert_json(value: Any) -> str:
    """JSON for a `<script type="application/json">`: nothing in it can end the element."""
    text = msgspec.json.encode(value).decode()
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _shown_worst(view: View, limit: int = 12) -> list[Case]:
    """The worst cases that have something wrong, or the lowest scores if nothing has."""
    wrong = [c for c in view.worst if any(r is not None and r.reasons for r in c.results)]
    return (wrong or list(view.worst))[:limit]


def _case(view: View, place: int, case: Case, texts: dict[str, int]) -> dict[str, Any]:
    record = case.record
    return {
        "id": case.id,
        "name": record.scenario,
        "source": record.source,
        "rep": record.repetition,
        "seed": str(record.seed),
        "hash": record.scenario_hash,
        "key": case.key,
        "tags": list(record.tags),
        "results": [
            None if result is None else _result(result, values[place] or (), texts)
            for result, values in zip(case.results, view.values, strict=True)
        ],
    }


def _result(
    result: Result, values: Sequence[float | None], texts: dict[str, int]
) -> dict[str, Any]:
    record = result.record
    out: dict[str, Any] = {
        "s": record.status.value,
        "n": record.steps,
        "v": [_short(value) for value in values],
        "r": [[reason.level, reason.text, reason.step] for reason in result.reasons],
    }
    if record.events:
        out["e"] = _events(record.events)
    if record.error is not None:
        traceback = record.error.traceback[-_TRACEBACK:]
        out["err"] = {
            "type": record.error.type,
            "message": record.error.message[:_MESSAGE],
            "step": record.error.step,
            "trace": texts.setdefault(traceback, len(texts)) if traceback else -1,
        }
    return out


def _events(events: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the metrics found, in order of time; what several found alike stands once."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in (e for several in events.values() for e in several):
        plain = {k: v for k, v in event.items() if _plain(v)}
        plain["kind"] = str(event.get("kind", "event"))
        plain["step"] = event["step"] if isinstance(event.get("step"), int) else -1
        plain["near"] = plain["kind"] in NEAR_MISSES
        key = (event_text(plain), plain["step"], plain.get("agent"), plain.get("at_fault"))
        found.setdefault(key, plain)
    return sorted(found.values(), key=lambda e: e["step"])


def _plain(value: Any) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    return isinstance(value, (bool, int, float, str)) and finite


def _short(value: float | None) -> float | None:
    """Six significant digits; the exact value is in scores.csv."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
