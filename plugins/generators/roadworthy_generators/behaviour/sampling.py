"""Sampling: some futures are given, some are changed a little, some are made anew."""

from __future__ import annotations

import torch
from torch import Tensor

from roadworthy_generators.behaviour.diffusion import LEVELS, ddim_levels, ddim_step, noised
from roadworthy_generators.behaviour.guidance import Guidance
from roadworthy_generators.behaviour.kinematics import rollout
from roadworthy_generators.behaviour.network import Context, Denoiser, Scenes

__all__ = ["ANEW", "GIVEN", "rolled", "sample", "surprise"]

GIVEN = -1
"""Level of an agent whose actions are known: it conditions the others."""
ANEW = LEVELS - 1
"""Level of an agent of whose actions nothing is known."""

_SURPRISE_LEVELS = (150, 350, 600)


def sample(
    network: Denoiser,
    context: Context,
    proposal: Tensor,
    level: Tensor,
    half: Tensor,
    *,
    steps: int,
    noise: Tensor,
    guidance: Guidance | None = None,
) -> Tensor:
    """Actions of everyone, drawn by DDIM.

    Args:
        network, context: the model and the scenes.
        proposal: [B, A, ACTIONS, 2] scaled actions, that those at `GIVEN` keep, and that those
            below `ANEW` begin from: the lower their level, the closer they stay to it (partial
            diffusion; C. Meng et al., "SDEdit", ICLR 2022).
        level: int [B, A] where each begins.
        half: [B, A, 2] half lengths and widths.
        steps: from `level` to clean.
        noise: [B, A, ACTIONS, 2] normal.
        guidance: of those who are not given.

    Returns:
        [B, A, ACTIONS, 2] scaled.
    """
    free = level >= 0
    path = torch.full((*level.shape, steps + 1), GIVEN, device=level.device)
    for first in level.unique().tolist():
        if first >= 0:
            path[level == first] = torch.tensor(ddim_levels(first, steps), device=level.device)
    now: Tensor = noised(proposal.flatten(-2), noise.flatten(-2), level).unflatten(-1, (-1, 2))
    for k in range(steps):
        clean = network(context, now, path[..., k])
        if guidance is not None:
            clean = guidance.steered(clean, context.scenes, half, free)
        stepped = ddim_step(now.flatten(-2), clean.flatten(-2), path[..., k], path[..., k + 1])
        now = torch.where(free[..., None, None], stepped.unflatten(-1, (-1, 2)), now)
    return now


def rolled(actions: Tensor, scenes: Scenes) -> Tensor:
    """States [B, A, STEPS + 1, 4] of scaled actions."""
    scaled = actions * scenes.scales.unsqueeze(-2)
    return rollout(scaled, scenes.pose, scenes.speed, scenes.limits)


def surprise(network: Denoiser, context: Context, actions: Tensor, noise: Tensor) -> Tensor:
    """How unlikely each agent's actions are given those of the others: [B, A].

    The mean squared error of the prediction from three noise levels (a bound on the negative log
    likelihood but for its weights; J. Ho et al., "Denoising diffusion probabilistic models", 2020,
    eq. 14), all agents at one level but the ego, which is given.

    Args:
        noise: [3, B, A, ACTIONS, 2] normal.
    """
    total = torch.zeros(actions.shape[:2], device=actions.device)
    for drawn, k in zip(noise, _SURPRISE_LEVELS, strict=True):
        level = torch.full(actions.shape[:2], k, device=actions.device)
        level[:, 0] = GIVEN
        now = noised(actions.flatten(-2), drawn.flatten(-2), level).unflatten(-1, (-1, 2))
        total += (network(context, now, level) - actions).square().mean((-1, -2))
    return total / len(_SURPRISE_LEVELS)
