"""Intervals over seeds and scenes, and the data-equivalence multiplier, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy.flywheel.equivalence import equivalence, multiplier
from roadworthy.stats.crossed import crossed

MULTIPLES = (1, 2, 4, 8, 16)


def read(curve: list[float], target: float, better: str = "lower") -> float:
    return float(multiplier(MULTIPLES, np.array([curve]), np.array([target]), better)[0])


def test_the_multiplier_of_a_power_law_is_its_inverse() -> None:
    curve = [1.0 - 0.1 * math.log2(m) for m in MULTIPLES]  # linear in log m
    for m in (1.5, 3.0, 6.2, 15.9):
        assert read(curve, 1.0 - 0.1 * math.log2(m)) == pytest.approx(m)
        assert read([-y for y in curve], -1.0 + 0.1 * math.log2(m), "higher") == pytest.approx(m)


def test_nothing_is_extrapolated() -> None:
    curve = [0.5, 0.4, 0.3, 0.25, 0.2]
    assert read(curve, 0.1999) == math.inf
    assert read(curve, 0.2) == pytest.approx(16.0)
    assert read(curve, 0.6) == 1.0
    assert read(curve, 0.5) == 1.0
    assert math.isnan(read([math.nan, 0.4, 0.3, 0.25, 0.2], 0.3))


def test_of_a_curve_that_goes_up_and_down_the_first_crossing_counts() -> None:
    assert read([0.5, 0.3, 0.6, 0.3, 0.1], 0.3) == pytest.approx(2.0)
    assert read([0.5, 0.5, 0.5, 0.5, 0.1], 0.5) == 1.0


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_where_it_is_read_the_curve_is_as_good(curve: list[float], target: float) -> None:
    m = read(curve, target)
    if math.isfinite(m):
        there = np.interp(math.log(m), np.log(MULTIPLES), curve)
        assert m == 1.0 or there == pytest.approx(target, abs=1e-9)
    else:
        assert min(curve) > target


def scenes(n: int, rates: list[float], seeds: int, rng: np.random.Generator) -> list[np.ndarray]:
    u = rng.random((seeds, n))
    return [(u < rate).astype(float) for rate in rates]


def test_a_multiplier_beyond_the_curve_is_said_to_be_censored() -> None:
    rng = np.random.default_rng(1)
    arms = scenes(300, [0.5, 0.45, 0.4, 0.35, 0.3, 0.1], 3, rng)
    found = equivalence(crossed(arms, np.arange(300)), MULTIPLES, 5, "lower")
    assert math.isinf(found.value)
    assert math.isinf(found.high)
    assert found.share_beyond > 0.99
    assert found.words() == (
        "beyond 16x (censored) (interval beyond 16x (censored) to beyond 16x (censored))"
    )


def test_a_multiplier_within_the_curve_is_covered_by_its_interval() -> None:
    rng = np.random.default_rng(2)
    arms = scenes(2000, [0.5, 0.45, 0.4, 0.35, 0.3, 0.42], 3, rng)
    found = equivalence(crossed(arms, np.arange(2000)), MULTIPLES, 5, "lower")
    assert found.low <= 2**1.6 <= found.high
    assert found.low < found.value < found.high
    assert found.censored == 16.0


def test_means_and_changes_are_those_of_the_values() -> None:
    a = np.array([[1.0, 0.0, np.nan, 1.0], [1.0, 1.0, 0.0, 1.0]])
    b = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    means = crossed([a, b], np.array([0, 0, 1, 2]))
    assert means.mean(0).value == pytest.approx(5 / 7)
    assert means.difference(1, 0).value == pytest.approx(2 / 8 - 5 / 7)
    assert means.relative(1, 0).value == pytest.approx((2 / 8) / (5 / 7) - 1)
    same = means.difference(0, 0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_the_interval_covers_what_it_says() -> None:
    """Logs of five scenes with a log effect, three seeds with a seed effect, 400 draws."""
    rng = np.random.default_rng(3)
    hit = 0
    for _ in range(400):
        logs = np.repeat(rng.normal(0.0, 0.5, 40), 5)
        seeds = rng.normal(0.0, 0.02, (3, 1))
        values = 1.0 + logs + seeds + rng.normal(0.0, 0.5, (3, 200))
        spread = crossed([values], np.repeat(np.arange(40), 5), resamples=399).mean(0)
        hit += spread.low <= 1.0 <= spread.high
    assert 0.91 <= hit / 400 <= 0.99


def test_other_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        crossed([np.zeros((1, 3))], np.zeros(4, np.int64))
