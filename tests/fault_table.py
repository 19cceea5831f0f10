"""What the fault tests have in common, and the table that `nox -s faults` makes of them.

A test calls `kept_through` at its end. Where ROADWORTHY_FAULTS names a file, a line is added to
it there; `python tests/fault_table.py FILE` prints them as a table.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadworthy.store import Run


@dataclass(frozen=True)
class Fault:
    """A fault, and what becomes of the case that it meets."""

    name: str
    outcome: str


def results(folder: Path) -> dict[str, bytes]:
    """What must be the same bytes after a fault."""
    return {name: (folder / name).read_bytes() for name in ("scores.csv", "summary.json")}


def finished(folder: Path) -> bytes:
    """The journal's lines of cases that are `ok` by now, in order of completion."""
    lines = (folder / "cases.jsonl").read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if b'"status":"ok"' in line and line.endswith(b"\n"))


def kept_through(
    fault: Fault,
    cases: int,
    run: Run,
    reference: Mapping[str, bytes],
    folder: Path,
    before: bytes = b"",
) -> None:
    """Asserts that no case was lost, the bytes are those of the run without the fault, and no case
    was driven again that was `finished` before the fault, or before the run went on."""
    lost = cases - len(run.records)
    equal = results(folder) == dict(reference)
    note = os.environ.get("ROADWORTHY_FAULTS")
    if note:
        line = {"fault": fault.name, "outcome": fault.outcome, "lost": lost, "equal": equal}
        with Path(note).open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert lost == 0
    assert equal
    not_driven_again(folder, before, cases)


def not_driven_again(folder: Path, before: bytes, cases: int) -> None:
    """Asserts that the journal begins with what it held `before`, and has one line per case."""
    journal = (folder / "cases.jsonl").read_bytes()
    assert journal.startswith(before)
    assert journal.count(b"\n") == cases


def table(lines: list[dict[str, object]]) -> str:
    """The table in Markdown: a row per fault, in order of first appearance."""
    rows = ["| fault | the case it met | times tried | cases lost | bytes equal after resume |"]
    rows.append("|---|---|---|---|---|")
    for name in dict.fromkeys(str(line["fault"]) for line in lines):
        mine = [line for line in lines if line["fault"] == name]
        lost = sum(int(str(line["lost"])) for line in mine)
        equal = sum(bool(line["equal"]) for line in mine)
        says = "yes" if equal == len(mine) else f"{equal} of {len(mine)}"
        rows.append(f"| {name} | {mine[0]['outcome']} | {len(mine)} | {lost} | {says} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]), end="")
