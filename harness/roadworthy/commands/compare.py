"""`roadworthy compare A B [C ...]`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roadworthy.commands._options import OutPath
from roadworthy.commands._output import print_json, print_table
from roadworthy.exit_codes import ExitCode

if TYPE_CHECKING:
    from roadworthy.comparison.compare import Challenge, ColumnDifference, Comparison, Mean
    from roadworthy.comparison.pairing import Contestant
    from roadworthy.stats import Method

__all__ = ["command"]


@click.command("compare")
@click.argument("entries", metavar="A B [C ...]", nargs=-1, required=True)
@click.option("--effect", type=click.FloatRange(min=0.0, min_open=True),
              help="Say how many scenarios find this difference [the observed one].")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True,
              help="Of the intervals; 1 - this is the level of the tests.")  # fmt: skip
@click.option("--interval", type=click.Choice(["studentised", "bca"]), default="studentised",
              show_default=True, help="Which bootstrap.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="All columns, not the headline ones alone.")
@click.option("--out", type=OutPath(path_type=Path),
              help="Folder for comparison.json and the HTML report.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    entries: tuple[str, ...],
    effect: float | None,
    confidence: float,
    interval: str,
    everything: bool,
    out: Path | None,
    as_json: bool,
) -> ExitCode:
    """Compare planners with the first, case by case.

    Each of A, B, .. is a run directory, or DIRECTORY:PLANNER where it holds several. One
    directory alone compares its planners. Exits with 3 if cases had to be left out because a
    side ended in an error.
    """
    from roadworthy.comparison.compare import compare
    from roadworthy.comparison.pairing import read_contestants

    players = read_contestants(entries)
    method: Method = "bca" if interval == "bca" else "studentised"
    found = compare(players, confidence=confidence, method=method, effect=effect)
    page = _write(found, players, out) if out is not None else None
    if as_json:
        print_json(found)
    else:
        for challenge in found.challenges:
            _print(found, challenge, everything)
    if page is not None:
        click.echo(f"report: {page}", err=True)
    return ExitCode.INCOMPLETE if found.errors else ExitCode.OK


def _print(comparison: Comparison, challenge: Challenge, everything: bool) -> None:
    columns = challenge.columns if everything else challenge.headline
    a, b = comparison.a.label, challenge.b.label
    tty = sys.stdout.isatty()
    if tty:
        level = f"{comparison.confidence:.0%}"
        head = ["metric", "n", a, b, f"difference ({level})", "p", "p (Holm)", "verdict"]
        rows = [
            [c.name, c.scenarios, _number(c.a.value), _number(c.b.value), _range(c.difference, "+"),
             _p(c.p), _p(c.p_holm), c.verdict]
            for c in columns
        ]  # fmt: skip
        title = f"{b} against {a}: {challenge.cases} cases, {challenge.scenarios} scenarios"
        print_table(title, head, rows, right=head[1:-1])
    else:
        head = ["a", "b", "metric", "scenarios", "mean_a", "mean_b", "difference", "low", "high",
                "p", "p_holm", "verdict", "detectable", "needed"]  # fmt: skip
        print_table("", head, [[a, b, *_row(c)] for c in columns])
    for sentence in _remarks(comparison, challenge):
        click.echo(sentence, err=not tty)


def _row(c: ColumnDifference) -> list[object]:
    d = c.difference
    numbers = (c.a.value, c.b.value, d.value, d.low, d.high, c.p, c.p_holm)
    needed = "" if c.needed is None else c.needed
    cells = ["" if x is None else repr(x) for x in numbers]
    detectable = "" if c.detectable is None else f"{c.detectable:.6g}"
    return [c.name, c.scenarios, *cells, c.verdict, detectable, needed]


def _remarks(comparison: Comparison, challenge: Challenge) -> list[str]:
    """What the table cannot say: transitions, what was left out, and the power."""
    a, b = comparison.a.label, challenge.b.label
    out = [f"{b} against {a}: {challenge.transitions_sentence}"]
    for n, label in ((len(challenge.only_a), a), (len(challenge.only_b), b)):
        if n:
            out.append(f"unpaired: {n} cases are in {label} alone")
    for kind, n in challenge.errored_by_kind().items():
        out.append(f"left out: {n} cases ended {kind} ({a} / {b})")
    for side in (comparison.a, challenge.b):
        if side.privileged:
            out.append(f"note: {side.label} sees the whole log")
        if not side.complete:
            out.append(f"note: the run of {side.label} is not complete")
    if challenge.left_out:
        out.append(f"note: in one run alone: {', '.join(challenge.left_out)}")
    known = [c for c in challenge.headline if c.scenarios]
    same = [c.name for c in known if c.detectable is None and not c.difference.value]
    out += [c.power_sentence() for c in known if c.name not in same]
    if same:
        out.append(f"{', '.join(same)}: no scenario differs, so nothing is known of the spread.")
    return out


def _write(comparison: Comparison, players: tuple[Contestant, ...], out: Path) -> Path:
    import msgspec

    from roadworthy.report import write_report
    from roadworthy.store import write_file

    page = write_report(players, out, comparison=comparison)
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=2)
    write_file(out / "comparison.json", text + b"\n")
    return page


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.0e}" if 0.0 < abs(value) < 0.0005 else f"{value:{sign}.3f}"


def _range(mean: Mean, sign: str) -> str:
    if mean.low is None or mean.high is None:
        return _number(mean.value, sign)
    return f"{_number(mean.value, sign)} [{_number(mean.low, sign)}, {_number(mean.high, sign)}]"


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
