"""`roadworthy plugins`: what is installed, whether it is sound, and how to begin a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadworthy.commands._output import print_json, print_table
from roadworthy.exit_codes import ExitCode
from roadworthy.plugins import KINDS, registry

if TYPE_CHECKING:
    from roadworthy.testing import Report

__all__ = ["command"]


@click.group("plugins")
def command() -> None:
    """Lists, checks and begins plugins."""


@command.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only what is of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """Lists what the installed plugins offer, and those that are broken."""
    known = registry()
    entries = [e for e in known.entries if kind in (None, e.kind)]
    if as_json:
        print_json(
            {
                "entries": [
                    {
                        "kind": e.kind,
                        "name": e.name,
                        "target": e.target if isinstance(e.target, str) else repr(e.target),
                        "distribution": e.distribution,
                        "version": e.version,
                    }
                    for e in entries
                ],
                "broken": [
                    {
                        "plugin": b.name,
                        "distribution": b.distribution,
                        "version": b.version,
                        "traceback": b.traceback,
                    }
                    for b in known.broken
                ],
                "warnings": list(known.warnings),
            }
        )
        return
    print_table(
        "Plugins",
        ("kind", "name", "distribution", "version"),
        [(e.kind, e.name, e.distribution, e.version) for e in entries],
    )
    for sentence in known.warnings:
        click.echo(f"warning: {sentence}", err=True)
    for b in known.broken:
        click.echo(f"broken: {b}: {b.reason}", err=True)
        click.echo("  `roadworthy plugins list --json` has the whole traceback.", err=True)


@command.command("check")
@click.argument("subject")
@click.option("--kind", type=click.Choice(KINDS), help="Needed where a name or file is ambiguous.")
@click.option("--option", "-o", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the factory, as in a suite; repeatable.")  # fmt: skip
@click.option("--time-limit", type=click.FloatRange(min=0.0, min_open=True), default=300.0,
              show_default=True,
              help="Seconds for one check; the review ends where one hangs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(
    subject: str, kind: str | None, options: tuple[str, ...], time_limit: float, as_json: bool
) -> ExitCode:
    """Reviews a plugin, check by check.

    SUBJECT is a registered name, a distribution (all that it offers is reviewed),
    package.module:Class, or ./file.py:Class. Ends with 3 if a check fails.
    """
    from roadworthy.review import parse_options, review

    reports = review(subject, kind, parse_options(options), time_limit)
    if as_json:
        print_json([{"ok": report.ok, "report": report} for report in reports])
    else:
        for report in reports:
            _print_report(report)
    return ExitCode.OK if all(report.ok for report in reports) else ExitCode.INCOMPLETE


def _print_report(report: Report) -> None:
    colours = {"pass": "green", "warn": "yellow", "fail": "red"}
    click.secho(f"{report.kind} {report.name}", bold=True)
    for finding in report.findings:
        sign, _, text = str(finding).partition(" ")
        click.echo(f"  {click.style(sign, fg=colours.get(finding.outcome))} {text}")
    failed = sum(finding.outcome == "fail" for finding in report.findings)
    total = len(report.findings)
    click.echo(f"  {failed} of {total} checks failed." if failed else "  Fit to be run.")


@command.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Folder [./NAME].")
def new(kind: str, name: str, directory: Path | None) -> None:
    """Writes an installable plugin that works, for you to change.

    KIND is planner, metric, generator or source; NAME is in kebab case.
    """
    from roadworthy.scaffold import create_plugin

    folder = create_plugin(kind, name, directory)
    click.echo(f"wrote {folder}")
    click.echo("next:", err=True)
    click.echo(f"  pip install -e {folder}", err=True)
    click.echo(f"  roadworthy plugins check {name}", err=True)
