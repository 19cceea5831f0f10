"""Takes batches of cases to where they are computed: here, or in worker processes.

Both executors yield the records of each batch as it finishes, in any order. The `process`
executor limits each worker's memory, kills a worker whose planner does not come back, and
notices one that died; the cases that it held are tried again one by one, and the one that
kills its worker again is charged with it.
"""

from __future__ import annotations

import collections
import multiprocessing.connection
from collections.abc import Generator, Iterable

from roadworthy.execution.bench import Bench, Setup, Task
from roadworthy.execution.devices import share_of, visible_gpus
from roadworthy.execution.evaluate import failed_record
from roadworthy.execution.worker import Worker
from roadworthy.rollout import CaseError, Status
from roadworthy.store import CaseRecord

__all__ = ["run_inline", "run_processes", "starved", "tried_again"]


def run_inline(tasks: Iterable[Task], setup: Setup) -> Generator[list[CaseRecord], None, None]:
    """Compute every task in this process."""
    bench = Bench(setup)
    try:
        for task in tasks:
            yield bench.work(task)
    finally:
        bench.close()


def run_processes(
    tasks: Iterable[Task], setup: Setup, workers: int
) -> Generator[list[CaseRecord], None, None]:
    """Compute tasks in `workers` processes of their own.

    Tasks are drawn as workers become free, so that memory does not grow with the suite.
    Closing the iterator early kills the workers.
    """
    queue: collections.deque[Task] = collections.deque()
    source = iter(tasks)
    crew: dict[int, Worker] = {}
    devices = visible_gpus()

    def next_task() -> Task | None:
        return queue.popleft() if queue else next(source, None)

    try:
        while True:
            while len(crew) < workers and (task := next_task()) is not None:
                place = next(i for i in range(workers) if i not in crew)
                crew[place] = Worker(setup, task, share_of(devices, place, workers))
            if not crew:
                return
            if len(queue) < workers and (task := next(source, None)) is not None:
                queue.append(task)  # so that nobody has to wait for it
                timeout = 0.0
            else:
                timeout = 0.25
            multiprocessing.connection.wait(
                [
                    thing
                    for worker in crew.values()
                    for thing in (worker.pipe, worker.process.sentinel)
                ],
                timeout=timeout,
            )
            for place, worker in list(crew.items()):
                outcome = worker.poll()
                if outcome is None:
                    continue
                if isinstance(outcome, CaseError):
                    del crew[place]
                    lost = worker.task
                    if more := tried_again(lost, outcome):
                        queue.extendleft(reversed(more))
                        continue
                    yield [failed_record(lost.planner, lost.indexes[0], lost.cases[0], outcome)]
                    continue
                short = [] if worker.is_fresh else starved(worker.task, outcome)
                if short:
                    # Memory may have been leaked by others: these cases get a new worker each.
                    worker.kill()
                    del crew[place]
                    queue.extendleft(reversed(short))
                    kept = {task.indexes[0] for task in short}
                    yield [record for record in outcome if record.index not in kept]
                    continue
                following = next_task()
                if following is None:
                    worker.close()
                    del crew[place]
                else:
                    worker.give(following)
                yield outcome
    finally:
        for worker in crew.values():
            worker.kill()


def tried_again(task: Task, fault: CaseError) -> list[Task]:
    """What is tried again of a task whose worker was lost: each case alone; one that was alone
    once more, but for a planner that did not come back. Nothing: the case is charged with it."""
    alone = len(task.cases) == 1
    if alone and (task.again or fault.status is Status.TIMEOUT):
        return []
    return [
        Task(task.planner, (i,), (c,), alone) for i, c in zip(task.indexes, task.cases, strict=True)
    ]


def starved(task: Task, records: list[CaseRecord]) -> list[Task]:
    """The cases that ran out of memory, one by one."""
    short = {r.index for r in records if r.error is not None and r.error.type == "MemoryError"}
    return [
        Task(task.planner, (i,), (c,))
        for i, c in zip(task.indexes, task.cases, strict=True)
        if i in short
    ]
