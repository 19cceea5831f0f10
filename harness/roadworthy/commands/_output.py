"""Prints tables: by rich for a person at a terminal, tab-separated for everything else."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import click

__all__ = ["job_summary", "print_json", "print_table", "track"]

_T = TypeVar("_T")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """Prints rows under a header.

    Args:
        title: shown at a terminal alone.
        columns: names of the columns.
        rows: cells, in the order of the columns; printed with `str`.
        right: names of the columns of numbers, aligned right.
    """
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(" ".join(str(cell).split()) for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


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


def track(items: Iterable[_T], words: str) -> Iterator[_T]:
    """The items, counted on standard error for a person at a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=None, description=words)
