"""A trial: how a planner fares in scenes, asked in passing and without a run directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import PluginError
from roadworthy.host import PlannerHost
from roadworthy.plugins import FactorySpec
from roadworthy.rollout import Case, CaseError, RolloutBatch
from roadworthy.scenario import HISTORY, Scenario
from roadworthy.solvability import drive_of
from roadworthy.solvability.kernels import first_contact
from roadworthy.vehicle import EgoIndex

__all__ = ["Driven", "drive_with", "try_out"]

_PLAN_LIMIT_S = 600.0
"""Kernels are compiled at first use."""
_STANDS = 0.1
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Driven:
    """One drive.

    Attributes:
        ego: [N, 11] from the present on.
        contact: the step at which the ego first drives into someone or is driven into, -1 for
            never. Not counted: whoever can react and runs into it from behind, and the first
            contact of an ego that stands.
        whom: index of whom it met then, -1 for nobody.
    """

    ego: NDArray[np.float64]
    contact: int
    whom: int


def drive_with(planner: str, scenarios: Sequence[Scenario], traffic: str = "idm") -> list[Driven]:
    """As `try_out`, of a planner that must not fail.

    Raises:
        PluginError: no such planner, or it failed.
    """
    driven = []
    for drive in try_out(planner, scenarios, traffic):
        if isinstance(drive, CaseError):
            raise PluginError(f"planner {planner!r} failed in a trial: {drive.message}")
        driven.append(drive)
    return driven


def try_out(
    planner: str, scenarios: Sequence[Scenario], traffic: str = "idm"
) -> Iterator[Driven | CaseError]:
    """Drive scenes in closed loop, replanned at 2 Hz.

    Args:
        planner: its name, or `module:Class`; it sees what planners see.
        scenarios: admitted.
        traffic: of the simulator `closed-loop`.

    Returns:
        Per scene the drive, or how the planner failed in it.

    Raises:
        PluginError: no such planner.
    """
    options = {"replan_hz": 2, "traffic": traffic}
    simulator = FactorySpec("simulators", "closed-loop", options, "trial").build()
    host = PlannerHost(FactorySpec("planners", planner, {}, "trial"), _PLAN_LIMIT_S)
    for first in range(0, len(scenarios), _BATCH):
        batch = scenarios[first : first + _BATCH]
        rollouts = simulator.run([Case(scenario, 0, 0) for scenario in batch], host)
        for row, scenario in enumerate(batch):
            fault = rollouts.errors[row]
            end = HISTORY + int(rollouts.length[row])
            ego = rollouts.ego[row, HISTORY - 1 : end].copy()
            yield fault or Driven(ego, *_contact(scenario, rollouts, row, ego))


def _contact(
    scenario: Scenario, rollouts: RolloutBatch, row: int, ego: NDArray[np.float64]
) -> tuple[int, int]:
    count = len(scenario.agents)
    span = slice(HISTORY - 1, HISTORY - 1 + len(ego))
    car = scenario.vehicle
    step, whom = first_contact(
        drive_of(ego), 1,
        np.array([0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre]), 0.0,
        np.ascontiguousarray(rollouts.agents[row, :count, span]),
        np.ascontiguousarray(rollouts.agents_valid[row, :count, span]),
        0.5 * scenario.agents.size[:, :2].copy(), np.ascontiguousarray(scenario.agents.reactive),
        np.zeros(count, np.bool_),
    )  # fmt: skip
    met = step >= 0 and ego[step, EgoIndex.VX] > _STANDS
    return (int(step), int(whom)) if met else (-1, -1)
