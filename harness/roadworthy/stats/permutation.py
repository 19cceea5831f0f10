"""Sign-flip tests of paired differences, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roadworthy.seeding import generator

__all__ = ["EXACT_UP_TO", "FLIPS", "holm", "sign_flip"]

EXACT_UP_TO = 16
"""Up to this many clusters that differ, all 2^n sign patterns are enumerated."""
FLIPS = 9_999
"""Random sign patterns above that; the smallest p-value is then 1 / (FLIPS + 1)."""

_TIE = 1.0e-9
_CHUNK = 1_000


def sign_flip(
    differences: NDArray[np.float64], *, flips: int = FLIPS, seed: int = 0
) -> NDArray[np.float64]:
    """Two-sided p-values of "A and B are exchangeable in every cluster".

    Under that hypothesis the sign of each cluster's difference is a fair coin, so that the
    sum T of the differences is compared with its values under flipped signs:
    p = P(|T*| >= |T|). Clusters without a difference say nothing and are left out. With at
    most `EXACT_UP_TO` others all patterns are enumerated and p is exact; above, `flips`
    random patterns are drawn and p = (b + 1) / (flips + 1), which is valid, while b / flips
    is not (Phipson & Smyth 2010).

    Args:
        differences: [G, K] or [G], per cluster the summed difference; NaN counts as none.
        flips: random patterns.
        seed: of the random patterns.

    Returns:
        float64 [K], 1 where nothing differs.
    """
    table = np.nan_to_num(np.asarray(differences, np.float64))
    table = table[:, None] if table.ndim == 1 else table
    out = np.ones(table.shape[1])
    active = (table != 0.0).sum(axis=0)
    many = []
    for k in range(table.shape[1]):
        if active[k] > EXACT_UP_TO:
            many.append(k)
        elif active[k]:
            column = table[:, k]
            out[k] = _enumerate(column[column != 0.0])
    if many:
        out[many] = _draw(table[:, many], flips, seed)
    return out


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values that control the family-wise error rate (Holm 1979).

    With p sorted, p̃_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). NaN stays NaN and
    is no member of the family.
    """
    values = np.asarray(p, np.float64)
    out = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    out[order] = np.maximum.accumulate(np.minimum(1.0, factors * values[order]))
    return out


def _enumerate(column: NDArray[np.float64]) -> float:
    """Over half of the patterns: |T*| is the same for a pattern and its opposite."""
    n = len(column)
    patterns = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    sums = (1.0 - 2.0 * patterns) @ column
    return float(np.mean(np.abs(sums) >= _bar(column)))


def _draw(table: NDArray[np.float64], flips: int, seed: int) -> NDArray[np.float64]:
    rng = generator(seed, "sign-flip", len(table))
    bars = np.array([_bar(column) for column in table.T])
    reached = np.zeros(table.shape[1])
    for start in range(0, flips, _CHUNK):
        n = min(_CHUNK, flips - start)
        signs = rng.integers(0, 2, (n, len(table)), dtype=np.int8) * 2.0 - 1.0
        reached += (np.abs(signs @ table) >= bars).sum(axis=0)
    return (reached + 1.0) / (flips + 1.0)


def _bar(column: NDArray[np.float64]) -> float:
    """|T|, lowered by what rounding could take from an equal sum."""
    return float(abs(column.sum()) - _TIE * np.abs(column).sum())
