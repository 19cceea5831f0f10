r"""What the generator is worth, measured on scenes that the model was not trained on.

    python -m roadworthy_generators.behaviour.figures STORE --out DIR

Every scene is varied with three seeds. A *raw* variant is a sample before anything was asked of it;
a *shipped* one was chosen, admitted, and holds a certificate that stands the second test. Rates are
over variants, their intervals over scenes (a scene is a cluster). Histograms are compared by the
Jensen-Shannon divergence to base 2 (Lin, IEEE Transactions on Information Theory 37 (1991) 145).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind, Scenario
from roadworthy.seeding import derive_seed
from roadworthy.solvability import recheck, solve, steady_drive
from roadworthy.stats.intervals import interval_of_ratios
from roadworthy.trial import drive_with
from roadworthy.variants import scenes_named

from roadworthy_generators.behaviour.examples import PATH_STEPS, examples_of
from roadworthy_generators.behaviour.generator import Behaviour, Draft
from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import roads_of
from roadworthy_generators.behaviour.sampling import ANEW, GIVEN, rolled, sample
from roadworthy_generators.behaviour.statistics import EDGES, divergence, histograms
from roadworthy_generators.behaviour.training import batch_of, scenes_in

__all__ = ["main"]

Array = NDArray[np.float64]

SEEDS = (0, 1, 2)
SHIPPED = 8
REACTIONS = (0.5, 1.0, 1.5)
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)


def movers(scenario: Scenario, begin: int, kinds: Sequence[int]) -> list[int]:
    """Agents of some kinds that are there at a step and move within 6 s."""
    tracks = scenario.agents
    span = slice(begin, begin + STEPS + 1)
    out = []
    for a in np.flatnonzero(tracks.valid[:, begin] & np.isin(tracks.kind, kinds)):
        xy = tracks.state[a, span, :2][tracks.valid[a, span]]
        if np.hypot(*(xy - xy[0]).T).max() > 2.0:
            out.append(int(a))
    return out


def prediction(maker: Behaviour, scene: Scenario, seed: int, samples: int = 6) -> dict[str, Any]:
    """minADE over 6 s of unguided samples, of whom the ego's plan is told, and of constant
    velocity: sums over agents that move, and how often unguided samples hurt the ego."""
    made = examples_of(scene, [scene.start], 40)
    batch = batch_of(made, slice(None))
    batch = {name: value.expand(samples, *value.shape[1:]).clone() for name, value in batch.items()}
    scenes = scenes_in(batch)
    actions = batch["actions"].float()
    level = torch.where(batch["still"] | ~batch["there"], GIVEN, ANEW)
    level[:, 0] = GIVEN
    draws = torch.Generator().manual_seed(derive_seed(seed, "prediction") % 2**63)
    network = maker.model.network
    with torch.no_grad():
        out = sample(
            network, network.context(scenes), actions, level, torch.zeros(*level.shape, 2),
            steps=8, noise=torch.randn(actions.shape, generator=draws),
        )  # fmt: skip
        start = scenes._replace(pose=torch.zeros_like(scenes.pose))
        path = rolled(out, start)[..., PATH_STEPS, :2]
    truth = batch["path"].float()
    far = (path - truth).square().sum(-1).sqrt().mean(-1).amin(0)
    steady = scenes.speed[0, :, None] * torch.tensor(PATH_STEPS) * DT
    cv = torch.stack([steady, torch.zeros_like(steady)], -1)
    off = (cv - truth[0]).square().sum(-1).sqrt().mean(-1)
    use = batch["along"][0].all(-1) & batch["there"][0] & ~batch["still"][0]
    use &= truth[0, :, -1].square().sum(-1).sqrt() > 2.0
    use[0] = False
    return {"agents": int(use.sum()), "ade": float(far[use].sum()), "cv": float(off[use].sum())}


def _shares(scenario: Scenario, begin: int, rows: Sequence[int]) -> tuple[int, int, int]:
    """Steps of vehicles in `rows`, how many off the road, and how many rows ever overlap another
    agent."""
    roads = roads_of(scenario.map)
    span = slice(begin, begin + STEPS + 1)
    tracks = scenario.agents
    steps = off = 0
    for a in rows:
        if tracks.kind[a] != AgentKind.VEHICLE:
            continue
        xy = tracks.state[a, span, :2][tracks.valid[a, span]]
        steps += len(xy)
        off += int((~roads.on_road(xy)).sum())
    return steps, off, _overlaps(scenario, begin, rows)


def _overlaps(scenario: Scenario, begin: int, rows: Sequence[int]) -> int:
    tracks = scenario.agents
    at = range(begin, min(begin + STEPS + 1, scenario.steps), 5)
    met: set[int] = set()
    for step in at:
        here = np.flatnonzero(tracks.valid[:, step])
        state, size = tracks.state[here, step], 0.5 * tracks.size[here, :2]
        c, s = np.cos(state[:, 2]), np.sin(state[:, 2])
        rings = np.empty((len(here), 4, 2))
        for k, (lon, lat) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
            rings[:, k, 0] = state[:, 0] + lon * size[:, 0] * c - lat * size[:, 1] * s
            rings[:, k, 1] = state[:, 1] + lon * size[:, 0] * s + lat * size[:, 1] * c
        boxes = shapely.polygons(rings)
        one, two = shapely.STRtree(boxes).query(boxes, predicate="intersects")
        met |= {int(here[i]) for i, j in zip(one, two, strict=True) if i != j}
    return len(met & set(rows))


def measure(maker: Behaviour, scene: Scenario, seed: int) -> dict[str, Any]:
    """Everything about one scene and seed, as sums."""
    begin = time.process_time()
    drafts = maker.drafts(scene, derive_seed(seed, "figures", scene.hash))
    spent = time.process_time() - begin
    out: dict[str, Any] = defaultdict(float)
    out["raw"], out["seconds"] = len(drafts), spent
    fit = [d for d in drafts if d.variant is not None and not d.problems]
    for draft in drafts:
        for word in draft.problems:
            out[f"problem_{word}"] += 1
    out["fit"] = len(fit)
    out["likely"] = sum(d.percentile <= 99.9 for d in fit)
    fails = [d for d in fit if d.contact >= 0]
    out["fails"] = len(fails)
    out["certified"] = sum(d.solvable for d in fails)
    chosen = [d for d in maker.chosen(drafts, SHIPPED) if d.contact >= 0 and d.solvable]
    shipped: list[Scenario] = []
    groups = set()
    for draft in chosen:
        if draft.variant is None:
            continue
        begin = time.process_time()
        certificate = solve(draft.variant, base=steady_drive(draft.variant))
        wrong = recheck(draft.variant, certificate)
        out["certify_seconds"] += time.process_time() - begin
        out["rechecked"] += not wrong
        out["certificates"] += 1
        out[f"label_{certificate.label}"] += 1
        if certificate.solvable and not wrong:
            shipped.append(draft.variant)
            groups.add((draft.attack.kind, draft.attack.agent))
            out[f"kind_{draft.attack.kind}"] += 1
    out["shipped"], out["distinct"] = len(shipped), len(groups)
    out["yields"] = bool(shipped)
    survived = drive_with("pdm-closed", shipped)
    out["reference"] = sum(d.contact < 0 for d in survived)
    hist: dict[str, dict[str, Array]] = {}
    if shipped:
        now = shipped[0].start
        log = list(np.flatnonzero(scene.agents.valid[:, now]))
        steps, off, met = _shares(scene, now, log)
        out |= {"log_steps": steps, "log_off": off, "log_agents": len(log), "log_met": met}
        hist["log"] = histograms(scene, now, log)
        everyone = [AgentKind.VEHICLE, AgentKind.PEDESTRIAN, AgentKind.BICYCLE]
        hist["log_mover"] = histograms(scene, now, movers(scene, now, everyone))
        hist["log_vehicle"] = histograms(scene, now, movers(scene, now, [AgentKind.VEHICLE]))
        walkers = [AgentKind.PEDESTRIAN, AgentKind.BICYCLE]
        hist["log_walker"] = histograms(scene, now, movers(scene, now, walkers))
        for variant in shipped:
            rows = list(np.flatnonzero(variant.agents.valid[:, now]))
            steps, off, met = _shares(variant, now, rows)
            out["steps"] += steps
            out["off"] += off
            out["agents"] += len(rows)
            out["met"] += met
            assert variant.lineage is not None
            a = variant.agents.id.index(variant.lineage.parameters["adversary"])
            vehicle = variant.agents.kind[a] == AgentKind.VEHICLE
            _add(hist, "shipped", histograms(variant, now, rows))
            adversary = histograms(variant, now, [a])
            _add(hist, "adversary", adversary)
            _add(hist, "vehicle" if vehicle else "walker", adversary)
    return {**out, "hist": {k: {n: v.tolist() for n, v in h.items()} for k, h in hist.items()}}


def _solved(draft: Draft, reaction: float) -> bool:
    assert draft.variant is not None
    return solve(draft.variant, reaction, base=steady_drive(draft.variant)).solvable


def _add(hist: dict[str, dict[str, Array]], name: str, new: dict[str, Array]) -> None:
    old = hist.get(name)
    hist[name] = new if old is None else {k: old[k] + new[k] for k in new}


def dial(scene: Scenario, severity: float, seed: int, draws: int) -> dict[str, Any]:
    """Fit samples at a severity, in how many the planner fails, and of those certified at each
    reaction time."""
    maker = Behaviour(severity=severity, draws=draws)
    drafts = maker.drafts(scene, derive_seed(seed, "dial", scene.hash))
    fit = [d for d in drafts if d.variant is not None and not d.problems]
    out: dict[str, Any] = {"severity": severity, "fit": len(fit)}
    out["fails"] = sum(d.contact >= 0 for d in fit)
    for r in REACTIONS:
        certified = [d for d in fit if _solved(d, r)]
        out[f"certified_{r}"] = len(certified)
        out[f"fails_{r}"] = sum(d.contact >= 0 for d in certified)
    return out


def table(rows: Sequence[Mapping[str, Any]], dials: Sequence[Mapping[str, Any]]) -> str:
    """The figures in Markdown."""
    scenes = sorted({r["scene"] for r in rows})
    place = {name: i for i, name in enumerate(scenes)}

    def total(key: str) -> Array:
        out = np.zeros(len(scenes))
        for row in rows:
            out[place[row["scene"]]] += float(row.get(key, 0.0))
        return out

    def share(top: str, bottom: str) -> str:
        a, b = total(top), total(bottom)
        one = interval_of_ratios(a[:, None], b[:, None])[0]
        return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"

    def pooled(name: str) -> dict[str, Array]:
        out = {k: np.zeros(len(e) - 1) for k, e in EDGES.items()}
        for row in rows:
            for k, v in row["hist"].get(name, {}).items():
                out[k] += np.array(v)
        return out

    def apart(one: str, two: str) -> str:
        a, b = pooled(one), pooled(two)
        each = {k: divergence(a[k], b[k]) for k in EDGES}
        return (
            f"{np.mean(list(each.values())):.3f} ("
            + ", ".join(f"{k} {v:.3f}" for k, v in each.items())
            + ")"
        )

    for row in rows:
        row["one"] = 1.0  # type: ignore[index]
    lines = [
        f"{len(scenes)} scenes, {len(rows)} of scene and seed.", "",
        "| what | figure |", "|---|---|",
        f"| raw variants that are fit | {share('fit', 'raw')} |",
        f"| of fit ones, within the realism bound | {share('likely', 'fit')} |",
        f"| planner fails, of raw | {share('fails', 'raw')} |",
        f"| certified at 1.0 s, of fails | {share('certified', 'fails')} |",
        f"| certified hard at 1.0 s, of raw | {share('certified', 'raw')} |",
        f"| scenes and seeds that yield a certified hard one | {share('yields', 'one')} |",
        f"| certificates that stand the second test | {share('rechecked', 'certificates')} |",
        f"| pdm-closed survives, of shipped | {share('reference', 'shipped')} |",
        f"| distinct (kind, agent) of up to {SHIPPED} shipped | {share('distinct', 'yields')} |",
        f"| off road, share of steps: shipped | {share('off', 'steps')} |",
        f"| the same: logs | {share('log_off', 'log_steps')} |",
        f"| agents that overlap another: shipped | {share('met', 'agents')} |",
        f"| the same: logs | {share('log_met', 'log_agents')} |",
        f"| JSD of whole scenes | {apart('shipped', 'log')} |",
        f"| JSD of adversaries | {apart('adversary', 'log_mover')} |",
        f"| JSD of adversaries, vehicles | {apart('vehicle', 'log_vehicle')} |",
        f"| JSD of adversaries on foot or bicycle | {apart('walker', 'log_walker')} |",
        f"| minADE6 of unguided samples [m] | {share('ade', 'predicted')} |",
        f"| the same of constant velocity [m] | {share('cv', 'predicted')} |",
        "| CPU ms of a raw variant, all told | "
        f"{1000 * total('seconds').sum() / total('raw').sum():.0f} |",
        "| CPU ms of a certificate and its second test | "
        f"{1000 * total('certify_seconds').sum() / max(1.0, total('certificates').sum()):.0f} |",
    ]  # fmt: skip
    kinds = sorted({k for r in rows for k in r if k.startswith(("kind_", "label_", "problem_"))})
    lines += ["", ", ".join(f"{k} {total(k).sum():.0f}" for k in kinds), ""]
    if dials:
        lines += [
            "| severity | fails, of fit | "
            + " | ".join(f"of certified at {r} s" for r in REACTIONS)
            + " |",
            "|---|---|" + "---|" * len(REACTIONS),
        ]  # fmt: skip
        for severity in sorted({d["severity"] for d in dials}):
            some = [d for d in dials if d["severity"] == severity]

            def rate(top: str, bottom: str, some: list[Mapping[str, Any]] = some) -> str:
                below = sum(d[bottom] for d in some)
                return f"{sum(d[top] for d in some) / max(1, below):.3f} of {below}"

            cells = [rate("fails", "fit")]
            cells += [rate(f"fails_{r}", f"certified_{r}") for r in REACTIONS]
            lines.append(f"| {severity:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def dial_svg(dials: Sequence[Mapping[str, Any]]) -> str:
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
        points = []
        for severity in DIAL:
            some = [d for d in dials if d["severity"] == severity]
            below = sum(d[f"certified_{reaction}"] for d in some)
            points.append(at(severity, sum(d[f"fails_{reaction}"] for d in some) / max(1, below)))
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


def main() -> None:
    """Measure, a line of JSON at a time, and write the table; what is in DIR already is kept."""
    parser = argparse.ArgumentParser(description="Figures of the generator 'behaviour'.")
    parser.add_argument("store", help="scenes that the model was not trained on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--dial-scenes", type=int, default=40)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    scenes = list(scenes_named([given.store], None))[: given.scenes]
    maker = Behaviour(draws=given.draws)
    log = given.out / "figures.jsonl"
    known = [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
    done = [row for row in known if "severity" not in row]
    dials = [row for row in known if "severity" in row]
    have = {(row["scene"], row["seed"]) for row in done}
    with log.open("a") as file:
        for seed in given.seeds:
            for i, scene in enumerate(scenes):
                if (scene.id, seed) in have:
                    continue
                row = {"scene": scene.id, "seed": seed, **measure(maker, scene, seed)}
                new = []
                if seed == 0:
                    told = prediction(maker, scene, seed)
                    row |= {"predicted": told["agents"], "ade": told["ade"], "cv": told["cv"]}
                if i % max(1, len(scenes) // max(1, given.dial_scenes)) == 0:
                    new = [dial(scene, s, seed, given.draws // 2) for s in DIAL]
                done.append(row)
                dials += new
                file.writelines(json.dumps(one) + "\n" for one in (row, *new))
                file.flush()
    (given.out / "figures.md").write_text(table(done, dials))
    if dials:
        (given.out / "severity.svg").write_text(dial_svg(dials))


if __name__ == "__main__":
    main()
