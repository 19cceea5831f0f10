"""Importance-weighted offline policy gradient, without a divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from roadworthy.seeding import derive_seed
from torch import nn

from . import objectives
from .base import OfflineTrainer, policy_logits
from .errors import TrainingError
from .fit import Batch, Loss, outputs
from .frames import Frames

__all__ = ["ImportanceWeighted"]


@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(OfflineTrainer):
    r"""Proposals are sampled from the pre-trained policy, and weighted by their likelihood ratio.

    .. math::
        L = -\frac{1}{G} \sum_{i=1}^G \min\left(\frac{\pi(k_i)}{\pi_0(k_i)}, c\right)
            \left(r_i - \operatorname{mean}(r)\right), \qquad k_i \sim \pi_0.

    For comparison: World Engine (Li et al., 2026, arXiv 2606.19836) post-trains with an
    importance-weighted loss and no divergence; this is our reading of that, not its code. What the
    pre-trained policy never does is never tried, and nothing holds the policy where no proposal
    was sampled. Off-policy weights: Precup, Sutton and Singh, 2000.

    Attributes:
        group: G.
        most: c.
    """

    lr: float = 5e-4
    group: int = 16
    most: float = 5.0

    name: ClassVar[str] = "importance-weighted"
    withholds: ClassVar[bool] = False

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Inputs, rewards and the pre-trained policy."""
        return {
            "inputs": frames.inputs,
            "rewards": rewards,
            "reference": policy_logits(network, frames.inputs),
        }

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""
        if self.group < 2:
            raise TrainingError(f"group = {self.group}", hint="At least 2.")
        random = torch.Generator().manual_seed(derive_seed(seed, self.name, "group") % 2**31)

        def loss(network: nn.Module, batch: Batch) -> Any:
            reference = batch["reference"]
            chosen = objectives.draw(reference, self.group, random)
            logits = outputs(network, batch["inputs"]).logits
            loss = objectives.importance_weighted(
                logits, reference, batch["rewards"], chosen, self.most
            )
            return loss, {
                "expected_reward": objectives.expected_reward(logits, batch["rewards"]).detach(),
                "kl": objectives.kl_divergence(logits, reference).detach(),
            }

        return loss
