"""What a planner drove, as scenarios: states that no log has, with the traffic's answer to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.host import PlannerHost
from roadworthy.protocols import Simulator
from roadworthy.rollout import Case, RolloutBatch
from roadworthy.scenario import Lineage, Scenario, Signals
from roadworthy.seeding import derive_seed

__all__ = ["ROLLOUT", "roll_out", "rollout_scenario"]

ROLLOUT = "rollout"
"""Tag of a scenario whose ego is a planner: not an example to imitate."""

_BATCH = 64


def rollout_scenario(rollouts: RolloutBatch, row: int) -> Scenario:
    """What happened in one rollout as a scenario: the ego and its traffic as they drove.

    Agents may not deviate from what they did. The parent is named in the lineage, so that leaks
    are found.

    Raises:
        ScenarioError: it is not fit to be a scenario.
    """
    case = rollouts.cases[row]
    log, length = case.scenario, int(rollouts.length[row])
    rows, count = rollouts.now + 1 + length, len(log.agents)
    state = rollouts.agents[row, :count, :rows].copy()
    valid = rollouts.agents_valid[row, :count, :rows].copy()
    signals = rollouts.signals[row, : len(log.signals.lane), :rows].copy()
    return admit(
        replace(
            log,
            id=f"{log.id}-rollout-{case.seed:x}",
            ego=rollouts.ego[row, :rows].copy(),
            agents=replace(log.agents, state=state, valid=valid),
            signals=Signals(log.signals.lane, signals),
            start=rollouts.now,
            tags=(*log.tags, ROLLOUT),
            lineage=Lineage(log.hash, ROLLOUT, case.seed, {"key": case.key}),
        )
    )


def roll_out(
    planner: Callable[[], Any], scenarios: Sequence[Scenario], simulator: Simulator, seed: int
) -> list[Scenario]:
    """Drive scenarios in closed loop, and give back what happened, as scenarios.

    Args:
        planner: makes a fresh one.
        scenarios: what to drive.
        simulator: drives.
        seed: of the cases.

    Returns:
        One scenario per case that was driven without an error and is fit to be one.
    """
    found = []
    for begin in range(0, len(scenarios), _BATCH):
        cases = [
            Case(s, 0, derive_seed(seed, ROLLOUT, s.hash))
            for s in scenarios[begin : begin + _BATCH]
        ]
        rollouts = simulator.run(cases, PlannerHost(planner))
        for row, error in enumerate(rollouts.errors):
            if error is None and np.isfinite(rollouts.ego[row]).all():
                try:
                    found.append(rollout_scenario(rollouts, row))
                except ScenarioError:
                    continue
    return found
