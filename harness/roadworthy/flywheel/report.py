"""Pages of a flywheel: what every arm did, and before against after, case by case."""

from __future__ import annotations

import base64
import io
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup, escape

from roadworthy.compare import CaseRef, Comparison, compare
from roadworthy.errors import RunError
from roadworthy.flywheel.curves import read_curves
from roadworthy.flywheel.evaluating import RUN
from roadworthy.flywheel.hindsight import Hindsight, read_lookbacks
from roadworthy.flywheel.results import Cell, DataEquivalence, Results, read_results
from roadworthy.flywheel.turning import BASE
from roadworthy.gate import RuleVerdict
from roadworthy.pairing import Contestant
from roadworthy.replay import load_map, load_replay, replay_path
from roadworthy.report import write_report
from roadworthy.report.lines import draw_lines
from roadworthy.report.numbers import format_value
from roadworthy.report.page import render
from roadworthy.report.plots import forest
from roadworthy.scenario import AgentKind
from roadworthy.store import CaseRecord, read_run, write_file

__all__ = ["before_after", "write_flywheel_report"]

BEFORE_AFTER = "before-after"
_STILLS = 4
_KINDS = {AgentKind.VEHICLE: "vehicle", AgentKind.PEDESTRIAN: "pedestrian",
          AgentKind.BICYCLE: "bicycle"}  # fmt: skip


def write_flywheel_report(folder: Path) -> Path:
    """Write `report.html`, and for the last arm `before-after/report.html`.

    Args:
        folder: of a finished flywheel.

    Returns:
        The path of the first page.

    Raises:
        RunError: it is not finished, or cannot be written.
    """
    results = read_results(folder)
    manifest = _manifest(folder)
    arms = [arm for arm in results.arms if not arm.startswith(BASE)]
    detail = ""
    if arms:
        before_after(folder, results, arms[-1], results.seeds[0], folder / BEFORE_AFTER)
        detail = f"{BEFORE_AFTER}/report.html"
    page = _page(results, manifest, folder, detail, arms[-1] if arms else "")
    write_file(folder / "report.html", page.encode(errors="replace"))
    write_file(folder / "summary.md", _markdown(results).encode())
    return folder / "report.html"


