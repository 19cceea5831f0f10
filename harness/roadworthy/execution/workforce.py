"""Which executor does the work of a suite, with how many workers, on which devices."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.errors import SuiteError
from roadworthy.execution.bench import Setup, Task
from roadworthy.execution.devices import visible_gpus
from roadworthy.execution.executors import run_inline, run_processes
from roadworthy.store import CaseRecord
from roadworthy.suite import Suite

__all__ = ["compute", "workforce"]


@contextmanager
def workforce(suite: Suite) -> Iterator[tuple[int, tuple[str, ...]]]:
    """How many work at once, and on which GPUs; with `ray`, connected to the cluster.

    Raises:
        SuiteError: a planner needs more than there is, or than one node of the cluster has.
    """
    wanted = max((config.resources.gpus for config in suite.planners), default=0.0)
    if suite.run.executor == "ray":
        from roadworthy.execution.ray_executor import cluster, misfit

        with cluster(suite.run.ray_address, suite.run.workers) as nodes:
            for config in suite.planners:
                if why := misfit(config.resources, nodes):
                    hint = "Change the planner's `resources`, or add a node that has them."
                    raise SuiteError(f"{config.where}: {why}", hint=hint)
            gpus = sum(int(node.get("GPU", 0)) for node in nodes)
            cores = sum(int(node.get("CPU", 0)) for node in nodes)
            yield suite.run.workers or max(1, cores), tuple(map(str, range(gpus)))
        return
    devices = visible_gpus()
    for config in suite.planners:
        if config.resources.gpus > len(devices):
            raise SuiteError(
                f"{config.where}: needs {config.resources.gpus:g} GPUs, there are {len(devices)}",
                hint="Change the planner's `resources`, or run where there are enough.",
            )
    workers = 1
    if suite.run.executor == "process":
        workers = suite.run.workers or os.cpu_count() or 1
        if wanted:
            workers = max(1, min(workers, int(len(devices) / wanted)))
    yield workers, devices


def compute(
    suite: Suite, tasks: Iterable[Task], setup: Setup, workers: int, folder: Path
) -> Generator[list[CaseRecord], None, None]:
    """The records of `tasks`, batch by batch as they are done, in any order.

    Args:
        suite: says which executor.
        tasks: drawn as they are needed.
        setup: with what.
        workers: as `workforce` said.
        folder: the run directory.
    """
    if suite.run.executor == "ray":
        from roadworthy.execution.ray_executor import run_ray

        return run_ray(tasks, setup, workers, folder)
    if suite.run.executor == "inline":
        return run_inline(tasks, setup)
    return run_processes(tasks, setup, workers)
