"""What must not matter to a verdict does not, and what must turn it round does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from roadworthy import stats
from roadworthy.comparison.compare import compare
from roadworthy.comparison.leaderboard import rank
from verdict_runs import write_run

Floats = NDArray[np.float64]

# Multiples of 1/64, so that sums are exact and ties are ties whatever is added to them.
VALUE = st.integers(-256, 256).map(lambda i: i / 64.0)
PAIRS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=VALUE), arrays(np.float64, n, elements=VALUE)
    )
)
SEED = st.integers(0, 2**32 - 1)


def interval(values: Floats, groups: NDArray[np.int64] | None = None) -> stats.Interval:
    return stats.interval_of_means(values[:, None], groups, shares=False, resamples=199)[0]


def close(a: stats.Interval, b: stats.Interval, scale: float = 1.0) -> bool:
    ends = np.array([[x.value, x.low, x.high] for x in (a, b)]) / scale
    same = np.allclose(ends[0], ends[1], atol=1e-6, equal_nan=True)
    return same and (a.method, a.scenarios, a.clusters) == (b.method, b.scenarios, b.clusters)


@given(pair=PAIRS)
def test_swapping_the_sides_turns_the_difference_round(pair: tuple[Floats, Floats]) -> None:
    a, b = pair
    there, back = interval(b - a), interval(a - b)
    assert there.method == back.method
    assert there.value == -back.value
    assert np.isclose(there.se, back.se)
    assert stats.sign_flip(b - a)[0] == stats.sign_flip(a - b)[0]
    if there.method in ("constant", "sparse", "t"):
        assert np.allclose([there.low, there.high], [-back.high, -back.low])


@given(pair=PAIRS, shift=VALUE)
def test_shifting_both_sides_changes_no_difference(
    pair: tuple[Floats, Floats], shift: float
) -> None:
    a, b = pair
    assert close(interval(b - a), interval((b + shift) - (a + shift)))


@given(pair=PAIRS, shift=VALUE)
def test_shifting_all_values_shifts_the_interval(pair: tuple[Floats, Floats], shift: float) -> None:
    plain, moved = interval(pair[0]), interval(pair[0] + shift)
    ends = (plain.value + shift, plain.low + shift, plain.high + shift)
    assert np.allclose((moved.value, moved.low, moved.high), ends, atol=1e-6, equal_nan=True)
    assert moved.method == plain.method


@given(pair=PAIRS, factor=st.sampled_from([0.125, 3.0, 1024.0]))
def test_the_unit_does_not_matter(pair: tuple[Floats, Floats], factor: float) -> None:
    plain, other = interval(pair[0]), interval(pair[0] * factor)
    ends = np.array([plain.value, plain.low, plain.high]) * factor
    assert np.allclose([other.value, other.low, other.high], ends, rtol=1e-6, equal_nan=True)
    p = stats.sign_flip(pair[1] - pair[0]), stats.sign_flip(factor * (pair[1] - pair[0]))
    assert p[0] == p[1]


@given(pair=PAIRS)
def test_the_interval_holds_the_mean_and_probabilities_are_such(
    pair: tuple[Floats, Floats],
) -> None:
    found = interval(pair[0])
    assert found.low <= found.value <= found.high
    assert 0.0 < stats.sign_flip(pair[0])[0] <= 1.0


@given(p=st.lists(st.floats(0.0, 1.0), max_size=8))
def test_holm_is_between_the_raw_values_and_bonferronis(p: list[float]) -> None:
    adjusted = stats.holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1.0, np.array(p) * len(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0.0).all()


@given(n=st.integers(1, 400), k=st.integers(0, 400), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_binomial_bounds_mirror(n: int, k: int, level: float) -> None:
    k = min(k, n)
    low, high = stats.binomial_interval(k, n, level)
    mirrored = stats.binomial_interval(n - k, n, level)
    assert 0.0 <= low <= k / n <= high <= 1.0
    assert np.allclose((1.0 - mirrored[1], 1.0 - mirrored[0]), (low, high), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(pair=PAIRS, seed=SEED)
def test_the_order_in_which_cases_finish_changes_nothing(
    pair: tuple[Floats, Floats], seed: int
) -> None:
    n = len(pair[0])
    planners = {"a": {"score": pair[0]}, "b": {"score": pair[1]}}
    order = np.random.default_rng(seed).permutation(2 * n).tolist()
    with tempfile.TemporaryDirectory() as folder:
        plain = compare([write_run(Path(folder) / "r", planners)])
        shuffled = compare([write_run(Path(folder) / "s", planners, order=order)])
    mine, theirs = plain.challenges[0], shuffled.challenges[0]
    assert mine.columns == theirs.columns
    assert mine.transitions == theirs.transitions


@settings(max_examples=25, deadline=None)
@given(pair=PAIRS)
def test_swapping_the_runs_turns_the_comparison_round(pair: tuple[Floats, Floats]) -> None:
    turned = {"better": "worse", "worse": "better"}
    with tempfile.TemporaryDirectory() as folder:
        a = write_run(Path(folder) / "a", {"p": {"score": pair[0]}})
        b = write_run(Path(folder) / "b", {"q": {"score": pair[1]}})
        there, back = compare([a, b]).challenges[0], compare([b, a]).challenges[0]
        places = {s.label: s.place for s in rank([a, b]).standings}
        assert places == {s.label: s.place for s in rank([b, a]).standings}
    x, y = there.columns[0], back.columns[0]
    assert x.difference.value is not None
    assert y.difference.value is not None
    assert np.isclose(x.difference.value, -y.difference.value)
    assert (x.p, x.p_holm) == (y.p, y.p_holm)
    assert (x.a, x.b) == (y.b, y.a)
    assert turned.get(x.verdict, x.verdict) == y.verdict
    assert there.transitions.fixed == back.transitions.broken
    assert there.transitions.still_fine == back.transitions.still_fine
