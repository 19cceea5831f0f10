"""The headline table in LaTeX, and the plots as SVG files that stand alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from roadworthy.pairing import Entry, contestants
from roadworthy.report.numbers import format_value
from roadworthy.report.plots import histograms
from roadworthy.report.view import Column, View, view_of
from roadworthy.report.view import Entry as Row
from roadworthy.store import write_file

__all__ = ["write_latex", "write_plots"]

_SERIES = ("#0b5cad", "#c25400", "#00795a", "#8e3a80", "#6b6300", "#006f94", "#9a2f2f", "#4f5a66")
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def write_latex(entries: Iterable[Entry], out: Path) -> Path:
    """Write `table.tex`: the headline table with its intervals, for booktabs."""
    view = view_of(contestants(entries))
    path = out / "table.tex"
    write_file(path, _table(view).encode(errors="replace"))
    return path


def write_plots(entries: Iterable[Entry], out: Path) -> Path:
    """Write `plots/<column>.svg`, one histogram per column."""
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    colours = "".join(f".series-{i}{{fill:{c}}}" for i, c in enumerate(_SERIES))
    style = (
        f"<style>{colours}.axis{{stroke:#999;fill:none}}"
        "text{font:11px sans-serif;fill:#444}.end{text-anchor:end}</style>"
    )
    for column, drawn in histograms(view_of(contestants(entries))):
        text = str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        head, _, body = text.partition(">")
        name = re.sub(r"[^\w.-]+", "_", column.label)
        write_file(folder / f"{name}.svg", f"{head}>{style}{body}\n".encode())
    return folder


def _table(view: View) -> str:
    """A row per metric column, a column per planner."""
    arrows = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "neither": ""}
    marks = [r"$^\dagger$" if entry.privileged else "" for entry in view.entries]
    names = [_escape(e.label) + mark for e, mark in zip(view.entries, marks, strict=True)]
    lines = [
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\toprule",
        " & ".join(["Metric", *names]) + r" \\",
        r"\midrule",
    ]
    for column in view.headline:
        cells = [_cell(entry, column) for entry in view.entries]
        lines.append(" & ".join([_escape(column.label) + arrows[column.better], *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _cell(entry: Row, column: Column) -> str:
    found = entry.column(column)
    if found is None or found.mean is None:
        return "--"
    text = _number(found.mean)
    if found.low is not None and found.high is not None:
        text += rf" {{\scriptsize [{_number(found.low)}, {_number(found.high)}]}}"
    return text


def _number(value: float) -> str:
    return f"${format_value(value).replace('−', '-').replace(',', '{,}')}$"


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))
