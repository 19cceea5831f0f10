"""`roadworthy show RUN CASE`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("case_name", metavar="CASE")
@click.option("--planner", "planners", multiple=True, help="Only this one; repeatable.")
@click.option("--step", type=click.IntRange(0), help="Draw this step; with a .png, [the first "
              "failure, or the end].")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help=".gif, .mp4 or .png [CASE.gif].")  # fmt: skip
def command(
    run: Path, case_name: str, planners: tuple[str, ...], step: int | None, out: Path | None
) -> ExitCode:
    """Draw one case, all planners side by side.

    CASE is a scenario's name, or the beginning of a case's key. An .mp4 needs
    `pip install "roadworthy[video]"`.
    """
    from roadworthy.report.showing import show_case
    from roadworthy.store import read_run

    click.echo(show_case(read_run(run), case_name, planners=planners, step=step, out=out))
    return ExitCode.OK
