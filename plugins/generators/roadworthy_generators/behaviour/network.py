"""The denoiser: what everyone is going to do, from a noisy guess of it.

One token per agent holds its past and a noisy future of 24 accelerations and yaw rates. Tokens
attend to each other, with their relative pose and velocity on the edges, and each to the pieces
of the map around it. Every agent has a noise level of its own, so what is known of some agents (the
ego's plan, a logged future) conditions the others: those tokens are simply clean. The network
predicts the clean actions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from roadworthy_generators.behaviour.diffusion import LEVELS
from roadworthy_generators.behaviour.kinematics import ACTIONS, STEPS, rollout
from roadworthy_generators.behaviour.scene import FEATURES, POLYLINE_FEATURES

__all__ = ["Context", "Denoiser", "Scenes", "Shape"]

EDGE_FEATURES = 8
_LEVEL_FEATURES = 16
_SEEN_AT = tuple(range(10, STEPS + 1, 10))


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network: width, layers, heads, width of an edge."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    edge: int = 32


class Scenes(NamedTuple):
    """B scenes of A tokens, see `scene.Tokens`.

    Attributes:
        features: [B, A, FEATURES]; polylines: [B, A, P, POLYLINE_FEATURES]; near: bool [B, A, P].
        pose: [B, A, 3]; speed: [B, A]; limits: [B, A, 5]; scales: [B, A, 2].
        there: bool [B, A], whether there is such a token at all.
    """

    features: Tensor
    polylines: Tensor
    near: Tensor
    pose: Tensor
    speed: Tensor
    limits: Tensor
    scales: Tensor
    there: Tensor


class Context(NamedTuple):
    """What does not depend on the noise: computed once per scene, used at every step.

    Attributes:
        token: [B, A, D]; bias, edge: per layer [B, H, A, A] and [B, A, A, E]; key, value: per layer
            [B, A, H, P, D / H] of the map.
    """

    token: Tensor
    edge: Tensor
    bias: list[Tensor]
    key: list[Tensor]
    value: list[Tensor]
    scenes: Scenes


class Denoiser(nn.Module):
    """Predicts clean actions, in units of `kinematics.SCALES`."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.shape = shape
        d = shape.width
        self.past = _mlp(FEATURES, d, d)
        self.piece = _mlp(POLYLINE_FEATURES, d // 2, d)
        self.pair = _mlp(EDGE_FEATURES, shape.edge, shape.edge)
        self.guess = _mlp(2 * ACTIONS + 2 * len(_SEEN_AT), d, d)
        self.level = _mlp(_LEVEL_FEATURES, d, d)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, 2 * ACTIONS)

    def context(self, scenes: Scenes) -> Context:
        """Everything of the scenes that stays the same from step to step."""
        token = self.past(scenes.features)
        piece = self.piece(scenes.polylines)
        edge = self.pair(_edges(scenes.pose, scenes.speed))
        hidden = ~scenes.there[:, None, None, :]
        bias, key, value = [], [], []
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            bias.append(layer.bias(edge).permute(0, 3, 1, 2).masked_fill(hidden, -1e4))
            k, v = layer.map_in(piece).chunk(2, -1)
            key.append(_heads(k, self.shape.heads))
            value.append(_heads(v, self.shape.heads))
        return Context(token, edge, bias, key, value, scenes)

    def forward(self, context: Context, sample: Tensor, level: Tensor) -> Tensor:
        """Clean actions [B, A, ACTIONS, 2] from noisy ones at levels [B, A] (int, -1 is clean)."""
        scenes = context.scenes
        with torch.no_grad():
            actions = sample * scenes.scales.unsqueeze(-2)
            start = torch.zeros_like(scenes.pose)
            path = rollout(actions, start, scenes.speed, scenes.limits)[..., _SEEN_AT, :2]
            seen = torch.cat([sample.flatten(-2), path.flatten(-2) / 20.0], -1)
        when = self.level(_level_features(level))
        x = context.token + self.guess(seen) + when
        for i, layer in enumerate(self.layers):
            x = layer(
                x, when, context.edge, context.bias[i], context.key[i], context.value[i],
                scenes.near,
            )  # fmt: skip
        out: Tensor = self.out(self.norm(x)).unflatten(-1, (ACTIONS, 2))
        return out


