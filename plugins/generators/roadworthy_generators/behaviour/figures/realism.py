r"""How likely the logged motion is among sampled ones: after the Waymo Sim Agents challenge.

N. Montali et al., "The Waymo Open Sim Agents Challenge", NeurIPS 2023 (datasets and benchmarks): of
each agent and feature the samples of all steps and rollouts make a histogram, in which the logged
values are looked up; a likelihood is $\exp$ of the mean log probability, and the score is a
weighted mean of likelihoods. Ranges, bins, smoothing and weights are those of the challenge of
2025. Unlike there, boxes are three discs, the road's edge is measured from centres, rollouts are
6 s and as many as there are attacks, and signals (weight 0.05) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.scenario import DT, AgentKind, Lineage, Scenario
from roadworthy.trial import drive_with
from roadworthy.variants import check_variant

from roadworthy_generators.behaviour.attacks import Stage
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.generator import Behaviour
from roadworthy_generators.behaviour.guidance import Guidance
from roadworthy_generators.behaviour.network import Scenes
from roadworthy_generators.behaviour.parents import cut
from roadworthy_generators.behaviour.roads import Roads
from roadworthy_generators.behaviour.sampling import ANEW, GIVEN, rolled, sample
from roadworthy_generators.behaviour.scene import as_tracks

__all__ = ["FEATURES", "likelihoods", "realism", "score"]

Array = NDArray[np.float64]

_SMOOTHING = 0.1
_FARTHEST_S = 5.0
_MOVES_M = 2.0
_STEPS = 6


class Feature(NamedTuple):
    """Range and number of bins, and the weight in the score."""

    low: float
    high: float
    bins: int
    weight: float


FEATURES: Mapping[str, Feature] = {
    "speed": Feature(0.0, 25.0, 10, 0.05),
    "acceleration": Feature(-12.0, 12.0, 11, 0.05),
    "yaw_rate": Feature(-0.628, 0.628, 11, 0.05),
    "yaw_acceleration": Feature(-3.14, 3.14, 11, 0.05),
    "nearest": Feature(-5.0, 40.0, 10, 0.10),
    "collision": Feature(0.0, 1.0, 2, 0.25),
    "time_to_collision": Feature(0.0, _FARTHEST_S, 10, 0.10),
    "road_edge": Feature(-20.0, 40.0, 10, 0.05),
    "off_road": Feature(0.0, 1.0, 2, 0.25),
}


def realism(maker: Behaviour, scene: Scenario, seed: int) -> dict[str, float]:
    """Scores of a scene in which everyone who moves is sampled anew, told of the ego's plan:
    `guided`, with an attack as it came out in each rollout, and `unguided`, as many, without
    newcomers; what the one is `lost` to the other; in how many of the latter (`alone`) that are
    fit the planner fails (`alone_fails`). Nothing where there is no attack or nobody moves."""
    with torch.no_grad():
        made = maker.sampled(scene, seed)
        if made is None:
            return {}
        stage, batch = made.stage, made.batch
        known = future_of(scene, stage.body, stage.now)[1].all(1)
        far = np.hypot(*np.moveaxis(stage.future[:, -1, :2] - stage.future[:, 0, :2], -1, 0))
        asked = known & ~stage.body.still & (far > _MOVES_M)
        asked[0] = False
        if not asked.any():
            return {}
        count = batch.bodies
        half, there = batch.half.double().numpy(), batch.scenes.there.numpy()
        vehicle = stage.body.kind == AgentKind.VEHICLE
        logged = _features(
            stage.future[None], half[:1, :count], there[:1, :count], asked, vehicle, stage.roads
        )
        rows = np.flatnonzero(asked)
        alone = np.full(batch.level.shape, GIVEN)
        alone[:, rows] = ANEW
        guided, proposal = alone.copy(), batch.proposal.clone()
        for i, attack in enumerate(batch.attacks):
            adversary = batch.agent_of(attack)
            guided[i, adversary] = GIVEN
            proposal[i, adversary] = made.actions[i, adversary]
        noise = torch.from_numpy(stage.rng.standard_normal(batch.proposal.shape)).float()

        def sampled(level: NDArray[np.int64], scenes: Scenes, guidance: Guidance) -> Array:
            network = maker.model.network
            actions = sample(
                network, network.context(scenes), proposal, torch.from_numpy(level),
                batch.half, steps=_STEPS, noise=noise, guidance=guidance,
            )  # fmt: skip
            states = rolled(actions, scenes).double().numpy()
            states[..., :2] += batch.origin
            return states

        first = sampled(guided, batch.scenes, Guidance(batch.terms(stage)))
        there_alone = there & (np.arange(there.shape[1]) < count)
        scenes = batch.scenes._replace(there=torch.from_numpy(there_alone))
        second = sampled(alone, scenes, Guidance())
    one, two = (
        score(likelihoods(logged, _features(states, half, mask, asked, vehicle, stage.roads)))
        for states, mask in ((first, there), (second, there_alone))
    )
    variants = [_rewritten(scene, stage, rows, states[rows]) for states in second]
    fit = [v for v in variants if v is not None]
    driven = drive_with(maker.planner, fit)
    return {
        "guided": one, "unguided": two, "lost": two - one, "scored": 1, "alone": len(variants),
        "alone_fails": sum(d.contact >= 0 for d in driven),
    }  # fmt: skip


def _rewritten(
    parent: Scenario, stage: Stage, rows: NDArray[np.int64], states: Array
) -> Scenario | None:
    """The parent from the stage's present on, some bodies with new states; None if it is unfit."""
    scene = cut(parent, stage.now)
    state, tracks = scene.agents.state.copy(), stage.body.index[rows]
    state[tracks, stage.now + 1 :] = [as_tracks(one[1:]) for one in states]
    made = replace(
        scene, agents=replace(scene.agents, state=state), repairs=(),
        lineage=Lineage(parent.hash, "behaviour", 0, {}),
    )  # fmt: skip
    try:
        admitted = admit(made)
    except ScenarioError:
        return None
    return None if check_variant(parent, admitted) else admitted


