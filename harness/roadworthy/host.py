"""Carries a planner through a batch of cases, so that its faults stay its own.

A simulator never calls a planner directly. The host resets it, times it, checks what it
returns, and turns whatever goes wrong into a `CaseError` of that case alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.deadline import deadline
from roadworthy.errors import PlannerOutputError, PlannerTimeout, RoadworthyError
from roadworthy.foreign import message_of, off_stdout, plain, traceback_of
from roadworthy.interrupts import pass_interrupt
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.trajectory import (
    MAX_POSES,
    MAX_YAW,
    Trajectory,
    TrajectoryBatch,
    check_trajectory,
    reach,
    real_array,
)

__all__ = ["Answer", "BatchFault", "PlannerHost", "brief_of"]

_SLOW = "Make the planner faster, or raise run.plan_time_limit_s in the suite."


@dataclass(frozen=True, eq=False)
class Answer:
    """Plans for the rows of one `ObservationBatch`.

    Attributes:
        poses: [S, N, 3] in the ego frame, N the longest plan; rows with fewer poses, and rows
            that failed, are padded with NaN.
        count: int64 [S], poses in each row, 0 where the planner failed.
        dt: [S] seconds between poses.
    """

    poses: NDArray[np.float64]
    count: NDArray[np.int64]
    dt: NDArray[np.float64]


class BatchFault(RoadworthyError):
    """A batch of several cases failed together; the runner drives each of them again alone."""


class PlannerHost:
    """Runs one planner over one batch of cases.

    A planner with `plan_batch` is made once for the batch; any other is made once per case.

    Args:
        factory: makes a fresh planner.
        time_limit_s: wall-clock limit for one `plan`, and for `reset`; a batch has it once per
            row. Inside the process it is enforced in the main thread, while Python code runs;
            the `process` executor kills what does not obey.
        watch: told the latest acceptable end (`time.monotonic`) of each call as it begins, and
            0.0 as it ends.

    Attributes:
        briefs: per case, what the planner was told.
        errors: per case None, or why the planner failed.
        seconds: [S] time spent in the planner.
    """

    def __init__(
        self,
        factory: Callable[[], Any],
        time_limit_s: float = 10.0,
        watch: Callable[[float], None] = lambda deadline: None,
    ) -> None:
        self._factory = factory
        self._limit = time_limit_s
        self._watch = watch
        self._planners: list[Any] = []
        self._batched = False
        self._step = -1
        self.briefs: tuple[Brief, ...] = ()
        self.errors: list[CaseError | None] = []
        self.seconds: NDArray[np.float64] = np.zeros(0)

    def reset(self, cases: Sequence[Case]) -> None:
        """A new batch begins: makes the planners and hands them their briefs.

        Raises:
            BatchFault: if a batch planner fails for several cases at once.
        """
        self.brief(tuple(brief_of(case, needs_log=False) for case in cases), cases)

    def brief(self, briefs: tuple[Brief, ...], cases: Sequence[Case] = ()) -> None:
        """`reset` for who holds the briefs alone; logs come from `cases`, where those are given.

        Raises:
            BatchFault: if a batch planner fails for several cases at once.
        """
        self._step = -1
        self._planners = []
        self.errors = [None] * len(briefs)
        self.seconds = np.zeros(len(briefs))
        self.briefs = briefs
        everyone = list(range(len(briefs)))
        with self._guard(everyone):
            self._planners.append(self._factory())
        if not self._planners:
            return
        first = self._planners[0]
        if cases and getattr(first, "needs_log", False):
            self.briefs = tuple(brief_of(case, needs_log=True) for case in cases)
        self._batched = callable(getattr(first, "plan_batch", None))
        if self._batched:
            with self._guard(everyone):
                first.reset_batch(self.briefs)
            return
        for row in everyone:
            with self._guard([row]):
                if row:
                    self._planners.append(self._factory())
                self._planners[row].reset(self.briefs[row])
            if len(self._planners) == row:
                self._planners.append(None)

    def plan(self, observations: ObservationBatch) -> Answer:
        """Plans for every row; rows whose case has failed come back with `count` 0.

        Raises:
            BatchFault: if a batch planner fails for several cases at once.
        """
        self._step = observations.step
        rows = observations.rows
        answer: Answer | None = None
        if self._batched:
            if not any(self.errors):
                with self._guard(rows):
                    plans = self._planners[0].plan_batch(observations)
                    answer = _check_batch(plans, len(rows))
            return answer or _stack([None] * len(rows))
        plans = [None] * len(rows)
        for i, row in enumerate(rows):
            if self.errors[row] is None:
                with self._guard([int(row)]):
                    plans[i] = check_trajectory(self._planners[row].plan(observations[i]))
        return _stack(plans)

    @contextmanager
    def _guard(self, rows: Sequence[int] | NDArray[np.int64]) -> Iterator[None]:
        """Times a call that serves `rows` and turns its error into theirs."""
        begin = time.perf_counter()
        limit = self._limit * max(1, len(rows))
        self._watch(time.monotonic() + 1.5 * limit + 2.0)
        try:
            with deadline(limit, _SLOW), off_stdout():
                yield
        except BaseException as error:  # a planner may raise anything
            pass_interrupt(error)
            if len(rows) > 1:
                raise BatchFault(f"{type(error).__name__}: {message_of(error)}") from error
            self.errors[rows[0]] = _case_error(error, self._step)
        finally:
            self._watch(0.0)
            self.seconds[rows] += (time.perf_counter() - begin) / max(1, len(rows))


def brief_of(case: Case, needs_log: bool) -> Brief:
    """What a planner is told of a case; the whole log where it `needs_log`."""
    scenario = case.scenario
    return Brief(
        map=scenario.map,
        route=scenario.route,
        vehicle=scenario.vehicle,
        signal_lane=scenario.signals.lane,
        seed=case.seed,
        log=scenario if needs_log else None,
    )


def _check_batch(plans: object, rows: int) -> Answer:
    if not isinstance(plans, TrajectoryBatch):
        raise PlannerOutputError(
            f"plan_batch() returned {type(plans).__name__}",
            hint="Return a roadworthy.TrajectoryBatch(poses, dt).",
        )
    given = real_array(plans.poses, "TrajectoryBatch.poses")
    shape = given.shape
    if len(shape) != 3 or shape[0] != rows or shape[2] != 3 or not 1 <= shape[1] <= MAX_POSES:
        raise PlannerOutputError(
            f"TrajectoryBatch.poses has shape {shape}",
            hint=f"Give [{rows}, N, 3]: one plan per observed row, 1 <= N <= {MAX_POSES}.",
        )
    poses = given.astype(np.float64)
    _, dt = check_trajectory(Trajectory(poses[0], plans.dt))
    limit = np.array([reach(dt, shape[1])] * 2 + [MAX_YAW])
    if not (np.abs(poses) <= limit).all():
        for row in range(rows):
            check_trajectory(Trajectory(poses[row], dt))
    return Answer(poses, np.full(rows, shape[1], np.int64), np.full(rows, dt))


def _stack(plans: Sequence[tuple[NDArray[np.float64], float] | None]) -> Answer:
    count = np.array([0 if plan is None else len(plan[0]) for plan in plans], np.int64)
    poses = np.full((len(plans), max(1, int(count.max(initial=1))), 3), np.nan)
    dt = np.full(len(plans), np.nan)
    for i, plan in enumerate(plans):
        if plan is not None:
            poses[i, : count[i]], dt[i] = plan
    return Answer(poses, count, dt)


def _case_error(error: BaseException, step: int) -> CaseError:
    status = Status.TIMEOUT if isinstance(error, PlannerTimeout) else Status.PLANNER_ERROR
    message = message_of(error)
    if isinstance(error, MemoryError):
        message = (
            f"out of memory: {message}. Raise run.memory_limit_gb, or make the planner leaner."
        )
    return CaseError(status, plain(type(error).__name__), message, step, traceback_of(error))
