"""What a planner could have chosen before it failed: its own proposals, scored in its own drive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roadworthy.flywheel.hindsight import Hindsight
from roadworthy.scenario import DT, Scenario

from .frames import AHEAD, ProposalPlanner, scores_at
from .reward import NC, Reward, reward_of
from .scores import ScoreCache

__all__ = ["look_back"]

_EVERY = 5
_BEFORE = 20
"""Steps (2 s) before the failure: late enough to see it come, early enough to act."""
_DAC = 1


def look_back(
    planner: ProposalPlanner, drives: Sequence[tuple[Scenario, int]], cache: Path
) -> list[Hindsight | None]:
    """Score a planner's proposals at a moment about 2 s before each failure.

    Others do beside every proposal what they did in the drive: they react to none of them.

    Args:
        planner: proposes.
        drives: what it drove, as scenarios, and the step after the present at which it failed.
        cache: where scores are looked up and kept, as in training.

    Returns:
        Per drive; None where it has no 4 s to look at.
    """
    found: list[Hindsight | None] = []
    kept = ScoreCache(cache)
    for drive, failed in drives:
        if drive.horizon < AHEAD:
            found.append(None)
            continue
        step = min(max(0, failed - _BEFORE), drive.horizon - AHEAD) // _EVERY * _EVERY
        both = scores_at(planner, drive, step, kept)
        rewards = reward_of(both, Reward())
        safe = (both[:-1, [NC, _DAC]] == 255).all(axis=1)
        found.append(
            Hindsight(
                seconds=round((failed - step) * DT, 1),
                driven=round(float(rewards[-1]), 4),
                best=round(float(rewards[:-1].max()), 4),
                ways_out=int(safe.sum()),
                proposals=len(safe),
            )
        )
    return found
