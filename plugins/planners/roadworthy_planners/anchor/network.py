"""The network: tokens of the scene, anchors that attend to them, and a head per question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from .features import ANCHOR_FEATURES, EGO_MOTION, FEATURES

__all__ = ["TERMS", "AnchorNetwork", "NetworkConfig", "Scored", "one_thread"]

TERMS = ("nc", "dac", "ddc", "tlc", "ttc", "lk", "comfort", "ep")
"""Sub-scores of EPDMS that have a head each: no at-fault collision, drivable area, driving
direction, traffic lights, time to collision, lane keeping, comfort, ego progress."""

_WITHHELD = 0.75


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums of equal numbers are then equal on any machine, and small products
    do not wait for busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes.

    Attributes:
        width: of every token.
        heads: of every attention.
        encoder_layers: in which tokens of the scene attend to each other.
        decoder_layers: in which anchors attend to the scene.
    """

    width: int = 48
    heads: int = 2
    encoder_layers: int = 1
    decoder_layers: int = 1


class Scored(NamedTuple):
    """What a network says of K proposals.

    Attributes:
        logits: [N, K], of the policy.
        terms: [N, K, len(TERMS)], logits of the sub-scores, or None.
    """

    logits: Tensor
    terms: Tensor | None = None


class SceneEncoder(nn.Module):
    """Tokens of a scene: the ego, agents, stretches of the route, lanes. [N, T, width] and a mask.

    More tokens, such as those of cameras, are appended by `extra` [N, E, width]. In training the
    ego's acceleration, turning and steering are mostly withheld: a network that sees them learns to
    go on as before (state dropout; Cheng et al., *PlanTF*, 2023, arXiv 2309.10443).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.ModuleDict(
            {
                name: _perceptron(FEATURES[name][-1], width)
                for name in ("ego", "agents", "route", "lanes")
            }
        )
        self.kind = nn.Parameter(torch.zeros(4, width))
        self.layers = nn.ModuleList(
            _Block(width, config.heads) for _ in range(config.encoder_layers)
        )

    def forward(self, inputs: Mapping[str, Tensor], extra: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens, there = [], []
        for k, name in enumerate(("ego", "agents", "route", "lanes")):
            values = inputs[name] if name != "ego" else self._ego(inputs[name])[:, None]
            tokens.append(self.embed[name](values) + self.kind[k])
            mask = inputs.get(f"{name}_mask")
            there.append(values.new_ones(values.shape[:2]) if mask is None else mask)
        if extra is not None:
            tokens.append(extra)
            there.append(extra.new_ones(extra.shape[:2]))
        scene, mask = torch.cat(tokens, dim=1), torch.cat(there, dim=1) > 0.0
        for layer in self.layers:
            scene = layer(scene, scene, mask)
        return scene, mask

    def _ego(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        kept = torch.ones_like(values)
        kept[:, list(EGO_MOTION)] = (torch.rand(len(values), 1) >= _WITHHELD).to(values)
        return values * kept


class AnchorNetwork(nn.Module):
    """Scores K anchors in N scenes.

    Args:
        config: sizes.

    Attributes:
        encoder: makes the scene's tokens; what another sensor sees joins them as `extra`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SceneEncoder(config)
        self.query = _perceptron(ANCHOR_FEATURES, config.width)
        self.layers = nn.ModuleList(
            _Block(config.width, config.heads) for _ in range(config.decoder_layers)
        )
        self.policy = _head(config.width, 1)
        self.terms = _head(config.width, len(TERMS))

    def forward(self, inputs: Mapping[str, Tensor], extra: Tensor | None = None) -> Scored:
        """Score the anchors.

        Args:
            inputs: arrays [N, ...] of `features.FEATURES` and `anchors` [N, K, 27].
            extra: [N, E, width], more tokens of the scene.
        """
        scene, mask = self.encoder(inputs, extra)
        anchors = self.query(inputs["anchors"]) + scene[:, :1]
        for layer in self.layers:
            anchors = layer(anchors, scene, mask)
        return Scored(self.policy(anchors)[..., 0], self.terms(anchors))


class _Block(nn.Module):
    """Pre-norm attention of `x` to `memory`, then a perceptron; both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_memory, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.ask, self.keys = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.answer = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        asked, known = self.ask(self.norm(x)), self.keys(self.norm_memory(memory))
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (asked, *known.chunk(2, dim=-1))
        )
        told = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None]
        )
        x = x + self.answer(told.transpose(1, 2).flatten(-2))
        return x + self.think(self.norm_out(x))


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))


def _head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(),
                         nn.Linear(width, outputs))  # fmt: skip
