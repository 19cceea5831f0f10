"""Drives a world with a planner, and keeps the plans and how far each case came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from roadworthy.host import Answer, PlannerHost
from roadworthy.rollout import Case, CaseError, Plans, RolloutBatch

from .world import World

__all__ = ["Recorder"]

_NONE = (None, None)


class Recorder:
    """Steps a `World` by a planner's plans; used by the simulators.

    Args:
        world: at step 0.
        host: reset for the world's cases.
    """

    def __init__(self, world: World, host: PlannerHost) -> None:
        self._world = world
        self._host = host
        self._length = np.zeros(len(world.scenarios), np.int64)
        self._faults: list[CaseError | None] = [None] * len(world.scenarios)
        self._plans: list[tuple[int, NDArray[np.int64], Answer]] = []

    def fail(self, row: int, error: CaseError) -> None:
        """Drive a case no further, for a fault that the host cannot see."""
        self._faults[row] = error

    def living(self) -> NDArray[np.int64]:
        """Cases that have neither failed nor ended, int64."""
        going = self._world.length > self._world.step
        for row, faults in enumerate(zip(self._faults, self._host.errors, strict=True)):
            if faults != _NONE:
                going[row] = False
        return np.flatnonzero(going)

    def plan(self, rows: NDArray[np.int64]) -> Answer:
        """Ask for a plan for each of `rows`."""
        answer = self._host.plan(self._world.observe(rows, self._host.briefs))
        self._plans.append((self._world.step, rows, answer))
        return answer

    def drive(self, answer: Answer, rows: NDArray[np.int64], steps: int) -> None:
        """Follow the latest plans for `steps` steps in those `rows` that go on."""
        step, planned, _ = self._plans[-1]
        at = np.searchsorted(planned, rows)
        self._world.drive(rows, answer.poses[at], answer.count[at], answer.dt[at], steps)
        self._length[rows] = np.minimum(self._world.length[rows], step + steps)

    def rollouts(self, cases: tuple[Case, ...]) -> RolloutBatch:
        """What happened so far."""
        world = self._world
        return RolloutBatch(
            cases=cases,
            errors=tuple(a or b for a, b in zip(self._faults, self._host.errors, strict=True)),
            length=self._length,
            ego=world.ego,
            agents=world.agents,
            agents_valid=world.valid,
            signals=world.signals,
            plans=self._kept_plans(),
        )

    def _kept_plans(self) -> tuple[Plans, ...]:
        """Per case its plans; the shorter ones are held at their last pose to be of one length,
        and plans at another `dt` than the case's first one are left out."""
        answers = [answer for _, _, answer in self._plans]
        shapes = {a.poses.shape for a in answers}
        if len(shapes) == 1 and self._are_alike(answers):
            step = np.array([step for step, _, _ in self._plans], np.int64)
            poses = np.stack([a.poses for a in answers], axis=1)
            return tuple(Plans(step, poses[i], float(answers[0].dt[i])) for i in range(len(poses)))
        kept: list[list[tuple[int, NDArray[np.float64], float]]] = [
            [] for _ in self._world.scenarios
        ]
        for step, rows, answer in self._plans:
            for i, row in enumerate(rows):
                if answer.count[i]:
                    poses = answer.poses[i, : answer.count[i]]
                    kept[row].append((step, poses, float(answer.dt[i])))
        return tuple(_joined(plans) for plans in kept)

    def _are_alike(self, answers: list[Answer]) -> bool:
        """Whether every case was asked each time, and its plans are of one length and rate."""
        count, pace = answers[0].poses.shape[1], answers[0].dt
        return len(answers[0].poses) == len(self._world.scenarios) and all(
            bool((a.count == count).all() and (a.dt == pace).all()) for a in answers
        )


def _joined(plans: list[tuple[int, NDArray[np.float64], float]]) -> Plans:
    if not plans:
        return Plans(np.zeros(0, np.int64), np.zeros((0, 0, 3)), 0.0)
    dt = plans[0][2]
    alike = [(step, poses) for step, poses, other in plans if other == dt]
    longest = max(len(poses) for _, poses in alike)
    held = [poses[np.minimum(np.arange(longest), len(poses) - 1)] for _, poses in alike]
    return Plans(np.array([step for step, _ in alike], np.int64), np.stack(held), dt)
