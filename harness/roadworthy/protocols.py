"""What each kind of plugin must offer. Duck-typed: nothing has to be inherited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from roadworthy.host import PlannerHost
from roadworthy.observation import Brief, Observation, ObservationBatch
from roadworthy.rollout import Case, RolloutBatch
from roadworthy.scenario import Rejected, Scenario
from roadworthy.score import MetricSpec, Scores
from roadworthy.trajectory import Trajectory, TrajectoryBatch

__all__ = [
    "BatchPlanner",
    "Generator",
    "Metric",
    "Planner",
    "Simulator",
    "Source",
    "Trainer",
]


@runtime_checkable
class Planner(Protocol):
    """Drives one case at a time; the simulator makes one instance per case.

    A class attribute `needs_log = True` makes the planner privileged: its `Brief.log`
    holds the whole logged scenario.
    """

    def reset(self, brief: Brief) -> None:
        """A new case begins."""

    def plan(self, observation: Observation) -> Trajectory:
        """The plan from now on."""


@runtime_checkable
class BatchPlanner(Protocol):
    """Drives many cases at once: one instance for a whole batch."""

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """A new batch begins."""

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """One plan per row. `observations.rows` says which of the briefs are still driven."""


@runtime_checkable
class Source(Protocol):
    """Reads or makes scenarios.

    A source whose scenes can be made one by one may also offer `__len__()` and `scenario(index)`,
    which gives the scene that `scenarios()` yields in that place: then worker processes share the
    work.
    """

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Scenarios in a fixed order. A scene that cannot be read is yielded as `Rejected`,
        and iteration goes on with the next."""


@runtime_checkable
class Simulator(Protocol):
    """Drives cases."""

    def run(self, cases: Sequence[Case], host: PlannerHost) -> RolloutBatch:
        """All cases, batched inside. The host carries the planner: `host.reset(cases)`, then
        `host.plan(observations)`, which never raises for a planner's fault but marks the case;
        a failed case is driven no further, and `host.errors` ends up in the rollouts."""


@runtime_checkable
class Metric(Protocol):
    """Judges rollouts."""

    spec: MetricSpec

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; rows of failed cases are ignored by the caller."""


@runtime_checkable
class Generator(Protocol):
    """Varies a scenario; the map stays as it is."""

    def generate(self, scenario: Scenario, n: int, rng: np.random.Generator) -> Iterator[Scenario]:
        """Up to `n` variants, which depend on the arguments and the options alone: several of the
        kind may work side by side, on other scenes each."""


@runtime_checkable
class Trainer(Protocol):
    """Improves a planner."""

    def train(
        self,
        planner: Any,
        cases: Iterable[Case | Scenario] | Mapping[str, Iterable[Case | Scenario]],
        out: Path,
        seed: int,
    ) -> Path:
        """Trains, and writes a checkpoint.

        Args:
            planner: the folder of a checkpoint to begin with, or a planner object (left as it
                is), or None to begin from nothing where the trainer can.
            cases: what to learn from: logs, variants and rollouts are all scenarios. A mapping
                names sets, which a trainer may draw from in other shares than their sizes.
            out: folder of the checkpoint; it must not exist, or be empty.
            seed: equal arguments and seed give equal weights.

        Returns:
            The folder, for the planner's option `checkpoint`.

        Raises:
            RoadworthyError: there is nothing to learn from or with; no checkpoint is left.
        """
