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
import gc
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

from roadworthy import compiled, references  # noqa: F401 (`compiled` mends numba's cache)
from roadworthy.devices import visible_gpus
from roadworthy.errors import RoadworthyError, RunError
from roadworthy.evaluate import Judged, evaluate, failed_record
from roadworthy.garbage import collect_rarely
from roadworthy.host import PlannerHost
from roadworthy.isolation.host import IsolatedHost
from roadworthy.isolation.process import Confinement
from roadworthy.orphans import die_with_parent
from roadworthy.plugins import FactorySpec
from roadworthy.replay import save_replay
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.store import CaseRecord
from roadworthy.suite import Resources

__all__ = ["Bench", "Confined", "Setup", "Task", "run_inline", "run_processes", "singles"]

_GIB = 1 << 30
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_WORKER = dict.fromkeys(_THREADS, "1") | {
    "MALLOC_MMAP_THRESHOLD_": str(_GIB),
    "MALLOC_TRIM_THRESHOLD_": str(_GIB // 2),
}
"""Environment of a worker: one numeric thread, for workers are the parallelism; and memory that a
batch gave back is kept for the next one, for glibc would ask the kernel for it page by page."""


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

    def work(self, task: Task, rollouts: Path | None = None) -> list[CaseRecord]:
        """Drive and judge a batch; replays go to `rollouts`, or where the setup says."""
        host = self.host(task.planner)
        gc.collect(1)  # what earlier cases left in cycles, perhaps with their arrays
        judged = evaluate(
            task.planner, task.indexes, task.cases, host, self.simulator, self.metrics
        )
        folder = rollouts or self.setup.rollouts
        if folder is not None:
            for one in judged:
                _keep(folder, task.planner, one)
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
    bench = Bench(setup)
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
    devices = visible_gpus()
    hired = 0

    def next_task() -> Task | None:
        return queue.popleft() if queue else next(source, None)

    try:
        while True:
            while len(crew) < workers and (task := next_task()) is not None:
                crew.append(_Worker(setup, task, _share(devices, hired, workers)))
                hired += 1
            if not crew:
                return
            if len(queue) < workers and (task := next(source, None)) is not None:
                queue.append(task)  # so that nobody has to wait for it
                timeout = 0.0
            else:
                timeout = 0.25
            multiprocessing.connection.wait(
                [thing for worker in crew for thing in (worker.pipe, worker.process.sentinel)],
                timeout=timeout,
            )
            for worker in list(crew):
                outcome = worker.poll()
                if outcome is None:
                    continue
                if isinstance(outcome, CaseError):
                    crew.remove(worker)
                    lost = worker.task
                    innocent = outcome.status is not Status.TIMEOUT and not lost.again
                    if len(lost.cases) > 1 or innocent:
                        queue.extendleft(reversed(singles(lost)))
                        continue
                    yield [failed_record(lost.planner, lost.indexes[0], lost.cases[0], outcome)]
                    continue
                starved = [] if worker.is_fresh else _starved(worker.task, outcome)
                if starved:
                    # Memory may have been leaked by others: these cases get a new worker each.
                    worker.kill()
                    crew.remove(worker)
                    queue.extendleft(reversed(starved))
                    kept = {task.indexes[0] for task in starved}
                    yield [record for record in outcome if record.index not in kept]
                    continue
                following = next_task()
                if following is None:
                    worker.close()
                    crew.remove(worker)
                else:
                    worker.give(following)
                yield outcome
    finally:
        for worker in crew:
            worker.kill()


def _share(devices: tuple[str, ...], number: int, workers: int) -> str | None:
    """The GPUs of a worker as `CUDA_VISIBLE_DEVICES` has them; None leaves all to it."""
    if len(devices) < 2 or workers < 2:
        return None
    each = max(1, len(devices) // workers)
    first = number * each % len(devices)
    return ",".join(devices[first : first + each])


class _Worker:
    """A worker process and the task it holds."""

    def __init__(self, setup: Setup, task: Task, gpus: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.deadline = context.Value("d", 0.0, lock=False)
        self.setup = setup
        self.given = 0
        self.process = context.Process(
            target=_serve, args=(theirs, self.deadline, setup), daemon=True
        )
        self._patience = _Patience()
        with _environment(gpus):
            self.process.start()
        theirs.close()
        self.give(task)

    @property
    def is_fresh(self) -> bool:
        """Whether no other case than the one it holds has ever been in this process."""
        return self.given == 1 and len(self.task.cases) == 1

    def give(self, task: Task) -> None:
        self.task = task
        self.given += 1
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed by `poll`
            self.pipe.send_bytes(references.dumps(task))

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
        if self._patience.is_over(self.deadline.value):
            self.kill()
            limit = self.setup.plan_time_limit_s
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
            f"(limit {self.setup.memory_of(self.task.planner):g} GiB).",
        )

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send_bytes(b"")
        self.process.join(5.0)
        self.kill()

    def kill(self) -> None:
        """End the worker and whatever its planner has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join(5.0)
        self.pipe.close()


class _Patience:
    """Says when a deadline is over, by time in which this process was awake.

    A machine that slept, a container that was paused, is no planner's fault: a gap between two
    looks counts as a second at most.
    """

    def __init__(self) -> None:
        self._deadline = 0.0
        self._left = 0.0
        self._looked = time.monotonic()

    def is_over(self, deadline: float) -> bool:
        """Whether `deadline` (`time.monotonic`, 0 for none) has been missed."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 1.0), now
        if deadline != self._deadline:
            self._deadline, self._left = deadline, deadline - now
        else:
            self._left -= passed
        return deadline > 0.0 and self._left < 0.0


def _serve(pipe: Any, deadline: Any, setup: Setup) -> None:
    """Main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)  # so that whatever a planner starts can be killed with it
    die_with_parent()
    sys.stdin = open(os.devnull)  # noqa: SIM115 (a planner must not wait for the terminal)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    collect_rarely()
    owner = os.getpid()

    def watch(moment: float) -> None:
        deadline.value = moment

    bench = Bench(setup, watch)
    while message := pipe.recv_bytes():
        try:
            task: Task = references.loads(message)
            limit = int(setup.memory_of(task.planner) * _GIB)
            _, most = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
            answer: Any = bench.work(task)
        except RoadworthyError as error:  # a plugin that cannot be made, a full disk
            answer = error
        except Exception:
            answer = RunError(f"a worker failed:\n{traceback.format_exc()}")
        if os.getpid() != owner:
            os._exit(1)  # the planner forked: the copy must not answer
        pipe.send(answer)
    bench.close()


@contextlib.contextmanager
def _environment(gpus: str | None) -> Iterator[None]:
    """What workers start with: their GPUs, and `_WORKER`'s settings where the user has none."""
    before = {name: os.environ.get(name) for name in (*_WORKER, "CUDA_VISIBLE_DEVICES")}
    os.environ.update({name: value for name, value in _WORKER.items() if before[name] is None})
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def singles(task: Task) -> list[Task]:
    """One task per case; a case that was alone already is on its second try."""
    again = len(task.cases) == 1
    return [
        Task(task.planner, (i,), (c,), again) for i, c in zip(task.indexes, task.cases, strict=True)
    ]


def _starved(task: Task, records: list[CaseRecord]) -> list[Task]:
    """The cases that ran out of memory, one by one."""
    short = {r.index for r in records if r.error is not None and r.error.type == "MemoryError"}
    return [
        Task(task.planner, (i,), (c,))
        for i, c in zip(task.indexes, task.cases, strict=True)
        if i in short
    ]


def _keep(folder: Path, planner: str, judged: Judged) -> None:
    if judged.rollouts is not None:
        save_replay(folder, planner, judged.rollouts, judged.row)
