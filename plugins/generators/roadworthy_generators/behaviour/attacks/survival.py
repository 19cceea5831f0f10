"""Whether an attack, were it to go as proposed, leaves someone who reacts a way out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from roadworthy.scenario import Scenario, Tracks
from roadworthy.solvability import REACTION_S, solvable

from roadworthy_generators.behaviour.attacks.stage import PAST, Attack, Stage
from roadworthy_generators.behaviour.scene import as_tracks

__all__ = ["survivable"]

_SPARE_S = 0.2
"""Sampling may change when a hazard can be foreseen by so much."""


def survivable(stage: Stage, attack: Attack) -> bool:
    """Whether someone who reacts a little later than asked survives the proposal."""
    return solvable(_proposed(stage, attack), REACTION_S + _SPARE_S, base=stage.steady)


def _proposed(stage: Stage, attack: Attack) -> Scenario:
    """The scene as proposed, unchecked and seen from the present on."""
    now, tracks = stage.now, stage.rest.agents
    state, valid = tracks.state.copy(), tracks.valid.copy()
    if attack.agent >= 0:
        row = int(stage.body.index[attack.agent])
        state[row, now:], valid[row, now:] = as_tracks(attack.path), True
    new = attack.newcomers
    put = np.zeros((len(new), *state.shape[1:]))
    for k, one in enumerate(new):
        put[k, now:] = as_tracks(attack.path if k == 0 else one.states[PAST:])
    there = np.zeros((len(new), valid.shape[1]), np.bool_)
    there[:, now:] = True
    kinds = np.array([int(one.kind) for one in new], np.int8)
    sizes = np.array([one.size for one in new]).reshape(-1, 3)
    reactive = tracks.reactive.copy()
    if attack.agent >= 0:
        reactive[int(stage.body.index[attack.agent])] = False
    made = Tracks(
        (*tracks.id, *(f"new-{k}" for k in range(len(new)))), np.concatenate([tracks.kind, kinds]),
        np.concatenate([tracks.size, sizes]), np.concatenate([state, put]),
        np.concatenate([valid, there]), np.concatenate([reactive, np.zeros(len(new), np.bool_)]),
    )  # fmt: skip
    return replace(stage.rest, agents=made)
