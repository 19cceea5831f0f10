"""One scene and seed: everything about its raw and its shipped variants, as sums."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.scenario import AgentKind, Scenario
from roadworthy.seeding import derive_seed
from roadworthy.solvability import recheck, solve, steady_drive
from roadworthy.trial import drive_with

from roadworthy_generators.behaviour.generator import Behaviour, Draft
from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import roads_of
from roadworthy_generators.behaviour.statistics import histograms

__all__ = ["REACTIONS", "SHIPPED", "dial", "measure", "movers"]

Array = NDArray[np.float64]

SHIPPED = 8
REACTIONS = (0.5, 1.0, 1.5)


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
        log = np.flatnonzero(scene.agents.valid[:, now]).tolist()
        steps, off, met = _shares(scene, now, log)
        out |= {"log_steps": steps, "log_off": off, "log_agents": len(log), "log_met": met}
        hist["log"] = histograms(scene, now, log)
        everyone = [AgentKind.VEHICLE, AgentKind.PEDESTRIAN, AgentKind.BICYCLE]
        hist["log_mover"] = histograms(scene, now, movers(scene, now, everyone))
        hist["log_vehicle"] = histograms(scene, now, movers(scene, now, [AgentKind.VEHICLE]))
        walkers = [AgentKind.PEDESTRIAN, AgentKind.BICYCLE]
        hist["log_walker"] = histograms(scene, now, movers(scene, now, walkers))
        for variant in shipped:
            rows = np.flatnonzero(variant.agents.valid[:, now]).tolist()
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
