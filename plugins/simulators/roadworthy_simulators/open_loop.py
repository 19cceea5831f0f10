"""Open loop: one plan of four seconds, tracked while the log replays (NAVSIM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from roadworthy.errors import SimulatorError
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, CaseError, RolloutBatch, Status
from roadworthy.scenario import DT

from .driving import Recorder
from .world import TRACKED_STEPS, World

__all__ = ["OpenLoop"]


class OpenLoop:
    """NAVSIM's protocol (Dauner et al. 2024): one plan at step 0, 40 steps, agents as logged.

    The plan is sampled every 0.1 s over 4 s, then driven by the LQR tracker and the kinematic
    bicycle. A plan that ends sooner is the planner's error; one that goes on is cut.

    Args:
        threads: number of threads; results do not depend on it.
    """

    def __init__(self, *, threads: int = 1) -> None:
        if threads < 1:
            raise SimulatorError(f"threads = {threads!r}", hint="At least 1.")
        self._threads = threads

    def run(self, cases: Sequence[Case], host: PlannerHost) -> RolloutBatch:
        """Drive all cases; those that the log or the plan does not carry over 4 s fail.

        Raises:
            BatchFault: if a batch planner fails for several cases at once.
        """
        world = World(
            [case.scenario for case in cases],
            traffic="replay",
            steps=TRACKED_STEPS,
            threads=self._threads,
        )
        try:
            host.reset(cases)
            recorder = Recorder(world, host)
            for row in np.flatnonzero(world.length < TRACKED_STEPS):
                recorder.fail(row, _short_log(world.length[row] * DT))
            if len(rows := recorder.living()):
                answer = recorder.plan(rows)
                ends = answer.count * answer.dt
                for i in np.flatnonzero(ends < TRACKED_STEPS * DT - 1e-6):
                    recorder.fail(rows[i], _short_plan(ends[i], answer.dt[i]))
                rows = recorder.living()
                if len(rows):
                    recorder.drive(answer, rows, TRACKED_STEPS)
            return replace(recorder.rollouts(tuple(cases)), open_loop=True)
        finally:
            world.close()


def _short_log(seconds: float) -> CaseError:
    message = (
        f"the log goes on for {seconds:.1f} s, open loop needs {TRACKED_STEPS * DT:.1f} s\n"
        "  Drive it in closed-loop, or give a longer log."
    )
    return CaseError(Status.INVALID_SCENARIO, "ScenarioError", message, 0)


def _short_plan(seconds: float, dt: float) -> CaseError:
    wanted = TRACKED_STEPS * DT
    message = (
        f"the plan ends after {seconds:.2f} s, open loop needs {wanted:.1f} s\n"
        f"  Return at least {int(np.ceil(wanted / dt - 1e-9))} poses at dt = {dt:g}."
    )
    return CaseError(Status.PLANNER_ERROR, "PlannerOutputError", message, 0)
