"""Attacks as tensors: one scene each, with tokens of everyone and of newcomers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind

from roadworthy_generators.behaviour.attacks import PAST, Attack, Stage, needed_s
from roadworthy_generators.behaviour.diffusion import LEVELS
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.guidance import (
    CollisionCourse,
    NoOverlap,
    OnRoad,
    SpeedLimit,
    Term,
    TimeToCollision,
    Unlikely,
)
from roadworthy_generators.behaviour.kinematics import ACTIONS, actions_of
from roadworthy_generators.behaviour.network import Scenes
from roadworthy_generators.behaviour.sampling import ANEW, GIVEN
from roadworthy_generators.behaviour.scene import STILL_COLUMN, Body, Tokens, tokens_of

__all__ = ["Batch", "scenes_of", "stacked"]

_REACH_M = 80.0
_CELL_M = 2.0
_DISTURBED_M = 0.8
_DISTURBED_LEVEL = 100
_SHARE_ON_FOOT = 0.25


class Batch:
    """The attacks on one stage as tensors: one scene each, tokens of everyone and of newcomers."""

    def __init__(self, stage: Stage, attacks: Sequence[Attack], device: str) -> None:
        self.bodies = len(stage.body.index)
        common = tokens_of(stage.scenario, stage.body, stage.now)
        extra = max(len(a.newcomers) for a in attacks)
        count, wide = len(attacks), self.bodies + extra
        base = actions_of(stage.future[..., 2], stage.future[..., 3])
        base[0] = actions_of(stage.drive[:, 2], stage.drive[:, 3])
        proposal = np.zeros((count, wide, ACTIONS, 2))
        level = np.full((count, wide), GIVEN)
        rows: list[Tokens] = []
        self.attacks = tuple(attacks)
        movable = future_of(stage.scenario, stage.body, stage.now)[1].all(1) & ~stage.body.still
        movable[0] = False
        for i, attack in enumerate(attacks):
            tokens = common
            if attack.newcomers:
                tokens = _joined(common, tokens_of(stage.scenario, _body(attack), stage.now))
            rows.append(tokens)
            proposal[i, : self.bodies] = base
            for k, one in enumerate(attack.newcomers):
                proposal[i, self.bodies + k] = actions_of(
                    one.states[PAST:, 2], one.states[PAST:, 3]
                )
            agent = self.agent_of(attack)
            if attack.agent >= 0:
                rows[-1] = _about_to_move(tokens, agent)
                proposal[i, agent] = actions_of(attack.path[:, 2], attack.path[:, 3])
            level[i, : self.bodies][_disturbed(stage, attack) & movable] = _DISTURBED_LEVEL
            level[i, agent] = min(int(attack.freedom * LEVELS), ANEW)
        self.origin = stage.drive[0, :2]
        self.kind = stacked(rows, "kind", wide).astype(np.int64)
        light = (self.kind == AgentKind.PEDESTRIAN) | (self.kind == AgentKind.BICYCLE)
        share = np.where(light, _SHARE_ON_FOOT, 1.0)[..., None, None]
        self.share = torch.from_numpy(share).float().to(device)
        self.scenes = scenes_of(rows, wide, self.origin, device)
        self.half = 0.5 * torch.from_numpy(stacked(rows, "size", wide)).float().to(device)
        self.proposal = (
            torch.from_numpy(proposal).float().to(device) / self.scenes.scales.unsqueeze(-2)
        ).clamp(-8.0, 8.0)
        self.level = torch.from_numpy(level).to(device)
        depth, first = stage.roads.depth(self.origin, _REACH_M, _CELL_M)
        first = first - self.origin
        self.on_road = OnRoad(
            torch.from_numpy(depth)[None, None].to(device), (float(first[0]), float(first[1])),
            _CELL_M, torch.from_numpy(self.kind == AgentKind.VEHICLE).to(device),
        )  # fmt: skip
        self.device = device

    def agent_of(self, attack: Attack) -> int:
        """The adversary's token."""
        return attack.agent if attack.agent >= 0 else self.bodies

    def terms(self, stage: Stage) -> tuple[tuple[float, Term], ...]:
        """The guidance of these attacks."""
        device = self.device
        agent = torch.tensor([self.agent_of(a) for a in self.attacks], device=device)
        at = torch.tensor([a.at for a in self.attacks], device=device)
        aside = torch.tensor(
            np.array([a.path[a.at, :2] - stage.drive[a.at, :2] for a in self.attacks]),
            device=device,
        ).float()  # fmt: skip
        lead = torch.tensor(
            [int(needed_s(float(stage.drive[a.at, 3])) / DT) for a in self.attacks], device=device
        )
        wish = torch.tensor([1.15 * a.wish for a in self.attacks], device=device)
        return (
            (1.0, CollisionCourse(agent, at, aside)),
            (stage.severity, TimeToCollision(agent, at, lead, aside)),
            (2.0, NoOverlap(agent)),
            (1.0, self.on_road),
            (0.3, SpeedLimit(agent, wish.float())),
            (0.5, Unlikely(agent)),
        )  # fmt: skip


