"""Parents: whether a scene can be varied, from which moments on, and cut to 6 s from one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from roadworthy.errors import DataError
from roadworthy.scenario import Scenario, Signals
from roadworthy.solvability import drive_of
from roadworthy.solvability.kernels import first_contact

from roadworthy_generators.behaviour.kinematics import STEPS

__all__ = ["cut", "presents", "require_usable"]

_STEPS_BETWEEN = 20
_MOVES_M = 18.0
_PRESENTS = 5


def require_usable(scenario: Scenario) -> None:
    """Refuse what has no lanes or no 6 s to go, and an ego that starts in a collision.

    Raises:
        DataError: it cannot be varied.
    """
    name = f"{scenario.source}/{scenario.id}"
    if not len(scenario.map.lane_id):
        raise DataError(
            f"{name}: its map has no lanes", hint="Vary it with 'perturb', which needs none."
        )
    if scenario.horizon < STEPS:
        raise DataError(
            f"{name}: {scenario.horizon} steps to go, wanted {STEPS}", hint="Give longer scenes."
        )
    now, tracks, car = scenario.start, scenario.agents, scenario.vehicle
    met = _ego_overlaps(scenario, now)
    if met >= 0:
        raise DataError(
            f"{name}: its ego overlaps {tracks.id[met]!r} at the present",
            hint=f"Check sizes and positions; the ego is {car.length:g} by {car.width:g} m.",
        )


def _ego_overlaps(scenario: Scenario, now: int) -> int:
    tracks, car = scenario.agents, scenario.vehicle
    span = slice(now, now + 1)
    _, agent = first_contact(
        drive_of(scenario.ego[span]), 0,
        np.array([0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre]), 0.0,
        np.ascontiguousarray(tracks.state[:, span]), np.ascontiguousarray(tracks.valid[:, span]),
        0.5 * tracks.size[:, :2].copy(), np.zeros(len(tracks), np.bool_),
        np.zeros(len(tracks), np.bool_),
    )  # fmt: skip
    return int(agent)


def presents(scenario: Scenario, rng: np.random.Generator) -> list[int]:
    """Up to five steps from which the ego drives, of those every 2 s that leave 6 s to go; where
    it does at none, the one with most to come."""
    steps = np.arange(scenario.start, scenario.steps - STEPS, _STEPS_BETWEEN)
    way = np.hypot(*(scenario.ego[steps + STEPS, :2] - scenario.ego[steps, :2]).T)
    fit = steps[way > _MOVES_M]
    if not len(fit):
        return [int(steps[way.argmax()])]
    return [int(step) for step in rng.permutation(fit)[:_PRESENTS]]


def cut(scenario: Scenario, now: int) -> Scenario:
    """A scene that begins at another step and ends 6 s later."""
    end = now + STEPS + 1
    tracks = scenario.agents
    return replace(
        scenario, ego=scenario.ego[:end], start=now,
        agents=replace(tracks, state=tracks.state[:, :end], valid=tracks.valid[:, :end]),
        signals=Signals(scenario.signals.lane, scenario.signals.state[:, :end]),
    )  # fmt: skip
