"""What the statistics say of the planners on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roadworthy.comparison.compare import Comparison, compare
from roadworthy.comparison.leaderboard import Leaderboard, rank
from roadworthy.comparison.pairing import Contestant
from roadworthy.errors import RunError

__all__ = ["Verdicts", "judge"]


@dataclass(frozen=True)
class Verdicts:
    """Comparison and ranking, where there are several planners that may be compared.

    Attributes:
        comparison: of every further planner with the first.
        ranking: of all, by the first headline column.
        refused: why the planners cannot be compared, "" if they can.
    """

    comparison: Comparison | None = None
    ranking: Leaderboard | None = None
    refused: str = ""


def judge(players: Sequence[Contestant], comparison: Comparison | None = None) -> Verdicts:
    """Compare and rank.

    Args:
        players: the planners, the reference first.
        comparison: theirs, if it has been made already.
    """
    if len(players) < 2:
        return Verdicts()
    try:
        return Verdicts(comparison or compare(players), rank(players))
    except RunError as error:
        return Verdicts(refused=error.message)
