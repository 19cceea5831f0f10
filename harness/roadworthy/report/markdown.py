"""`summary.md`: the run on one screen, as GitHub shows it in a job summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from roadworthy.comparison.casetable import column_name
from roadworthy.comparison.compare import Comparison
from roadworthy.comparison.leaderboard import Leaderboard
from roadworthy.report.numbers import format_value
from roadworthy.report.verdicts import Verdicts
from roadworthy.report.view import Case, Entry, View
from roadworthy.summary import ColumnSummary

__all__ = ["markdown_of", "markdown_table"]

_REASONS = 15
_WORST = 10


def markdown_of(view: View, verdicts: Verdicts) -> str:
    """The summary: headline table, comparison, denominators, reasons, worst cases, notices."""
    parts = [f"# {_text(view.title)}", _opening(view)]
    arrows = {"higher": " ↑", "lower": " ↓", "neither": ""}
    head = ["planner", "ok / cases", *(c.label + arrows[c.better] for c in view.headline)]
    rows = []
    for entry in view.entries:
        cells = [_name(entry), f"{entry.ok} / {entry.summary.cases}"]
        for column in view.headline:
            found = entry.column(column)
            cells.append(_figure(found))
        rows.append(cells)
    parts.append(markdown_table(head, rows))
    if verdicts.refused:
        parts.append(f"**Not compared:** {_text(verdicts.refused)}")
    if verdicts.ranking and len(view.entries) > 2:
        parts += ["## Ranking", _ranking(verdicts.ranking)]
    if verdicts.comparison:
        parts += _comparison(verdicts.comparison)
    if view.reasons:
        parts.append("## Failures by reason")
        labels = [entry.label for entry in view.entries]
        found_reasons = [
            [reason.text, reason.level, *(str(n) for n in counts)]
            for reason, counts in view.reasons[:_REASONS]
        ]
        parts.append(markdown_table(["reason", "kind", *labels], found_reasons))
        if len(view.reasons) > _REASONS:
            parts.append(f"and {len(view.reasons) - _REASONS} more reasons in report.html")
    worst = [c for c in view.worst if any(r is not None and r.failed for r in c.results)]
    if worst:
        parts.append("## Worst cases")
        parts.append(
            markdown_table(
                ["case", *(entry.label for entry in view.entries)],
                [
                    [case.name, *(_outcome(view, case, i) for i in range(len(view.entries)))]
                    for case in worst[:_WORST]
                ],
            )
        )
    notices = [notice for run in view.runs for notice in run.manifest.notices]
    if notices:
        parts.append("## Notices")
        parts.append("\n".join(f"- {_text(notice)}" for notice in notices))
    return "\n\n".join(parts) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is left aligned, the others right."""
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    texts = [[cell if i == 1 else _text(cell) for cell in line] for i, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)


def _opening(view: View) -> str:
    said = []
    for run in view.runs:
        m = run.manifest
        state = "" if m.complete else ", **incomplete**"
        said.append(
            f"{m.scenarios} scenarios, {m.suite.get('repetitions', 1)} repetition(s), "
            f"seed {m.suite.get('seed', 0)}, simulator {_text(str(m.protocol.get('simulator')))}, "
            f"config `{m.config_hash[:12]}`, data `{m.data_hash[:12] or 'unknown'}`{state}."
        )
    if any(entry.privileged for entry in view.entries):
        said.append("† sees the whole log (privileged).")
    return "  \n".join(said)


def _ranking(board: Leaderboard) -> str:
    rows = [
        [
            s.place,
            s.label + (" †" if s.privileged else ""),
            format_value(s.value),
            f"{format_value(s.low)} to {format_value(s.high)}",
            f"{s.errors} / {s.cases}",
        ]
        for s in board.standings
    ]
    name = column_name(board.metric, board.column)
    return markdown_table(["rank", "planner", name, "95% interval", "errors"], rows)


def _comparison(comparison: Comparison) -> list[str]:
    parts = []
    for challenge in comparison.challenges:
        parts.append(f"## {_text(challenge.b.label)} against {_text(comparison.a.label)}")
        parts.append(challenge.transitions_sentence)
        rows = [
            [
                c.name,
                c.verdict or "no data",
                format_value(c.difference.value),
                f"{format_value(c.difference.low)} to {format_value(c.difference.high)}",
                "–" if c.p_holm is None else f"{c.p_holm:.3f}",
                str(c.scenarios),
            ]
            for c in challenge.headline
        ]
        head = ["metric", "verdict", "difference", "interval", "p (Holm)", "scenarios"]
        parts.append(markdown_table(head, rows))
    return parts


def _figure(found: ColumnSummary | None) -> str:
    if found is None or found.mean is None:
        return format_value(None)
    said = format_value(found.mean)
    if found.low is not None and found.high is not None:
        said += f" [{format_value(found.low)}, {format_value(found.high)}]"
    return f"{said} n={found.scenarios}"


def _name(entry: Entry) -> str:
    return entry.label + (" †" if entry.privileged else "")


def _outcome(view: View, case: Case, index: int) -> str:
    result = case.results[index]
    if result is None:
        return "not run"
    said = "; ".join(r.text for r in result.reasons)
    value = format_value(result.value(view.primary)) if view.primary else ""
    return f"{value} {said}".strip()


def _text(text: str) -> str:
    """On one line, with every character that Markdown or HTML could read escaped."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!@])", r"\\\1", flat)
