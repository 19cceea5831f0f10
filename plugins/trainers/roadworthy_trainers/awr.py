"""Advantage-weighted regression: imitate what was driven, the more the better it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import nn

from . import objectives
from .base import OfflineTrainer, policy_logits
from .errors import TrainingError
from .fit import Batch, Loss, outputs
from .frames import Frames

__all__ = ["AWR"]


@dataclass(frozen=True, kw_only=True)
class AWR(OfflineTrainer):
    r"""Regression onto what was driven, weighted by its advantage.

    .. math::
        L = -\min\left(e^{(r_e - V) / \tau}, c\right) \log \pi(k_e), \qquad
        V = \sum_k \pi_0(k) r_k,

    with :math:`k_e` the proposal nearest to what was driven, in logs and rollouts alike. It learns
    from that one action only, however many rewards are known. Peng et al., *Advantage-Weighted
    Regression*, 2019, arXiv 1910.00177.

    Attributes:
        temperature: tau.
        most: c.
    """

    lr: float = 5e-4
    temperature: float = 0.2
    most: float = 20.0

    name: ClassVar[str] = "awr"

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Inputs, the action, its advantage, and rewards to be told of."""
        reference = np.exp(policy_logits(network, frames.inputs))
        value = (reference * rewards).sum(axis=1)
        return {
            "inputs": frames.inputs,
            "action": frames.distance.argmin(axis=1),
            "advantage": (driven - value).astype(np.float32),
            "rewards": rewards,
        }

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""
        if not self.temperature > 0.0:
            raise TrainingError(f"temperature = {self.temperature!r}", hint="Above 0.")

        def loss(network: nn.Module, batch: Batch) -> Any:
            logits = outputs(network, batch["inputs"]).logits
            loss = objectives.advantage_weighted(
                logits, batch["action"], batch["advantage"], self.temperature, self.most
            )
            earned = objectives.expected_reward(logits, batch["rewards"]).detach()
            return loss, {"expected_reward": earned}

        return loss
