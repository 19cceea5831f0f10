"""Sections that both pages of a flywheel have: rounds, and curves of training."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup, escape

from roadworthy.comparison.gate import RuleVerdict
from roadworthy.flywheel.curves import read_curves
from roadworthy.flywheel.results import Results
from roadworthy.flywheel.units import BASE
from roadworthy.report.lines import draw_lines

__all__ = ["gain_or_loss", "rounds_table", "training_curves"]


def rounds_table(results: Results, arm: str, seed: int | None = None) -> Markup:
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


def training_curves(folder: Path, results: Results, arm: str, seed: int) -> Markup:
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


def gain_or_loss(change: float, better: str) -> str:
    """The style of a change: `gain`, `loss`, or none where neither is better."""
    if not change or better == "neither":
        return ""
    return "gain" if (change > 0) == (better == "higher") else "loss"
