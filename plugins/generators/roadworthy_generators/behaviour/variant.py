"""Drafts as scenes: what was sampled is written into the parent, with its lineage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.scenario import STATE_SIZE, Lineage, Scenario, Tracks
from roadworthy.variants import check_variant

from roadworthy_generators.behaviour.attacks import PAST, Attack, Stage
from roadworthy_generators.behaviour.batch import Batch
from roadworthy_generators.behaviour.parents import cut
from roadworthy_generators.behaviour.sampling import GIVEN
from roadworthy_generators.behaviour.scene import as_tracks
from roadworthy_generators.behaviour.statistics import distance, histograms

__all__ = ["variant_of"]

Array = NDArray[np.float64]

_UNDISTURBED_M = 0.25
_PLACES = 4


def variant_of(
    parent: Scenario, stage: Stage, attack: Attack, batch: Batch, row: int, states: Array,
    seed: int, told: dict[str, Any], log: dict[str, Array],
) -> tuple[Scenario | None, tuple[str, ...]]:  # fmt: skip
    """A draft as a scene, and what speaks against it."""
    scene = cut(parent, stage.now)
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
    ids, kinds, sizes = list(tracks.id), [tracks.kind], [tracks.size]
    states_in, valid_in, reactive_in = [state], [valid], [reactive]
    for k, one in enumerate(attack.newcomers):
        name = f"{attack.kind}-{told['draw']}-{k}"
        past = np.zeros((1, len(scene.ego), STATE_SIZE))
        past[0, now - PAST : now + 1] = as_tracks(one.states[: PAST + 1])
        future = one.states[PAST:] if one.still else states[batch.bodies + k]
        past[0, now + 1 :] = (as_tracks(future) if one.still else _tracked(future, batch.origin))[
            1:
        ]
        seen = np.zeros((1, len(scene.ego)), np.bool_)
        seen[0, now - PAST :] = True
        ids.append(name)
        kinds.append(np.array([int(one.kind)], np.int8))
        sizes.append(np.array([one.size]))
        states_in.append(np.round(past, _PLACES))
        valid_in.append(seen)
        reactive_in.append(np.zeros(1, np.bool_))
    adversary = len(tracks) if attack.agent < 0 else int(stage.body.index[attack.agent])
    draft = replace(
        scene,
        id=f"{parent.id[:190]}+{attack.kind}-{seed:016x}-{told['draw']}",
        agents=Tracks(
            tuple(ids), np.concatenate(kinds), np.concatenate(sizes), np.concatenate(states_in),
            np.concatenate(valid_in), np.concatenate(reactive_in),
        ),
        tags=tuple(dict.fromkeys((*parent.tags, "variant", attack.kind))),
        repairs=(),
    )  # fmt: skip
    near = np.flatnonzero(draft.agents.valid[:, now]).tolist()
    told = told | {
        "adversary": ids[adversary], "changed": changed,
        "from_log": distance(histograms(draft, now, near), log),
    }  # fmt: skip
    draft = replace(draft, lineage=Lineage(parent.hash, "behaviour", seed, told))
    try:
        variant = admit(draft)
    except ScenarioError:
        return None, ("scenario",)
    return variant, check_variant(parent, variant)


def _tracked(states: Array, origin: Array) -> Array:
    moved = states.copy()
    moved[:, :2] += origin
    return np.round(as_tracks(moved), _PLACES)
