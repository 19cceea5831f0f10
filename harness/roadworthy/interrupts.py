"""Ctrl-C that waits for the end of a step, so that long work can be kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_back"]


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """While it lasts, the first Ctrl-C is noted down and not raised; a second one is raised.

    Yields whether there was one. Who asks between steps can keep what was done and raise
    `KeyboardInterrupt`; on leaving it is raised in any case. An exit that a library makes of Ctrl-C
    (Lightning ends the process with code 1) becomes `KeyboardInterrupt` again. Only Python's own
    handler is replaced, in the main thread: whoever handles Ctrl-C otherwise goes on doing so.

    Raises:
        KeyboardInterrupt: there was a Ctrl-C.
    """
    own = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if own:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
