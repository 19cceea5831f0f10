"""Drafts as scenes: what was sampled is written into the parent, with its lineage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.scenario import STATE_SIZE, Lineage, Scenario
from roadworthy.variants import check_variant

from roadworthy_generators.behaviour.attacks import PAST, Stage, joined
from roadworthy_generators.behaviour.batch import Batch
from roadworthy_generators.behaviour.sampling import GIVEN
from roadworthy_generators.behaviour.scene import as_tracks
from roadworthy_generators.behaviour.statistics import distance, histograms

__all__ = ["retold", "variant_of"]

Array = NDArray[np.float64]

_UNDISTURBED_M = 0.25
_PLACES = 4


def variant_of(
    stage: Stage, batch: Batch, row: int, states: Array, seed: int
) -> tuple[Scenario | None, tuple[str, ...]]:
    """An attack as a scene, and what speaks against it; `retold` completes its lineage.

    Args:
        row: of the attacks of `batch`; states: [A, STEPS + 1, 4] of all, from the batch's origin.
        seed: of the draws.
    """
    parent, attack = stage.scenario, batch.attacks[row]
    scene = stage.rest
    now = stage.now
    tracks = scene.agents
    state, valid, reactive = tracks.state.copy(), tracks.valid.copy(), tracks.reactive.copy()
    level = batch.level[row].cpu().numpy()
    changed = []
    for a in range(1, batch.bodies):
        if level[a] == GIVEN:
            continue
        made = _tracked(states[a], batch.origin)
        index = int(stage.body.index[a])
        off = np.hypot(*(made[1:, :2] - state[index, now + 1 :, :2]).T).max()
        if a != attack.agent and off < _UNDISTURBED_M:
            continue
        state[index, now + 1 :] = made[1:]
        valid[index, now:] = True
        changed.append(tracks.id[index])
        if a == attack.agent:
            reactive[index] = False
    new = attack.newcomers
    put = np.zeros((len(new), len(scene.ego), STATE_SIZE))
    for k, one in enumerate(new):
        put[k, now - PAST : now + 1] = as_tracks(one.states[: PAST + 1])
        future = (
            as_tracks(one.states[PAST:])
            if one.still
            else _tracked(states[batch.bodies + k], batch.origin)
        )
        put[k, now + 1 :] = future[1:]
    there = np.zeros((len(new), len(scene.ego)), np.bool_)
    there[:, now - PAST :] = True
    moved = replace(tracks, state=state, valid=valid, reactive=reactive)
    names = [f"{attack.kind}-{row}-{k}" for k in range(len(new))]
    agents = joined(moved, names, new, np.round(put, _PLACES), there)
    adversary = len(tracks) if attack.agent < 0 else int(stage.body.index[attack.agent])
    draft = replace(
        scene,
        id=f"{parent.id[:190]}+{attack.kind}-{seed:016x}-{row}",
        agents=agents,
        tags=tuple(dict.fromkeys((*parent.tags, "variant", attack.kind))),
        repairs=(),
    )  # fmt: skip
    told = {"adversary": agents.id[adversary], "changed": changed}
    draft = replace(draft, lineage=Lineage(parent.hash, "behaviour", seed, told))
    try:
        variant = admit(draft)
    except ScenarioError:
        return None, ("scenario",)
    return variant, check_variant(parent, variant)


def retold(variant: Scenario, told: dict[str, Any], log: dict[str, Array]) -> Scenario:
    """A variant whose lineage says more, and how far its statistics are from those of the log."""
    assert variant.lineage is not None
    near = np.flatnonzero(variant.agents.valid[:, variant.start]).tolist()
    far = distance(histograms(variant, variant.start, near), log)
    every = told | variant.lineage.parameters | {"from_log": far}
    return replace(variant, lineage=replace(variant.lineage, parameters=every))


def _tracked(states: Array, origin: Array) -> Array:
    moved = states.copy()
    moved[:, :2] += origin
    return np.round(as_tracks(moved), _PLACES)
