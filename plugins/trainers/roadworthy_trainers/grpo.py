"""Group relative policy optimisation over proposals."""

from __future__ import annotations

import copy
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

__all__ = ["GRPO"]


@dataclass(frozen=True, kw_only=True)
class GRPO(OfflineTrainer):
    r"""A group of proposals is sampled, and each is judged against the others of its group.

    .. math::
        L = -\frac{1}{G} \sum_{i=1}^G \min\left(\rho_i A_i,
            \operatorname{clip}(\rho_i, 1 - \epsilon, 1 + \epsilon) A_i\right)
            + \beta\, KL(\pi \,\|\, \pi_0), \qquad
        A_i = \frac{r_i - \operatorname{mean}(r)}{\operatorname{std}(r)},
        \quad \rho_i = \frac{\pi(k_i)}{\pi_{old}(k_i)}.

    Shao et al., *DeepSeekMath*, 2024, arXiv 2402.03300; the divergence is the true one here. Where
    all proposals earn nearly the same, the division by their spread makes much of little.

    Attributes:
        group: G.
        ratio: epsilon.
        kl: beta.
        refresh: updates between copies of the policy to the one that samples.
    """

    lr: float = 5e-4
    group: int = 16
    ratio: float = 0.2
    kl: float = 0.02
    refresh: int = 8

    name: ClassVar[str] = "grpo"
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
        if self.group < 2 or self.refresh < 1:
            raise TrainingError(f"group = {self.group}, refresh = {self.refresh}: too small")
        random = torch.Generator().manual_seed(derive_seed(seed, self.name, "group") % 2**31)
        sampler, updates = copy.deepcopy(network), 0

        def loss(network: nn.Module, batch: Batch) -> Any:
            nonlocal updates
            if updates % self.refresh == 0:
                sampler.load_state_dict(network.state_dict())
                sampler.to(batch["rewards"].device)
            updates += 1
            with torch.no_grad():
                old = outputs(sampler, batch["inputs"]).logits
            chosen = objectives.draw(old, self.group, random)
            logits = outputs(network, batch["inputs"]).logits
            surrogate = objectives.group_relative(logits, old, batch["rewards"], chosen, self.ratio)
            kl = objectives.kl_divergence(logits, batch["reference"])
            earned = objectives.expected_reward(logits, batch["rewards"]).detach()
            return surrogate + self.kl * kl, {"expected_reward": earned, "kl": kl}

        return loss
