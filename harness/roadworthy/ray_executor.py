"""The `ray` executor: batches of cases on a Ray cluster, or on a small one started here.

Ray (the extra `ray`) is imported when it is asked for. A case is put into the object store once,
and there as little as its place in a scenario store where it has one; tasks carry references.
Workers make their simulator, metrics and planners when the first task comes. Replays come back
with the records, so that nodes need not see the run directory; files that the suite names (stores,
logs, planners given by path) they do.

When a worker or a node is lost, the cases that it held are tried again one by one, as by the
`process` executor, and the one that kills its worker again is charged with it.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import functools
import logging
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from roadworthy import references
from roadworthy.errors import RoadworthyError, RunError, SuiteError
from roadworthy.evaluate import failed_record
from roadworthy.executors import Bench, Setup, Task, singles
from roadworthy.rollout import Case, CaseError, Status
from roadworthy.store import CaseRecord, write_file
from roadworthy.suite import Resources

__all__ = ["cluster", "run_ray"]

_GIB = 1 << 30

Answer = tuple[list[CaseRecord], dict[str, bytes]]
"""Records, and files to keep, by their path below the run directory."""


@contextlib.contextmanager
def cluster(address: str, workers: int) -> Iterator[dict[str, float]]:
    """A connection to a cluster: to the one that is connected to already, to `address`, or to one
    started here for as long.

    Args:
        address: as `ray.init` takes it; "" starts a cluster with `workers` CPUs (0: all).
        workers: see `address`.

    Yields:
        What the cluster has: "CPU", "GPU" and the like.

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
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RunError(
                f"no Ray cluster at {address or 'this machine'}: {error}",
                hint="Give --ray-address HOST:PORT of `ray start --head`, or none.",
            ) from error
    try:
        yield dict(ray.cluster_resources())
    finally:
        if ours:
            ray.shutdown()


def run_ray(
    tasks: Iterable[Task], setup: Setup, workers: int, folder: Path
) -> Iterator[list[CaseRecord]]:
    """Compute tasks on the cluster that is connected to.

    Tasks are drawn as workers become free, so that memory does not grow with the suite.

    Args:
        tasks: what to do.
        setup: with what.
        workers: how many tasks run at once; half as many more wait for a place.
        folder: the run directory.

    Raises:
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
            ready, _ = ray.wait(list(pending), num_returns=1)
            for ref in ready:
                task = pending.pop(ref)
                try:
                    answer: Answer | RoadworthyError = ray.get(ref)
                except ray.exceptions.RayError as error:
                    if len(task.cases) > 1 or not task.again:
                        queue.extendleft(reversed(singles(task)))
                    else:
                        fault = _died(error, setup.plan_time_limit_s)
                        yield [failed_record(task.planner, task.indexes[0], task.cases[0], fault)]
                    continue
                if isinstance(answer, RoadworthyError):
                    raise answer
                records, files = answer
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


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SuiteError(
            f"executor 'ray': {error}", hint="Install it: pip install 'roadworthy[ray]'."
        ) from error
    return ray


def _died(error: Exception, limit: float) -> CaseError:
    reason = str(error).splitlines()
    return CaseError(
        Status.PLANNER_ERROR,
        "WorkerDied",
        f"the worker died twice with this case ({type(error).__name__}), or the planner did not "
        f"come back within {limit:g} s\n  {reason[0] if reason else ''}",
    )


@functools.lru_cache(maxsize=1)
def _bench(setup: bytes) -> Bench:
    """This worker's place of work, made when its first task comes."""
    return Bench(references.loads(setup), _watch)


def _watch(moment: float) -> None:
    """End this worker if the planner is not back by then, even from native code."""
    if moment:
        left = max(0.1, moment - time.monotonic())
        faulthandler.dump_traceback_later(left, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


def _work(
    setup: list[Any], planner: str, indexes: tuple[int, ...], cases: list[Any]
) -> Answer | RoadworthyError:
    """What runs on the cluster: one batch for one planner."""
    import ray

    before = resource.getrlimit(resource.RLIMIT_DATA)
    owner = os.getpid()
    try:
        bench = _bench(ray.get(setup[0]))
        limit = int(bench.setup.memory_of(planner) * _GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
        task = Task(planner, indexes, tuple(map(references.loads, ray.get(cases))))
        if bench.setup.rollouts is None:
            return bench.work(task), {}
        with tempfile.TemporaryDirectory() as scratch:
            records = bench.work(task, Path(scratch))
            found = (p for p in Path(scratch).rglob("*") if p.is_file())
            return records, {str(p.relative_to(scratch)): p.read_bytes() for p in found}
    except RoadworthyError as error:
        return error
    except Exception:
        return RunError(f"a worker failed:\n{traceback.format_exc()}")
    finally:
        if os.getpid() != owner:
            os._exit(1)  # the planner forked: the copy must not answer
        resource.setrlimit(resource.RLIMIT_DATA, before)
