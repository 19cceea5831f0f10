"""`roadworthy flywheel FILE --out DIR`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadworthy.commands._options import MOST_WORKERS, OutPath, data_option
from roadworthy.commands._output import print_json, print_table
from roadworthy.exit_codes import ExitCode

if TYPE_CHECKING:
    from roadworthy.flywheel import Results, StageEvent
    from roadworthy.flywheel.results import Cell

__all__ = ["command"]


@click.command("flywheel")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=OutPath(path_type=Path), help="Folder of the run [reports/NAME].")
@data_option()
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True,
              help="Instead of the file's seeds; repeatable.")  # fmt: skip
@click.option("--workers", type=click.IntRange(0, MOST_WORKERS), default=0,
              help="Worker processes; 0: one per core [0].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    file: Path,
    out: Path | None,
    data: Path | None,
    seeds: tuple[int, ...],
    workers: int,
    as_json: bool,
) -> ExitCode:
    """Train a planner round by round on what it fails at, and report what that did.

    Finished stages are kept: the same command goes on where it was stopped. Where nobody
    watches, each stage is one line of JSON on standard error.
    """
    import msgspec

    from roadworthy.flywheel import load_flywheel, run_flywheel
    from roadworthy.flywheel.report import write_flywheel_report

    flywheel = load_flywheel(file)
    if seeds:
        flywheel = msgspec.structs.replace(flywheel, seeds=tuple(dict.fromkeys(seeds)))
    folder = out or Path("reports") / flywheel.name
    with _progress() as progress:
        results = run_flywheel(flywheel, folder, data=data, workers=workers, progress=progress)
        page = write_flywheel_report(folder)
    if as_json:
        print_json(results)
    else:
        _print(results)
    for notice in results.notices:
        click.echo(f"note: {notice}", err=True)
    click.echo(f"report: {page}", err=True)
    return ExitCode.INCOMPLETE if any(cell.errors for cell in results.table) else ExitCode.OK


@contextmanager
def _progress() -> Iterator[Callable[[StageEvent], None]]:
    """A status line and what was made where a person watches, JSON lines elsewhere."""
    if not sys.stderr.isatty():
        import msgspec

        def say(event: StageEvent) -> None:
            click.echo(msgspec.json.encode(event).decode(), err=True)

        yield say
        return
    from rich.console import Console

    console = Console(stderr=True)
    kept = 0
    under_way: dict[str, str] = {}
    with console.status("starting") as status:

        def show(event: StageEvent) -> None:
            nonlocal kept
            kept += event.state == "kept"
            what = f"{event.label}: {event.stage.partition('-')[0]}"
            if event.state == "started":
                under_way[event.stage] = what
            else:
                under_way.pop(event.stage, None)
            if event.state == "made":
                console.print(what, style="dim", highlight=False)
            note = f" ({kept} stages kept)" if kept else ""
            status.update("\n  ".join(under_way.values()) + note)

        yield show


def _print(results: Results) -> None:
    """The headline columns: for a person with intervals in brackets, else every number apart."""
    cells = [cell for cell in results.table if cell.column in results.headline]
    if sys.stdout.isatty():
        head = ["arm", "scenes", "column", "mean", "against base"]
        rows: list[list[object]] = [
            [c.arm, _place(c), c.column, _range(*c.mean), _range(*c.against.get("base", ())[:3])]
            for c in cells
        ]
        print_table(f"{results.name}: {len(results.seeds)} seeds", head, rows)
    else:
        head = ["arm", "set", "group", "column", "scenes", "mean", "low", "high", "change",
                "change_low", "change_high", "relative", "relative_low",
                "relative_high"]  # fmt: skip
        rows = []
        for c in cells:
            numbers = (*c.mean, *c.against.get("base", (None,) * 6))
            where = f"{c.set}{' (open loop)' if c.open_loop else ''}"
            texts = ["" if x is None else f"{x:.6g}" for x in numbers]
            rows.append([c.arm, where, c.group, c.column, c.scenes, *texts])
        print_table("", head, rows)
    for one in results.rounds:
        click.echo(
            f"round {one.number} of {one.arm}, seed {one.seed}: "
            f"{'accepted' if one.accepted else 'not accepted'}. {one.note}".rstrip(),
            err=True,
        )
    for found in results.equivalence:
        click.echo(f"{found.arm}: data equivalence by {found.column}, {found.group} scenes: "
                   f"{found.words}", err=True)  # fmt: skip


def _place(cell: Cell) -> str:
    loop = ", open loop" if cell.open_loop else ""
    return f"{cell.scenes} {cell.group}, {cell.set}{loop}"


def _range(value: float | None = None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
