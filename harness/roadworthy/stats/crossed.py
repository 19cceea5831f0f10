r"""Intervals where seeds of training are crossed with scenes: both were drawn, both are resampled.

With R trainings of an arm, each driven on the same S scenes in G logs, a resample draws R seeds
and G logs with replacement and weights the value of seed r in log g by :math:`w_r v_g` (the
pigeonhole bootstrap; Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 1 (2007) 386).
Its variance is never below the true one for the mean by more than terms of order 1/R and 1/G, and
above it where seeds and scenes interact. Ends are percentiles. With three seeds the part of the
variance that is due to seeds is understated by up to a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.seeding import generator

__all__ = ["Crossed", "Spread", "crossed"]

RESAMPLES = 3_999
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """An estimate and the ends of its interval; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Crossed:
    """Means of several arms under the same resamples.

    Attributes:
        value: [K], mean of each arm.
        resampled: [B, K].
        confidence: level of the intervals.
    """

    value: _Floats
    resampled: _Floats
    confidence: float

    def mean(self, arm: int) -> Spread:
        """Of one arm."""
        return self.spread(float(self.value[arm]), self.resampled[:, arm])

    def difference(self, arm: int, reference: int) -> Spread:
        """arm - reference."""
        change = self.resampled[:, arm] - self.resampled[:, reference]
        return self.spread(float(self.value[arm] - self.value[reference]), change)

    def relative(self, arm: int, reference: int) -> Spread:
        """(arm - reference) / reference; NaN where the reference is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            change = self.resampled[:, arm] / self.resampled[:, reference] - 1.0
            value = float(self.value[arm] / self.value[reference] - 1.0)
        return self.spread(value, change)

    def spread(self, value: float, resampled: _Floats) -> Spread:
        """A statistic with the percentiles of its resamples, infinite ones allowed."""
        known = np.sort(resampled[~np.isnan(resampled)])
        if not len(known) or np.isnan(value):
            return Spread(value if np.isfinite(value) else np.nan, np.nan, np.nan)
        tail = (1.0 - self.confidence) / 2.0
        last = len(known) - 1
        low, high = round(tail * last), round((1.0 - tail) * last)
        return Spread(value, float(known[low]), float(known[high]))


def crossed(
    arms: Sequence[_Floats],
    groups: NDArray[np.int64],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Crossed:
    """Resample seeds and logs of several arms together.

    Args:
        arms: K arrays [R, S], one row per seed of training, one column per scene, NaN where
            undefined. All have the same scenes; seeds of equal number are drawn together.
        groups: int64 [S], equal for scenes of one log.
        confidence: level of the intervals.
        resamples: how many.
        seed: of the resampling.

    Raises:
        ValueError: there is no arm, or one has other scenes.
    """
    if not arms or any(values.shape[1:] != groups.shape for values in arms):
        raise ValueError(f"arms have shapes {[a.shape for a in arms]}, groups {groups.shape}")
    _, index = np.unique(groups, return_inverse=True)
    logs = int(index.max(initial=-1)) + 1
    rng = generator(seed, "crossed", logs)
    log_weights = rng.multinomial(logs, np.full(logs, 1.0 / logs), resamples).astype(np.float64)
    by_count: dict[int, _Floats] = {}
    value = np.empty(len(arms))
    resampled = np.empty((resamples, len(arms)))
    for k, values in enumerate(arms):
        seeds = len(values)
        if seeds not in by_count:
            draw = generator(seed, "seeds", seeds)
            by_count[seeds] = draw.multinomial(
                seeds, np.full(seeds, 1.0 / seeds), resamples
            ).astype(np.float64)
        seed_weights = by_count[seeds]
        defined = np.isfinite(values)
        sums, sizes = np.zeros((2, seeds, logs))
        for r in range(seeds):
            np.add.at(sums[r], index, np.where(defined[r], values[r], 0.0))
            np.add.at(sizes[r], index, defined[r].astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            value[k] = sums.sum() / sizes.sum()
            over = ((seed_weights @ sums) * log_weights).sum(axis=1)
            under = ((seed_weights @ sizes) * log_weights).sum(axis=1)
            resampled[:, k] = over / under
    return Crossed(value, resampled, confidence)
