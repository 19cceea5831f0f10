"""Whether an attack, were it to go as proposed, leaves someone who reacts a way out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from roadworthy.scenario import Scenario
from roadworthy.solvability import REACTION_S, solvable

from roadworthy_generators.behaviour.attacks.stage import PAST, Attack, Stage, joined
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
    state, valid, reactive = tracks.state.copy(), tracks.valid.copy(), tracks.reactive.copy()
    if attack.agent >= 0:
        row = int(stage.body.index[attack.agent])
        state[row, now:], valid[row, now:] = as_tracks(attack.path), True
        reactive[row] = False
    new = attack.newcomers
    put = np.zeros((len(new), *state.shape[1:]))
    for k, one in enumerate(new):
        put[k, now:] = as_tracks(attack.path if k == 0 else one.states[PAST:])
    there = np.zeros((len(new), valid.shape[1]), np.bool_)
    there[:, now:] = True
    moved = replace(tracks, state=state, valid=valid, reactive=reactive)
    names = [f"new-{k}" for k in range(len(new))]
    return replace(stage.rest, agents=joined(moved, names, new, put, there))
