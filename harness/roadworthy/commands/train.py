"""`roadworthy train TRAINER --checkpoint BASE --scenes STORE --out DIR`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import OutPath, data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("train")
@click.argument("trainer")
@click.option("--planner", help="Who learns: a name, module:Class, or ./file.py:Class, made with "
              "the checkpoint if one is given; see docs/post-training.md [whom the trainer makes "
              "of the checkpoint, or of nothing].")  # fmt: skip
@click.option("--checkpoint", type=click.Path(path_type=Path),
              help="What to begin with; without it, from nothing.")  # fmt: skip
@click.option("--scenes", "subjects", multiple=True, required=True, metavar="[NAME=]SUBJECT[,..]",
              help="Stores, suites, sources, files or folders to learn from; repeatable. "
              "NAME tells sets apart for the option `shares`.")  # fmt: skip
@click.option("--out", type=OutPath(path_type=Path), required=True, help="Checkpoint to make.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the trainer; repeatable.")  # fmt: skip
@click.option("--against", multiple=True, metavar="SUBJECT",
              help="A source, suite or store to be evaluated on: refuse to learn from anything "
              "that shares its logs, map areas or lineage. Repeatable.")  # fmt: skip
@data_option()
def command(
    trainer: str,
    planner: str | None,
    checkpoint: Path | None,
    subjects: tuple[str, ...],
    out: Path,
    seed: int,
    options: tuple[str, ...],
    against: tuple[str, ...],
    data: Path | None,
) -> ExitCode:
    """Train a planner, and write a checkpoint for its option `checkpoint`.

    TRAINER is a registered name (`roadworthy plugins list`), module:Class, or ./file.py:Class.
    """
    from roadworthy.plugins import FactorySpec, registry
    from roadworthy.recognition import scenes_named, scenes_to_keep_off
    from roadworthy.review import parse_options
    from roadworthy.splits import require_disjoint

    sets = {}
    for text in subjects:
        name, equals, named = text.rpartition("=")
        found = list(scenes_named(named.split(","), data))
        sets[name if equals else text] = found
        for other in against:
            require_disjoint(found, scenes_to_keep_off(other, data), name or text, other)
    entry = registry().resolve("trainers", trainer)
    built = FactorySpec("trainers", entry.spec, parse_options(options), "--set").build()
    start: object = checkpoint
    if planner:
        given = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
        named_planner = registry().resolve("planners", planner)
        start = FactorySpec("planners", named_planner.spec, given, "--planner").build()
    path = built.train(start, sets, out, seed)
    click.echo(path)
    return ExitCode.OK
