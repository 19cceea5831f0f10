"""The page of one arm: before against after, case by case."""

from __future__ import annotations

import base64
import io
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from markupsafe import Markup, escape

from roadworthy.comparison.compare import CaseRef, Comparison, compare
from roadworthy.comparison.pairing import Contestant
from roadworthy.errors import RunError
from roadworthy.flywheel.evaluating import RUN
from roadworthy.flywheel.hindsight import Hindsight, read_lookbacks
from roadworthy.flywheel.named import CHECKPOINT
from roadworthy.flywheel.results import Results
from roadworthy.flywheel.sections import gain_or_loss, rounds_table, training_curves
from roadworthy.flywheel.units import BASE
from roadworthy.replay import load_map, load_replay, replay_path
from roadworthy.report import write_report
from roadworthy.report.drawing import Pane, draw_step
from roadworthy.report.numbers import format_value
from roadworthy.report.reasons import reasons_of
from roadworthy.scenario import AgentKind
from roadworthy.store import CaseRecord, Run, read_run, write_file

__all__ = ["before_after"]

_STILLS = 4
_KINDS = {AgentKind.VEHICLE: "vehicle", AgentKind.PEDESTRIAN: "pedestrian",
          AgentKind.BICYCLE: "bicycle"}  # fmt: skip


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
        run = read_run(folder / "stages" / stage / RUN)
        runs[label] = _placed(run, label, results.checkpoints[f"{label}/{seed}"])
    players = [Contestant(run, label, label) for label, run in runs.items()]
    comparison = compare(players)
    sections = [
        ("Collisions by kind", _collisions(players)),
        ("Fixed and broken", _stills(players, comparison)),
        ("Hindsight", _hindsight(folder, results, arm) if seed == results.seeds[0] else Markup()),
        ("Rounds", rounds_table(results, arm, seed)),
        ("Training curves", training_curves(folder, results, arm, seed)),
    ]
    title = f"{results.name}: {arm} against {BASE}, seed {seed}"
    page = write_report(
        players, out, title=title, comparison=comparison,
        sections=[(name, body) for name, body in sections if body],
    )  # fmt: skip
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=2)
    write_file(out / "comparison.json", text + b"\n")
    return page


def _placed(run: Run, label: str, checkpoint: str) -> Run:
    """A run whose planner's checkpoint is told by its place in the flywheel's folder, wherever that
    lies."""
    planner = run.manifest.planners[label]
    told = {**planner, "options": {**planner["options"], CHECKPOINT: checkpoint}}
    planners = {**run.manifest.planners, label: told}
    return msgspec.structs.replace(
        run, manifest=msgspec.structs.replace(run.manifest, planners=planners)
    )


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
        + f'<td class="number {gain_or_loss(numbers[-1] - numbers[0], "lower")}">'
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
