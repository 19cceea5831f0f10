"""`roadworthy plugins`: what is installed, whether it is sound, and how to begin a new one."""

from __future__ import annotations

import click

from roadworthy.commands._output import print_json, print_table
from roadworthy.plugins import KINDS, registry

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
