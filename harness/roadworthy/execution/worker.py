"""A worker process: carries one task after another, is watched, and can be limited and killed."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import resource
import time
import traceback
from typing import Any

import msgspec

from roadworthy.errors import PluginError, RoadworthyError, RunError
from roadworthy.execution import processes, references
from roadworthy.execution.bench import Bench, Setup, Task
from roadworthy.rollout import CaseError, Status
from roadworthy.store import CaseRecord
from roadworthy.suite import Resources

__all__ = ["Worker"]

_GIB = 1 << 30
_CUT_OFF = 86
"""Exit code of a worker that cannot answer, for its pipe is no longer there."""


class Worker:
    """A worker process and the task it holds.

    Args:
        setup: what it needs besides its cases.
        task: its first one.
        gpus: which GPUs it may use, as `CUDA_VISIBLE_DEVICES` has them; None leaves them as they
            are.
    """

    def __init__(self, setup: Setup, task: Task, gpus: str | None = None) -> None:
        self.pipe, theirs = processes.CONTEXT.Pipe()
        self.deadline = processes.CONTEXT.Value("d", 0.0, lock=False)
        self.setup = setup
        self.given = 0
        self._patience = _Patience()
        self.process = processes.start(_serve, (theirs, self.deadline, setup), gpus=gpus)
        theirs.close()
        self.give(task)

    @property
    def is_fresh(self) -> bool:
        """Whether no other case than the one it holds has ever been in this process."""
        return self.given == 1 and len(self.task.cases) == 1

    def give(self, task: Task) -> None:
        """Hand it its next task."""
        self.task = task
        self.given += 1
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed by `poll`
            self.pipe.send_bytes(references.dumps(task))

    def poll(self) -> list[CaseRecord] | CaseError | None:
        """Records, why the worker is gone, or None while it works."""
        try:
            answer = self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionResetError):
            self.process.join(1.0)
            return self._cut_off() if self.process.is_alive() else self._died()
        except Exception:  # what was sent is no pickle, or one of something unknown
            return self._cut_off()
        if isinstance(answer, RoadworthyError):
            self.kill()
            raise answer
        if isinstance(answer, list):
            return answer
        if answer is not None:
            return self._cut_off()
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

    def _cut_off(self) -> CaseError:
        self.kill()
        return CaseError(
            Status.PLANNER_ERROR,
            "WorkerDied",
            "the worker process cannot be understood any more: its planner closed, or wrote to, "
            "a pipe that is not its own\n"
            "  Let the planner close and write to the files alone that it opened.",
        )

    def _died(self) -> CaseError:
        in_planner = bool(self.deadline.value)
        self.kill()
        if self.process.exitcode == _CUT_OFF:
            return self._cut_off()
        how = processes.how_it_died(self.process)
        who = "planner" if in_planner else "simulator or a metric"
        return CaseError(
            Status.PLANNER_ERROR if in_planner else Status.SIMULATOR_ERROR,
            "WorkerDied",
            f"the worker process died ({how}) in the {who}\n"
            f"  SIGSEGV or SIGABRT come from native code; SIGKILL mostly from lack of memory "
            f"(limit {self.setup.memory_of(self.task.planner):g} GiB).",
        )

    def wait(self, seconds: float) -> None:
        """Return when there may be something to `poll`, or after `seconds`."""
        multiprocessing.connection.wait([self.pipe, self.process.sentinel], timeout=seconds)

    def close(self) -> None:
        """End it when it has nothing left to do."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send_bytes(b"")
        self.process.join(5.0)
        self.kill()

    def kill(self) -> None:
        """End the worker and whatever its planner has started."""
        processes.end(self.process)
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
    processes.settle()
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
            answer: Any = [_explained(record, setup) for record in bench.work(task)]
        except PluginError as error:
            hint = f"{error.hint}\n  {_memory(setup, task.planner)}"
            answer = PluginError(error.message, hint=hint.strip())
        except RoadworthyError as error:  # a full disk
            answer = error
        except BaseException:  # Ctrl-C is not meant for this process
            answer = RunError(f"a worker failed:\n{traceback.format_exc()}")
        if os.getpid() != owner:
            os._exit(1)  # the planner forked: the copy must not answer
        try:
            pipe.send(answer)
        except OSError:
            os._exit(_CUT_OFF)
    bench.close()


def _explained(record: CaseRecord, setup: Setup) -> CaseRecord:
    """The record; of a planner that cannot be made here, it says what may be the matter."""
    error = record.error
    if error is None or error.type != PluginError.__name__:
        return record
    message = f"{error.message}\n  {_memory(setup, record.planner)}"
    return msgspec.structs.replace(record, error=msgspec.structs.replace(error, message=message))


def _memory(setup: Setup, planner: str) -> str:
    """What may be the matter with a plugin that could be made, but not in a worker."""
    own = setup.resources.get(planner, Resources()).memory_gb is not None
    field = f"resources.memory_gb of planner {planner!r}" if own else "run.memory_limit_gb"
    return (
        f"Without a memory limit it could be made: {field} = {setup.memory_of(planner):g} "
        "may be too small."
    )
