"""`roadworthy verify RUN` and `roadworthy verify STORE...`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadworthy.commands._options import data_option
from roadworthy.exit_codes import ExitCode

if TYPE_CHECKING:
    from roadworthy.store import Manifest, Run

__all__ = ["command"]


@click.command("verify")
@click.argument("folders", nargs=-1, required=True, metavar="RUN|STORE...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--fingerprint", help="Of a run: what was signed off.")
@click.option("--sample", type=click.IntRange(0), default=8, show_default=True,
              help="Of a run: how many cases to drive again; 0 drives all of them.")  # fmt: skip
@click.option("--no-drive", is_flag=True, help="Of a run: check its files alone.")
@data_option("as it was")
@click.option("--suite", "suite_file", type=click.Path(path_type=Path),
              help="Where its suite file is now; relative paths start there.")  # fmt: skip
@click.option("--planner", "planners", multiple=True, metavar="LABEL=SPEC",
              help="Where a planner that is no plugin is now; repeatable.")  # fmt: skip
def command(
    folders: tuple[Path, ...],
    fingerprint: str | None,
    sample: int,
    no_drive: bool,
    data: Path | None,
    suite_file: Path | None,
    planners: tuple[str, ...],
) -> ExitCode:
    """Test whether a run is what it says: its files, its code, and a sample of its cases.

    Of a RUN, its files are held against the hashes that it ended with, its tables against its
    records, its plugins, checkpoints and scenarios against those of here, and some of its cases are
    driven again. No code is run that a run's folder names, but for registered plugins and what
    --planner says. Of a STORE, the certificates of variants are tested by another method than that
    of the search. Prints what does not hold, and ends with 1 if anything does not.
    """
    codes = []
    for folder in folders:
        if (folder / "run.json").is_file():
            codes.append(_verify_run(folder, fingerprint, sample, no_drive, data, suite_file,
                                     dict(p.partition("=")[::2] for p in planners)))  # fmt: skip
    stores = [folder for folder in folders if not (folder / "run.json").is_file()]
    if stores:
        codes.append(_verify_stores(stores))
    worst = (ExitCode.GATE_FAILED, ExitCode.INCOMPLETE, ExitCode.NO_SCENARIOS)
    return next((code for code in worst if code in codes), ExitCode.OK)


def _verify_run(
    folder: Path,
    expected: str | None,
    sample: int,
    no_drive: bool,
    data: Path | None,
    suite_file: Path | None,
    planners: dict[str, str],
) -> ExitCode:
    from roadworthy.signoff import check_derived, check_hashes, fingerprint
    from roadworthy.store import read_run

    run = read_run(folder)
    mark = fingerprint(folder)
    problems = check_hashes(folder) + check_derived(run)
    if expected and expected != mark:
        problems.append(f"the fingerprint is {mark}, and {expected} was signed off")
    if not run.manifest.complete:
        problems.append("the run is not complete")
    click.echo(f"{folder}: fingerprint {mark}, {len(run.records)} records")
    for note in _elsewhere(run.manifest):
        click.echo(f"note: {note}")
    undriven: list[str] = []
    if not no_drive and not problems:
        found, undriven = _drive_sample(run, mark, sample, data, suite_file, planners)
        problems += found
    for problem in problems:
        click.echo(f"{folder}: {problem}")
    for label in undriven:
        click.echo(f"{folder}: {label}: not driven again: it is no plugin; if you trust it, say "
                   f"where it is with --planner {label}=./file.py:Class")  # fmt: skip
    if problems:
        click.echo(f"{len(problems)} problems: this is not what was signed off", err=True)
        return ExitCode.GATE_FAILED
    return ExitCode.INCOMPLETE if undriven else ExitCode.OK


def _drive_sample(
    run: Run,
    mark: str,
    sample: int,
    data: Path | None,
    suite_file: Path | None,
    planners: dict[str, str],
) -> tuple[list[str], list[str]]:
    """Problems, and labels of planners that only the user can vouch for."""
    import msgspec

    from roadworthy.recorded import data_of, suite_of
    from roadworthy.runner import drive_again
    from roadworthy.seeding import derive_seed
    from roadworthy.signoff import TOLERANCE, compare_records

    suite = suite_of(run)
    given = [
        msgspec.structs.replace(c, name=_absolute(planners.get(c.label, c.name)))
        for c in suite.planners
    ]
    trusted = tuple(c for c in given if ":" not in c.name or c.label in planners)
    undriven = [c.label for c in given if c not in trusted]
    for config in (*suite.sources, suite.simulator, *suite.metrics):
        if ":" in config.name:
            return [f"{config.name!r} is no registered plugin, so nothing is driven again"], []
    if not trusted:
        return [], undriven
    suite = msgspec.structs.replace(suite, planners=trusted, path=str(suite_file or suite.path))
    labels = {config.label for config in trusted}
    able = [r for r in run.records if r.planner in labels and r.status in ("ok", "planner_error")]
    able.sort(key=lambda r: derive_seed(0, "verify", mark, r.planner, r.key))
    signed = {(r.planner, r.key): r for r in (able[:sample] if sample else able)}
    again = drive_again(run, suite, signed, data=data or data_of(run))
    problems = []
    for label, now in again.planners.items():
        then = run.manifest.planners[label]
        if now["content_hash"] != then["content_hash"]:
            problems.append(f"{label}: its code is not what was judged")
        if sorted(now["files"].values()) != sorted(then.get("files", {}).values()):
            problems.append(f"{label}: a file that its options name, such as a checkpoint, differs")
    for name, spec in again.metrics.items():
        if spec["version"] != run.manifest.metrics[name]["version"]:
            problems.append(f"metric {name}: version {spec['version']} here")
    if again.data_hash and again.data_hash != run.manifest.data_hash:
        problems.append(
            "the scenarios are not those that were driven (a source that makes scenes may make "
            "others on another processor, by a last bit: sign off runs of stored ones)"
        )
    exact, apart = 0, 0.0
    for record in again.records:
        then_record = signed.pop((record.planner, record.key))
        found = compare_records(then_record, record)
        exact += not found.places
        apart = max(apart, found.worst)
        if found.worst > TOLERANCE:
            problems.append(f"{record.planner}, {record.scenario}: differs in "
                            f"{', '.join(found.places[:5])}")  # fmt: skip
    problems += [f"{planner}, {r.scenario}: this scenario is not to be had here as it was"
                 for (planner, _), r in signed.items()]  # fmt: skip
    click.echo(f"{len(again.records)} cases driven again: {exact} in the same bits, "
               f"numbers at most {apart:.1g} apart")  # fmt: skip
    return problems, undriven


def _absolute(spec: str) -> str:
    return str(Path(spec).absolute()) if ".py:" in spec else spec


def _elsewhere(manifest: Manifest) -> list[str]:
    """How this machine differs from the one of the run; no problem in itself."""
    from roadworthy.provenance import collect

    then, now = manifest.provenance, collect()
    notes = []
    git = then.get("git") or {}
    if git.get("dirty"):
        notes.append("the run was made from a checkout with changes that no commit holds")
    for key in ("git", "python", "platform", "processor", "determinism"):
        if key in then and then[key] != now[key]:
            notes.append(f"{key}: {then[key]!r} then, {now[key]!r} here")
    packages = then.get("packages", {})
    for name in sorted(packages.keys() & now["packages"].keys()):
        if packages[name] != now["packages"][name]:
            notes.append(f"{name} {packages[name]} then, {now['packages'][name]} here")
    return notes


def _verify_stores(stores: list[Path]) -> ExitCode:
    from roadworthy.scenario import Rejected
    from roadworthy.scenario_store import ScenarioStore
    from roadworthy.solvability import read_certificates, recheck

    checked = 0
    problems = []
    for folder in stores:
        certificates = read_certificates(folder)
        for scene in ScenarioStore(folder).scenarios():
            name = f"{folder}: {scene.source}/{scene.id}"
            if isinstance(scene, Rejected):
                problems.append(f"{name}: {scene.reason}")
                continue
            checked += 1
            found = certificates.get(scene.hash)
            if found is None:
                problems.append(f"{name}: has no certificate")
            else:
                problems += [f"{name}: {problem}" for problem in recheck(scene, found)]
    for problem in problems:
        click.echo(problem)
    click.echo(f"{checked} certificates tested, {len(problems)} problems", err=True)
    if problems:
        return ExitCode.GATE_FAILED
    return ExitCode.OK if checked else ExitCode.NO_SCENARIOS
