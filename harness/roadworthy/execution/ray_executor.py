"""The `ray` executor: batches of cases on a Ray cluster, or on a small one started here.

Ray (the extra `ray`) is imported when it is asked for. A case is put into the object store once,
and there as little as its place in a scenario store where it has one; tasks carry references.
Workers make their simulator, metrics and planners when the first task comes. Replays come back
with the records, so that nodes need not see the run directory; files that the suite names (stores,
logs, planners given by path) they do.

Below each Ray worker a worker process of our own carries the planners, so that what they do to it
is known as precisely as by the `process` executor. When it, a Ray worker or a node is lost, the
cases that it held are tried again one by one, and the one that kills its worker again is charged
with it.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import re
import socket
import tempfile
import traceback
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from roadworthy.errors import RoadworthyError, RunError, RunStopped, SuiteError, install_hint
from roadworthy.execution import references
from roadworthy.execution.bench import Setup, Task
from roadworthy.execution.evaluate import failed_record
from roadworthy.execution.executors import starved, tried_again
from roadworthy.execution.worker import Worker
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.store import CaseRecord, write_file
from roadworthy.suite import Resources

__all__ = ["cluster", "misfit", "run_ray"]

_GIB = 1 << 30
_LOOK_S = 10.0
"""When nothing has come back for so long, look whether the nodes that are left suffice."""

Answer = tuple[list[CaseRecord] | CaseError, dict[str, bytes]]
"""Records, or why the worker was lost; and files to keep, by their path below the run directory."""


@contextlib.contextmanager
def cluster(address: str, workers: int) -> Iterator[list[dict[str, float]]]:
    """A connection to a cluster: to the one that is connected to already, to `address`, or to one
    started here for as long.

    Args:
        address: as `ray.init` takes it; "" starts a cluster with `workers` CPUs (0: all).
        workers: see `address`.

    Yields:
        What each node has: "CPU", "GPU", "memory" in bytes.

    Raises:
        SuiteError: Ray is not installed.
        RunError: there is no cluster at that address.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        options: dict[str, Any] = {"address": address}
        if not address:
            options = {"num_cpus": workers or None, "include_dashboard": False}
        try:
            _check_address(address)
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(
                f"no Ray cluster at {address or 'this machine'}: {error}",
                hint="Give --ray-address HOST:PORT of `ray start --head`, or none.",
            ) from error
    try:
        yield _nodes()
    finally:
        if ours:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Raises OSError if nobody listens at `HOST:PORT`; Ray itself would try for many minutes."""
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if match:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=10.0).close()


def _nodes() -> list[dict[str, float]]:
    return [dict(node["Resources"]) for node in _ray().nodes() if node["Alive"]]


def misfit(needs: Resources, nodes: list[dict[str, float]]) -> str:
    """Why no node can ever carry a planner that needs so much; "" if one can.

    Args:
        needs: as its suite says.
        nodes: what each node has, idle or not.
    """
    gpus, memory = needs.gpus, needs.memory_gb or 0.0
    for node in nodes:
        enough = node.get("GPU", 0.0) >= gpus and node.get("memory", 0.0) >= memory * _GIB
        if enough and node.get("CPU", 0.0) >= 1.0:
            return ""
    there = "; ".join(
        f"{node.get('CPU', 0.0):g} CPUs, {node.get('GPU', 0.0):g} GPUs, "
        f"{node.get('memory', 0.0) / _GIB:.3g} GB"
        for node in nodes
    )
    return f"needs 1 CPU, {gpus:g} GPUs, {memory:g} GB on one node; there are: {there or 'none'}"


def run_ray(
    tasks: Iterable[Task], setup: Setup, workers: int, folder: Path
) -> Generator[list[CaseRecord], None, None]:
    """Compute tasks on the cluster that is connected to.

    Tasks are drawn as workers become free, so that memory does not grow with the suite.

    Args:
        tasks: what to do.
        setup: with what.
        workers: how many tasks run at once; half as many more wait for a place.
        folder: the run directory.

    Raises:
        RunStopped: no node is left that has what a planner needs; finished cases are kept.
        RoadworthyError: whatever a worker cannot go on after.
    """
    ray = _ray()
    far = replace(setup, rollouts=Path("rollouts") if setup.rollouts else None)
    shared = ray.put(references.dumps(far))
    work = ray.remote(max_retries=0)(_work)
    refs: WeakKeyDictionary[Case, Any] = WeakKeyDictionary()
    queue: collections.deque[Task] = collections.deque()
    source = iter(tasks)
    pending: dict[Any, Task] = {}

    def submit(task: Task) -> None:
        for case in task.cases:
            if case not in refs:
                refs[case] = ray.put(references.dumps(case, verify=True))
        needs = setup.resources.get(task.planner, Resources())
        options: dict[str, Any] = {"num_gpus": needs.gpus}
        if needs.memory_gb is not None:
            options["memory"] = int(needs.memory_gb * _GIB)
        cases = [refs[case] for case in task.cases]
        ref = work.options(**options).remote([shared], task.planner, task.indexes, cases)
        pending[ref] = task

    try:
        while True:
            while len(pending) < workers + (workers + 1) // 2:
                task = queue.popleft() if queue else next(source, None)
                if task is None:
                    break
                submit(task)
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=_LOOK_S)
            if not ready:
                _check_nodes(setup, {task.planner for task in pending.values()})
            for ref in ready:
                task = pending.pop(ref)
                try:
                    answer: Answer | RoadworthyError = ray.get(ref)
                except ray.exceptions.RayTaskError as error:  # our own code could not begin there
                    raise RunError(
                        f"executor 'ray': {error}",
                        hint="Start every node where this version of roadworthy is installed.",
                    ) from error
                except ray.exceptions.RayError as error:
                    answer = (_lost(error), {})
                if isinstance(answer, RoadworthyError):
                    raise answer
                records, files = answer
                if isinstance(records, CaseError):
                    if more := tried_again(task, records):
                        queue.extendleft(reversed(more))
                    else:
                        yield [failed_record(task.planner, task.indexes[0], task.cases[0], records)]
                    continue
                for name, data in files.items():
                    path = folder / name
                    if not path.exists():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        write_file(path, data)
                yield records
    finally:
        for ref in pending:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.cancel(ref, force=True)


def _check_nodes(setup: Setup, planners: Iterable[str]) -> None:
    nodes = _nodes()
    for planner in sorted(planners):
        if why := misfit(setup.resources.get(planner, Resources()), nodes):
            raise RunStopped(
                f"planner {planner!r} {why}",
                hint="Nodes were lost. Add some and `roadworthy resume` the folder.",
            )


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SuiteError(f"executor 'ray': {error}", hint=f"{install_hint('ray')}.") from error
    return ray


def _lost(error: Exception) -> CaseError:
    reason = str(error).splitlines()
    return CaseError(
        Status.PLANNER_ERROR,
        "WorkerDied",
        f"Ray lost the worker or its node twice with this case ({type(error).__name__})\n"
        f"  {reason[0] if reason else ''}",
    )


def _work(
    setup: list[Any], planner: str, indexes: tuple[int, ...], cases: list[Any]
) -> Answer | RoadworthyError:
    """What runs on the cluster: one batch for one planner."""
    import ray

    try:
        place = _place(ray.get(setup[0]), os.environ.get("CUDA_VISIBLE_DEVICES"))
        packed: Any = tuple(map(references.Packed, ray.get(cases)))
        return place.carry(Task(planner, indexes, packed)), place.files()
    except RoadworthyError as error:
        return error
    except Exception:
        return RunError(f"a worker failed:\n{traceback.format_exc()}")


_here: dict[tuple[bytes, str | None], _Place] = {}


def _place(setup: bytes, gpus: str | None) -> _Place:
    """This Ray worker's place of work, made when its first task comes; another one for another
    run, or when Ray gives it other GPUs."""
    if (setup, gpus) not in _here:
        for left in _here.values():
            left.dismiss()
        _here.clear()
        _here[setup, gpus] = _Place(references.loads(setup))
    return _here[setup, gpus]


class _Place:
    """A worker process below a Ray worker.

    Planners run one process further down, so that their death or silence tells who died, how, and
    in whose code, as it does in the `process` executor; Ray itself only says that a worker is gone.
    """

    def __init__(self, setup: Setup) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._setup = replace(setup, rollouts=setup.rollouts and Path(self._scratch.name))
        self._worker: Worker | None = None

    def carry(self, task: Task) -> list[CaseRecord] | CaseError:
        """The records of a task, or why its worker was lost."""
        if self._worker is None:
            self._worker = Worker(self._setup, task)
        else:
            self._worker.give(task)
        worker, self._worker = self._worker, None
        while (outcome := worker.poll()) is None:
            worker.wait(0.25)
        if isinstance(outcome, CaseError):
            return outcome
        self._worker = worker
        short = [] if worker.is_fresh else starved(task, outcome)
        if not short:
            return outcome
        # Memory may have been leaked by others: these cases get a new worker each.
        found = {record.index: record for record in outcome}
        for one in short:
            self.dismiss()
            again = self.carry(one)
            if isinstance(again, CaseError):
                case: Any = one.cases[0]
                case = references.loads(case.data)
                again = [failed_record(one.planner, one.indexes[0], case, again)]
            found |= {record.index: record for record in again}
        return list(found.values())

    def files(self) -> dict[str, bytes]:
        """What the worker has written since the last call, by path; it is taken away here."""
        found = {}
        for path in sorted(Path(self._scratch.name).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(self._scratch.name))] = path.read_bytes()
                path.unlink()
        return found

    def dismiss(self) -> None:
        """End the worker; the next task gets a new one."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
