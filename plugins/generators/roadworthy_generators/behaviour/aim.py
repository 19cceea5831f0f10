"""How a planner drives through scenes, so that attacks know whom to meet and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import PluginError
from roadworthy.host import PlannerHost
from roadworthy.plugins import FactorySpec
from roadworthy.rollout import Case
from roadworthy.scenario import HISTORY, Scenario
from roadworthy.solvability import drive_of
from roadworthy.solvability.kernels import first_contact
from roadworthy.vehicle import EgoIndex

__all__ = ["Driven", "drive_with"]

_STANDS = 0.1
_PLAN_LIMIT_S = 600.0
"""Kernels are compiled at first use."""


@dataclass(frozen=True, eq=False)
class Driven:
    """One drive.

    Attributes:
        ego: [N, 11] from the present on.
        contact: the step at which the ego first meets someone, -1 for never; whoever can react and
            runs into it from behind does not count.
    """

    ego: NDArray[np.float64]
    contact: int


def drive_with(planner: str, scenarios: Sequence[Scenario], traffic: str = "idm") -> list[Driven]:
    """Drive scenes in closed loop, replanned at 2 Hz.

    Args:
        planner: its name, or `module:Class`; it sees what planners see.
        scenarios: admitted.
        traffic: of the simulator.

    Raises:
        PluginError: no such planner, or it failed.
    """
    if not scenarios:
        return []
    made = FactorySpec("planners", planner, {}, "behaviour")
    simulator = FactorySpec(
        "simulators", "closed-loop", {"replan_hz": 2, "traffic": traffic}, "behaviour"
    ).build()
    cases = [Case(scenario, 0, 0) for scenario in scenarios]
    host = PlannerHost(made, _PLAN_LIMIT_S)
    rollouts = simulator.run(cases, host)
    failed = next((error for error in rollouts.errors if error is not None), None)
    if failed is not None:
        raise PluginError(f"behaviour: planner {planner!r} failed: {failed.message}")
    out = []
    for row, scenario in enumerate(scenarios):
        length = int(rollouts.length[row])
        ego = rollouts.ego[row, HISTORY - 1 : HISTORY + length].copy()
        out.append(Driven(ego, _contact(scenario, rollouts, row, ego)))
    return out


def _contact(scenario: Scenario, rollouts: object, row: int, ego: NDArray[np.float64]) -> int:
    count, steps = len(scenario.agents), len(ego)
    span = slice(HISTORY - 1, HISTORY - 1 + steps)
    car = scenario.vehicle
    step, _ = first_contact(
        drive_of(ego), 1,
        np.array([0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre]), 0.0,
        np.ascontiguousarray(rollouts.agents[row, :count, span]),  # type: ignore[attr-defined]
        np.ascontiguousarray(rollouts.agents_valid[row, :count, span]),  # type: ignore[attr-defined]
        0.5 * scenario.agents.size[:, :2].copy(), np.ascontiguousarray(scenario.agents.reactive),
        np.zeros(count, np.bool_),
    )  # fmt: skip
    # Who stands is not the one that fails.
    return int(step) if step >= 0 and ego[step, EgoIndex.VX] > _STANDS else -1
