"""Prints tables and progress: for a person at a terminal by rich, plainly for everything else."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["EVERY_S", "counting", "job_summary", "print_json", "print_table", "track"]

EVERY_S = 30.0
"""Seconds between two lines of progress where no terminal is."""

_T = TypeVar("_T")
_LINES, _WORDS = re.compile(r".+"), re.compile(r"\[[^\]]*\]|\S+")
_Rows = Sequence[Sequence[str]]
_Grid = tuple[Sequence[str], _Rows, Collection[str]]


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """Prints rows under a header: as text with tabs, or at a terminal so that every word fits.

    Too wide for the terminal, the table has a column for each row, else cells broken between words,
    else columns for as many rows at a time as fit.

    Args:
        title: shown at a terminal alone.
        columns: names of the columns; the first tells rows apart.
        rows: cells, in the order of the columns; printed with `str`.
        right: names of the columns of numbers, aligned right.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(" ".join(str(cell).split()) for cell in row))
        return
    from rich.console import Console

    console = Console()
    for table in _fitting((columns, [[str(c) for c in row] for row in rows], right), console.width):
        table.title, title = title, ""
        console.print(table)


def _fitting(grid: _Grid, room: int) -> list[Table]:
    """A table in the layout whose words all fit into `room` characters."""
    columns, rows, _ = grid
    turned = _turned(columns, rows)
    for narrow in (False, True):
        for layout in (grid, turned):
            if table := _fitted(*layout, room, narrow):
                return [table]
    parts: list[list[Sequence[str]]] = [[]]
    for row in rows:
        if parts[-1] and not _fitted(*_turned(columns, [*parts[-1], row]), room, narrow=True):
            parts.append([])
        parts[-1].append(row)
    layouts = [_turned(columns, part) for part in parts]
    return [_fitted(*layout, room, narrow=True) or _table(*layout) for layout in layouts]


def _turned(columns: Sequence[str], rows: _Rows) -> _Grid:
    """A column for each row."""
    names = [row[0] for row in rows]
    cells = [[name, *(row[i] for row in rows)] for i, name in enumerate(columns)]
    return [columns[0], *names], cells[1:], names


def _fitted(
    columns: Sequence[str], rows: _Rows, right: Collection[str], room: int, narrow: bool
) -> Table | None:
    """The table, if it fits; if it may be made narrower, its widest columns are, but no word and no
    interval is broken."""
    if narrow:
        rows = [[cell.replace(" [", "\n[") for cell in row] for row in rows]
    widths = _widths(columns, rows, _LINES)
    least = _widths(columns, rows, _WORDS) if narrow else widths
    room -= 3 * len(columns) + 1  # what rich puts around and between them
    if sum(least) > room:
        return None
    while sum(widths) > room:
        broad = [i for i, width in enumerate(widths) if width > least[i]]
        widths[max(broad, key=widths.__getitem__)] -= 1
    return _table(columns, rows, right, widths)


def _widths(columns: Sequence[str], rows: _Rows, pieces: re.Pattern[str]) -> list[int]:
    """The widest piece of each column, its name included [characters]."""
    from rich.cells import cell_len

    texts = zip(columns, *rows, strict=True)
    return [max((cell_len(p) for t in ts for p in pieces.findall(t)), default=0) for ts in texts]


def _table(
    columns: Sequence[str], rows: _Rows, right: Collection[str], widths: Sequence[int] = ()
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for i, name in enumerate(columns):
        table.add_column(
            Text(name),
            justify="right" if name in right else "left",
            overflow="fold",
            width=widths[i] if widths else None,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def job_summary(markdown: str) -> None:
    """Shows Markdown on the page of a GitHub Actions job, where this is one.

    GitHub names the file in GITHUB_STEP_SUMMARY, and takes at most 1 MiB of it.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(markdown[:500_000] + "\n")


def print_json(value: object) -> None:
    """Prints one JSON document, indented, with keys in the order given."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextmanager
def counting(what: str, start: str = "") -> Iterator[Callable[[int, int | None, str], None]]:
    """Counts on standard error: by a bar for a person at a terminal, elsewhere by a line every
    `EVERY_S`.

    Args:
        what: is counted, in the plural.
        start: shown until something has been counted.

    Yields:
        Takes how many are done, of how many (None: not known), and a remark.
    """
    if not sys.stderr.isatty():
        yield _lines(what, start)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(start or what, total=None)

        def show(done: int, total: int | None, remark: str) -> None:
            words = what + (f" ({remark})" if remark else "")
            bar.update(task, completed=done, total=total, description=words)

        yield show


def _lines(what: str, start: str) -> Callable[[int, int | None, str], None]:
    last: float | None = None

    def say(done: int, total: int | None, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None:
            last = now
            if start:
                click.echo(start, err=True)
        elif now - last >= EVERY_S:
            last = now
            of = "" if total is None else f" of {total}"
            click.echo(f"{done}{of} {what}{', ' if remark else ''}{remark}", err=True)

    return say


def track(items: Iterable[_T], what: str) -> Iterator[_T]:
    """The items, counted on standard error once each has been dealt with.

    Args:
        items: any.
        what: they are, in the plural.
    """
    with counting(what) as count:
        for done, item in enumerate(items, 1):
            yield item
            count(done, None, "")
