"""One piece of work for each of many things, in several processes, with the results in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from roadworthy.errors import RunError
from roadworthy.execution import processes
from roadworthy.execution.orphans import die_with_parent

__all__ = ["in_order"]

T = TypeVar("T")
Made = TypeVar("Made")
Result = TypeVar("Result")

_made: list[Any] = []
"""In a worker: what it works with, once that is made."""


def in_order(
    make: Callable[[], Made],
    work: Callable[[Made, T], Result],
    things: Iterable[T],
    workers: int,
) -> Iterator[Result]:
    """What `work` makes of each thing, in the order of the things, whoever was first.

    Args:
        make: makes what is worked with, such as a plugin, once in each process.
        work: is given that and a thing. For several processes all three must be picklable and of
            a module, not of the script that is run; so must the results.
        things: what to work on; taken as they are needed.
        workers: processes; with 1 it is this one.

    Raises:
        RunError: a process died.
        Exception: as `make` or `work` raises it. What the processes have begun is finished first.
    """
    if workers < 2:
        made = make()
        yield from (work(made, thing) for thing in things)
        return
    left = iter(things)
    with ProcessPoolExecutor(workers, processes.CONTEXT, die_with_parent) as pool:

        def submit(count: int) -> list[Future[Result]]:
            with processes.beginning():  # the pool begins its workers as it is given work
                return [pool.submit(_do, make, work, t) for t in itertools.islice(left, count)]

        waiting = deque(submit(2 * workers))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting += submit(1)
                yield done
        except BrokenProcessPool as error:
            raise RunError(
                "a process that helps here died",
                hint="Mostly from lack of memory: give fewer workers (--workers).",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _do(make: Callable[[], Made], work: Callable[[Made, T], Result], thing: T) -> Result:
    if not _made:
        _made.append(make())
    return work(_made[0], thing)
