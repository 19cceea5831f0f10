"""`roadworthy generate SUBJECT... --generator NAME -n N --seed S --out STORE`, or `--explain`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import MOST_WORKERS, OutPath, data_option
from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("generate")
@click.argument("subjects", nargs=-1, required=True, metavar="SUBJECT...")
@click.option("--generator", "name", default="",
              help="A name, module:Class, or ./file.py:Class.")  # fmt: skip
@click.option("-n", "count", type=click.IntRange(1), default=4, show_default=True,
              help="Variants of each scene to ask for.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=OutPath(path_type=Path), help="Store to make.")
@click.option("--option", "-o", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the generator; repeatable.")  # fmt: skip
@click.option("--reaction", type=click.FloatRange(0.0, 60.0), default=1.0, show_default=True,
              help="Reaction time of the certificates [s].")  # fmt: skip
@data_option()
@click.option("--against", multiple=True, metavar="SUBJECT",
              help="A source, suite or store to be evaluated on: refuse to vary anything that "
              "shares its logs, map areas or lineage. Repeatable.")  # fmt: skip
@click.option("--reference", default="pdm-closed", show_default=True,
              help="A planner to try on each variant, for the record; empty for none.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), default=1, show_default=True,
              help="At most so many processes, one for 8 scenes.")  # fmt: skip
@click.option("--explain", is_flag=True,
              help="Make nothing: say of each variant in the stores SUBJECT where it comes from "
              "and why it is hard.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def command(
    subjects: tuple[str, ...],
    name: str,
    count: int,
    seed: int,
    out: Path,
    options: tuple[str, ...],
    reaction: float,
    data: Path | None,
    against: tuple[str, ...],
    reference: str,
    workers: int,
    explain: bool,
    as_json: bool,
) -> ExitCode:
    """Vary scenes, and store the variants that can be survived, each with the proof.

    A SUBJECT is a store, a suite, a registered source, or a file or folder. Variants for which no
    evasive drive was found go to another store, OUT-unsolvable. `roadworthy verify` tests the
    proofs; generation.json counts what was refused, and why.
    """
    from roadworthy.commands._output import counting, print_json, print_table
    from roadworthy.plugins import FactorySpec, registry
    from roadworthy.recognition import scenes_named, scenes_to_keep_off
    from roadworthy.review import parse_options
    from roadworthy.variants import explained, generate_set, unsolvable_folder

    if explain:
        for subject in subjects:
            for told in explained(Path(subject)):
                print_json(told) if as_json else click.echo(told.sentence)
        return ExitCode.OK
    if not name or out is None:
        raise click.UsageError("give --generator and --out, or --explain")
    given = parse_options(options)
    entry = registry().resolve("generators", name)
    generator = FactorySpec("generators", entry.spec, given, "--generator")
    generator.build()  # so that a wrong option is said before scenes are read
    with counting("scenes varied") as say:
        made = generate_set(
            scenes_named(subjects, data),
            generator.build,
            name,
            count,
            seed,
            out,
            options=given,
            reaction_s=reaction,
            against={subject: scenes_to_keep_off(subject, data) for subject in against},
            reference=reference,
            workers=workers,
            progress=lambda done, total: say(done, total, ""),
        )
    if as_json:
        print_json(made)
        return ExitCode.OK
    title = f"{out}: {made.stored} variants of {made.parents} scenes"
    print_table(title, ("weakest manoeuvre", "variants"), list(made.labels.items()), ("variants",))
    refused = ", ".join(f"{word} {number}" for word, number in made.refused.items()) or "none"
    click.echo(
        f"{title}; {made.asked} asked for, {made.made} made, refused: {refused}; "
        f"{len(made.barren)} scenes without a variant",
        err=True,
    )
    for parent, reason in made.unfit.items():
        click.echo(f"not varied: {parent}: {reason}", err=True)
    if made.reference:
        failed = f"; it failed with an error in {made.untried}" if made.untried else ""
        click.echo(f"{made.reference} survives {made.survived} of {made.stored}{failed}", err=True)
    if made.labels.get("unsolvable"):
        click.echo(f"kept apart: {unsolvable_folder(out)}", err=True)
    return ExitCode.OK
