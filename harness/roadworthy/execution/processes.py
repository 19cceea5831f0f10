"""Processes of our own beside this one: how they begin, how they end, and of what they died."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import types
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnProcess
from typing import Any

from roadworthy.execution.garbage import collect_rarely
from roadworthy.execution.orphans import die_with_parent

__all__ = ["CONTEXT", "beginning", "end", "how_it_died", "settle", "start"]

CONTEXT = multiprocessing.get_context("spawn")
"""Makes what such processes share; they are not forked, for torch and numba have threads."""

_GIB = 1 << 30
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_WORKER = dict.fromkeys(_THREADS, "1") | {
    "MALLOC_MMAP_THRESHOLD_": str(_GIB),
    "MALLOC_TRIM_THRESHOLD_": str(_GIB // 2),
}
"""Environment of a worker: one numeric thread, for workers are the parallelism; and memory that a
batch gave back is kept for the next one, for glibc would ask the kernel for it page by page."""


def start(
    target: Callable[..., None],
    args: tuple[Any, ...],
    *,
    gpus: str | None = None,
    daemon: bool = True,
) -> SpawnProcess:
    """Run a function in a process of its own; it has to begin with `settle`.

    Args:
        target, args: the function, of a module, and what it is given.
        gpus: which GPUs it may use, as `CUDA_VISIBLE_DEVICES` has them; None leaves them as they
            are.
        daemon: whether it may not have processes of this kind itself.
    """
    process = CONTEXT.Process(target=target, args=args, daemon=daemon)
    with beginning(gpus):
        process.start()
    return process


@contextlib.contextmanager
def beginning(gpus: str | None = None) -> Iterator[None]:
    """Within it processes of `CONTEXT` are begun as workers: with the environment of one, and
    without the user's script.

    Args:
        gpus: see `start`.
    """
    with _environment(gpus), _no_script():
        yield


def settle() -> None:
    """Make this new process one that ends with its parent, and that Ctrl-C is not meant for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)  # so that whatever a plugin starts can be killed with it
    die_with_parent()
    sys.stdin = open(os.devnull)  # noqa: SIM115 (a plugin must not wait for the terminal)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what a plugin prints is no result
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    collect_rarely()


def end(process: SpawnProcess) -> None:
    """End a process and whatever it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join(5.0)


def how_it_died(process: SpawnProcess) -> str:
    """The signal or the exit code that a process ended with, in words."""
    code = process.exitcode or 0
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


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


@contextlib.contextmanager
def _no_script() -> Iterator[None]:
    """Keeps a new process from running the user's script as it starts: it needs nothing of it, and
    a script without `if __name__ == "__main__"` would start the run again in each worker."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
