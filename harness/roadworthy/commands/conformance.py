"""`roadworthy conformance`: compares a metric or a model with reference vectors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from roadworthy.commands._output import print_json, print_table
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("conformance")
@click.argument("name")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--option",
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the check, such as `backend=cpu` of `render`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(name: str, directory: Path, options: tuple[str, ...], as_json: bool) -> ExitCode:
    """Compares with the reference vectors in DIRECTORY.

    NAME is a check that a plugin offers, such as `pdms`. Ends with 1 where a value disagrees, or a
    vector could not be compared.
    """
    from roadworthy.conformance import ConformanceTable
    from roadworthy.errors import DataError, PluginError
    from roadworthy.plugins import registry
    from roadworthy.plugins.options import check_options
    from roadworthy.review import parse_options

    check = partial(registry().resolve("conformance", name).load(), directory)
    table = check(**check_options(check, parse_options(options), f"--option {name}"))
    if not isinstance(table, ConformanceTable):
        raise PluginError(
            f"the check {name!r} returned {type(table).__name__}",
            hint="It must return a roadworthy.conformance.ConformanceTable.",
        )
    if not table.rows:
        raise DataError(
            f"{directory} holds no vectors that {name!r} can read", hint="Name another directory."
        )
    if as_json:
        print_json({"name": table.name, "ok": table.ok, "rows": table.rows})
        return ExitCode.OK if table.ok else ExitCode.GATE_FAILED
    backends = ("backend",) if any(row.backend for row in table.rows) else ()
    print_table(
        f"{table.name} against {directory}",
        ("metric", *backends, "cases", "values", "agree", "worst", "tolerance"),
        [
            (
                f"{row.metric} (informative)" if row.informative else row.metric,
                *((row.backend,) if backends else ()),
                row.cases,
                row.values,
                row.agree,
                f"{row.worst:.3g}",
                f"{row.tolerance:.3g}",
            )
            for row in table.rows
        ],
        right=("cases", "values", "agree", "worst", "tolerance"),
    )
    for row in table.rows:
        if row.first:
            click.echo(f"{row.metric}: {row.first}")
        for exception in row.exceptions:
            click.echo(f"{row.metric}: excepted: {exception}")
        if row.unserved:
            click.echo(f"{row.metric}: not compared: {row.unserved}")
    if table.ok:
        click.echo("conforms")
        return ExitCode.OK
    failed = [row for row in table.rows if not row.informative and not row.agrees]
    for what, rows in (
        ("does not conform", [row.metric for row in failed if not row.unserved]),
        ("not compared", [row.metric for row in failed if row.unserved]),
    ):
        if rows:
            click.echo(f"{what}: {', '.join(rows)}")
    return ExitCode.GATE_FAILED
