"""`roadworthy verify STORE...`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("verify")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...",
                type=click.Path(path_type=Path))  # fmt: skip
def command(stores: tuple[Path, ...]) -> ExitCode:
    """Test the certificates of stored variants again, by another method than that of the search.

    Every scene of a STORE must have one. Prints what does not hold, and ends with 1 if anything
    does not.
    """
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
