"""Which executor does the work of a suite, with how many workers, on which devices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.devices import visible_gpus
from roadworthy.errors import SuiteError
from roadworthy.executors import Setup, Task, run_inline, run_processes
from roadworthy.store import CaseRecord
from roadworthy.suite import Suite

__all__ = ["compute", "workforce"]


@contextmanager
def workforce(suite: Suite) -> Iterator[tuple[int, tuple[str, ...]]]:
    """How many work at once, and on which GPUs; with `ray`, connected to the cluster.

    Raises:
        SuiteError: a planner needs more GPUs than there are.
    """
    wanted = max((config.resources.gpus for config in suite.planners), default=0.0)
    if suite.run.executor == "ray":
        from roadworthy.ray_executor import cluster

        with cluster(suite.run.ray_address, suite.run.workers) as found:
            devices = tuple(str(i) for i in range(int(found.get("GPU", 0))))
            _check_gpus(suite, len(devices))
            yield suite.run.workers or max(1, int(found.get("CPU", 1))), devices
        return
    devices = visible_gpus()
    _check_gpus(suite, len(devices))
    workers = 1
    if suite.run.executor == "process":
        workers = suite.run.workers or os.cpu_count() or 1
        if wanted:
            workers = max(1, min(workers, int(len(devices) / wanted)))
    yield workers, devices


def _check_gpus(suite: Suite, there: int) -> None:
    for config in suite.planners:
        if config.resources.gpus > there:
            raise SuiteError(
                f"{config.where}: needs {config.resources.gpus:g} GPUs, there are {there}",
                hint="Change the planner's `resources`, or run where there are enough.",
            )


def compute(
    suite: Suite, tasks: Iterable[Task], setup: Setup, workers: int, folder: Path
) -> Iterator[list[CaseRecord]]:
    """The records of `tasks`, batch by batch as they are done, in any order.

    Args:
        suite: says which executor.
        tasks: drawn as they are needed.
        setup: with what.
        workers: as `workforce` said.
        folder: the run directory.
    """
    if suite.run.executor == "ray":
        from roadworthy.ray_executor import run_ray

        return run_ray(tasks, setup, workers, folder)
    if suite.run.executor == "inline":
        return run_inline(tasks, setup)
    return run_processes(tasks, setup, workers)
