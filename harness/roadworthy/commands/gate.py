"""`roadworthy gate RUN`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roadworthy.commands._output import job_summary, print_json, print_table
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("gate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--baseline", type=click.Path(path_type=Path),
              help='Run directory that `against = "baseline"` means.')  # fmt: skip
@click.option("--suite", type=click.Path(path_type=Path),
              help="Take the rules from this suite [the one that was run].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def command(run: Path, baseline: Path | None, suite: Path | None, as_json: bool) -> ExitCode:
    """Judge a run by the [[gate]] rules of its suite.

    Exits with 0 if every rule holds, with 1 if one is broken, and with 3 if none is broken
    but some cannot be judged.
    """
    from roadworthy.comparison.gate import gate, rules_of
    from roadworthy.report.markdown import markdown_table
    from roadworthy.store import read_run
    from roadworthy.suite import load_suite

    judged = read_run(run)
    rules = load_suite(suite).gate if suite is not None else rules_of(judged)
    verdict = gate(judged, rules, read_run(baseline) if baseline is not None else None)
    words = {(True, True): "pass", (False, True): "FAIL", (False, False): "FAIL (not judged)"}
    rows = [(words[r.passed, r.judged], r.rule, r.reason) for r in verdict.rules]
    head = ["verdict", "rule", "reason"]
    job_summary(f"## Gate\n\n{markdown_table(head, [list(row) for row in rows])}")
    if as_json:
        print_json(verdict)
        return verdict.exit_code
    if not sys.stdout.isatty():
        print_table("", head, rows)
    else:
        for word, rule, reason in rows:
            click.echo(f"{click.style(word, fg='green' if word == 'pass' else 'red')}  {rule}")
            click.echo(f"      {reason}")
    held = sum(r.passed for r in verdict.rules)
    click.echo(f"{held} of {len(rows)} rules hold", err=True)
    return verdict.exit_code
