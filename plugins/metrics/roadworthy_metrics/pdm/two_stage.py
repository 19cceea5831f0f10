"""Two-stage pseudo-simulation (Cao et al., CoRL 2025; specification, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["combine_stages", "stage_weights"]

_VARIANCE = 0.1
_NEGLIGIBLE = 1e-8


def stage_weights(
    endpoint: NDArray[np.float64], starts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights of second-stage scenes by how near they start to where the first plan ended.

    w = exp(-d^2 / (2 * 0.1)), normalised; uniform where all are negligible or one is NaN.

    Args:
        endpoint: [2], the last raw (not simulated) pose of the first-stage plan, world [m].
        starts: [K, 2], initial rear axles of the second-stage scenes, world [m].

    Returns:
        float64 [K], summing to 1.
    """
    starts = np.asarray(starts, np.float64).reshape(-1, 2)
    squared = ((starts - np.asarray(endpoint, np.float64)[:2]) ** 2).sum(axis=1)
    weights: NDArray[np.float64] = np.exp(-squared / (2.0 * _VARIANCE))
    total = weights.sum()
    if not total > _NEGLIGIBLE:
        return np.full(len(starts), 1.0 / max(len(starts), 1))
    weights /= total
    return weights


def combine_stages(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Score of a group, column by column.

    Combined = mean over {now, prev} of first * sum_i w_i second_i.

    Args:
        first: [2, C], rows of the first-stage pair (now, prev): sub-metrics and score.
        second: [2, K, C], rows of the second-stage pairs.
        weights: [2, K], from `stage_weights`, for now and prev.

    Returns:
        Combined, stage one and stage two: float64 [C] each.
    """
    later = np.einsum("sk,skc->sc", weights, second)
    return (first * later).mean(axis=0), first.mean(axis=0), later.mean(axis=0)
