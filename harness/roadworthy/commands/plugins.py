"""`roadworthy plugins`: what is installed, whether it is sound, and how to begin a new one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadworthy.commands._options import OutPath
from roadworthy.commands._output import print_json, print_table
from roadworthy.exit_codes import ExitCode
from roadworthy.plugins import KINDS, registry

if TYPE_CHECKING:
    from roadworthy.testing import Finding, Report
    from roadworthy.testing.report import Watch

__all__ = ["command"]

SLOW_S = 10.0
"""After so long it is said which check is being waited for."""


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
@click.option("--time-limit", type=click.FloatRange(min=0.0, min_open=True), default=180.0,
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

    reports = []
    with _watching(time_limit, quiet=as_json) as watch:
        for report in review(subject, kind, parse_options(options), time_limit, watch):
            reports.append(report)
            if not as_json:
                _print_verdict(report)
    if as_json:
        print_json([{"ok": report.ok, "report": report} for report in reports])
    return ExitCode.OK if all(report.ok for report in reports) else ExitCode.INCOMPLETE


@contextmanager
def _watching(time_limit: float, quiet: bool) -> Iterator[Watch]:
    """Prints findings as they come, unless `quiet`, and which check is long in coming."""
    title = ""
    slow = threading.Timer(0.0, click.echo)

    def watch(subject: str, check: str, finding: Finding | None) -> None:
        nonlocal slow, title
        slow.cancel()
        if finding is None:
            words = f"  … {check}: not ended after {SLOW_S:g} s; stopped after {time_limit:g} s"
            slow = threading.Timer(SLOW_S, click.echo, (words,), {"err": True})
            slow.daemon = True
            slow.start()
        elif not quiet:
            if subject != title:
                click.secho(subject, bold=True)
                title = subject
            _print_finding(finding)

    try:
        yield watch
    finally:
        slow.cancel()


def _print_finding(finding: Finding) -> None:
    colours = {"pass": "green", "warn": "yellow", "fail": "red"}
    sign, _, text = str(finding).partition(" ")
    click.echo(f"  {click.style(sign, fg=colours.get(finding.outcome))} {text}")


def _print_verdict(report: Report) -> None:
    failed = sum(finding.outcome == "fail" for finding in report.findings)
    total = len(report.findings)
    click.echo(f"  {failed} of {total} checks failed." if failed else "  Fit to be run.")


@command.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--dir", "directory", type=OutPath(path_type=Path), help="Folder [./NAME].")
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
