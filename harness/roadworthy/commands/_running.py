"""What `run` and `resume` share: the progress bar, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from roadworthy.commands._output import counting, job_summary, print_json, print_table
from roadworthy.execution.pace import RunPlan
from roadworthy.exit_codes import ExitCode
from roadworthy.report import write_reports
from roadworthy.runner import Progress
from roadworthy.store import Run
from roadworthy.summary import ColumnSummary, PlannerSummary, summary_of

__all__ = ["announce", "conclude", "progress_bar"]


def announce(plan: RunPlan) -> None:
    """Say what is going to be done."""
    click.echo(f"plan: {plan}", err=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Counts cases and errors on standard error."""
    with counting("cases", "starting; the first run compiles, for a minute or two") as count:

        def show(progress: Progress) -> None:
            n = progress.errors
            count(progress.done, progress.total, f"{n} error{'s' * (n > 1)}" if n else "")

        yield show


def conclude(run: Run, as_json: bool) -> ExitCode:
    """Write the report, print the table, and say by the exit code how it went."""
    if not run.manifest.scenarios:
        for notice in run.manifest.notices:
            click.echo(notice, err=True)
        click.echo(f"error: {run.path}: no scenario could be driven", err=True)
        _print_errors(run)
        return ExitCode.NO_SCENARIOS
    report = write_reports(run)
    job_summary((run.path / "summary.md").read_text(encoding="utf-8"))
    summaries = summary_of(run)
    if as_json:
        print_json(summaries)
    else:
        _print_summary(run, summaries)
    for notice in run.manifest.notices:
        click.echo(f"note: {notice}", err=True)
    _print_errors(run)
    click.echo(f"report: {report}", err=True)
    failed = any(set(s.status) - {"ok"} for s in summaries)
    return ExitCode.INCOMPLETE if failed else ExitCode.OK


def _print_summary(run: Run, summaries: tuple[PlannerSummary, ...]) -> None:
    headline = {
        (metric, column["name"])
        for metric, spec in run.manifest.metrics.items()
        for column in spec["columns"]
        if column["headline"]
    }
    names = [(c.metric, c.column) for c in summaries[0].columns if (c.metric, c.column) in headline]
    head = ["planner", "cases", "ok", *(c if c == m else f"{m}.{c}" for m, c in names)]
    rows = []
    for summary in summaries:
        by_name = {(c.metric, c.column): c for c in summary.columns}
        cells: list[object] = [summary.planner, summary.cases, summary.status.get("ok", 0)]
        for name in names:
            cells.append(_cell(by_name[name], sys.stdout.isatty()))
        rows.append(cells)
    scenarios = run.manifest.scenarios
    print_table(f"{run.manifest.suite['name']}: {scenarios} scenarios", head, rows, right=head[1:])


def _cell(column: ColumnSummary, with_interval: bool) -> str:
    """The mean, for a person with its 95 % confidence interval."""
    if column.mean is None:
        return "-"
    mean = f"{column.mean:.3f}"
    if not with_interval or column.low is None or column.high is None:
        return mean
    return f"{mean} [{column.low:.3f}, {column.high:.3f}]"


def _print_errors(run: Run) -> None:
    """Each kind of error once, with the first case that has it."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for record in run.records:
        if record.error is not None:
            kind = (record.planner, record.status.value, record.error.type)
            kinds.setdefault(kind, []).append(f"{record.scenario}: {record.error.message}")
    for (planner, status, error), cases in kinds.items():
        more = f" (and {len(cases) - 1} more)" if len(cases) > 1 else ""
        click.echo(f"{status}: {planner}: {error}: {cases[0]}{more}", err=True)
