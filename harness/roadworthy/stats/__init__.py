"""Statistics of scores: intervals, tests and power, for scenarios in groups.

The unit of evidence is the scenario, never the single simulation: values are averaged over
the repetitions of a scenario first, and scenarios from one log may be resampled together.
Everything is a function of arrays, vectorised over metric columns, and deterministic.
"""

from __future__ import annotations

from roadworthy.stats.exact import binomial_interval, normal_quantile, poisson_upper, t_quantile
from roadworthy.stats.intervals import (
    RESAMPLES,
    Interval,
    Method,
    interval_of_means,
    interval_of_ratios,
)
from roadworthy.stats.permutation import holm, sign_flip
from roadworthy.stats.power import Power, paired_power

__all__ = [
    "RESAMPLES",
    "Interval",
    "Method",
    "Power",
    "binomial_interval",
    "holm",
    "interval_of_means",
    "interval_of_ratios",
    "normal_quantile",
    "paired_power",
    "poisson_upper",
    "sign_flip",
    "t_quantile",
]
