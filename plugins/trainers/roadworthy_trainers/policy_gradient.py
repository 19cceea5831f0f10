"""Policy gradient over the distribution of proposals, with every proposal's reward known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from roadworthy_planners.anchor.planner import GUIDED, IMITATION
from torch import nn

from . import objectives
from .base import OfflineTrainer, policy_logits
from .fit import Batch, Loss, outputs
from .frames import Frames
from .imitation import labels_of
from .reward import Reward, taught

__all__ = ["PolicyGradient", "worth_following"]


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(OfflineTrainer):
    r"""The exact gradient of the expected reward, held near the pre-trained policy.

    .. math::
        L = -\sum_k \pi(k) r_k + \beta\, KL(\pi \,\|\, \pi_0) - \eta H(\pi)
            + \lambda [r_e \ge \rho \max_k r_k] \left(-\sum_k y_k \log \pi(k)\right)
            + \mu \sum_m BCE(p_m, m)

    No proposal is sampled, so the gradient has no variance but that of the moments (REINFORCE,
    Williams, 1992, with the sum over actions done: Sutton et al., 2000; the all-action gradient of
    Asadi et al., 2017, arXiv 1709.00503). The divergence is the true one over the vocabulary. The
    expert is imitated only where what it did scored well itself. Without imitation the optimum is
    :math:`\pi \propto \pi_0^{\beta/(\beta+\eta)} e^{r/(\beta+\eta)}`. :math:`\pi_0` is the
    policy that this training begins with, and sees everything; the one that learns is often kept
    from the ego's motion, as in imitation (state dropout).

    Attributes:
        kl: beta.
        entropy: eta.
        imitation: lambda.
        temperature: tau of the labels y [m2].
        follow: rho.
        heads: mu, weight of the sub-score heads where the network has them; they then decide when
            driving, with the policy (`GUIDED`). With 0 the policy decides alone.
    """

    lr: float = 1.5e-3
    kl: float = 0.01
    entropy: float = 0.002
    imitation: float = 0.05
    temperature: float = 0.3
    follow: float = 0.9
    heads: float = 1.0

    name: ClassVar[str] = "policy-gradient"

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Inputs, rewards, the pre-trained policy, labels, and where the expert is followed."""
        assert frames.scores is not None
        return {
            "inputs": frames.inputs,
            "rewards": rewards,
            "reference": policy_logits(network, frames.inputs),
            "labels": labels_of(frames, self.temperature),
            "keep": worth_following(frames, rewards, driven, self.follow),
            "scores": taught(frames.scores, Reward.of(self.reward)),
        }

    def mix(self) -> Mapping[str, float]:
        """The heads decide, with the policy; or the policy alone."""
        return GUIDED if self.heads > 0.0 else IMITATION

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""

        def loss(network: nn.Module, batch: Batch) -> Any:
            found = outputs(network, batch["inputs"])
            logits = found.logits
            earned = objectives.expected_reward(logits, batch["rewards"])
            kl = objectives.kl_divergence(logits, batch["reference"])
            spread = objectives.entropy(logits)
            follow = objectives.imitation(logits, batch["labels"], batch["keep"])
            loss = -earned + self.kl * kl - self.entropy * spread + self.imitation * follow
            parts = {
                "expected_reward": earned,
                "best_reward": batch["rewards"].max(dim=-1).values.mean(),
                "kl": kl,
                "entropy": spread,
                "imitation": follow,
            }
            if found.terms is not None and self.heads > 0.0:
                parts["heads"] = sub_scores(found.terms, batch["scores"])
                loss = loss + self.heads * parts["heads"]
            return loss, parts

        return loss


def sub_scores(terms: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Distillation of sub-scores kept as bytes [N, K, 9] into logits [N, K, 8]."""
    return objectives.distillation(terms, scores[..., : terms.shape[-1]].float() / 255.0)


def worth_following(frames: Frames, rewards: Any, driven: Any, share: float) -> Any:
    """bool [N]: what was driven is an expert's, and earned `share` of the best proposal's."""
    return frames.expert & (driven >= share * rewards.max(axis=1))
