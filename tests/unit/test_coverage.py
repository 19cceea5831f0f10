"""95 % intervals contain the truth in 93 % to 97 % of simulated studies.

Each study is a column, so that one call judges 2,000 of them; the simulation's own error is
0.5 %. The data are what driving scores look like: zero-inflated, skewed, clustered by log,
and differences of which most are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from roadworthy import stats

STUDIES = 2_000
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, Floats], Floats]


def normal(rng: np.random.Generator, log: Floats) -> Floats:
    return log + rng.normal(size=log.shape)


def skewed(rng: np.random.Generator, log: Floats) -> Floats:
    return np.exp(0.5 * log) * rng.exponential(size=log.shape)


def pdms(rng: np.random.Generator, log: Floats) -> Floats:
    """Zero in 15 % of scenarios, most of them in bad logs; else near 0.8."""
    failed = log + rng.normal(size=log.shape) > math.sqrt(2.0) * 1.0364334
    return np.where(failed, 0.0, rng.beta(8.0, 2.0, log.shape))


def rare(rng: np.random.Generator, log: Floats) -> Floats:
    return np.where(rng.random(log.shape) < 0.15, rng.exponential(size=log.shape), 0.0)


def differences(rng: np.random.Generator, log: Floats) -> Floats:
    """70 % ties, small changes, and a few cases fixed or broken."""
    u = rng.random(log.shape)
    small = np.where(u < 0.9, rng.normal(0.02, 0.2, log.shape), np.where(u < 0.93, -1.0, 0.0))
    return np.where(u < 0.7, 0.0, np.where((u >= 0.93) & (u < 0.99), 0.8, small))


def share(rng: np.random.Generator, log: Floats) -> Floats:
    return (rng.random(log.shape) < 0.1).astype(float)


CASES: list[tuple[str, Draw, float, int, int]] = [
    ("normal", normal, 0.0, 20, 1),
    ("normal", normal, 0.0, 8, 1),
    ("normal, logs of 1 to 5", normal, 0.0, 30, 5),
    ("skewed", skewed, math.exp(0.125), 100, 1),
    ("skewed, logs of 1 to 5", skewed, math.exp(0.125), 60, 5),
    ("zero-inflated score", pdms, 0.85 * 0.8, 100, 1),
    ("zero-inflated score, logs of 1 to 5", pdms, 0.85 * 0.8, 60, 5),
    ("rare skewed events", rare, 0.15, 50, 1),
    ("rare skewed events", rare, 0.15, 100, 1),
    ("rare skewed events", rare, 0.15, 300, 1),
    ("paired differences", differences, 0.2 * 0.02 - 0.03 + 0.06 * 0.8, 30, 1),
    ("paired differences", differences, 0.2 * 0.02 - 0.03 + 0.06 * 0.8, 100, 1),
    ("paired differences, logs of 1 to 5", differences, 0.022, 60, 5),
    ("shares", share, 0.1, 100, 1),
]


def study(
    draw: Draw, clusters: int, largest: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """[S, STUDIES] values and the logs of the S scenarios."""
    rng = np.random.default_rng(seed)
    sizes = 1 + np.arange(clusters) % largest
    groups = np.repeat(np.arange(clusters), sizes)
    return draw(rng, rng.normal(size=(clusters, STUDIES))[groups]), groups


@pytest.mark.parametrize(
    ("draw", "truth", "clusters", "largest"),
    [case[1:] for case in CASES],
    ids=[f"{case[0]}, n={case[3]}" for case in CASES],
)
def test_coverage(draw: Draw, truth: float, clusters: int, largest: int) -> None:
    values, groups = study(draw, clusters, largest, seed=clusters)
    found = stats.interval_of_means(values, groups, shares=draw is share, resamples=1_999)
    covered = np.mean([i.low <= truth <= i.high for i in found])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("whole", [0.0, 0.5, 1.0], ids=["apart", "both", "as a whole"])
@pytest.mark.parametrize(("logs", "truth"), [(12, 0.01), (12, 0.05), (60, 0.01)])
def test_rare_events_of_logs_with_five_scenes(logs: int, truth: float, whole: float) -> None:
    """Scenes fail one by one, or logs as a whole; what was not seen may still happen."""
    rng = np.random.default_rng(logs)
    groups = np.repeat(np.arange(logs), 5)
    together = (rng.random((logs, STUDIES)) < truth)[groups]
    alone = rng.random((5 * logs, STUDIES)) < truth
    failed = np.where((rng.random((logs, STUDIES)) < whole)[groups], together, alone)
    found = stats.interval_of_means(failed.astype(float), groups, resamples=999)
    assert np.mean([i.low <= truth <= i.high for i in found]) >= 0.95


def test_sixty_scenes_of_twelve_logs_say_no_more_than_twelve_scenes() -> None:
    (nothing,) = stats.interval_of_means(np.zeros((60, 1)), np.repeat(np.arange(12), 5))
    (everything,) = stats.interval_of_means(np.ones((60, 1)), np.repeat(np.arange(12), 5))
    (apart,) = stats.interval_of_means(np.zeros((12, 1)))
    assert (nothing.low, nothing.high) == (0.0, apart.high)
    assert (everything.low, everything.high) == pytest.approx((1.0 - apart.high, 1.0))
    assert (nothing.method, nothing.scenarios, nothing.clusters) == ("exact", 60, 12)
    (change,) = stats.interval_of_means(
        np.zeros((60, 1)), np.repeat(np.arange(12), 5), shares=False
    )
    assert (change.low, change.high, change.method) == (0.0, 0.0, "constant")


def test_ignoring_logs_is_what_goes_wrong_otherwise() -> None:
    values, _ = study(normal, 30, 5, seed=1)
    found = stats.interval_of_means(values[:, :500], resamples=999)
    assert np.mean([i.low <= 0.0 <= i.high for i in found]) < 0.85


def test_false_positives_of_the_sign_flip_test_are_those_stated() -> None:
    """Equal planners, three repetitions: 5 % by scenario, far more by repetition."""
    rng = np.random.default_rng(2)
    scenario = rng.standard_t(3, size=(60, STUDIES))
    repeats = scenario[None] + 0.3 * rng.normal(size=(3, 60, STUDIES))
    clustered = np.mean(stats.sign_flip(repeats.mean(axis=0), flips=999) <= 0.05)
    naive = np.mean(stats.sign_flip(repeats.reshape(180, STUDIES), flips=999) <= 0.05)
    assert 0.04 <= clustered <= 0.06
    assert naive > 0.2
