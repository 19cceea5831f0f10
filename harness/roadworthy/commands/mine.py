"""`roadworthy mine RUN --out STORE`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import OutPath, data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("mine")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=OutPath(path_type=Path), required=True, help="Store to make.")
@click.option("--planner", "planners", multiple=True,
              help="Whose failures; repeatable [all that were not shown the log].")  # fmt: skip
@data_option("that of the run")
@click.option("--limit", type=click.IntRange(1), help="Keep at most so many clusters [all].")
@click.option("--hold-out", type=click.FloatRange(0.0, 0.99), default=0.0, show_default=True,
              help="Share of the groups of related scenes to keep for evaluation.")  # fmt: skip
@click.option("--against", multiple=True, metavar="SUBJECT",
              help="A source, suite or store to be evaluated on: refuse to mine anything that "
              "shares its logs, map areas or lineage. Repeatable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was mined as JSON.")
def command(
    run: Path,
    out: Path,
    planners: tuple[str, ...],
    data: Path | None,
    limit: int | None,
    hold_out: float,
    against: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Find what planners failed at, and store those scenes as a set that a suite can name.

    Reasons are collision, lane_departure, stall, ttc and comfort. A suite reads the store with
    `name = "store"` and `path`; what each scene was mined for is in its mining.json.
    """
    from roadworthy.commands._output import print_json, print_table
    from roadworthy.failures import Reason
    from roadworthy.mining import mine
    from roadworthy.recognition import scenes_to_keep_off

    found = mine(
        run,
        out,
        planners=planners,
        data=data,
        limit=limit,
        hold_out=hold_out,
        against={name: scenes_to_keep_off(name, data) for name in against},
    )
    if as_json:
        print_json(found)
        return ExitCode.OK
    scenes = len({case.scenario_hash for case in found.cases})
    rows = []
    for reason in Reason:
        ours = [case for case in found.cases if case.findings[0].reason is reason]
        if ours:
            worst = max(case.severity for case in ours)
            rows.append((reason.value, len(ours), sum(c.members for c in ours), f"{worst:.2f}"))
    print_table(
        f"{out}: {scenes} scenes",
        ("reason", "clusters", "cases", "worst"),
        rows,
        right=("clusters", "cases", "worst"),
    )
    click.echo(
        f"{out}: {scenes} scenes for {len(found.cases)} of {found.clusters} clusters; "
        f"{found.failed} of {found.judged} cases failed, {found.unjudged} ended in errors, "
        f"{found.evaluation_only} are for evaluation alone, {len(found.held_out)} scenes held out",
        err=True,
    )
    for reason in found.blind:
        click.echo(f"note: no column of the run tells of {reason.value}", err=True)
    return ExitCode.OK