def stacked(rows: Sequence[Tokens], name: str, wide: int) -> NDArray[Any]:
    """A field of the tokens of scenes, [B, wide, ...], zero where there is no token."""
    first = getattr(rows[0], name)
    out = np.zeros((len(rows), wide, *first.shape[1:]), first.dtype)
    for i, tokens in enumerate(rows):
        out[i, : len(tokens)] = getattr(tokens, name)
    return out


def scenes_of(
    rows: Sequence[Tokens], wide: int, origin: NDArray[np.float64], device: str
) -> Scenes:
    """Scenes of up to `wide` tokens as tensors, positions relative to an origin."""
    there = np.arange(wide) < np.array([[len(tokens)] for tokens in rows])
    pose = stacked(rows, "pose", wide)
    pose[..., :2] -= origin * there[..., None]
    scales = stacked(rows, "scales", wide)
    scales[scales == 0.0] = 1.0
    fields = (
        stacked(rows, "features", wide), stacked(rows, "polylines", wide),
        stacked(rows, "near", wide), pose.astype(np.float32),
        stacked(rows, "speed", wide).astype(np.float32), stacked(rows, "limits", wide), scales,
        there,
    )  # fmt: skip
    return Scenes(*(torch.from_numpy(field).to(device) for field in fields))


def _body(attack: Attack) -> Body:
    """The newcomers of an attack."""
    states = np.stack([one.states[: PAST + 1] for one in attack.newcomers])
    return Body(
        index=np.full(len(states), -2),
        kind=np.array([int(o.kind) for o in attack.newcomers], np.int8),
        size=np.array([o.size[:2] for o in attack.newcomers]), past=states,
        seen=np.ones(states.shape[:2], np.bool_),
        still=np.array([o.still for o in attack.newcomers]),
    )  # fmt: skip


def _joined(one: Tokens, two: Tokens) -> Tokens:
    return Tokens(
        **{
            name: np.concatenate([getattr(one, name), getattr(two, name)])
            for name in Tokens.__annotations__
        }
    )  # fmt: skip


def _about_to_move(tokens: Tokens, agent: int) -> Tokens:
    """Someone who stood all along in the log is going to move."""
    features = tokens.features.copy()
    features[agent, STILL_COLUMN] = 0.0
    return replace(tokens, features=features)


def _disturbed(stage: Stage, attack: Attack) -> NDArray[np.bool_]:
    """Who would be near the adversary, or those put in with it, were all to do as proposed."""
    paths = [attack.path, *(n.states[PAST:] for n in attack.newcomers[1:])]
    near = np.zeros(len(stage.body.index), np.bool_)
    for path in paths:
        gap = np.hypot(*np.moveaxis(stage.future[..., :2] - path[None, :, :2], -1, 0))
        near |= gap.min(1) < 0.5 * stage.body.size[:, 0] + _DISTURBED_M
    return near
