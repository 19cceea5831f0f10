"""Code that is not ours: what a plugin raises, says and prints, made harmless to who calls it.

A plugin may raise anything, `SystemExit` and `KeyboardInterrupt` included. Who calls one catches
`BaseException`, and lets the user's own Ctrl-C through with `interrupts.pass_interrupt`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

from roadworthy.errors import RoadworthyError
from roadworthy.interrupts import pass_interrupt

__all__ = [
    "drawn",
    "message_of",
    "off_stdout",
    "plain",
    "traceback_of",
]

T = TypeVar("T")

_MESSAGE = 4_000
_TRACEBACK = 20_000
_END = object()


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
