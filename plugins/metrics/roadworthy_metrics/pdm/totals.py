"""From sub-metrics to PDMS and EPDMS (specification, section 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .evaluate import Evaluation, Term

__all__ = [
    "PROGRESS_THRESHOLD",
    "epdms",
    "filter_by_human",
    "multiplier",
    "pdms",
    "progress_in_batch",
    "progress_in_pairs",
]

PROGRESS_THRESHOLD = 5.0
"""Below this much progress of the best trajectory EP does not tell trajectories apart [m]."""

_MULTIPLIERS = {
    1: (Term.NC, Term.DAC),
    2: (Term.NC, Term.DAC, Term.DDC, Term.TLC),
}


def multiplier(value: NDArray[np.float64], version: int) -> NDArray[np.float64]:
    """The product of the multiplier terms: NC DAC, and in version 2 DDC TLC.

    Args:
        value: [..., 7] by `Term`.
        version: 1 or 2.

    Returns:
        float64 [...].
    """
    first, *others = _MULTIPLIERS[version]
    out: NDArray[np.float64] = value[..., first]
    for term in others:
        out = out * value[..., term]
    return out


def progress_in_batch(
    raw: NDArray[np.float64], product: NDArray[np.float64], version: int
) -> NDArray[np.float64]:
    """Ego progress (EP) of trajectories that are scored together, along the last axis.

    Version 1: EP = q / max q with q = raw * product. Version 2: EP = raw / max q, at most 1.
    Where max q is at most 5 m: EP = 1, in version 1 only where the product is not 0.

    Args:
        raw: [..., P], raw progress [m].
        product: [..., P], from `multiplier`.
        version: 1 or 2.

    Returns:
        float64 [..., P].
    """
    masked = raw * product
    most = masked.max(axis=-1, keepdims=True)
    far = most > PROGRESS_THRESHOLD
    safe = np.where(far, most, 1.0)
    if version == 1:
        return np.where(far, masked / safe, np.where(product == 0.0, 0.0, 1.0))
    return np.where(far, np.clip(raw / safe, 0.0, 1.0), 1.0)


def progress_in_pairs(
    reference: Evaluation, proposals: Evaluation, version: int
) -> NDArray[np.float64]:
    """EP as defined: each proposal in a batch of two with the PDM-Closed reference.

    Args:
        reference: of one trajectory, PDM-Closed's.
        proposals: of P trajectories in the same scene.
        version: 1 or 2.

    Returns:
        float64 [P].
    """
    raw = np.stack(np.broadcast_arrays(reference.progress[0], proposals.progress), axis=-1)
    products = multiplier(proposals.value, version)
    product = np.stack(
        np.broadcast_arrays(multiplier(reference.value, version)[0], products), axis=-1
    )
    return progress_in_batch(raw, product, version)[..., 1]


def pdms(value: NDArray[np.float64], ep: NDArray[np.float64]) -> NDArray[np.float64]:
    """PDMS = NC DAC (5 EP + 5 TTC + 2 C) / 12 (version 1).

    Args:
        value: [..., 7] by `Term`.
        ep: [...], ego progress.
    """
    weighted = 5.0 * ep + 5.0 * value[..., Term.TTC] + 2.0 * value[..., Term.COMFORT]
    return multiplier(value, 1) * weighted / 12.0


def epdms(
    value: NDArray[np.float64], ep: NDArray[np.float64], ec: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """EPDMS = NC DAC DDC TLC (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16 (version 2).

    Args:
        value: [..., 7] by `Term`.
        ep: [...], ego progress.
        ec: [...], extended comfort; without it, or where it is NaN, the weights sum to 14.
    """
    weighted = (
        5.0 * ep
        + 5.0 * value[..., Term.TTC]
        + 2.0 * value[..., Term.LK]
        + 2.0 * value[..., Term.COMFORT]
    )
    if ec is None:
        return multiplier(value, 2) * weighted / 14.0
    known = np.isfinite(ec)
    mean = np.where(known, (weighted + 2.0 * np.where(known, ec, 0.0)) / 16.0, weighted / 14.0)
    return multiplier(value, 2) * mean


def filter_by_human(value: NDArray[np.float64], human: NDArray[np.float64]) -> NDArray[np.float64]:
    """Version 2's human filter: a term that is exactly 0 for the human is 1 for the agent.

    Args:
        value: [..., 7] by `Term`, the agent's.
        human: [7], those of the logged human trajectory, scored alone and without history.

    Returns:
        float64 [..., 7]; EP and EC are not filtered.
    """
    return np.where(human == 0.0, 1.0, value)
