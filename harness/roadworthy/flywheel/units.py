"""What a flywheel consists of: units of work, most of which do not wait for each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from roadworthy.flywheel.config import Flywheel
from roadworthy.flywheel.evaluating import Evaluation
from roadworthy.flywheel.judging import Round
from roadworthy.flywheel.training import Trained

__all__ = ["BASE", "Outcome", "Turned", "Unit", "gather", "most_at_once", "next_unit", "units_of"]

BASE = "base"
"""Label of the planner before post-training."""


@dataclass(frozen=True)
class Unit:
    """What has to be done one step after another: a base, an arm's rounds, or the evaluation of
    the planner that came of them.

    Attributes:
        seed: of the training.
        arm: name of the arm, or `base`.
        multiple: how much data a base is trained on.
        evaluation: whether the planner is evaluated, not made.
    """

    seed: int
    arm: str = BASE
    multiple: int = 1
    evaluation: bool = False

    @property
    def label(self) -> str:
        """What the planner is called."""
        return self.arm if self.multiple == 1 else f"{self.arm}-{self.multiple}x"

    @property
    def after(self) -> Unit | None:
        """The unit whose planner it takes, which has to be finished before; None for a base."""
        if self.evaluation:
            return Unit(self.seed, self.arm, self.multiple)
        return None if self.arm == BASE else Unit(self.seed)


@dataclass(frozen=True)
class Outcome:
    """What came of a unit.

    Attributes:
        planner: the last one that was kept, or the one that was evaluated.
        rounds: of an arm.
        evaluations: of the planner.
        lookback: stage of what hindsight says of its failures on the set `test`, if asked.
    """

    planner: Trained
    rounds: tuple[Round, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    lookback: str | None = None


@dataclass(frozen=True)
class Turned:
    """What a flywheel did.

    Attributes:
        rounds: every round of every arm, in order.
        evaluations: every run on a set that is evaluated on.
        checkpoints: (arm, seed) -> folder of the checkpoint.
        lookbacks: arm -> stage of what hindsight says of its failures on the set `test`, with the
            first seed.
    """

    rounds: tuple[Round, ...]
    evaluations: tuple[Evaluation, ...]
    checkpoints: dict[tuple[str, int], Path]
    lookbacks: dict[str, str]


def units_of(flywheel: Flywheel) -> tuple[Unit, ...]:
    """All units, each after the one whose planner it takes."""
    multiples = flywheel.scaling.multiples[1:] if flywheel.scaling else ()
    return tuple(
        unit
        for seed in flywheel.seeds
        for made in (
            Unit(seed),
            *(Unit(seed, multiple=multiple) for multiple in multiples),
            *(Unit(seed, arm.name) for arm in flywheel.arms),
        )
        for unit in (made, replace(made, evaluation=True))
    )


def most_at_once(flywheel: Flywheel) -> int:
    """How many units can be under way at once: of every planner either its making or its
    evaluation, and of those of a seed's arms and its base all."""
    return sum(unit.evaluation for unit in units_of(flywheel))


def next_unit(
    flywheel: Flywheel, waiting: Collection[Unit], done: Collection[Unit], going: Collection[Unit]
) -> Unit | None:
    """The unit to begin with now: that which most rounds hang on, so that a long one is not left
    for the end, and evaluations last; of equals one of a seed that nobody works on, for the arms of
    a seed share stages.

    Args:
        flywheel: what is turned.
        waiting: what has not been begun, in order.
        done: what is finished.
        going: what is under way.
    """
    rounds = {arm.name: arm.rounds for arm in flywheel.arms}
    most = max(rounds.values(), default=0)
    seeds = {unit.seed for unit in going}

    def urgency(unit: Unit) -> tuple[int, bool]:
        hangs_on_it = 1 + (most if unit == Unit(unit.seed) else 0)
        rank = 0 if unit.evaluation else rounds.get(unit.arm, hangs_on_it)
        return rank, unit.seed not in seeds

    ready = [unit for unit in waiting if unit.after is None or unit.after in done]
    return max(ready, key=urgency, default=None)


def gather(outcomes: Mapping[Unit, Outcome], units: Collection[Unit]) -> Turned:
    """Outcomes in the order of their units, whichever was there first."""
    ordered = [(unit, outcomes[unit]) for unit in units]
    return Turned(
        rounds=tuple(r for _, outcome in ordered for r in outcome.rounds),
        evaluations=tuple(e for _, outcome in ordered for e in outcome.evaluations),
        checkpoints={(unit.label, unit.seed): outcome.planner.path for unit, outcome in ordered},
        lookbacks={u.label: outcome.lookback for u, outcome in ordered if outcome.lookback},
    )
