r"""How much more data imitation would take to come as far as a post-trained planner.

Imitation is measured at multiples :math:`m_1 < \dots < m_n` of the data. The data-equivalence
multiplier of a planner with value y is the smallest m at which the measured curve, linear in
:math:`\log m` between its points, is as good as y. It is read off, never extrapolated: below the
first point it is "at most 1x", and where the curve does not come so far it is censored at the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.stats.crossed import Crossed

__all__ = ["Equivalence", "equivalence", "multiplier"]


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A multiplier with its interval: infinite where the curve does not come so far.

    Attributes:
        value, low, high: multiples of the data; 1 stands for "at most 1".
        censored: the largest multiple that was measured.
        share_beyond: share of the resamples that are beyond it.
    """

    value: float
    low: float
    high: float
    censored: float
    share_beyond: float

    def words(self) -> str:
        """Such as `6.2x (95 % interval 3.1x to beyond 16x (censored))`."""
        return f"{self._one(self.value)} (interval {self._one(self.low)} to {self._one(self.high)})"

    def _one(self, x: float) -> str:
        if math.isnan(x):
            return "undefined"
        if math.isinf(x):
            return f"beyond {self.censored:g}x (censored)"
        return "at most 1x" if x <= 1.0 else f"{x:.1f}x"


def multiplier(
    multiples: Sequence[float], curve: NDArray[np.float64], target: NDArray[np.float64], better: str
) -> NDArray[np.float64]:
    """By inverse interpolation, for B curves at once.

    Args:
        multiples: [n], ascending.
        curve: [B, n], measured at them.
        target: [B].
        better: `higher` or `lower`.

    Returns:
        [B], 1 where the first point is as good already, infinity where no point is; NaN where a
        value is undefined.
    """
    sign = -1.0 if better == "lower" else 1.0
    y, goal = sign * curve, sign * target[:, None]
    at = np.log(np.asarray(multiples, np.float64))
    out = np.full(len(y), math.inf)
    for i in range(len(at) - 1, 0, -1):
        reached = (y[:, i] >= goal[:, 0]) & (y[:, i - 1] < goal[:, 0])
        rise = np.where(reached, y[:, i] - y[:, i - 1], 1.0)
        part = (goal[:, 0] - y[:, i - 1]) / rise
        out = np.where(reached, np.exp(at[i - 1] + part * (at[i] - at[i - 1])), out)
    out = np.where(y[:, 0] >= goal[:, 0], 1.0, out)
    return np.where(np.isnan(y).any(axis=1) | np.isnan(goal[:, 0]), math.nan, out)


def equivalence(means: Crossed, multiples: Sequence[float], arm: int, better: str) -> Equivalence:
    """Of the arm at column `arm` of `means`, whose first columns are the curve.

    Args:
        means: of imitation at each multiple, then of the arms, under the same resamples.
        multiples: [n].
        arm: which column.
        better: `higher` or `lower`.
    """
    n = len(multiples)
    value = multiplier(multiples, means.value[None, :n], means.value[None, arm], better)
    drawn = multiplier(multiples, means.resampled[:, :n], means.resampled[:, arm], better)
    spread = means.spread(float(value[0]), drawn)
    return Equivalence(
        value=float(value[0]),
        low=spread.low,
        high=spread.high,
        censored=float(multiples[-1]),
        share_beyond=float(np.isinf(drawn).mean()),
    )
