r"""Diffusion with the cosine schedule, and deterministic steps back (DDIM).

A. Nichol and P. Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021, eq. 17:
$\bar\alpha(t) = \cos^2\!\left(\frac{t/T + 0.008}{1.008}\frac{\pi}{2}\right)$, betas at most 0.999.
J. Song, C. Meng and S. Ermon, "Denoising diffusion implicit models", ICLR 2021, eq. 12 with
$\sigma = 0$, for a network that predicts the clean sample.

Levels are per agent: level -1 is clean, level `LEVELS` - 1 all but pure noise.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

__all__ = ["LEVELS", "alpha_bar", "ddim_levels", "ddim_step", "noised"]

LEVELS = 1000


@cache
def _table() -> Tensor:
    """[LEVELS + 1], the last entry is that of level -1."""

    def bar(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1.0 - bar((i + 1) / LEVELS) / bar(i / LEVELS), 0.999) for i in range(LEVELS)]
    kept = torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float64), 0)
    return torch.cat([kept, torch.ones(1, dtype=torch.float64)]).float()


def alpha_bar(level: Tensor) -> Tensor:
    """The share of variance that is signal, by integer level from -1 on."""
    return _table().to(level.device)[level]


def noised(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Samples [..., D] at levels [...]."""
    kept = alpha_bar(level).unsqueeze(-1)
    return kept.sqrt() * clean + (1.0 - kept).sqrt() * noise


def ddim_levels(first: int, steps: int) -> list[int]:
    """Levels of `steps` steps back, evenly spaced from `first` down; the last step leads to -1."""
    return [round(first - (first + 1) * k / steps) for k in range(steps)] + [-1]


def ddim_step(sample: Tensor, clean: Tensor, level: Tensor, after: Tensor) -> Tensor:
    """One step back.

    Args:
        sample: [..., D] at `level`.
        clean: [..., D] the predicted clean sample.
        level, after: [...] before and after the step; where they are equal nothing changes.
    """
    kept, then = alpha_bar(level).unsqueeze(-1), alpha_bar(after).unsqueeze(-1)
    noise = (sample - kept.sqrt() * clean) / (1.0 - kept).sqrt().clamp(min=1e-6)
    stepped = then.sqrt() * clean + (1.0 - then).sqrt() * noise
    return torch.where((level == after).unsqueeze(-1), sample, stepped)
