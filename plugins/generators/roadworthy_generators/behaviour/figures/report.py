"""What was measured as one summary (`figures.json`), a table of it, and the severity curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.stats.intervals import interval_of_ratios

from roadworthy_generators.behaviour.figures.measure import REACTIONS, SHIPPED
from roadworthy_generators.behaviour.statistics import EDGES, divergence

__all__ = ["DIAL", "dial_svg", "summary", "table"]

Array = NDArray[np.float64]

DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)

_RATES = (
    ("fit", "raw variants that are fit", "fit", "raw", ""),
    ("likely", "of fit ones, within the realism bound", "likely", "fit", ""),
    ("fails", "planner fails, of raw", "fails", "raw", "at least 0.40"),
    ("unguided_fails", "planner fails, of as many unguided samples", "alone_fails", "alone", ""),
    ("perturbed_fails", "planner fails, of variants of perturb", "perturbed_fails", "perturbed",
     ""),
    ("certified", "certified at 1.0 s, of fails", "certified", "fails", "at least 0.90"),
    ("hard", "fails and certified at 1.0 s, of raw", "certified", "raw", "at least 0.30"),
    ("yields", "scenes and seeds that yield one", "yields", "one", "at least 0.75"),
    ("rechecked", "certificates that stand the second test", "rechecked", "certificates", ""),
    ("reference", "pdm-closed survives, of shipped", "reference", "shipped", "at least 0.70"),
    ("distinct", f"kinds and agents among up to {SHIPPED} shipped of a scene", "distinct", "yields",
     "at least 3"),
    ("off_road", "steps of vehicles off the road, shipped", "off", "steps", "logs + 0.005"),
    ("log_off_road", "the same, logs", "log_off", "log_steps", ""),
    ("overlap", "agents that overlap another, shipped", "met", "agents", "at most 1.2 x logs"),
    ("log_overlap", "the same, logs", "log_met", "log_agents", ""),
    ("score", "score after Waymo Sim Agents, guided", "guided", "scored", ""),
    ("unguided_score", "the same, unguided", "unguided", "scored", ""),
    ("score_lost", "what guidance costs of it", "lost", "scored", "at most 0.02"),
    ("min_ade", "minADE of 6 unguided samples over 6 s [m]", "ade", "predicted", ""),
    ("min_ade_idm", "the same of the intelligent driver model [m]", "idm", "predicted", ""),
    ("ade_cv", "the same of constant velocity [m]", "cv", "predicted", ""),
)  # fmt: skip
"""Key, words, numerator and denominator of each rate, and the goal."""

_DIVERGENCES = (
    ("scene", "divergence (JSD) of whole scenes from the logs", "shipped", "log", "at most 0.03"),
    ("adversary", "of all adversaries from all who move", "adversary", "log_mover",
     "at most 0.08"),
    ("vehicle", "of adversaries in vehicles from logged vehicles", "vehicle", "log_vehicle", ""),
    ("light", "of adversaries on foot or bicycle from logged ones", "walker", "log_walker", ""),
)  # fmt: skip


def summary(
    rows: Sequence[Mapping[str, Any]], dials: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All figures.

    Args:
        rows: of scenes and seeds, see `measure`.
        dials: of scenes, seeds and severities, see `measure.dial`.

    Returns:
        `scenes`, `rows`: how many. `rates`: by key `what`, `value`, `low`, `high` (95 % over
        scenes), `of` (the denominator), `goal`; `value` is None where nothing was measured.
        `divergences`: by key `what`, `value`, `goal` and `features`. `cost`: CPU ms of a raw
        variant and of a certificate. `kinds`, `labels`, `problems`: counts. `dial`: by severity
        `fit`, `fails`, and by reaction time `certified` and `certified_fails`. `histograms`: by
        feature `edges` and the counts of `adversary`, `vehicle`, `walker`, and those of the logs.
    """
    scenes = sorted({r["scene"] for r in rows})
    place = {name: i for i, name in enumerate(scenes)}

    def total(key: str) -> Array:
        out = np.zeros(len(scenes))
        for row in rows:
            out[place[row["scene"]]] += 1.0 if key == "one" else float(row.get(key, 0.0))
        return out

    def pooled(name: str) -> dict[str, Array]:
        out = {k: np.zeros(len(e) - 1) for k, e in EDGES.items()}
        for row in rows:
            for k, v in row["hist"].get(name, {}).items():
                out[k] += np.array(v)
        return out

    rates: dict[str, Any] = {}
    for key, what, top, bottom, goal in _RATES:
        a, b = total(top), total(bottom)
        rates[key] = {"what": what, "of": b.sum(), "goal": goal, "value": None}
        if b.sum():
            share = interval_of_ratios(a[:, None], b[:, None])[0]
            rates[key] |= {"value": share.value, "low": share.low, "high": share.high}
    apart: dict[str, Any] = {}
    for key, what, one, two, goal in _DIVERGENCES:
        first, second = pooled(one), pooled(two)
        each = {k: divergence(first[k], second[k]) for k in EDGES}
        value = float(np.mean(list(each.values())))
        apart[key] = {"what": what, "value": value, "goal": goal, "features": each}

    def counts(prefix: str) -> dict[str, int]:
        keys = sorted({k for r in rows for k in r if k.startswith(prefix)})
        return {k.removeprefix(prefix): int(total(k).sum()) for k in keys}

    return {
        "format": 1, "scenes": len(scenes), "rows": len(rows), "rates": rates,
        "divergences": apart,
        "cost": {
            "raw_ms": 1000 * total("seconds").sum() / max(1.0, total("raw").sum()),
            "certificate_ms": 1000 * total("certify_seconds").sum()
            / max(1.0, total("certificates").sum()),
        },
        "kinds": counts("kind_"), "labels": counts("label_"), "problems": counts("problem_"),
        "dial": [_step(s, dials) for s in sorted({d["severity"] for d in dials})],
        "histograms": {
            k: {"edges": EDGES[k].tolist()}
            | {
                name: pooled(name)[k].tolist()
                for name in ("adversary", "vehicle", "walker", "log_mover", "log_vehicle",
                             "log_walker")
            }
            for k in EDGES
        },
    }  # fmt: skip


