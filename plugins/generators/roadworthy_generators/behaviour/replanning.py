"""Adversaries that replan: what is left of their motion is sampled anew, from what the planner has
done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.scenario import DT, Scenario
from torch import Tensor

from roadworthy_generators.behaviour.attacks import Attack, Stage, eased, needed_s, timed
from roadworthy_generators.behaviour.batch import Batch, scenes_of, stacked
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.guidance import (
    CollisionCourse,
    Guidance,
    NoOverlap,
    TimeToCollision,
    Unlikely,
)
from roadworthy_generators.behaviour.kinematics import ACTION_S, ACTIONS, STEPS, actions_of
from roadworthy_generators.behaviour.network import Denoiser
from roadworthy_generators.behaviour.roads import Path
from roadworthy_generators.behaviour.sampling import GIVEN, sample
from roadworthy_generators.behaviour.scene import Body, Tokens, bodies_of, tokens_of

__all__ = ["EVERY", "ROUNDS", "Driven", "replanned"]

Array = NDArray[np.float64]

EVERY = 5
"""Steps between plans: 2 Hz."""
ROUNDS = 9
"""The last plan begins after 4.5 s."""
_NEAR = 16
_DDIM_STEPS = 3
_SOONEST = 8
_SHORTEST_M = 2.0
_MOVES_MPS = 1.0
_PUSH_MPS2 = 3.5
_ASIDE_M = 3.0
_ASIDE_S = 2.0
_BACK_S = 1.6


class Driven(NamedTuple):
    """A draft as the planner drove in it: the scene, and the ego's states [STEPS + 1, 11]."""

    scene: Scenario
    ego: Array


class _Plan(NamedTuple):
    """What an adversary is to do from now on.

    Attributes:
        tokens: of those near the ego; adversary: its token.
        proposal: [A, ACTIONS, 2] accelerations and yaw rates of all.
        at: the step from now at which it meets the ego; offset: [2] its centre from the ego's then.
        lead: steps before `at` from which that ought to be foreseeable.
    """

    tokens: Tokens
    adversary: int
    proposal: Array
    at: int
    offset: Array
    lead: int


def replanned(
    network: Denoiser, stage: Stage, batch: Batch, actions: Tensor, driven: Mapping[int, Driven],
    step: int, noise: Tensor, guidance: Guidance,
) -> tuple[list[int], Tensor]:  # fmt: skip
    """Adversaries look at a step at what the planner has done and is about to do, and change what
    they do from there on.

    Args:
        batch, actions: B attacks and [B, A, ACTIONS, 2] scaled actions from the present on.
        driven: how it went, of the attacks that are asked about.
        step: a multiple of `EVERY`.
        noise: [B, ACTIONS, 2] normal.
        guidance: how to follow the terms; it brings none of its own.

    Returns:
        Rows of those who can still meet the ego, and the actions, theirs changed after `step`.
    """
    found = {
        row: plan for row, one in driven.items()
        if (plan := _plan(stage, batch.attacks[row], one, step)) is not None
    }  # fmt: skip
    if not found:
        return [], actions
    rows, plans = list(found), list(found.values())
    device = batch.device
    wide = max(len(plan.tokens) for plan in plans)
    tokens = [plan.tokens for plan in plans]
    scenes = scenes_of(tokens, wide, batch.origin, device)
    every = torch.arange(len(plans), device=device)
    agent = torch.tensor([plan.adversary for plan in plans], device=device)
    at = torch.tensor([plan.at for plan in plans], device=device)
    lead = torch.tensor([plan.lead for plan in plans], device=device)
    offset = torch.tensor(np.array([plan.offset for plan in plans]), device=device).float()
    proposal = np.zeros((len(plans), wide, ACTIONS, 2), np.float32)
    for k, plan in enumerate(plans):
        proposal[k, : len(plan.tokens)] = plan.proposal
    scaled = (torch.from_numpy(proposal).to(device) / scenes.scales.unsqueeze(-2)).clamp(-8.0, 8.0)
    level = torch.full((len(plans), wide), GIVEN, device=device)
    adversary = torch.tensor([batch.agent_of(batch.attacks[row]) for row in rows], device=device)
    level[every, agent] = batch.level[rows, adversary]
    drawn = torch.zeros_like(scaled)
    drawn[every, agent] = noise[rows]
    half = 0.5 * torch.from_numpy(stacked(tokens, "size", wide)).float().to(device)
    free = torch.zeros(len(plans), wide, dtype=torch.bool, device=device)
    free[every, agent] = True
    terms = (
        (1.0, CollisionCourse(agent, at, offset)),
        (stage.severity, TimeToCollision(agent, at, lead, offset)),
        (2.0, NoOverlap(agent)), (1.0, replace(batch.on_road, vehicle=free)),
        (0.5, Unlikely(agent)),
    )  # fmt: skip
    made = sample(
        network, network.context(scenes), scaled, level, half,
        steps=_DDIM_STEPS, noise=drawn, guidance=replace(guidance, terms=terms),
    )  # fmt: skip
    out = actions.clone()
    past = round(step * DT / ACTION_S)
    out[rows, adversary, past:] = made[every, agent, : ACTIONS - past]
    return rows, out


