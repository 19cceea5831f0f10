"""Closed loop: the planner replans, the tracker drives, and the traffic may react."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from roadworthy.errors import SimulatorError
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, RolloutBatch
from roadworthy.scenario import RATE_HZ

from .driving import Recorder
from .world import StartNoise, Traffic, World

__all__ = ["ClosedLoop"]


class ClosedLoop:
    """Replans at a fixed rate; between replans the tracker of nuPlan follows the plan.

    Args:
        replan_hz: plans per second; must divide 10.
        traffic: `idm` lets vehicles, cyclists and pedestrians react to the ego and to each
            other; `replay` moves them as logged; `behaviour` lets the model of the generator of
            that name drive them, replanned with the ego.
        duration_s: how long to drive; the scenario's own horizon if not given, and never
            beyond it.
        start_lateral_m, start_yaw_rad, start_speed_mps: standard deviations of a perturbed
            start, drawn from the case's seed alone.
        threads: number of threads; results do not depend on it.

    Raises:
        SimulatorError: for options out of range.
    """

    def __init__(
        self,
        *,
        replan_hz: float = 2.0,
        traffic: Traffic = "idm",
        duration_s: float | None = None,
        start_lateral_m: float = 0.0,
        start_yaw_rad: float = 0.0,
        start_speed_mps: float = 0.0,
        threads: int = 1,
    ) -> None:
        every = RATE_HZ / replan_hz if replan_hz > 0 else 0.0
        if every < 1.0 or abs(every - round(every)) > 1e-9:
            raise SimulatorError(
                f"replan_hz = {replan_hz!r}: does not divide {RATE_HZ} Hz",
                hint="Use 10, 5, 2, 1, 0.5, 0.2 or 0.1.",
            )
        if traffic not in get_args(Traffic):
            raise SimulatorError(
                f"traffic = {traffic!r}", hint=f"Known: {', '.join(get_args(Traffic))}."
            )
        if duration_s is not None and not duration_s >= 1.0 / RATE_HZ:
            raise SimulatorError(
                f"duration_s = {duration_s!r}: too short", hint="At least one step, 0.1 s."
            )
        if threads < 1:
            raise SimulatorError(f"threads = {threads!r}", hint="At least 1.")
        deviations = (start_lateral_m, start_yaw_rad, start_speed_mps)
        if not all(np.isfinite(v) and v >= 0.0 for v in deviations):
            raise SimulatorError(
                f"start_lateral_m, start_yaw_rad, start_speed_mps = {deviations}",
                hint="Standard deviations are finite and not negative.",
            )
        self._every = round(every)
        self._traffic: Traffic = traffic
        self._steps = None if duration_s is None else int(duration_s * RATE_HZ + 1e-9)
        self._noise = StartNoise(*deviations) if any(deviations) else None
        self._threads = threads

    def run(self, cases: Sequence[Case], host: PlannerHost) -> RolloutBatch:
        """Drive all cases; a case whose planner fails stops there, with its error.

        Raises:
            BatchFault: if a batch planner fails for several cases at once.
        """
        world = World(
            [case.scenario for case in cases],
            traffic=self._traffic,
            steps=self._steps,
            seeds=[case.seed for case in cases],
            noise=self._noise,
            threads=self._threads,
        )
        try:
            host.reset(cases)
            recorder = Recorder(world, host)
            while len(rows := recorder.living()):
                answer = recorder.plan(rows)
                rows = recorder.living()
                if len(rows):
                    recorder.drive(answer, rows, self._every)
            return recorder.rollouts(tuple(cases))
        finally:
            world.close()