class _Layer(nn.Module):
    """Attention over agents, attention to the map, and a perceptron, told of the noise level."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.heads = shape.heads
        self.first, self.second, self.third = (nn.LayerNorm(d) for _ in range(3))
        self.film = nn.Linear(d, 2 * d)
        self.agents_in = nn.Linear(d, 3 * d)
        self.agents_out = nn.Linear(d, d)
        self.bias = nn.Linear(shape.edge, shape.heads)
        self.edge_value = nn.Linear(shape.heads * shape.edge, d)
        self.map_query = nn.Linear(d, d)
        self.map_in = nn.Linear(d, 2 * d)
        self.map_out = nn.Linear(d, d)
        self.wide = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(
        self,
        x: Tensor,
        when: Tensor,
        edge: Tensor,
        bias: Tensor,
        key: Tensor,
        value: Tensor,
        near: Tensor,
    ) -> Tensor:
        scale, shift = self.film(when).chunk(2, -1)
        y = self.first(x) * (1.0 + scale) + shift
        q, k, v = (_heads(part, self.heads) for part in self.agents_in(y).chunk(3, -1))
        weight = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias, -1)
        seen = torch.einsum("bhij,bije->bihe", weight, edge).flatten(-2)
        x = x + self.agents_out((weight @ v).transpose(1, 2).flatten(-2)) + self.edge_value(seen)
        q = _heads(self.map_query(self.second(x)).unsqueeze(-2), self.heads)
        weight = q @ key.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weight = torch.softmax(weight.masked_fill(~near[:, :, None, None], -1e4), -1)
        x = x + self.map_out((weight @ value).transpose(-2, -3).flatten(-3))
        out: Tensor = x + self.wide(self.third(x))
        return out


def _mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, hidden), nn.GELU(), nn.Linear(hidden, width_out))


def _heads(x: Tensor, heads: int) -> Tensor:
    """[..., N, D] to [..., H, N, D / H]."""
    out: Tensor = x.unflatten(-1, (heads, -1)).transpose(-2, -3)
    return out


def _edges(pose: Tensor, speed: Tensor) -> Tensor:
    """Pose and velocity of each agent (last axis but one) in the frame of each: [B, A, A, 8]."""
    cos, sin = torch.cos(pose[..., 2]), torch.sin(pose[..., 2])
    gap = pose[:, None, :, :2] - pose[:, :, None, :2]
    c, s = cos[:, :, None], sin[:, :, None]
    ahead, left = gap[..., 0] * c + gap[..., 1] * s, gap[..., 1] * c - gap[..., 0] * s
    turn = pose[:, None, :, 2] - pose[:, :, None, 2]
    vx, vy = speed[:, None] * torch.cos(turn), speed[:, None] * torch.sin(turn)
    far = torch.hypot(ahead, left)
    columns = (
        ahead / 20.0, left / 20.0, torch.cos(turn), torch.sin(turn),
        (vx - speed[:, :, None]) / 10.0, vy / 10.0, torch.log1p(far) / 4.0, torch.exp(-far / 10.0),
    )  # fmt: skip
    return torch.stack(columns, -1).clamp(-10.0, 10.0)


def _level_features(level: Tensor) -> Tensor:
    """Sines and cosines of levels [...] over octaves: [..., 16]."""
    share = (level.float() + 1.0) / LEVELS
    angle = share.unsqueeze(-1) * 2.0 ** torch.arange(8, device=level.device) * (math.pi / 2.0)
    return torch.cat([torch.sin(angle), torch.cos(angle)], -1)