def score(likely: Mapping[str, float]) -> float:
    """The weighted mean of likelihoods."""
    total = sum(FEATURES[name].weight for name in likely)
    return sum(FEATURES[name].weight * value for name, value in likely.items()) / total


def likelihoods(logged: Mapping[str, Array], sampled: Mapping[str, Array]) -> dict[str, float]:
    """By feature: the likelihood of logged values [1, A, T] among samples [K, A, T]; NaN is not
    asked for."""
    out = {}
    for name, feature in FEATURES.items():
        edges = np.linspace(feature.low, feature.high, feature.bins + 1)
        found = []
        for log, some in zip(logged[name][0], sampled[name].swapaxes(0, 1), strict=True):
            log, some = log[np.isfinite(log)], some[np.isfinite(some)]
            if not len(log) or not len(some):
                continue
            counts = np.histogram(np.clip(some, feature.low, feature.high), edges)[0] + _SMOOTHING
            k = np.clip(np.searchsorted(edges, log, "right") - 1, 0, feature.bins - 1)
            found.append(np.log(counts / counts.sum())[k].mean())
        if found:
            out[name] = float(np.exp(np.mean(found)))
    return out


def _features(
    states: Array, half: Array, there: NDArray[np.bool_], asked: NDArray[np.bool_],
    vehicle: NDArray[np.bool_], roads: Roads,
) -> dict[str, Array]:  # fmt: skip
    """Features [K, A, T] of those asked about, of rollouts [K, W, N, 4] of everyone.

    Args:
        half: [K, W, 2] half lengths and widths; there: bool [K, W].
        asked, vehicle: bool [B], B <= W.
    """
    rows = np.flatnonzero(asked)
    drives = vehicle[rows][None, :, None]
    mine = states[:, rows]
    speed = mine[..., 3]
    turn = np.angle(np.exp(1j * np.diff(mine[..., 2], axis=-1))) / DT
    gap, ttc = (np.stack(part) for part in zip(
        *(_apart(*one, rows) for one in zip(states[:, :, 1:], half, there, strict=True)),
        strict=True,
    ))  # fmt: skip
    xy = mine[:, :, 1:, :2]
    edge = shapely.distance(roads.edge, shapely.points(xy))
    edge = np.where(drives, np.where(roads.on_road(xy), -edge, edge), np.nan)
    return {
        "speed": speed[..., 1:],
        "acceleration": np.diff(speed, axis=-1) / DT,
        "yaw_rate": turn,
        "yaw_acceleration": np.diff(turn, axis=-1) / DT,
        "nearest": gap,
        "collision": (gap < 0.0).any(-1, keepdims=True).astype(float),
        "time_to_collision": np.where(drives, ttc, np.nan),
        "road_edge": edge,
        "off_road": np.where(drives, (edge > 0.0).any(-1, keepdims=True).astype(float), np.nan),
    }


def _apart(
    states: Array, half: Array, there: NDArray[np.bool_], rows: NDArray[np.int64]
) -> tuple[Array, Array]:
    """How far those asked about are from whoever is nearest [m], and how long it would take them
    to reach who is ahead of them [s], both [A, T]."""
    ahead = np.stack([np.cos(states[..., 2]), np.sin(states[..., 2])], -1)
    reach = np.maximum(half[:, 0] - half[:, 1], 0.0)
    disc = states[:, None, :, :2] + (
        np.array([-1.0, 0.0, 1.0])[:, None, None] * reach[:, None, None, None] * ahead[:, None]
    )
    gap = np.full((len(rows), states.shape[1]), np.inf)
    ttc = np.full_like(gap, _FARTHEST_S)
    for k, a in enumerate(rows):
        others = np.flatnonzero(there & (np.arange(len(there)) != a))
        off = disc[others][:, :, None] - disc[a][None, None]
        far = np.sqrt((off**2).sum(-1).min((1, 2))) - (half[others, 1] + half[a, 1])[:, None]
        gap[k] = far.min(0)
        line = states[others, :, :2] - states[a, :, :2]
        along = (line * ahead[a]).sum(-1)
        aside = line[..., 1] * ahead[a, :, 0] - line[..., 0] * ahead[a, :, 1]
        same = (ahead[others] * ahead[a]).sum(-1)
        room = along - (half[others, 0] + half[a, 0])[:, None]
        closing = states[a, :, 3] - states[others, :, 3] * same
        beside = np.abs(aside) < (half[others, 1] + half[a, 1])[:, None]
        meets = beside & (room > 0.0) & (closing > 0.1) & (same > 0.25)
        ttc[k] = np.where(meets, room / np.maximum(closing, 0.1), _FARTHEST_S).min(0)
    return gap, np.minimum(ttc, _FARTHEST_S)