def _step(severity: float, dials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    some = [d for d in dials if d["severity"] == severity]

    def total(key: str) -> int:
        return sum(d[key] for d in some)

    return {
        "severity": severity, "fit": total("fit"), "fails": total("fails"),
        "certified": {str(r): total(f"certified_{r}") for r in REACTIONS},
        "certified_fails": {str(r): total(f"fails_{r}") for r in REACTIONS},
    }  # fmt: skip


def table(told: Mapping[str, Any]) -> str:
    """A summary in Markdown."""
    lines = [
        f"{told['scenes']} scenes, {told['rows']} of scene and seed.", "",
        "| what | figure | goal |", "|---|---|---|",
    ]  # fmt: skip
    for rate in told["rates"].values():
        if rate["value"] is not None:
            figure = f"{rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f})"
            lines.append(f"| {rate['what']} | {figure} | {rate['goal']} |")
    for one in told["divergences"].values():
        each = ", ".join(f"{name.replace('_', ' ')} {v:.3f}" for name, v in one["features"].items())
        lines.append(f"| {one['what']} | {one['value']:.3f}: {each} | {one['goal']} |")
    cost = told["cost"]
    lines += [
        f"| CPU of a raw variant, all told | {cost['raw_ms']:.0f} ms | 100 ms |",
        f"| of a certificate with its second test | {cost['certificate_ms']:.0f} ms | 1 s |",
        "",
    ]
    for name in ("kinds", "labels", "problems"):
        some = sorted(told[name].items(), key=lambda item: -item[1])
        lines += [f"{name}: " + ", ".join(f"{k} {v}" for k, v in some), ""]
    if told["dial"]:
        heads = " | ".join(f"of those certified at {r} s" for r in REACTIONS)
        lines += [
            f"| severity | planner fails, of fit | {heads} |",
            "|---|---|" + "---|" * len(REACTIONS),
        ]
        for step in told["dial"]:
            cells = [_share(step["fails"], step["fit"])]
            cells += [
                _share(step["certified_fails"][str(r)], step["certified"][str(r)])
                for r in REACTIONS
            ]
            lines.append(f"| {step['severity']:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _share(top: int, below: int) -> str:
    return f"{top / max(1, below):.3f} of {below}"


def dial_svg(told: Mapping[str, Any]) -> str:
    """The severity curve: in how many of those certified at a reaction time the planner fails."""
    left, top, wide, high = 52.0, 14.0, 300.0, 180.0
    colours = {0.5: "#1b9e77", 1.0: "#d95f02", 1.5: "#7570b3"}

    def at(severity: float, rate: float) -> str:
        return f"{left + wide * severity:.1f},{top + high * (1.0 - rate):.1f}"

    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 240" font-family="sans-serif" '
        'font-size="11" role="img"><title>Share of certified variants in which the planner fails, '
        'by severity</title><rect width="480" height="240" fill="white"/>'
    ]
    for tick in DIAL:
        out += [
            f'<path d="M{at(0.0, tick)} L{at(1.0, tick)}" stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{top + high * (1.0 - tick) + 4:.1f}" text-anchor="end">'
            f"{tick:g}</text>",
            f'<text x="{left + wide * tick:.1f}" y="{top + high + 15}" text-anchor="middle">'
            f"{tick:g}</text>",
        ]
    for row, (reaction, colour) in enumerate(colours.items()):
        points = [
            at(step["severity"], step["certified_fails"][str(reaction)]
               / max(1, step["certified"][str(reaction)]))
            for step in told["dial"]
        ]  # fmt: skip
        out += [
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>',
            *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
              for x, y in (point.split(",") for point in points)),
            f'<text x="364" y="{40 + 18 * row}" fill="{colour}">reaction {reaction:g} s</text>',
        ]  # fmt: skip
    middle = left + 0.5 * wide
    out.append(f'<text x="{middle}" y="{top + high + 34}" text-anchor="middle">severity</text>')
    out.append(
        f'<text x="14" y="{top + 0.5 * high}" text-anchor="middle" '
        f'transform="rotate(-90 14 {top + 0.5 * high})">planner fails, of certified</text></svg>'
    )
    return "\n".join(out) + "\n"
