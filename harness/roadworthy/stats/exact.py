"""Distribution functions by closed forms and continued fractions, and exact bounds on shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

__all__ = [
    "beta_cdf",
    "beta_quantile",
    "binomial_interval",
    "normal_quantile",
    "poisson_upper",
    "t_cdf",
    "t_quantile",
]

_NORMAL = NormalDist()


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution; ±inf at 0 and 1."""
    if p <= 0.0 or p >= 1.0:
        return -math.inf if p <= 0.0 else math.inf
    return _NORMAL.inv_cdf(p)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b).

    By the continued fraction of DLMF 8.17.22, evaluated with Lentz's method on the side of
    the mean where it converges fast.
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p, by bisection to the last bit."""
    return _bisect(lambda x: beta_cdf(x, a, b) - p, 0.0, 1.0)


@lru_cache(maxsize=1024)
def t_quantile(p: float, degrees: float) -> float:
    """Quantile of Student's t distribution."""
    if p < 0.5:
        return -t_quantile(1.0 - p, degrees)
    if p == 0.5:
        return 0.0
    high = 1.0
    while t_cdf(high, degrees) < p:
        high *= 2.0
    return _bisect(lambda x: t_cdf(x, degrees) - p, 0.0, high)


def t_cdf(x: float, degrees: float) -> float:
    """Distribution function of Student's t: 1 - I_{v/(v+x^2)}(v/2, 1/2) / 2 for x > 0."""
    tail = 0.5 * beta_cdf(degrees / (degrees + x * x), 0.5 * degrees, 0.5)
    return 1.0 - tail if x > 0.0 else tail


def binomial_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided bounds on a share of which k of n were seen (Clopper & Pearson 1934).

    low = Beta(α/2; k, n-k+1), high = Beta(1-α/2; k+1, n-k). Coverage is at least
    `confidence` for every share, so more than it for most. With no failure in n the upper
    bound is 1 - (α/2)^(1/n): 0 of 200 still allows 1.8 %. With n = 0 anything is possible.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    return _clopper_pearson(int(k), int(n), float(confidence))


@lru_cache(maxsize=4096)
def _clopper_pearson(k: int, n: int, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if k == 0 else beta_quantile(tail, k, n - k + 1)
    high = 1.0 if k == n else beta_quantile(1.0 - tail, k + 1, n - k)
    return low, high


def poisson_upper(exposure: float, confidence: float = 0.95) -> float:
    """Upper bound of the rate of events of which none was seen: -log(α/2) / exposure.

    The upper end of Garwood's exact two-sided interval (1936), for independent events.
    """
    return -math.log((1.0 - confidence) / 2.0) / exposure


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1.0e-300
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1.0e-15:
            break
    return value


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return middle
        if rising(middle) < 0.0:
            low = middle
        else:
            high = middle
