"""`roadworthy report RUN...`, or of stores of variants"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import OutPath, data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("report")
@click.argument("subjects", nargs=-1, required=True, metavar="RUN...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--out", type=OutPath(path_type=Path, file_okay=False),
              help="Folder [the first RUN; for several runs, reports/leaderboard].")  # fmt: skip
@click.option("--title", default="", help="Of the page [the names of suites or stores].")
@click.option("--latex", is_flag=True, help="Also write the headline table as table.tex.")
@click.option("--svg", is_flag=True, help="Also write the plots as plots/*.svg.")
@click.option("--pdf", is_flag=True, help="Also write the plots as plots/*.pdf; takes "
              '`pip install -c constraints.txt ".[paper]"` in the checkout.')  # fmt: skip
@click.option("--parents", multiple=True, metavar="SUBJECT",
              help="Of variants: a store, suite or source that holds their parents, to play "
              "beside them and, of a mined store, to say what for. Repeatable.")  # fmt: skip
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Of variants: folder with figures of their generator.")  # fmt: skip
@data_option()
def command(
    subjects: tuple[Path, ...],
    out: Path | None,
    title: str,
    latex: bool,
    svg: bool,
    pdf: bool,
    parents: tuple[str, ...],
    figures: Path | None,
    data: Path | None,
) -> ExitCode:
    """Write a report of one run, or a leaderboard of several.

    Planners are ranked over the cases that all of them drove; those that the data cannot tell
    apart share their ranks. Where RUN is a store of variants (or several), the page is of these
    hard cases.
    """
    from roadworthy.report.hard_cases import is_hard_set, write_hard_cases

    hard = [is_hard_set(subject) for subject in subjects]
    if all(hard):
        if latex or svg or pdf:
            raise click.UsageError("--latex, --svg and --pdf are of runs, not of variants")
        from roadworthy.mining import MANIFEST, read_mined
        from roadworthy.recognition import scenes_named

        page = write_hard_cases(
            subjects,
            out or subjects[0],
            parents=scenes_named(parents, data),
            mined=[read_mined(Path(name)) for name in parents if (Path(name) / MANIFEST).is_file()],
            figures=figures,
            title=title,
        )
        click.echo(page)
        return ExitCode.OK
    if any(hard):
        raise click.UsageError("name runs, or stores of variants, but not both")
    if parents or figures:
        raise click.UsageError("--parents and --figures are of variants, not of runs")
    return _of_runs(subjects, out, title, latex, svg, pdf)


def _of_runs(
    runs: tuple[Path, ...], out: Path | None, title: str, latex: bool, svg: bool, pdf: bool
) -> ExitCode:
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
