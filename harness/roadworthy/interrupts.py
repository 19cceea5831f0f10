"""Ctrl-C: told apart from what a plugin raises, and held back until a step of long work ends."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_back", "noting_interrupts", "pass_interrupt"]

_pressed = threading.Event()
"""Whether the user pressed Ctrl-C, within `noting_interrupts`."""


_SAME_S = 1.0
"""A second Ctrl-C so soon is the same one: what the first closes is not closed by halves."""
_last = -math.inf


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    before, _last = _last, time.monotonic()
    if _pressed.is_set() and _last - before < _SAME_S:
        return
    _pressed.set()
    raise KeyboardInterrupt


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Within it Ctrl-C raises `KeyboardInterrupt`, as ever, and is noted for `pass_interrupt`.

    Only Python's own handler is replaced, in the main thread.
    """
    if not _is_ours(signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pressed.clear()


def pass_interrupt(error: BaseException) -> None:
    """Do nothing about what a plugin raised, unless the user pressed Ctrl-C meanwhile.

    Where nobody notes interrupts (`noting_interrupts`) but Python's own handler is there, every
    `KeyboardInterrupt` is taken for the user's.

    Raises:
        KeyboardInterrupt: it was the user.
    """
    unknown = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if _pressed.is_set() or (unknown and isinstance(error, KeyboardInterrupt)):
        raise KeyboardInterrupt from error


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """While it lasts, the first Ctrl-C is noted down and not raised; a second one is raised.

    Yields whether there was one. Who asks between steps can keep what was done and raise
    `KeyboardInterrupt`; on leaving it is raised in any case. An exit that a library makes of Ctrl-C
    (Lightning ends the process with code 1) becomes `KeyboardInterrupt` again. Whoever handles
    Ctrl-C otherwise than Python or `noting_interrupts` goes on doing so.

    Raises:
        KeyboardInterrupt: there was a Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    own = _is_ours(signal.default_int_handler) or _is_ours(_interrupt)
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if before is _interrupt:
            _pressed.set()
        signal.signal(signal.SIGINT, before)

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
            signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


def _is_ours(handler: object) -> bool:
    """Whether that handles Ctrl-C, and this thread may change it."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) is handler
