"""The page of a flywheel: what every arm did on every set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup, escape

from roadworthy.errors import RunError
from roadworthy.flywheel.before_after import before_after
from roadworthy.flywheel.results import Cell, DataEquivalence, Results, read_results
from roadworthy.flywheel.sections import gain_or_loss, rounds_table, training_curves
from roadworthy.flywheel.units import BASE
from roadworthy.plainfile import read_plain
from roadworthy.report.lines import draw_lines
from roadworthy.report.numbers import format_value
from roadworthy.report.page import render
from roadworthy.report.plots import forest
from roadworthy.store import write_file

__all__ = ["write_flywheel_report"]

BEFORE_AFTER = "before-after"


def write_flywheel_report(folder: Path) -> Path:
    """Write `report.html`, and for the last arm that saw every family `before-after/report.html`.

    Args:
        folder: of a finished flywheel.

    Returns:
        The path of the first page.

    Raises:
        RunError: it is not finished, or cannot be written.
    """
    results = read_results(folder)
    manifest = _manifest(folder)
    arms = manifest["flywheel"]["arms"]
    seeing = [arm for arm in arms if not arm.get("without")] or arms
    last, detail = "", ""
    if seeing:
        last, detail = seeing[-1]["name"], f"{BEFORE_AFTER}/report.html"
        before_after(folder, results, last, results.seeds[0], folder / BEFORE_AFTER)
    page = _page(results, manifest, folder, detail, last)
    write_file(folder / "report.html", page.encode(errors="replace"))
    write_file(folder / "summary.md", _markdown(results).encode())
    return folder / "report.html"


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(read_plain(folder / "flywheel.json"), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RunError(f"{folder / 'flywheel.json'}: {error}") from error
    return found


def _page(results: Results, manifest: dict[str, Any], folder: Path, detail: str, last: str) -> str:
    arms = [arm for arm in results.arms if not arm.startswith(BASE)]
    return render(
        "flywheel.html",
        ("base.css", "parts.css", "phone.css"),
        (),
        results=results,
        wheel=manifest["flywheel"],
        provenance=manifest["provenance"],
        blocks=list(_blocks(results)),
        families=list(_families(results, manifest["flywheel"])),
        rounds=[(arm, table) for arm in arms if (table := rounds_table(results, arm))],
        curves=training_curves(folder, results, last, results.seeds[0]) if last else "",
        scaling=[(e, _scaling_plot(results, e)) for e in results.equivalence],
        detail=detail,
        last=last,
    )


def _blocks(results: Results) -> Iterator[dict[str, Any]]:
    """A table per set, simulator and group of scenes: columns of scores down, arms across."""
    places = dict.fromkeys((c.set, c.open_loop, c.group) for c in results.table)
    for place in sorted(places, key=lambda p: (p[0] != "test", p[0], p[1], p[2] != "rare")):
        if place[2] not in ("rare", "common"):
            continue
        cells = [c for c in results.table if (c.set, c.open_loop, c.group) == place]
        columns = [n for n in results.headline if any(c.column == n for c in cells)]
        columns = columns or list(dict.fromkeys(c.column for c in cells))[:8]
        by = {(c.arm, c.column): c for c in cells}
        arms = [arm for arm in results.arms if any(c.arm == arm for c in cells)]
        yield {
            "set": place[0],
            "open_loop": place[1],
            "group": place[2],
            "scenes": max(c.scenes for c in cells),
            "errors": sum({c.arm: c.errors for c in cells}.values()),
            "rows": [_across(n, [by.get((arm, n)) for arm in arms]) for n in columns],
            "arms": arms,
        }


def _across(column: str, cells: Sequence[Cell | None]) -> dict[str, Any]:
    """A row: one column of scores of several arms."""
    known = [(i, *cell.mean) for i, cell in enumerate(cells) if cell is not None]
    return {
        "column": column,
        "better": next((cell.better for cell in cells if cell is not None), "neither"),
        "cells": [_shown(cell) for cell in cells],
        "forest": forest(known),
    }


def _shown(cell: Cell | None) -> dict[str, Any] | None:
    """A cell as text: mean, interval, and the change against the base."""
    if cell is None or cell.mean[0] is None:
        return None
    shown: dict[str, Any] = {
        "mean": format_value(cell.mean[0]),
        "interval": f"{format_value(cell.mean[1])} to {format_value(cell.mean[2])}",
        "changes": [],
    }
    for other, numbers in cell.against.items():
        difference, low, high, relative, relative_low, relative_high = numbers
        if difference is None:
            continue
        if cell.better == "lower" and relative is not None:
            text = f"{relative:+.0%}".replace("-", "−")
            ends = (relative_low, relative_high)
            spread = " to ".join("–" if x is None else f"{x:+.0%}".replace("-", "−") for x in ends)
        else:
            text = f"{'+' if difference > 0 else ''}{format_value(difference)}"
            spread = f"{format_value(low)} to {format_value(high)}"
        clear = low is not None and high is not None and (low > 0 or high < 0)
        shown["changes"].append(
            {"other": other, "text": text, "interval": spread,
             "word": gain_or_loss(difference, cell.better) if clear else ""}
        )  # fmt: skip
    return shown


def _families(results: Results, wheel: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rare families that an arm did not see: base, the arm with them, the arm without."""
    for arm in wheel["arms"]:
        if not arm.get("without"):
            continue
        family = arm["without"][0]
        labels = [BASE, *([arm["reference"]] if arm.get("reference") else []), arm["name"]]
        own = {n: results.cell(arm["name"], "test", family, n) for n in results.headline}
        yield {
            "family": family,
            "scenes": max((cell.scenes for cell in own.values() if cell), default=0),
            "arms": labels,
            "rows": [
                _across(n, [results.cell(label, "test", family, n) for label in labels])
                for n, cell in own.items()
                if cell
            ],
        }


