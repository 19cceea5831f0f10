"""A `PlannerHost` whose planner sits in a confined process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from roadworthy.errors import (
    PlannerError,
    PlannerOutputError,
    PlannerTimeout,
    PluginError,
    RunError,
)
from roadworthy.host import Answer, BatchFault, PlannerHost, brief_of
from roadworthy.isolation import wire
from roadworthy.isolation.process import Confinement, PlannerDied, PlannerProcess
from roadworthy.observation import ObservationBatch
from roadworthy.plugins import FactorySpec
from roadworthy.plugins.localfile import files_hash, split_path_spec
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.trajectory import MAX_POSES, MAX_YAW, reach

__all__ = ["IsolatedHost", "describe"]

_OF_CASES = [f.name for f in fields(ObservationBatch) if f.name != "briefs"]
_FAULTS = (PlannerTimeout, PlannerError, PlannerDied)


def describe(
    factory: FactorySpec, confinement: Confinement, time_limit_s: float
) -> tuple[bool, str, dict[str, Any]]:
    """Make the planner once, in isolation, so that mistakes surface before any work.

    Returns:
        Whether it is privileged, the hash over its file and the siblings that it says it imported
        ("" where it is not a file), and which means of isolation the kernel offers.

    Raises:
        PluginError: if it cannot be made.
        RunError: if no process can be started.
    """
    process = PlannerProcess(factory, confinement, 1, time_limit_s)
    try:
        reply = process.ask({"describe": None}, 1, max(120.0, time_limit_s))
    except _FAULTS as error:
        raise PluginError(f"{factory.where}: {error}") from error
    finally:
        process.close()
    if reply.failures:
        raise PluginError(reply.failures[0].message)
    local = split_path_spec(factory.spec)
    content = files_hash(local[0], map(Path, reply.files)) if local else ""
    return reply.privileged, content, process.found


class IsolatedHost(PlannerHost):
    """Runs one planner over batches of cases, in a process of its own that is kept between them.

    The planner is carried there by an ordinary `PlannerHost`, so that it drives and fails as it
    does here. Only briefs and observations go in; only plans and failures come out, and both are
    checked as a stranger's.

    Args:
        factory: makes the planner.
        confinement: what its process may use.
        privileged: whether it is known to need the log; it gets it only then.
        time_limit_s, watch: as for `PlannerHost`.
    """

    def __init__(
        self,
        factory: FactorySpec,
        confinement: Confinement,
        privileged: bool,
        time_limit_s: float,
        watch: Callable[[float], None] = lambda deadline: None,
    ) -> None:
        super().__init__(factory, time_limit_s, watch)
        self._spec = factory
        self._confinement = confinement
        self._privileged = privileged
        self._process: PlannerProcess | None = None

    def reset(self, cases: Sequence[Case]) -> None:
        """A new batch begins: hands the briefs to a process that has the time for it."""
        self._step = -1
        self.errors = [None] * len(cases)
        self.seconds = np.zeros(len(cases))
        self.briefs = tuple(brief_of(case, self._privileged) for case in cases)
        if self._process is not None and not self._process.has_time_for(len(cases)):
            self.close()
        if self._process is None:
            self._process = PlannerProcess(self._spec, self._confinement, len(cases), self._limit)
        self._ask({"briefs": wire.pack(self.briefs)}, np.arange(len(cases)))

    def plan(self, observations: ObservationBatch) -> Answer:
        """Plans for every row; rows whose case has failed come back with `count` 0."""
        self._step = observations.step
        rows = observations.rows
        said = {name: getattr(observations, name) for name in _OF_CASES}
        reply = self._ask({"plan": wire.pack(said)}, rows)
        if reply is not None:
            try:
                answer = _read_answer(reply, len(rows))
                if not any(self.errors) and not answer.count.all():
                    raise ValueError("a row has neither a plan nor an error")
                return answer
            except ValueError as error:
                self.close()
                self._blame(
                    PlannerOutputError(f"the planner's process sent no plan: {error}"), rows
                )
        nothing = np.full((len(rows), 1, 3), np.nan)
        return Answer(nothing, np.zeros(len(rows), np.int64), np.full(len(rows), np.nan))

    def close(self) -> None:
        """End the planner's process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _ask(self, message: Any, rows: Any) -> wire.Reply | None:
        """The reply; None where the case failed with the process."""
        if self._process is None:
            return None
        begin = time.perf_counter()
        limit = 1.5 * self._limit * max(1, len(rows)) + 2.0
        self._watch(time.monotonic() + limit + 5.0)
        try:
            reply = self._process.ask(message, len(self.briefs), limit)
        except _FAULTS as error:
            self._process = None
            self._blame(error, rows)
            return None
        finally:
            self._watch(0.0)
            self.seconds[rows] += (time.perf_counter() - begin) / max(1, len(rows))
        for failure in reply.failures:
            if failure.row < 0:
                raise BatchFault(_plain(failure.message))
            if failure.row < len(self.errors) and self.errors[failure.row] is None:
                self.errors[failure.row] = CaseError(
                    Status.TIMEOUT if failure.timeout else Status.PLANNER_ERROR,
                    _plain(failure.type),
                    _plain(failure.message),
                    self._step,
                    _plain(failure.traceback),
                )
        return reply

    def _blame(self, error: RunError | PlannerError, rows: Any) -> None:
        if len(rows) > 1:
            raise BatchFault(str(error)) from error
        status = Status.TIMEOUT if isinstance(error, PlannerTimeout) else Status.PLANNER_ERROR
        self.errors[int(rows[0])] = CaseError(status, type(error).__name__, str(error), self._step)


def _read_answer(reply: wire.Reply, rows: int) -> Answer:
    """The plans in a reply, held to what `PlannerHost` promises.

    Raises:
        ValueError: naming what is wrong.
    """
    if reply.poses is None or reply.count is None or reply.dt is None:
        raise ValueError("there are no plans in it")
    poses, count, dt = reply.poses.array(), reply.count.array(), reply.dt.array()
    if poses.dtype != np.float64 or poses.ndim != 3 or poses.shape[::2] != (rows, 3):
        raise ValueError(f"poses are {poses.dtype}{poses.shape}")
    if count.dtype != np.int64 or count.shape != (rows,):
        raise ValueError(f"counts are {count.dtype}{count.shape}")
    if dt.dtype != np.float64 or dt.shape != (rows,):
        raise ValueError(f"dt is {dt.dtype}{dt.shape}")
    if poses.shape[1] > MAX_POSES or count.min() < 0 or count.max() > poses.shape[1]:
        raise ValueError(f"there are {count.min()} to {count.max()} poses of {poses.shape[1]}")
    planned = count > 0
    if not ((dt[planned] >= 0.01) & (dt[planned] <= 5.0)).all():
        raise ValueError("dt is outside of 0.01 to 5 s")
    given = (np.arange(poses.shape[1]) < count[:, None])[..., None]
    limit = [reach(s, n) if n else 0.0 for s, n in zip(dt, count, strict=True)]
    near = np.abs(poses[..., :2]) <= np.array(limit)[:, None, None]  # false for NaN
    turned = np.abs(poses[..., 2]) <= MAX_YAW
    if not near[given[..., 0]].all() or not turned[given[..., 0]].all():
        raise ValueError("poses are not finite, or too far away")
    return Answer(np.where(given, poses, np.nan), count.copy(), np.where(planned, dt, np.nan))


def _plain(text: str) -> str:
    """Text without control characters: it is printed on terminals."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
