"""A drive as a scene of its own: its log is what ego and agents did in the simulator.

Map, route and tags are those of the scene that was driven, and the lineage names that scene, so
that leaks are found. Admission (`roadworthy.admission.admit`) says whether it is fit to be driven.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from roadworthy.replay import Replay
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import HISTORY, Lineage, Scenario
from roadworthy.splits import root_of

__all__ = ["DRIVEN", "scene_of_replay", "scene_of_rollout"]

DRIVEN = "rollout"
"""Tag of a scene that a planner drove, and the generator that its lineage names: its ego is no
example to imitate."""


def scene_of_rollout(rollouts: RolloutBatch, row: int) -> Scenario:
    """What happened in one case of a batch, the history included."""
    case = rollouts.cases[row]
    scene, steps = case.scenario, HISTORY + int(rollouts.length[row])
    agents, signals = len(scene.agents), len(scene.signals.lane)
    return _scene(
        scene,
        HISTORY - 1,
        rollouts.ego[row, :steps],
        rollouts.agents[row, :agents, :steps],
        rollouts.agents_valid[row, :agents, :steps],
        rollouts.signals[row, :signals, :steps],
        case.seed,
    )


def scene_of_replay(scene: Scenario, replay: Replay) -> Scenario:
    """What happened in a drive of `scene`; the history is that of its log.

    Args:
        scene: what was driven.
        replay: T + 1 states from the present on.
    """
    past, agents = slice(0, scene.start), len(scene.agents)
    return _scene(
        scene,
        scene.start,
        np.concatenate([scene.ego[past], replay.ego]),
        np.concatenate([scene.agents.state[:, past], replay.agents[:agents]], axis=1),
        np.concatenate([scene.agents.valid[:, past], replay.agents_valid[:agents]], axis=1),
        np.concatenate([scene.signals.state[:, past], replay.signals], axis=1),
        0,
    )


def _scene(
    scene: Scenario,
    start: int,
    ego: NDArray[np.float64],
    state: NDArray[np.float64],
    valid: NDArray[np.bool_],
    signals: NDArray[np.int8],
    seed: int,
) -> Scenario:
    state, valid = np.ascontiguousarray(state), np.ascontiguousarray(valid)
    return replace(
        scene,
        id=f"{scene.id}~driven",
        ego=np.ascontiguousarray(ego),
        agents=replace(scene.agents, state=state, valid=valid),
        signals=replace(scene.signals, state=np.ascontiguousarray(signals)),
        start=start,
        tags=(*scene.tags, DRIVEN),
        lineage=Lineage(scene.hash, DRIVEN, seed, {"root": root_of(scene)}),
        repairs=(),
    )
