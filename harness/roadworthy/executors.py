"""Carries batches of cases to where they are computed: here, or in worker processes.

Both executors yield the records of each batch as it finishes, in any order. The `process`
executor limits each worker's memory, kills a worker whose planner does not come back, and
notices one that died; the cases that it held are tried again one by one, and the one that
kills its worker again is charged with it.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.errors import RoadworthyError, RunError
from roadworthy.evaluate import Judged, evaluate, failed_record
from roadworthy.host import PlannerHost
from roadworthy.isolation.host import IsolatedHost
from roadworthy.isolation.process import Confinement
from roadworthy.plugins import FactorySpec
from roadworthy.replay import save_replay
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.store import CaseRecord

__all__ = ["Confined", "Setup", "Task", "run_inline", "run_processes"]

_GIB = 1 << 30


@dataclass(frozen=True)
class Setup:
    """What a worker needs besides its cases. Picklable.

    Attributes:
        simulator, metrics, planners: how to make them; planners by label.
        plan_time_limit_s, memory_limit_gb: limits, see `roadworthy.suite.RunConfig`.
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


@dataclass(frozen=True)
class Confined:
    """How an isolated planner is confined, and whether it is known to be privileged."""

    confinement: Confinement
    privileged: bool


@dataclass(frozen=True, eq=False)
class Task:
    """One batch for one planner: `indexes` are the cases' positions in the suite."""

    planner: str
    indexes: tuple[int, ...]
    cases: tuple[Case, ...]


@dataclass
class _Bench:
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
        host = self.host(task.planner)
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


def run_inline(tasks: Iterable[Task], setup: Setup) -> Iterator[list[CaseRecord]]:
    """Compute every task in this process."""
    bench = _Bench(setup)
    try:
        for task in tasks:
            yield bench.work(task)
    finally:
        bench.close()


def run_processes(tasks: Iterable[Task], setup: Setup, workers: int) -> Iterator[list[CaseRecord]]:
    """Compute tasks in `workers` processes of their own.

    Tasks are drawn as workers become free, so that memory does not grow with the suite.
    Closing the iterator early kills the workers.
    """
    queue: collections.deque[Task] = collections.deque()
    source = iter(tasks)
    crew: list[_Worker] = []

    def next_task() -> Task | None:
        return queue.popleft() if queue else next(source, None)

    try:
        while True:
            while len(crew) < workers and (task := next_task()) is not None:
                crew.append(_Worker(setup, task))
            if not crew:
                return
            multiprocessing.connection.wait(
                [thing for worker in crew for thing in (worker.pipe, worker.process.sentinel)],
                timeout=0.25,
            )
            for worker in list(crew):
                outcome = worker.poll()
                if outcome is None:
                    continue
                if isinstance(outcome, CaseError):
                    crew.remove(worker)
                    task = worker.task
                    if len(task.cases) > 1:
                        queue.extendleft(reversed(_singles(task)))
                        continue
                    yield [failed_record(task.planner, task.indexes[0], task.cases[0], outcome)]
                    continue
                yield outcome
                following = next_task()
                if following is None:
                    worker.close()
                    crew.remove(worker)
                else:
                    worker.give(following)
    finally:
        for worker in crew:
            worker.kill()


class _Worker:
    """A worker process and the task it holds."""

    def __init__(self, setup: Setup, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.deadline = context.Value("d", 0.0, lock=False)
        self.limits = setup
        self.process = context.Process(
            target=_serve, args=(theirs, self.deadline, setup), daemon=True
        )
        with _quiet_children():
            self.process.start()
        theirs.close()
        self.give(task)

    def give(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed by `poll`
            self.pipe.send(task)

    def poll(self) -> list[CaseRecord] | CaseError | None:
        """Records, why the worker is gone, or None while it works."""
        try:
            if self.pipe.poll():
                answer = self.pipe.recv()
                if isinstance(answer, BaseException):
                    self.kill()
                    raise answer
                records: list[CaseRecord] = answer
                return records
        except (EOFError, ConnectionResetError):
            return self._died()
        if not self.process.is_alive():
            return self._died()
        deadline = self.deadline.value
        if deadline and time.monotonic() > deadline:
            self.kill()
            limit = self.limits.plan_time_limit_s
            return CaseError(
                Status.TIMEOUT,
                "PlannerTimeout",
                f"the planner did not come back within {limit:g} s and was killed\n"
                "  Make it faster, or raise run.plan_time_limit_s in the suite.",
            )
        return None

    def _died(self) -> CaseError:
        in_planner = bool(self.deadline.value)
        self.kill()
        code = self.process.exitcode or 0
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        who = "planner" if in_planner else "simulator or a metric"
        return CaseError(
            Status.PLANNER_ERROR if in_planner else Status.SIMULATOR_ERROR,
            "WorkerDied",
            f"the worker process died ({how}) in the {who}\n"
            f"  SIGSEGV or SIGABRT come from native code; SIGKILL mostly from lack of memory "
            f"(limit {self.limits.memory_limit_gb:g} GiB).",
        )

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(None)
        self.process.join(5.0)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(5.0)
        self.pipe.close()


def _serve(pipe: Any, deadline: Any, setup: Setup) -> None:
    """Main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin = open(os.devnull)  # noqa: SIM115 (a planner must not wait for the terminal)
    limit = int(setup.memory_limit_gb * _GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def watch(moment: float) -> None:
        deadline.value = moment

    bench = _Bench(setup, watch)
    while (task := pipe.recv()) is not None:
        try:
            answer: Any = bench.work(task)
        except RoadworthyError as error:  # a plugin that cannot be made, a full disk
            answer = error
        except Exception:
            answer = RunError(f"a worker failed:\n{traceback.format_exc()}")
        pipe.send(answer)
    bench.close()


@contextlib.contextmanager
def _quiet_children() -> Iterator[None]:
    """One numeric thread per worker: workers are the parallelism."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: "1" for name, value in before.items() if value is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _singles(task: Task) -> list[Task]:
    return [Task(task.planner, (i,), (c,)) for i, c in zip(task.indexes, task.cases, strict=True)]


def _keep(folder: Path, planner: str, judged: Judged) -> None:
    if judged.rollouts is not None:
        save_replay(folder, planner, judged.rollouts, judged.row)
