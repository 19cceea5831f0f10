"""What happened: the ego, the agents and the plans of a batch of simulated cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.scenario import HISTORY, Scenario, content_hash

__all__ = ["Case", "CaseError", "Frames", "Plans", "RolloutBatch", "Status"]


class Status(StrEnum):
    """How a case ended. Everything but `OK` leaves the denominator, visibly."""

    OK = "ok"
    PLANNER_ERROR = "planner_error"
    SIMULATOR_ERROR = "simulator_error"
    TIMEOUT = "timeout"
    METRIC_ERROR = "metric_error"
    INVALID_SCENARIO = "invalid_scenario"


@dataclass(frozen=True, slots=True)
class CaseError:
    """Why a case is not `ok`.

    Attributes:
        status: which kind of failure.
        type: class name of the error.
        message: what happened and what to do, complete in itself.
        step: simulation step at which it happened, -1 if before the first.
        traceback: text, empty where there is none.
    """

    status: Status
    type: str
    message: str
    step: int = -1
    traceback: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """One thing to simulate: a scenario, a repetition, and the protocol.

    Attributes:
        scenario: what to drive.
        repetition: 0, 1, .. where a suite asks for several seeds per scenario.
        seed: 64-bit seed, derived from the suite's seed, the scenario's hash and `repetition`.
        protocol: the simulator's name and options, as recorded.
    """

    scenario: Scenario
    repetition: int
    seed: int
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Hash for resuming, pairing and caching; the planner is not part of it."""
        return content_hash((self.scenario.hash, self.repetition, self.seed, dict(self.protocol)))


@dataclass(frozen=True, eq=False)
class Plans:
    """The plans made during one rollout, R of them.

    Attributes:
        step: int64 [R], the simulation step of each.
        poses: [R, N, 3] in the ego frame of that step.
        dt: seconds between poses.
    """

    step: NDArray[np.int64]
    poses: NDArray[np.float64]
    dt: float


@dataclass(frozen=True, eq=False)
class Frames:
    """How far the pictures of one rollout may be believed: R moments, C cameras.

    Attributes:
        cameras: C names.
        step: int64 [R], the simulation step of each.
        hollow: [R, C] share of a picture that less than half covers.
        unseen: [R, C] share of a picture that shows what was never recorded.
        off_path: [R] distance of the ego from the recorded path [m].
        valid: bool [R], whether the simulator stands by all pictures of that moment.
    """

    cameras: tuple[str, ...]
    step: NDArray[np.int64]
    hollow: NDArray[np.float64]
    unseen: NDArray[np.float64]
    off_path: NDArray[np.float64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """S rollouts, padded: H - 1 rows of history, then the driven steps 0 .. T.

    The time axis of every array has `HISTORY - 1 + T + 1` rows, T the longest horizon in
    the batch; row `now = HISTORY - 1` is step 0. Rollout s is defined up to step
    `length[s]` (so it has `length[s] + 1` states); what lies beyond is padding.

    Attributes:
        cases: S cases.
        errors: per case None, or why it failed; a failed case is driven to `length[s]` only.
        length: int64 [S], steps driven.
        ego: [S, H - 1 + T + 1, 11] `EgoIndex`.
        agents: [S, A, H - 1 + T + 1, 5] `StateIndex`; agent a is `scenario.agents` row a.
        agents_valid: bool [S, A, H - 1 + T + 1]; padding agents are never valid.
        signals: int8 [S, G, H - 1 + T + 1] `SignalState`.
        plans: per case the plans made.
        open_loop: whether this is one plan per case, driven for 4 s while the log replays. It is
            the plan that is judged then, not a drive: `pdms` and `epdms` are NAVSIM's own.
        frames: per case the figures of its pictures; empty where the simulator has no cameras.
    """

    cases: tuple[Case, ...]
    errors: tuple[CaseError | None, ...]
    length: NDArray[np.int64]
    ego: NDArray[np.float64]
    agents: NDArray[np.float64]
    agents_valid: NDArray[np.bool_]
    signals: NDArray[np.int8]
    plans: tuple[Plans, ...]
    open_loop: bool = False
    frames: tuple[Frames, ...] = ()

    now = HISTORY - 1

    def __len__(self) -> int:
        return len(self.cases)

    def select(self, rows: Sequence[int]) -> RolloutBatch:
        """The given rollouts alone."""
        index = np.asarray(rows, np.int64)
        if np.array_equal(index, np.arange(len(self))):
            return self
        return RolloutBatch(
            cases=tuple(self.cases[i] for i in index),
            errors=tuple(self.errors[i] for i in index),
            length=self.length[index],
            ego=self.ego[index],
            agents=self.agents[index],
            agents_valid=self.agents_valid[index],
            signals=self.signals[index],
            plans=tuple(self.plans[i] for i in index),
            open_loop=self.open_loop,
            frames=tuple(self.frames[i] for i in index) if self.frames else (),
        )
