"""`roadworthy report RUN...`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Folder [the run directory; for several, reports/leaderboard].")  # fmt: skip
@click.option("--title", default="", help="Of the page [the suites' names].")
@click.option("--latex", is_flag=True, help="Also write the headline table as table.tex.")
@click.option("--svg", is_flag=True, help="Also write the plots as plots/*.svg.")
@click.option("--pdf", is_flag=True, help="Also write the plots as plots/*.pdf; takes "
              '`pip install "roadworthy[paper]"`.')  # fmt: skip
def command(
    runs: tuple[Path, ...], out: Path | None, title: str, latex: bool, svg: bool, pdf: bool
) -> ExitCode:
    """Write a report of one run, or a leaderboard of several.

    Planners are ranked over the cases that all of them drove; those that the data cannot tell
    apart share their ranks.
    """
    from roadworthy.report import write_report
    from roadworthy.report.paper import write_latex, write_plots
    from roadworthy.store import read_run

    found = [read_run(run) for run in runs]
    folder = out or (runs[0] if len(runs) == 1 else Path("reports/leaderboard"))
    formats = [name for name, wanted in (("svg", svg), ("pdf", pdf)) if wanted]
    if formats:
        click.echo(f"plots: {write_plots(found, folder, formats)}", err=True)
    page = write_report(found, folder, title=title)
    if latex:
        click.echo(f"table: {write_latex(found, folder)}", err=True)
    click.echo(page)
    return ExitCode.OK
