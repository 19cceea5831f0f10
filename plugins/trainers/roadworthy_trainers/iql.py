"""Implicit Q-learning from what was driven."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from . import objectives
from .base import OfflineTrainer
from .errors import TrainingError
from .fit import Batch, Loss, outputs
from .frames import Frames

__all__ = ["IQL", "followers"]


@dataclass(frozen=True, kw_only=True)
class IQL(OfflineTrainer):
    r"""Values by expectile regression along what was driven; the policy by weighted regression.

    .. math::
        L_V = |\tau - [u < 0]|\, u^2, \quad u = \bar Q(s, k_e) - V(s); \qquad
        L_Q = \left(r_e + \gamma V(s') - Q(s, k_e)\right)^2;

    .. math::
        L_\pi = -\min\left(e^{\beta (\bar Q(s, k_e) - V(s))}, c\right) \log \pi(k_e),

    with :math:`\bar Q` a slow copy of Q. Actions are the proposals nearest to what was driven, so
    rollouts teach what they tried. Q and V are networks like the policy's; V is the mean of its
    outputs. A log that ends is no end of driving: its last moment is taken to go on as it is,
    :math:`V(s') = r_e / (1 - \gamma)`. Kostrikov, Nair and Levine, *Offline Reinforcement Learning
    with Implicit Q-Learning*, 2021, arXiv 2110.06169.

    Attributes:
        expectile: tau.
        discount: gamma, per moment (`every` steps).
        inverse_temperature: beta.
        most: c.
        polyak: how far the slow copy moves to Q at each update.
    """

    lr: float = 5e-4
    every: int = 10
    expectile: float = 0.8
    discount: float = 0.8
    inverse_temperature: float = 5.0
    most: float = 20.0
    polyak: float = 0.01

    name: ClassVar[str] = "iql"
    withholds: ClassVar[bool] = False

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Transitions along what was driven."""
        after, ends = followers(frames, self.every)
        return {
            "inputs": frames.inputs,
            "next": {name: values[after] for name, values in frames.inputs.items()},
            "ends": ends,
            "action": frames.distance.argmin(axis=1),
            "reward": np.asarray(driven, np.float32),
        }

    def module(self, network: nn.Module) -> nn.Module:
        """Policy, Q, its slow copy, and V."""
        slow = copy.deepcopy(network).requires_grad_(False)
        return nn.ModuleDict(
            {"policy": network, "q": copy.deepcopy(network), "slow": slow,
             "v": copy.deepcopy(network)}
        )  # fmt: skip

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""
        if not 0.0 < self.expectile < 1.0 or not 0.0 <= self.discount < 1.0:
            raise TrainingError(
                f"expectile = {self.expectile}, discount = {self.discount}",
                hint="Both lie between 0 and 1.",
            )

        def loss(module: nn.Module, batch: Batch) -> Any:
            assert isinstance(module, nn.ModuleDict)
            with torch.no_grad():
                slow, fast = module["slow"].parameters(), module["q"].parameters()
                for target, source in zip(slow, fast, strict=True):
                    target.lerp_(source, self.polyak)
                reward = batch["reward"]
                ahead = outputs(module["v"], batch["next"]).logits.mean(dim=-1)
                ahead = torch.where(batch["ends"], reward / (1.0 - self.discount), ahead)
                goal = reward + self.discount * ahead
                action = batch["action"][:, None]
                known = outputs(module["slow"], batch["inputs"]).logits.gather(-1, action)[:, 0]
            value = outputs(module["v"], batch["inputs"]).logits.mean(dim=-1)
            q = outputs(module["q"], batch["inputs"]).logits.gather(-1, action)[:, 0]
            v_loss = objectives.expectile(known - value, self.expectile)
            q_loss = nn.functional.mse_loss(q, goal)
            policy = objectives.advantage_weighted(
                outputs(module["policy"], batch["inputs"]).logits, batch["action"],
                (known - value).detach(), 1.0 / self.inverse_temperature, self.most,
            )  # fmt: skip
            parts = {"value": v_loss, "q": q_loss, "policy": policy, "mean_value": value.mean()}
            return v_loss + q_loss + policy, parts

        return loss


def followers(frames: Frames, every: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The row of each moment's successor in its scene (its own where there is none), and whether
    there is none: int64 [N], bool [N]."""
    moments = list(zip(frames.scene.tolist(), frames.step.tolist(), strict=True))
    row = {moment: i for i, moment in enumerate(moments)}
    after = np.array([row.get((s, t + every), -1) for s, t in moments], np.int64)
    ends = after < 0
    return np.where(ends, np.arange(len(after)), after), ends
