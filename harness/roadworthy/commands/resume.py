"""`roadworthy resume DIR`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@data_option("as it was")
@click.option("--retry-errors", is_flag=True, help="Run cases again that are not ok.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(run: Path, data: Path | None, retry_errors: bool, as_json: bool) -> ExitCode:
    """Finish a run that was interrupted."""
    from roadworthy.commands._running import announce, conclude, progress_bar
    from roadworthy.runner import resume

    with progress_bar() as progress:
        finished = resume(
            run, data=data, retry_errors=retry_errors, announce=announce, progress=progress
        )
    return conclude(finished, as_json)
