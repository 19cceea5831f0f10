"""A wall-clock limit for code that is not ours."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from roadworthy.errors import PlannerTimeout

__all__ = ["deadline"]


@contextmanager
def deadline(seconds: float, hint: str) -> Iterator[None]:
    """Raises `PlannerTimeout` in the block after `seconds`, where the platform allows it.

    It is enforced in the main thread, and takes effect while Python code runs.

    Args:
        seconds: the limit.
        hint: what the user can do about it.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(signum: int, frame: object) -> None:
        raise PlannerTimeout(f"no answer within {seconds:g} s", hint=hint)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
