"""How well unguided samples predict what everyone did, beside two plain predictions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind, Scenario, SignalState
from roadworthy.seeding import derive_seed
from roadworthy.seeding import generator as random_numbers

from roadworthy_generators.behaviour.examples import PATH_STEPS, examples_of
from roadworthy_generators.behaviour.generator import Behaviour
from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import Path, roads_of
from roadworthy_generators.behaviour.sampling import ANEW, GIVEN, rolled, sample
from roadworthy_generators.behaviour.scene import Body, bodies_of
from roadworthy_generators.behaviour.training import batch_of, scenes_in

__all__ = ["idm_paths", "prediction"]

Array = NDArray[np.float64]

_TOKENS = 40
_ON_LANE_M = 2.5
_LIMIT_MPS = 13.9
_ACCEL, _DECEL, _HEADWAY_S, _GAP_M, _HARDEST = 1.0, 3.0, 1.5, 1.0, 8.0


def prediction(maker: Behaviour, scene: Scenario, seed: int, samples: int = 6) -> dict[str, float]:
    """Sums over the agents that move of the smallest average displacement over 6 s [m]: `ade` of
    unguided samples, told of the ego's plan, `cv` of constant velocity, `idm` of as many
    `idm_paths`; and how many agents (`predicted`)."""
    made = examples_of(scene, [scene.start], _TOKENS)
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
        path = rolled(out, start)[..., PATH_STEPS, :2].double().numpy()
    truth = batch["path"][0].double().numpy()
    body = bodies_of(scene, scene.start, _TOKENS)
    count = len(body.index)
    steady = body.past[:, -1, 3, None] * (np.array(PATH_STEPS) * DT)
    cv = np.stack([steady, np.zeros_like(steady)], -1)
    rng = random_numbers(seed, "idm paths", scene.hash)
    idm = np.stack([idm_paths(scene, body, scene.start, rng) for _ in range(samples)])
    use = (batch["along"][0].all(-1) & ~batch["still"][0]).numpy()[:count]
    use &= np.hypot(*truth[:count, -1].T) > 2.0
    use[0] = False

    def least(paths: Array) -> float:
        far = np.hypot(*np.moveaxis(paths[:, :count] - truth[:count], -1, 0)).mean(-1).min(0)
        return float(far[use].sum())

    return {
        "predicted": int(use.sum()), "ade": least(path), "cv": least(cv[None]), "idm": least(idm),
    }  # fmt: skip


def idm_paths(scene: Scenario, body: Body, now: int, rng: np.random.Generator) -> Array:
    """Where vehicles would be at `PATH_STEPS` that follow their lanes, turning at random, by the
    intelligent driver model (M. Treiber et al., Physical Review E 62 (2000) 1805) with the
    parameters of the planner `idm`: [A, len(PATH_STEPS), 2] in each one's own frame.

    Who is ahead keeps its velocity, a light stays as it is. Those not on a lane, and those who walk
    or ride, keep their own velocity.
    """
    roads = roads_of(scene.map)
    here = body.past[:, -1]
    steady = here[:, 3, None] * (np.array(PATH_STEPS) * DT)
    out = np.stack([steady, np.zeros_like(steady)], -1)
    points = scene.map.lane_centreline.values
    signals = scene.signals
    red = signals.lane[signals.state[:, now] == SignalState.RED] if len(signals.lane) else []
    lines = [scene.map.lane_centreline[int(lane)][0, :2] for lane in red]
    for a in np.flatnonzero((body.kind == AgentKind.VEHICLE) & ~body.still):
        gap = np.hypot(points[:, 0] - here[a, 0], points[:, 1] - here[a, 1])
        gap = np.where(np.cos(points[:, 2] - here[a, 2]) > 0.8, gap, np.inf)
        if gap.min() > _ON_LANE_M:
            continue
        lane = int(roads.lane_of[gap.argmin()])
        way = roads.way(lane, 10.0, 150.0, lambda count: int(rng.integers(count)))
        limit = float(scene.map.lane_speed_limit[lane])
        station = _followed(way, body, int(a), np.array(lines).reshape(-1, 2),
                            _LIMIT_MPS if np.isnan(limit) else limit)  # fmt: skip
        _, left, _ = way.locate(here[a : a + 1, :2])
        xy = way.at(station[list(PATH_STEPS)], float(left[0]))[:, :2] - here[a, :2]
        cos, sin = np.cos(here[a, 2]), np.sin(here[a, 2])
        out[a] = np.column_stack([xy[:, 0] * cos + xy[:, 1] * sin, xy[:, 1] * cos - xy[:, 0] * sin])
    return out


def _followed(way: Path, body: Body, agent: int, stops: Array, limit: float) -> Array:
    """Stations [STEPS + 1] of an agent on a way, behind whoever is ahead and stop lines [K, 2]."""
    here = body.past[:, -1]
    station, left, yaw = way.locate(here[:, :2])
    half = 0.5 * body.size[:, 0]
    ahead = (np.abs(left) < 1.5) & (station > station[agent])
    ahead[agent] = False
    rear = station[ahead] - half[ahead]
    pace = here[ahead, 3] * np.cos(here[ahead, 2] - yaw[ahead])
    if len(stops):
        line, aside, _ = way.locate(stops)
        wait = (np.abs(aside) < 1.0) & (line > station[agent] + half[agent])
        rear = np.concatenate([rear, line[wait]])
        pace = np.concatenate([pace, np.zeros(wait.sum())])
    s, v = float(station[agent]), float(here[agent, 3])
    out = [s]
    for k in range(STEPS):
        push = 1.0 - (v / limit) ** 4
        if len(rear):
            first = int(rear.argmin())
            room = max(float(rear[first] + pace[first] * k * DT) - half[agent] - s, _GAP_M)
            closing = v * (v - pace[first]) / (2.0 * np.sqrt(_ACCEL * _DECEL))
            push -= ((_GAP_M + max(0.0, v * _HEADWAY_S + closing)) / room) ** 2
        after = max(0.0, v + max(_ACCEL * push, -_HARDEST) * DT)
        s, v = s + 0.5 * (v + after) * DT, after
        out.append(s)
    return np.array(out)
