"""`roadworthy view RUN`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("view")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--case", "case_name", help="Open this case: its scenario's name, or its key.")
def command(run: Path, case_name: str | None) -> ExitCode:
    """Open a run's report in the browser.

    Writes the report first where there is none. Prints its address, which is all that happens
    where there is no browser.
    """
    from roadworthy.pairing import contestants
    from roadworthy.report import write_reports
    from roadworthy.report.showing import find_case, open_in_browser
    from roadworthy.report.view import view_of
    from roadworthy.store import read_run

    found = read_run(run)
    page = run / "report.html"
    if not page.is_file():
        page = write_reports(found)
    address = page.resolve().as_uri()
    if case_name is not None:
        address += f"#case={find_case(view_of(contestants([found])), case_name).id}"
    click.echo(address)
    open_in_browser(address)
    return ExitCode.OK