def _plan(stage: Stage, attack: Attack, driven: Driven, step: int) -> _Plan | None:
    """What to do from a step on, or None for one who cannot meet the ego any more."""
    now = stage.now + step
    ego = driven.scene.ego.copy()
    ego[stage.now :] = driven.ego
    scene = replace(driven.scene, ego=ego)
    body = bodies_of(scene, now, _NEAR)
    mine = np.flatnonzero(body.index == _track(stage, attack))
    if not len(mine):
        return None
    a = int(mine[0])
    future, _ = future_of(scene, body, now)
    gap = attack.path[attack.at, :2] - stage.drive[attack.at, :2]
    turn = future[0, :, 2] - stage.drive[attack.at, 2]
    cos, sin = np.cos(turn), np.sin(turn)
    offset = np.column_stack([gap[0] * cos - gap[1] * sin, gap[0] * sin + gap[1] * cos])
    met = _meeting(future[a], future[0], offset, STEPS - step)
    if met is None:
        return None
    at, states = met
    proposal = actions_of(future[..., 2], future[..., 3])
    proposal[a] = actions_of(np.unwrap(states[:, 2]), states[:, 3])
    lead = min(at, int(needed_s(float(future[0, at, 3])) / DT))
    return _Plan(tokens_of(scene, _moving(body, a), now), a, proposal, at, offset[at], lead)


def _meeting(path: Array, drive: Array, offset: Array, left: int) -> tuple[int, Array] | None:
    """Where someone on a path meets a drive with the least push and the least leaning sideways.

    Args:
        path, drive: [STEPS + 1, 4] x, y, yaw, speed, of which `left` steps are to come.
        offset: [STEPS + 1, 2] from the ego's centre to where it is to be met at each step.

    Returns:
        The step, and the motion [STEPS + 1, 4]: pushed evenly until then, back in line later; None
        if that takes too much.
    """
    line = Path.of(path[: left + 1, :2])
    if line.length < _SHORTEST_M:
        return None
    station, aside, _ = line.locate(drive[:, :2] + offset)
    t = np.maximum(np.arange(STEPS + 1) * DT, DT)
    speed = float(path[0, 3])
    push = 2.0 * (station - speed * t) / t**2
    room = _ASIDE_M * np.minimum(1.0, t / _ASIDE_S) ** 2
    fits = (np.abs(push) < _PUSH_MPS2) & (np.abs(aside) < room) & (drive[:, 3] > _MOVES_MPS)
    fits &= (speed + push * t > 0.5) & (station > 0.0)
    fits[:_SOONEST] = fits[left + 1 :] = False
    if not fits.any():
        return None
    cost = np.abs(push) / _PUSH_MPS2 + np.abs(aside) / room
    at = int(np.where(fits, cost, np.inf).argmin())
    along = speed * t + 0.5 * push[at] * np.minimum(t, t[at]) ** 2
    along += push[at] * t[at] * np.maximum(t - t[at], 0.0)
    along[0] = 0.0
    shift = aside[at] * (eased(t / t[at]) - eased((t - t[at]) / _BACK_S))
    states = timed(line, along, shift)
    states[0] = path[0]
    return at, states


def _track(stage: Stage, attack: Attack) -> int:
    """The adversary's row in the tracks of a draft."""
    if attack.agent < 0:
        return len(stage.scenario.agents)
    return int(stage.body.index[attack.agent])


def _moving(body: Body, agent: int) -> Body:
    still = body.still.copy()
    still[agent] = False
    return replace(body, still=still)