def before_after(folder: Path, results: Results, arm: str, seed: int, out: Path) -> Path:
    """The report of one arm against the base: the paired table, collisions by kind, cases fixed
    and broken with their replays side by side, training curves, and the protocol.

    Raises:
        RunError: there is no such arm or seed.
    """
    runs = {}
    for label in (BASE, arm):
        wanted = (label, seed, "test", False)
        stage = next(
            (e.stage for e in results.evaluations if (e.arm, e.seed, e.set, e.open_loop) == wanted),
            None,
        )
        if stage is None:
            raise RunError(f"{folder}: arm {label!r} was not evaluated with seed {seed}")
        runs[label] = read_run(folder / "stages" / stage / RUN)
    players = [Contestant(run, label, label) for label, run in runs.items()]
    comparison = compare(players)
    sections = [
        ("Collisions by kind", _collisions(players)),
        ("Fixed and broken", _stills(players, comparison)),
        ("Hindsight", _hindsight(folder, results, arm) if seed == results.seeds[0] else Markup()),
        ("Rounds", _rounds(results, arm, seed)),
        ("Training curves", _curves(folder, results, arm, seed)),
    ]
    title = f"{results.name}: {arm} against {BASE}, seed {seed}"
    page = write_report(
        players, out, title=title, comparison=comparison,
        sections=[(name, body) for name, body in sections if body],
    )  # fmt: skip
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=2)
    write_file(out / "comparison.json", text + b"\n")
    return page


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode((folder / "flywheel.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise RunError(f"{folder / 'flywheel.json'}: {error}") from error
    return found


# Sections of the before/after report


def _collisions(players: Sequence[Contestant]) -> Markup:
    """At-fault collisions of each planner, by whom it met and how."""
    counts: list[Counter[tuple[str, str]]] = []
    for player in players:
        found: Counter[tuple[str, str]] = Counter()
        for record in player.records:
            found.update(_met(player, record))
        counts.append(found)
    kinds = sorted({kind for count in counts for kind in count})
    if not kinds:
        return Markup("<p>No case has an at-fault collision.</p>")
    rows = [(whom, how, [count[whom, how] for count in counts]) for whom, how in kinds]
    rows.append(("all", "", [count.total() for count in counts]))
    head = "".join(f'<th scope="col" class="number">{escape(p.label)}</th>' for p in players)
    body = "".join(
        f'<tr><th scope="row">{escape(whom)}</th><td>{escape(how.replace("_", " "))}</td>'
        + "".join(f'<td class="number">{n}</td>' for n in numbers)
        + f'<td class="number {_word(numbers[-1] - numbers[0], "lower")}">'
        f"{numbers[-1] - numbers[0]:+d}</td></tr>"
        for whom, how, numbers in rows
    )
    return Markup(
        '<div class="scroll"><table><thead><tr><th scope="col">With</th><th scope="col">How</th>'
        f'{head}<th scope="col" class="number">change</th></tr></thead><tbody>{body}</tbody>'
        '</table></div><p class="note">At-fault collisions, each agent once per case.</p>'
    )


def _met(player: Contestant, record: CaseRecord) -> set[tuple[str, str]] | list[tuple[str, str]]:
    events = {
        (e["agent"], str(e.get("how", "")))
        for several in record.events.values()
        for e in several
        if e.get("kind") == "collision" and e.get("at_fault") and isinstance(e.get("agent"), int)
    }
    if not events:
        return []
    kinds = _agent_kinds(player, record)
    return [
        (_KINDS.get(AgentKind(kinds[agent]), "object") if agent < len(kinds) else "anyone", how)
        for agent, how in sorted(events)
    ]


def _agent_kinds(player: Contestant, record: CaseRecord) -> list[int]:
    try:
        replay = load_replay(player.run.path, player.planner, record.key)
    except RunError:
        return []
    return [int(kind) for kind in replay.agents_kind]


def _stills(players: Sequence[Contestant], comparison: Comparison) -> Markup:
    """The moments at which cases were fixed or broken, both drives side by side."""
    transitions = comparison.challenges[0].transitions
    parts = []
    for word, refs in (("Fixed", transitions.fixed), ("Broken", transitions.broken)):
        shown = [picture for ref in refs[: 4 * _STILLS] if (picture := _still(players, ref))]
        if not refs:
            parts.append(f"<h3>{word}</h3><p>No case.</p>")
            continue
        items = "".join(
            f'<li><figure><img src="{source}" alt="{escape(text)}" width="880" height="440">'
            f'<figcaption><a href="#case={escape(ref)}">{escape(text)}</a></figcaption>'
            "</figure></li>"
            for source, text, ref in shown[:_STILLS]
        )
        parts.append(f'<h3>{word}: {len(refs)}</h3><ul class="stills">{items}</ul>')
    note = (
        f'<p class="note">The first {_STILLS} of each, at the moment when the one that failed '
        "failed first. The link plays both drives side by side.</p>"
    )
    return Markup("".join(parts) + note)


def _still(players: Sequence[Contestant], ref: CaseRef) -> tuple[str, str, str] | None:
    from roadworthy.report.drawing import Pane, draw_step
    from roadworthy.report.reasons import reasons_of

    panes: list[Pane] = []
    moments: list[int] = []
    reason = ""
    for player in players:
        if not replay_path(player.run.path, player.planner, ref.key).is_file():
            return None
        record = next(r for r in player.records if r.key == ref.key)
        failures = [r for r in reasons_of(record, player.run.manifest.metrics) if r.level != "near"]
        replay = load_replay(player.run.path, player.planner, ref.key)
        steps = tuple(r.step for r in failures if r.step >= 0)
        panes.append(Pane(player.label, replay, load_map(player.run.path, replay.map_hash), steps))
        moments += steps
        reason = reason or (failures[0].text if failures else "")
    step = min(moments) if moments else max(pane.steps for pane in panes)
    picture = draw_step(panes, step, 440).quantize(64)
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return source, f"{ref.scenario}: {reason}, {step / 10:.1f} s", ref.key[:12]


def _hindsight(folder: Path, results: Results, arm: str) -> Markup:
    """Whether base and arm could have known better before they failed, and the arm's cases."""
    known = {
        label: read_lookbacks(folder / "stages" / results.lookbacks[label])
        for label in (BASE, arm)
        if label in results.lookbacks
    }
    if not any(one.hindsight for several in known.values() for one in several):
        return Markup("")
    head = "".join(
        f'<tr><th scope="row"><bdi>{escape(label)}</bdi></th>'
        + "".join(
            f'<td class="number" data-label="{name}">{value}</td>'
            for name, value in _tally([one.hindsight for one in several if one.hindsight])
        )
        + "</tr>"
        for label, several in known.items()
    )
    names = "".join(f'<th scope="col" class="number">{name}</th>' for name, _ in _tally([]))
    rows = "".join(
        f'<tr><th scope="row"><a href="#case={escape(one.key[:12])}"><bdi>{escape(one.scenario)}'
        f'</bdi></a></th><td data-label="reason">{escape(one.reason.replace("_", " "))}</td>'
        f'<td class="number" data-label="looked at [s before]">{said.seconds:.1f}</td>'
        f'<td class="number" data-label="ways out">{said.ways_out} of {said.proposals}</td>'
        f'<td class="number" data-label="reward driven">{format_value(said.driven)}</td>'
        f'<td class="number" data-label="best">{format_value(said.best)}</td></tr>'
        for one in sorted(known.get(arm, []), key=lambda o: (_regret(o.hindsight), o.key))
        if (said := one.hindsight) is not None
    )
    return Markup(
        '<div class="scroll" role="region" aria-label="Hindsight" tabindex="0">'
        f'<table class="stack"><thead><tr><th scope="col">Planner</th>{names}</tr></thead>'
        f"<tbody>{head}</tbody></table>"
        "</div><details><summary>Failures of "
        f'{escape(arm)}, by regret</summary><div class="scroll"><table class="stack"><thead><tr>'
        '<th scope="col">Case</th><th scope="col">Reason</th><th scope="col" class="number">Looked '
        'at [s before]</th><th scope="col" class="number">Ways out</th><th scope="col" '
        'class="number">Reward driven</th><th scope="col" class="number">Best</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
        '<p class="note">Collisions and lane departures of the set test. About 2 s before each, '
        "every proposal of the planner is scored by the dense reward against what the others then "
        "did. A way out meets nobody at fault and stays on the road for 4 s. Where there was one, "
        "the planner could have known better; where there was none, its vocabulary, or the moments "
        "before, are to blame. Regret: the best reward less that of what was driven.</p>"
    )


def _tally(said: Sequence[Hindsight]) -> list[tuple[str, str]]:
    """Failures looked at, with and without a way out, and the median regret."""
    out = sum(one.ways_out > 0 for one in said)
    regret = statistics.median(one.best - one.driven for one in said) if said else None
    return [
        ("failures looked at", str(len(said))),
        ("had a way out", str(out)),
        ("had none", str(len(said) - out)),
        ("regret, median", format_value(regret)),
    ]


def _regret(said: Hindsight | None) -> float:
    return said.driven - said.best if said else 0.0


def _rounds(results: Results, arm: str, seed: int | None = None) -> Markup:
    """A row per round: what it was trained on, and what the rules said of it."""
    rows = []
    mine = [one for one in results.rounds if one.arm == arm and seed in (None, one.seed)]
    gated = any(one.verdicts or one.note for one in mine)
    for one in mine:
        rules = "".join(_rule(verdict) for verdict in one.verdicts)
        data = ", ".join(f"{n} {name}" for name, n in one.scenes.items())
        options = ", ".join(f"{name} = {value}" for name, value in one.options.items())
        outcome = "passed" if one.accepted else "fail"
        word = (
            ("accepted" if one.verdicts else "kept, not gated") if one.accepted else "rolled back"
        )
        told = f'<ul class="rules">{rules}</ul>{escape(one.note)}'
        rows.append(
            f'<tr><th scope="row">seed {one.seed}, round {one.number}</th><td data-label="Outcome">'
            f'<span class="level {outcome}">{word if one.scenes else "not begun"}</span></td>'
            f'<td data-label="Trained on">{escape(data)}</td>'
            f'<td data-label="Options">{escape(options)}</td>'
            + (f'<td data-label="Rules">{told}</td>' if gated else "")
            + "</tr>"
        )
    if not rows:
        return Markup("")
    last = '<th scope="col">Rules, on the validation set</th>' if gated else ""
    return Markup(
        f'<div class="scroll" role="region" aria-label="Rounds of {escape(arm)}" tabindex="0">'
        '<table class="told stack rounds"><thead><tr><th scope="col">Round</th>'
        '<th scope="col">Outcome</th><th scope="col">Trained on</th><th scope="col">Options</th>'
        f"{last}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _rule(verdict: RuleVerdict) -> str:
    """A rule, whether it held, and by which figures."""
    word = "met" if verdict.passed else "not met" if verdict.judged else "not judged"
    return (
        f'<li><span class="level {"passed" if verdict.passed else "fail"}">{word}</span> '
        f'{escape(verdict.rule)}.<br><span class="of">{escape(verdict.reason)}</span></li>'
    )


def _curves(folder: Path, results: Results, arm: str, seed: int) -> Markup:
    """Of pre-training, and of each round of an arm."""
    trained = [(BASE, folder / results.checkpoints[f"{BASE}/{seed}"])] if (
        f"{BASE}/{seed}" in results.checkpoints
    ) else []  # fmt: skip
    for one in results.rounds:
        if one.arm == arm and one.seed == seed and one.trained:
            for checkpoint in sorted((folder / "stages" / one.trained).rglob("*")):
                if checkpoint.is_dir() and read_curves(checkpoint):
                    trained.append((f"{arm}, round {one.number}", checkpoint))
    parts = []
    for label, checkpoint in trained:
        figures = "".join(
            f"<figure><figcaption><strong>{escape(c.name)}</strong></figcaption>"
            f"{draw_lines(f'{label}: {c.name}', [(0, c.name, c.steps, c.values)])}</figure>"
            for c in read_curves(checkpoint)
        )
        if figures:
            parts.append(f'<h3>{escape(label)}</h3><div class="plots">{figures}</div>')
    return Markup("".join(parts))


# The page of all arms


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
        rounds=[(arm, _rounds(results, arm)) for arm in arms if _rounds(results, arm)],
        curves=_curves(folder, results, last, results.seeds[0]) if last else "",
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
             "word": _word(difference, cell.better) if clear else ""}
        )  # fmt: skip
    return shown


def _word(change: float, better: str) -> str:
    if not change or better == "neither":
        return ""
    return "gain" if (change > 0) == (better == "higher") else "loss"


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
    import math

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
