"""Losses over a distribution of proposals, as plain functions of tensors.

Throughout: logits [N, K] of the policy, r [N, K] the rewards of all proposals, and means over N.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "advantage_weighted",
    "distillation",
    "draw",
    "entropy",
    "expected_reward",
    "expectile",
    "group_relative",
    "imitation",
    "importance_weighted",
    "kl_divergence",
]


def draw(logits: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Proposals sampled from a policy, int64 [N, count]; drawn on the CPU, the same everywhere."""
    p = logits.detach().softmax(dim=-1).cpu()
    return torch.multinomial(p, count, replacement=True, generator=random).to(logits.device)


def imitation(logits: Tensor, labels: Tensor, keep: Tensor | None = None) -> Tensor:
    """Cross entropy -sum_k y_k log pi(k), mean over the moments kept; 0 where none is."""
    each = -(labels * logits.log_softmax(dim=-1)).sum(dim=-1)
    if keep is None:
        return each.mean()
    weight = keep.to(each.dtype)
    return (each * weight).sum() / weight.sum().clamp(min=1.0)


def expected_reward(logits: Tensor, rewards: Tensor) -> Tensor:
    """E_pi[r] = sum_k pi(k) r_k; its gradient is the exact policy gradient."""
    return (logits.softmax(dim=-1) * rewards).sum(dim=-1).mean()


def kl_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(pi || pi_ref), summed over all proposals, not estimated."""
    log_p, log_q = logits.log_softmax(dim=-1), reference.log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()


def entropy(logits: Tensor) -> Tensor:
    """H(pi)."""
    log_p = logits.log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1).mean()


def distillation(terms: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of sub-score logits [N, K, M] with sub-scores in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(terms, targets)


def group_relative(
    logits: Tensor, old: Tensor, rewards: Tensor, chosen: Tensor, clip: float
) -> Tensor:
    """GRPO's clipped surrogate for G sampled proposals, to be minimised.

    Args:
        logits, old: of the policy, and of the one that sampled.
        rewards: of all proposals.
        chosen: int64 [N, G], sampled from `old`; the group.
        clip: epsilon.
    """
    r = rewards.gather(-1, chosen)
    advantage = (r - r.mean(dim=-1, keepdim=True)) / (r.std(dim=-1, keepdim=True) + 1e-4)
    log_ratio = (logits.log_softmax(dim=-1) - old.log_softmax(dim=-1)).gather(-1, chosen)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()


def importance_weighted(
    logits: Tensor, behaviour: Tensor, rewards: Tensor, chosen: Tensor, most: float
) -> Tensor:
    """-mean(min(pi / mu, most) A) over proposals sampled from mu; A is centred on the mean."""
    r = rewards.gather(-1, chosen)
    advantage = r - r.mean(dim=-1, keepdim=True)
    log_ratio = (logits.log_softmax(dim=-1) - behaviour.log_softmax(dim=-1)).gather(-1, chosen)
    return -(log_ratio.exp().clamp(max=most) * advantage).mean()


def advantage_weighted(
    logits: Tensor, action: Tensor, advantage: Tensor, temperature: float, most: float
) -> Tensor:
    """-mean(min(exp(A / tau), most) log pi(a)).

    Args:
        logits: of the policy.
        action: int64 [N], what was done.
        advantage: [N], of it.
        temperature: tau.
        most: largest weight.
    """
    weight = (advantage / temperature).exp().clamp(max=most)
    taken = logits.log_softmax(dim=-1).gather(-1, action[:, None])[:, 0]
    return -(weight * taken).mean()


def expectile(difference: Tensor, tau: float) -> Tensor:
    """mean(|tau - 1[u < 0]| u^2), the asymmetric least squares of IQL."""
    weight = torch.where(difference < 0.0, 1.0 - tau, tau)
    return (weight * difference**2).mean()