def _scaling_plot(results: Results, found: DataEquivalence) -> Markup:
    """Imitation over data, and the arm's level across it."""
    curve = [BASE if m == 1 else f"{BASE}-{m}x" for m in found.multiples]
    both = []
    for group in ("rare", "common"):
        cells = [results.cell(label, "test", group, found.column) for label in curve]
        level = results.cell(found.arm, "test", group, found.column)
        if level is None or level.mean[0] is None or any(
            c is None or c.mean[0] is None for c in cells
        ):  # fmt: skip
            continue
        known = [c.mean for c in cells if c is not None]
        x = [math.log2(m) for m in found.multiples]
        picture = draw_lines(
            f"{found.column} on {group} scenes over the multiple of the data",
            [(0, "imitation", x, [float(m[0] or 0.0) for m in known])],
            bands=[([_or_nan(m[1]) for m in known], [_or_nan(m[2]) for m in known])],
            levels=[(1, found.arm, level.mean[0], level.mean[1], level.mean[2])],
            ticks=[(math.log2(m), f"{m}x") for m in found.multiples],
            points=True,
        )
        both.append(
            f"<figure><figcaption><strong>{escape(found.column)}</strong>, {group} scenes"
            f"</figcaption>{picture}</figure>"
        )
    return Markup(f'<div class="plots">{"".join(both)}</div>')


def _or_nan(x: float | None) -> float:
    return float("nan") if x is None else x


def _markdown(results: Results) -> str:
    """The tables in Markdown."""
    lines = [f"# {results.name}", "", f"Seeds: {', '.join(map(str, results.seeds))}.", ""]
    for block in _blocks(results):
        how = "open loop" if block["open_loop"] else "closed loop"
        lines += [f"## {block['set']}, {block['group']} scenes, {how} ({block['scenes']})", ""]
        lines.append("| | " + " | ".join(block["arms"]) + " |")
        lines.append("|---" * (len(block["arms"]) + 1) + "|")
        for row in block["rows"]:
            texts = []
            for cell in row["cells"]:
                if cell is None:
                    texts.append("–")
                    continue
                change = next((c for c in cell["changes"] if c["other"] == BASE), None)
                more = f"; {change['text']} [{change['interval']}]" if change else ""
                texts.append(f"{cell['mean']} [{cell['interval']}]{more}")
            lines.append(f"| {row['column']} | " + " | ".join(texts) + " |")
        lines.append("")
    for found in results.equivalence:
        lines += [f"Data equivalence of {found.arm} by {found.column} on {found.group} scenes: "
                  f"{found.words}.", ""]  # fmt: skip
    return "\n".join(lines)
