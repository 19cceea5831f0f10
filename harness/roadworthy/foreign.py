"""Code that is not ours: what a plugin raises, says and prints, made harmless to who calls it.

A plugin may raise anything, `SystemExit` and `KeyboardInterrupt` included. Who calls one catches
`BaseException`, and lets the user's own Ctrl-C through with `pass_interrupt`.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

from roadworthy.errors import RoadworthyError

__all__ = [
    "drawn",
    "message_of",
    "noting_interrupts",
    "off_stdout",
    "pass_interrupt",
    "plain",
    "traceback_of",
]

T = TypeVar("T")

_MESSAGE = 4_000
_TRACEBACK = 20_000
_END = object()
_pressed = threading.Event()


@contextmanager
def noting_interrupts() -> Iterator[None]:
    """Within it Ctrl-C raises `KeyboardInterrupt`, as ever, and is noted for `pass_interrupt`."""
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before is not signal.default_int_handler:
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        _pressed.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
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
def off_stdout() -> Iterator[None]:
    """Within it what Python code prints goes to standard error: standard output is for results."""
    with redirect_stdout(sys.stderr):
        yield


def drawn(
    make: Callable[[], Iterable[T]], fault: Callable[[BaseException], RoadworthyError]
) -> Iterator[T]:
    """What a plugin's iterable gives, one by one.

    Args:
        make: makes the iterable.
        fault: what to raise for what the plugin raised, unless that is a `RoadworthyError`.
    """
    things: Iterator[T] | None = None
    while True:
        try:
            with off_stdout():
                things = iter(make()) if things is None else things
                thing = next(things, _END)
        except RoadworthyError:
            raise
        except BaseException as error:
            pass_interrupt(error)
            raise fault(error) from error
        if thing is _END:
            return
        yield thing  # type: ignore[misc]


def message_of(error: BaseException) -> str:
    """What an error says, as `plain` text; its type where it says nothing, or fails to."""
    try:
        text = str(error)
    except BaseException as other:
        pass_interrupt(other)
        text = f"{type(error).__name__} (it cannot be printed: its __str__ fails)"
    return plain(text or type(error).__name__, _MESSAGE)


def traceback_of(error: BaseException) -> str:
    """The last calls of an error's traceback, as `plain` text."""
    return plain("".join(traceback.format_exception(error, limit=-8)), _TRACEBACK)


def plain(text: object, limit: int = 256) -> str:
    """Text that can be written as UTF-8, and is not endless.

    Args:
        text: what is no text is shown by its `repr`. Lone surrogates become `\\udc..`.
        limit: of more characters than this the middle is left out.
    """
    text = text if isinstance(text, str) else repr(text)
    if len(text) > limit:
        cut = f" .. ({len(text)} characters) .. "
        half = (limit - len(cut)) // 2
        text = text[:half] + cut + text[-half:]
    return text.encode("utf-8", "backslashreplace").decode()
