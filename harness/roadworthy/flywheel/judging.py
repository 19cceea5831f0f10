"""Whether a round's planner may take the place of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.comparison.gate import BASELINE, RuleVerdict, gate
from roadworthy.flywheel.config import Rule
from roadworthy.store import Run

__all__ = ["Round", "judge_round", "of_group"]

_NEW = "the new planner"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one round.

    Attributes:
        arm, seed, number: which; numbers from 1.
        options: the trainer's, after all smaller steps.
        scenes: set -> how many scenes of it were trained on.
        accepted: whether the planner was kept.
        verdicts: of the rules; none where the arm is not gated.
        note: in words, where there is something to say.
        trained: stage of the trained planner, "" if none was trained.
    """

    arm: str
    seed: int
    number: int
    options: dict[str, Any] = {}
    scenes: dict[str, int] = {}
    accepted: bool
    verdicts: tuple[RuleVerdict, ...] = ()
    note: str = ""
    trained: str = ""


def judge_round(new: Run, old: Run, rules: Sequence[Rule], rare: str) -> tuple[RuleVerdict, ...]:
    """Whether a planner may take the place of the one before.

    Args:
        new, old: runs of both on the validation set, of one planner each.
        rules: what must hold.
        rare: tag of rare scenes.
    """
    new = _called(new, _NEW)
    found: list[RuleVerdict] = []
    for rule in rules:
        relative = rule.margin is not None or rule.improvement is not None
        asked = msgspec.structs.replace(rule, against=BASELINE if relative else "")
        mine, theirs = of_group(new, rule.group, rare), of_group(old, rule.group, rare)
        if not mine.records:
            found.append(
                RuleVerdict(
                    rule=f"{rule.group} scenes: {rule.metric}",
                    planner=_NEW,
                    passed=False,
                    judged=False,
                    reason=f"The validation set has no {rule.group} scene.",
                )
            )
            continue
        verdict = gate(mine, [asked], theirs)
        for one in verdict.rules:
            words = f"{rule.group} scenes: {one.rule}"
            found.append(msgspec.structs.replace(one, rule=words))
    return tuple(found)


def of_group(run: Run, group: str, rare: str) -> Run:
    """A run with the records of one group of scenes alone: `rare`, `common`, `all`, or those that
    have a tag."""
    if group == "all":
        return run
    if group in ("rare", "common"):
        kept = tuple(r for r in run.records if (rare in r.tags) == (group == "rare"))
    else:
        kept = tuple(r for r in run.records if group in r.tags)
    return msgspec.structs.replace(run, records=kept)


def _called(run: Run, label: str) -> Run:
    """A run of one planner, called so in sentences."""
    (planner,) = run.manifest.planners.values()
    manifest = msgspec.structs.replace(run.manifest, planners={label: planner})
    records = tuple(msgspec.structs.replace(record, planner=label) for record in run.records)
    return msgspec.structs.replace(run, manifest=manifest, records=records)
