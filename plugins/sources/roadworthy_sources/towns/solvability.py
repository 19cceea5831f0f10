"""Whether a scenario can be survived: by PDM-Closed, or else by any of many manoeuvres.

Both are driven in closed loop among reactive traffic, by the tracker and the vehicle model that
planners are driven with, and judged by the metric `success`: no collision at fault, never off the
road. Manoeuvres begin at once or after a while, push or brake at a constant rate to a stand or
to the speed limit's half more, and go over to a path beside the route.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, Plans, RolloutBatch
from roadworthy.scenario import DT, Scenario
from roadworthy.vehicle import EgoIndex
from roadworthy_metrics.success import Success
from roadworthy_planners.pdm_closed import PDMClosed
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_simulators.world import World

from roadworthy_sources.towns import exact

__all__ = ["ACCELERATIONS", "DELAYS", "OFFSETS", "Verdict", "manoeuvres", "solve"]

Array = NDArray[np.float64]

ACCELERATIONS = (-7.0, -5.0, -3.5, -2.0, -1.0, -0.5, 0.0, 0.7, 1.5)
"""[m/s²]"""
OFFSETS = (0.0, -3.4, -1.7, -0.8, 0.8, 1.7, 3.4)
"""To the left of the route [m]."""
DELAYS = (0.0, 1.0, 2.0, 3.5, 5.0)
"""After which a manoeuvre begins [s]; until then the ego keeps its speed and its path."""
_SWERVE = 2.2
_FASTEST = 20.0


@dataclass(frozen=True)
class Verdict:
    """What was found out about a scenario.

    Attributes:
        pdm_closed: whether PDM-Closed survives it.
        manoeuvre: acceleration, offset and delay of the first manoeuvre that does, where
            PDM-Closed does not; None where none does, or none was tried.
    """

    pdm_closed: bool
    manoeuvre: tuple[float, float, float] | None = None

    @property
    def solvable(self) -> bool:
        """Whether anything survives it."""
        return self.pdm_closed or self.manoeuvre is not None

    def tags(self) -> tuple[str, ...]:
        """Words for a scenario's tags."""
        pdm = "pdm-closed:survives" if self.pdm_closed else "pdm-closed:fails"
        return (pdm, "solvable" if self.solvable else "unsolvable")


def solve(scenarios: Sequence[Scenario]) -> list[Verdict]:
    """Judge admitted scenarios; about 0.1 s each where PDM-Closed survives, else a second."""
    if not scenarios:
        return []
    cases = [Case(scenario, 0, 0) for scenario in scenarios]
    rollouts = ClosedLoop(replan_hz=2.0, traffic="idm").run(cases, PlannerHost(PDMClosed, 600.0))
    out = []
    for scenario, good in zip(scenarios, _survived(rollouts), strict=True):
        out.append(Verdict(True) if good else Verdict(False, manoeuvres(scenario)))
    return out


def _survived(rollouts: RolloutBatch) -> NDArray[np.bool_]:
    return np.asarray(Success().score(rollouts).values["success"]) > 0.5


def manoeuvres(scenario: Scenario) -> tuple[float, float, float] | None:
    """Acceleration [m/s²], offset [m] and delay [s] of the first manoeuvre that survives."""
    options = list(itertools.product(DELAYS, OFFSETS, ACCELERATIONS))
    plans = np.stack([_plan(scenario, a, left, wait) for wait, left, a in options])
    count = len(options)
    world = World([scenario] * count, traffic="idm")
    try:
        steps = scenario.horizon
        rows = np.arange(count, dtype=np.int64)
        world.drive(rows, plans, np.full(count, steps, np.int64), np.full(count, DT), steps)
        rollouts = RolloutBatch(
            cases=tuple(Case(scenario, k, 0) for k in range(count)),
            errors=(None,) * count,
            length=np.full(count, steps, np.int64),
            ego=world.ego,
            agents=world.agents,
            agents_valid=world.valid,
            signals=world.signals,
            plans=(Plans(np.zeros(0, np.int64), np.zeros((0, 0, 3)), 0.0),) * count,
        )
        good = np.flatnonzero(_survived(rollouts))
    finally:
        world.close()
    if not len(good):
        return None
    wait, left, accel = options[int(good[0])]
    return accel, left, wait


def _plan(scenario: Scenario, accel: float, left: float, wait: float) -> Array:
    """Poses [horizon, 3] of one manoeuvre, in the frame of the ego's start."""
    now = scenario.ego[scenario.start]
    line = scenario.route.centreline
    hop = np.diff(line[:, :2], axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(hop[:, 0], hop[:, 1]))])
    gap = line[:, :2] - now[:2]
    begin = int(np.argmin(gap[:, 0] ** 2 + gap[:, 1] ** 2))
    time = DT * np.arange(1, scenario.horizon + 1)
    speed = np.clip(now[EgoIndex.VX] + accel * np.maximum(time - wait, 0.0), 0.0, _FASTEST)
    if accel < 0.0:
        speed = np.minimum(speed, now[EgoIndex.VX])
    along = np.cumsum(speed) * DT
    c, s = exact.cos_sin(line[begin, 2])
    offset = float(c * (now[1] - line[begin, 1]) - s * (now[0] - line[begin, 0]))
    back = np.clip(along / 15.0, 0.0, 1.0)
    swerve = np.clip((time - wait) / _SWERVE, 0.0, 1.0)
    across = offset * (1.0 - back) + left * swerve * swerve * (3.0 - 2.0 * swerve)
    at = walked[begin] + along
    yaw = np.interp(at, walked, line[:, 2])
    c, s = exact.cos_sin(yaw)
    past = np.maximum(at - walked[-1], 0.0)
    x = np.interp(at, walked, line[:, 0]) + past * c - across * s
    y = np.interp(at, walked, line[:, 1]) + past * s + across * c
    moved = np.maximum(np.gradient(along), 0.05)
    heading = yaw + np.where(speed > 0.5, exact.angle(moved, np.gradient(across)), 0.0)
    c, s = exact.cos_sin(now[EgoIndex.YAW])
    dx, dy = x - now[0], y - now[1]
    return np.stack([c * dx + s * dy, c * dy - s * dx, heading - now[EgoIndex.YAW]], axis=1)
