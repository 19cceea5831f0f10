"""A place of work: what drives and judges batches of cases, in whatever process."""

from __future__ import annotations

import functools
import gc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.execution import compiled  # noqa: F401 (mends numba's cache)
from roadworthy.execution.evaluate import Judged, evaluate
from roadworthy.host import PlannerHost
from roadworthy.isolation.host import IsolatedHost
from roadworthy.isolation.process import Confinement
from roadworthy.plugins import FactorySpec
from roadworthy.replay import save_replay
from roadworthy.rollout import Case
from roadworthy.store import CaseRecord
from roadworthy.suite import Resources

__all__ = ["Bench", "Confined", "Setup", "Task"]


@dataclass(frozen=True)
class Setup:
    """What a worker needs besides its cases. Picklable.

    Attributes:
        simulator, metrics, planners: how to make them; planners by label.
        plan_time_limit_s, memory_limit_gb: limits, see `roadworthy.suite.RunConfig`.
        resources: by label, what a planner needs if not the default.
        rollouts: the run directory to keep replays in, or None.
        confined: by label, planners that run isolated.
    """

    simulator: FactorySpec
    metrics: tuple[FactorySpec, ...]
    planners: dict[str, FactorySpec]
    plan_time_limit_s: float
    memory_limit_gb: float
    rollouts: Path | None
    confined: dict[str, Confined] = field(default_factory=dict)
    resources: dict[str, Resources] = field(default_factory=dict)

    def memory_of(self, planner: str) -> float:
        """Memory limit of a worker while it carries that planner [GiB]."""
        return self.resources.get(planner, Resources()).memory_gb or self.memory_limit_gb


@dataclass(frozen=True)
class Confined:
    """How an isolated planner is confined, and whether it is known to be privileged."""

    confinement: Confinement
    privileged: bool


@dataclass(frozen=True, eq=False)
class Task:
    """One batch for one planner: `indexes` are the cases' positions in the suite.

    `again` says that its one case has killed a worker before.
    """

    planner: str
    indexes: tuple[int, ...]
    cases: tuple[Case, ...]
    again: bool = False


@dataclass
class Bench:
    """A place of work: simulator and metrics made once, planners per batch."""

    setup: Setup
    watch: Any = field(default=lambda deadline: None)
    isolated: dict[str, IsolatedHost] = field(default_factory=dict)

    @functools.cached_property
    def simulator(self) -> Any:
        return self.setup.simulator.build()

    @functools.cached_property
    def metrics(self) -> list[Any]:
        return [spec.build() for spec in self.setup.metrics]

    def work(self, task: Task) -> list[CaseRecord]:
        """Drive and judge a batch; replays are kept where the setup says."""
        host = self.host(task.planner)
        gc.collect(1)  # what earlier cases left in cycles, perhaps with their arrays
        judged = evaluate(
            task.planner, task.indexes, task.cases, host, self.simulator, self.metrics
        )
        if self.setup.rollouts is not None:
            for one in judged:
                _keep(self.setup.rollouts, task.planner, one)
        return [one.record for one in judged]

    def host(self, planner: str) -> PlannerHost:
        """Who carries the planner; an isolated one keeps its process from task to task."""
        factory, limit = self.setup.planners[planner], self.setup.plan_time_limit_s
        how = self.setup.confined.get(planner)
        if how is None:
            return PlannerHost(factory.build, limit, self.watch)
        if planner not in self.isolated:
            self.isolated[planner] = IsolatedHost(
                factory, how.confinement, how.privileged, limit, self.watch
            )
        return self.isolated[planner]

    def close(self) -> None:
        """End the processes of isolated planners."""
        for host in self.isolated.values():
            host.close()


def _keep(folder: Path, planner: str, judged: Judged) -> None:
    if judged.rollouts is not None:
        save_replay(folder, planner, judged.rollouts, judged.row)
