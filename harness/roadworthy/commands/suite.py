"""`roadworthy suite validate FILE...`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.group("suite")
def command() -> None:
    """Checks suites and flywheels."""


@command.command("validate")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@data_option()
def validate(files: tuple[Path, ...], data: Path | None) -> ExitCode:
    """Check suites and flywheels without driving: every name, option and path in them.

    Each file is one line on standard output. The first one that could not be run ends the
    command with exit code 4 and says what to mend.
    """
    for path in files:
        what, notices = _check(path, data)
        click.echo(f"{path}\t{what}\tok")
        for notice in notices:
            click.echo(f"note: {path}: {notice}", err=True)
    return ExitCode.OK


def _check(path: Path, data: Path | None) -> tuple[str, tuple[str, ...]]:
    """What kind of file it is, and what it would do without here."""
    from roadworthy.flywheel import check_flywheel, parse_flywheel
    from roadworthy.runner import check_suite
    from roadworthy.suite import parse_suite
    from roadworthy.tomlfile import read_suite_text, toml_table

    text = read_suite_text(path)
    if not {"arms", "pretrain"}.isdisjoint(toml_table(text, str(path))):
        return "flywheel", check_flywheel(parse_flywheel(text, str(path)), data)
    return "suite", check_suite(parse_suite(text, str(path)), data)
