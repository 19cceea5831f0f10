"""`roadworthy show RUN CASE`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roadworthy.commands._options import OutPath
from roadworthy.errors import RunError
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("case_name", metavar="CASE")
@click.option("--planner", "planners", multiple=True, help="Only this one; repeatable.")
@click.option("--step", type=click.IntRange(0), help="Begin with this step; of a .png, draw it "
              "[the first failure, or the end].")  # fmt: skip
@click.option("--out", type=OutPath(path_type=Path, dir_okay=False),
              help="Write a .gif, .mp4, .png or .mcap instead.")  # fmt: skip
def command(
    run: Path, case_name: str, planners: tuple[str, ...], step: int | None, out: Path | None
) -> ExitCode:
    """Play one case in the terminal, all planners side by side, until Ctrl-C.

    CASE is a scenario's name, or the beginning of a case's key. An .mp4 needs
    `pip install -c constraints.txt ".[video]"` in the checkout, an .mcap (for Foxglove) the extra
    `mcap`. Ctrl-C is the way to end and exits with 0.
    """
    from roadworthy.report.showing import play_case, show_case
    from roadworthy.store import read_run

    found = read_run(run)
    if out is not None:
        show_case(found, case_name, out, planners=planners, step=step)
        click.echo(out)
    elif sys.stdout.isatty():
        play_case(found, case_name, sys.stdout, planners=planners, step=step)
    else:
        raise RunError(
            "a case is played in a terminal, and this is none",
            hint=f"Write it to a file: roadworthy show {run} {case_name!r} --out case.gif",
        )
    return ExitCode.OK
