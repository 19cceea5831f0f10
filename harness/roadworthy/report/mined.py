"""What scenes were mined for, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadworthy.failures import Reason
from roadworthy.mining import MinedSet

__all__ = ["MinedRow", "mined_rows", "mined_words"]


@dataclass(frozen=True, slots=True)
class MinedRow:
    """A reason, worst ones first.

    Attributes:
        reason: in words.
        worst, any: mined cases whose worst reason it is, and that have it at all.
        severity: median where it is the worst; NaN if it is nowhere.
    """

    reason: str
    worst: int
    any: int
    severity: float


def mined_rows(sets: Sequence[MinedSet]) -> list[MinedRow]:
    """A row for each reason for which a case was mined."""
    cases = [case for one in sets for case in one.cases]
    rows = []
    for reason in Reason:
        worst = [case.severity for case in cases if case.findings[0].reason == reason]
        count = sum(any(f.reason == reason for f in case.findings) for case in cases)
        median = float(np.median(worst)) if worst else np.nan
        if count:
            rows.append(MinedRow(reason.replace("_", " "), len(worst), count, median))
    return rows


def mined_words(sets: Sequence[MinedSet]) -> list[str]:
    """A sentence for each set: how many of how many cases failed, and were kept."""
    return [
        f"{', '.join(one.planners)} failed in {one.failed} of {one.judged} cases of "
        f"{one.suite}: {one.clusters} clusters, of which {len(one.cases)} were mined."
        for one in sets
    ]
