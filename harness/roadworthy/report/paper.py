"""For a paper: the headline table in LaTeX, and the plots as SVG or PDF files that stand alone."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import escape

from roadworthy.comparison.pairing import Entry, contestants
from roadworthy.errors import RunError, install_hint
from roadworthy.report.numbers import format_value
from roadworthy.report.plots import HEIGHT, WIDTH, histograms
from roadworthy.report.view import Column, View, view_of
from roadworthy.report.view import Entry as Row
from roadworthy.store import write_file

__all__ = ["write_latex", "write_plots"]

_SERIES = ("#0b5cad", "#c25400", "#00795a", "#8e3a80", "#6b6300", "#006f94", "#9a2f2f", "#4f5a66")
_FAMILY = "Vera"
_HEAD, _EDGE = 20.0, 6.0
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


def write_plots(entries: Iterable[Entry], out: Path, formats: Sequence[str] = ("svg",)) -> Path:
    """Write `plots/<column>.svg`, one histogram with its legend per column, or `.pdf`, or both.

    Raises:
        RunError: if PDF is asked for and the libraries that it takes are not installed.
    """
    if "pdf" in formats:
        _use_embedded_font()
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    view = view_of(contestants(entries))
    labels = [entry.label for entry in view.entries]
    for column, drawn in histograms(view):
        picture = _figure(column, str(drawn), labels).encode(errors="replace")
        name = re.sub(r"[^\w.-]+", "_", column.label)
        if "svg" in formats:
            write_file(folder / f"{name}.svg", picture)
        if "pdf" in formats:
            write_file(folder / f"{name}.pdf", _pdf(picture, column.label))
    return folder


def _figure(column: Column, drawn: str, labels: Sequence[str]) -> str:
    """A histogram with a heading above it and a legend below."""
    colours = "".join(f".series-{i}{{fill:{c}}}" for i, c in enumerate(_SERIES))
    legend, bottom = _legend(labels)
    unit = f" [{column.unit}]" if column.unit else ""
    better = "" if column.better == "neither" else f", {column.better} is better"
    height = _HEAD + HEIGHT + bottom
    body = drawn[drawn.index(">") + 1 : drawn.rindex("</svg>")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:g}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH:g} {height:g}">'
        f"<title>{escape(column.label)}</title>"
        f"<style>{colours}.axis{{stroke:#999;fill:none}}"
        f"text{{font-family:{_FAMILY},sans-serif;font-size:9px;fill:#444}}"
        ".head{font-size:11px;fill:#111}.end{text-anchor:end}.middle{text-anchor:middle}</style>"
        f'<text class="head" x="6" y="12">{escape(column.label + unit)}'
        f'<tspan fill="#666" font-size="9">{escape(better)}</tspan></text>'
        f'<g transform="translate(0 {_HEAD:g})">{body}</g>'
        f'<g transform="translate(0 {_HEAD + HEIGHT:g})">{legend}</g></svg>\n'
    )


def _legend(labels: Sequence[str]) -> tuple[str, float]:
    """A swatch and a name per planner, in as many rows as it takes; and their height."""
    x, y, parts = _EDGE, 8.0, []
    for i, label in enumerate(labels):
        wide = 12.0 + 5.4 * len(label) + 10.0
        if x > _EDGE and x + wide > WIDTH:
            x, y = _EDGE, y + 14.0
        colour = f"series-{i % len(_SERIES)}"
        parts.append(
            f'<rect class="{colour}" x="{x:g}" y="{y - 7:g}" width="8" height="8"/>'
            f'<text x="{x + 12:g}" y="{y:g}">{escape(label)}</text>'
        )
        x += wide
    return "".join(parts), y + 6.0


def _use_embedded_font() -> None:
    """Have svglib write text in a font that PDF files carry with them, as publishers want it."""
    try:
        fonts: Any = importlib.import_module("svglib.fonts")
    except ImportError:
        raise RunError(
            "writing a .pdf takes svglib",
            hint=f"{install_hint('paper')}, or use --svg.",
        ) from None
    fonts.register_font(_FAMILY, f"{_FAMILY}.ttf")  # which reportlab brings


def _pdf(picture: bytes, title: str) -> bytes:
    svglib: Any = importlib.import_module("svglib.svglib")
    render: Any = importlib.import_module("reportlab.graphics.renderPDF")
    canvas: Any = importlib.import_module("reportlab.pdfgen.canvas")
    drawing = svglib.svg2rlg(io.BytesIO(picture))
    out = io.BytesIO()
    size = (drawing.width, drawing.height)
    page = canvas.Canvas(out, pagesize=size, initialFontName=_FAMILY, invariant=True)
    page.setTitle(title)
    defaults = importlib.import_module("reportlab.graphics.shapes").STATE_DEFAULTS
    default = defaults["fontName"]  # listed in the file though nothing is written in it
    defaults["fontName"] = _FAMILY
    try:
        render.draw(drawing, page, 0, 0)
    finally:
        defaults["fontName"] = default
    page.save()
    return out.getvalue()


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
