"""`roadworthy run SUITE --out DIR`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import MOST_WORKERS, OutPath, data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("run")
@click.argument("suite", type=click.Path(path_type=Path))
@click.option("--out", type=OutPath(path_type=Path), help="Run directory [reports/SUITE].")
@click.option("--planner", "planners", multiple=True, help="Instead of the suite's; repeatable. "
              "A name, module:Class, or ./file.py:Class.")  # fmt: skip
@data_option()
@click.option("--executor", type=click.Choice(["inline", "process", "ray"]),
              help="Instead of the suite's.")  # fmt: skip
@click.option("--ray-address", envvar="RAY_ADDRESS", help="Of a Ray cluster, HOST:PORT "
              "[one started here].")  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(0, MOST_WORKERS), help="Worker processes; 0: one per core."
)
@click.option("--isolation", type=click.Choice(["none", "process"]),
              help="Of all planners; `process` confines each of them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    suite: Path,
    out: Path | None,
    planners: tuple[str, ...],
    data: Path | None,
    executor: str | None,
    workers: int | None,
    isolation: str | None,
    ray_address: str | None,
    as_json: bool,
) -> ExitCode:
    """Drive a suite and judge it.

    Cases already recorded in the run directory are not run again.
    """
    from roadworthy.commands._running import announce, conclude, progress_bar
    from roadworthy.runner import run_suite
    from roadworthy.suite import load_suite, override

    chosen = override(
        load_suite(suite),
        planners=planners,
        executor=executor,
        workers=workers,
        isolation=isolation,
        ray_address=ray_address,
    )
    folder = out or Path("reports") / chosen.name
    with progress_bar() as progress:
        run = run_suite(chosen, folder, data=data, announce=announce, progress=progress)
    return conclude(run, as_json)
