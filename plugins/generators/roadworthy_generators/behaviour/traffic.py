"""Traffic that the model drives: everyone replans at 2 Hz, from what has happened so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.scenario import HISTORY, AgentKind, Scenario
from roadworthy.seeding import generator

from roadworthy_generators.behaviour.guidance import Guidance, NoOverlap
from roadworthy_generators.behaviour.kinematics import ACTIONS
from roadworthy_generators.behaviour.network import Scenes
from roadworthy_generators.behaviour.sampling import ANEW, GIVEN, rolled, sample
from roadworthy_generators.behaviour.scene import (
    HISTORY_STEPS,
    MAX_TOKENS,
    Body,
    ego_centre,
    tokens_of,
    track_states,
)
from roadworthy_generators.behaviour.threads import one_thread
from roadworthy_generators.behaviour.weights import Model

__all__ = ["ModelTraffic"]

_STEPS = 5
_STILL_M = 0.5


class ModelTraffic:
    """Agents of a batch of scenes, driven by a model.

    Who may not react, stands all along, is a static object, or is not among the `MAX_TOKENS`
    nearest does as logged; so does everyone before they come in, and who leaves the log leaves.
    Draws depend on the scene's seed and the step alone.

    Args:
        model: the model.
        scenarios: S of them.
        seeds: one each.
    """

    def __init__(self, model: Model, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> None:
        self._model = model
        self._scenarios = tuple(scenarios)
        self._seeds = tuple(seeds)
        self._moves = [_moves(scenario) for scenario in scenarios]

    def drive(
        self,
        row: int,
        ego: NDArray[np.float64],
        agents: NDArray[np.float64],
        valid: NDArray[np.bool_],
        steps: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What the driven do next in scene `row`.

        Args:
            row: of the scenes.
            ego: [N, 11] its states so far, from `HISTORY` - 1 steps before the start, N >= HISTORY.
            agents: [A, N, 5] `StateIndex`; valid: bool [A, N].
            steps: how far, at most 60.

        Returns:
            Which agents, int64 [D], and their states [D, steps, 5].
        """
        scenario = self._scenarios[row]
        now = len(ego) - 1
        body, free = self._body(row, ego, agents, valid)
        if not free.any():
            return np.zeros(0, np.int64), np.zeros((0, steps, 5))
        at = min(scenario.start + now - (HISTORY - 1), scenario.steps - 1)
        tokens = tokens_of(scenario, body, at)
        origin = tokens.pose[0, :2].copy()
        pose = tokens.pose - [*origin, 0.0]
        scales = np.where(tokens.scales == 0.0, 1.0, tokens.scales)
        arrays = (
            tokens.features, tokens.polylines, tokens.near, pose, tokens.speed, tokens.limits,
            scales, np.ones(len(tokens), np.bool_),
        )  # fmt: skip
        scenes = Scenes(
            *(
                torch.from_numpy(np.asarray(a if a.dtype == np.bool_ else a.astype(np.float32)))[
                    None
                ]
                for a in arrays
            )
        )
        draws = generator(self._seeds[row], "behaviour traffic", now)
        noise = draws.standard_normal((1, len(tokens), ACTIONS, 2)).astype(np.float32)
        level = torch.from_numpy(np.where(free, ANEW, GIVEN))[None]
        level[0, 0] = ANEW
        half = torch.from_numpy(0.5 * tokens.size).float()[None]
        guidance = Guidance(((1.0, NoOverlap(torch.tensor([0]))),), steps=2)
        with one_thread(), torch.no_grad():
            actions = sample(
                self._model.network, self._model.network.context(scenes),
                torch.zeros(1, len(tokens), ACTIONS, 2), level, half,
                steps=_STEPS, noise=torch.from_numpy(noise), guidance=guidance,
            )  # fmt: skip
            states = rolled(actions, scenes)[0, :, 1 : steps + 1].double().numpy()
        states = states[free]
        states[..., :2] += origin
        yaw, speed = states[..., 2], states[..., 3]
        out = np.concatenate(
            [states[..., :3], (speed * np.cos(yaw))[..., None], (speed * np.sin(yaw))[..., None]],
            -1,
        )
        return body.index[free], out

    def _body(
        self,
        row: int,
        ego: NDArray[np.float64],
        agents: NDArray[np.float64],
        valid: NDArray[np.bool_],
    ) -> tuple[Body, NDArray[np.bool_]]:
        """Everyone near as they are now, and who of them is driven."""
        scenario = self._scenarios[row]
        past = slice(len(ego) - 1 - max(HISTORY_STEPS), len(ego))
        car, tracks = scenario.vehicle, scenario.agents
        mine = ego_centre(ego[past], car.rear_axle_to_centre)
        here = np.flatnonzero(valid[: len(tracks), -1])
        gap = np.hypot(*(agents[here, -1, :2] - mine[-1, :2]).T)
        chosen = np.sort(here[np.argsort(gap, kind="stable")[: MAX_TOKENS - 1]])
        moves = self._moves[row][chosen]
        body = Body(
            index=np.concatenate([[-1], chosen]).astype(np.int64),
            kind=np.concatenate([[AgentKind.VEHICLE], tracks.kind[chosen]]).astype(np.int8),
            size=np.concatenate([[[car.length, car.width]], tracks.size[chosen, :2]]),
            past=np.concatenate([mine[None], track_states(agents[chosen, past])]),
            seen=np.concatenate([np.ones((1, len(mine)), np.bool_), valid[chosen, past]]),
            still=np.concatenate([[False], ~moves]),
        )
        return body, np.concatenate([[False], moves & tracks.reactive[chosen]])


def _moves(scenario: Scenario) -> NDArray[np.bool_]:
    """Who ever moves in the log: bool [A]."""
    tracks = scenario.agents
    out = np.zeros(len(tracks), np.bool_)
    for a in np.flatnonzero(tracks.kind < AgentKind.TRAFFIC_CONE):
        xy = tracks.state[a, tracks.valid[a], :2]
        out[a] = len(xy) > 0 and bool(np.hypot(*(xy - xy[0]).T).max() > _STILL_M)
    return out
