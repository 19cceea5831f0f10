"""Statistics against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from roadworthy import stats
from roadworthy.stats.exact import beta_cdf, beta_quantile, t_cdf
from roadworthy.stats.permutation import EXACT_UP_TO, FLIPS


@pytest.mark.parametrize("a", [0.5, 1.0, 3.0, 40.0, 900.0])
@pytest.mark.parametrize("b", [0.5, 2.0, 25.0, 5000.0])
def test_beta_functions_are_those_of_scipy(a: float, b: float) -> None:
    for p in (1e-6, 0.025, 0.5, 0.9, 0.999):
        x = scipy.stats.beta.ppf(p, a, b)
        assert beta_cdf(x, a, b) == pytest.approx(p, rel=1e-8)
        assert beta_quantile(p, a, b) == pytest.approx(x, rel=1e-8)


@pytest.mark.parametrize("degrees", [1, 2, 4, 29, 300, 100_000])
def test_t_quantiles_are_those_of_scipy(degrees: int) -> None:
    for p in (0.001, 0.025, 0.4, 0.5, 0.75, 0.975, 0.9999):
        x = stats.t_quantile(p, degrees)
        assert x == pytest.approx(scipy.stats.t.ppf(p, degrees), rel=1e-7, abs=1e-12)
        assert t_cdf(x, degrees) == pytest.approx(p, abs=1e-10)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 200), (1, 200), (7, 9), (9, 9), (500, 10_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_binomial_bounds_are_clopper_and_pearsons(k: int, n: int, confidence: float) -> None:
    wanted = scipy.stats.binomtest(k, n).proportion_ci(confidence, "exact")
    got = stats.binomial_interval(k, n, confidence)
    assert got == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_no_failure_in_200_still_allows_1_8_percent() -> None:
    low, high = stats.binomial_interval(0, 200)
    assert low == 0.0
    assert high == pytest.approx(1.0 - 0.025 ** (1 / 200), rel=1e-12)
    assert f"{high:.1%}" == "1.8%"
    interval = stats.interval_of_means(np.zeros((200, 1)))[0]
    assert (interval.low, interval.high, interval.method) == (0.0, high, "exact")
    assert stats.binomial_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError):
        stats.binomial_interval(3, 2)


def test_no_event_in_a_distance_is_garwoods_bound() -> None:
    assert stats.poisson_upper(2.0) == pytest.approx(scipy.stats.chi2.ppf(0.975, 2) / 2 / 2.0)


def test_bca_is_scipys_up_to_the_widening_for_few_clusters() -> None:
    """With 400 scenarios the widening is below the noise of resampling."""
    values = np.random.default_rng(3).exponential(size=400)
    got = stats.interval_of_means(values[:, None], method="bca")[0]
    wanted = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert got.low == pytest.approx(wanted.low, abs=0.006)
    assert got.high == pytest.approx(wanted.high, abs=0.006)
    assert got.method == "bca"


def test_studentised_bootstrap_is_the_textbook_one() -> None:
    """Against a plain loop: Efron and Tibshirani (1993), algorithm 12.5."""
    values = np.random.default_rng(4).lognormal(size=40)
    rng = np.random.default_rng(5)
    picks = values[rng.integers(0, 40, (20_000, 40))]
    t = (picks.mean(1) - values.mean()) / (picks.std(1, ddof=1) / math.sqrt(40))
    se = values.std(ddof=1) / math.sqrt(40)
    t_low, t_high = np.quantile(t, [0.025, 0.975])
    got = stats.interval_of_means(values[:, None], resamples=39_999)[0]
    assert got.low == pytest.approx(values.mean() - t_high * se, abs=0.05 * se)
    assert got.high == pytest.approx(values.mean() - t_low * se, abs=0.12 * se)
    assert got.se == pytest.approx(se)


def test_clusters_widen_the_interval_as_their_correlation_says() -> None:
    """40 logs of 8 equal scenarios are 40 pieces of evidence, not 320."""
    logs = np.random.default_rng(6).normal(size=40)
    values, groups = np.repeat(logs, 8)[:, None], np.repeat(np.arange(40), 8)
    clustered = stats.interval_of_means(values, groups)[0]
    naive = stats.interval_of_means(values)[0]
    alone = stats.interval_of_means(logs[:, None])[0]
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))
    assert clustered.clusters == 40
    assert clustered.scenarios == 320
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(math.sqrt(8), rel=0.1)


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ([], "none"),
        ([math.nan, math.nan], "none"),
        ([0.4], "none"),
        ([0.4, 0.6, 0.9], "t"),
        ([0.3] * 30, "constant"),
        ([0.1 + 0.2] * 15 + [0.3] * 15, "constant"),
        ([0.0] * 60 + [3.0, 2.5], "sparse"),
        ([1.0, 0.0] * 20, "exact"),
        ([0.0, 0.5, 1.0] * 10, "studentised"),
    ],
)
def test_guards_say_what_they_did(values: list[float], method: str) -> None:
    interval = stats.interval_of_means(np.array(values)[:, None])[0]
    assert interval.method == method
    if method == "none":
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
    else:
        assert interval.low <= interval.value <= interval.high


def test_a_constant_is_what_was_seen() -> None:
    interval = stats.interval_of_means(np.zeros((200, 1)), shares=False)[0]
    assert (interval.low, interval.high, interval.se) == (0.0, 0.0, 0.0)
    assert interval.method == "constant"


def test_sparse_bounds_are_shares_times_the_largest_seen() -> None:
    values = np.array([0.0] * 97 + [2.0, 4.0, -1.0])[:, None]
    interval = stats.interval_of_means(values)[0]
    assert interval.method == "sparse"
    assert interval.low == pytest.approx(-1.0 * stats.binomial_interval(1, 100)[1])
    assert interval.high == pytest.approx(4.0 * stats.binomial_interval(2, 100)[1])


def test_few_differences_show_nothing_where_no_sign_test_could() -> None:
    """Five of five in one direction: p = 2 / 2^5 > 0.05, so the interval reaches 0."""
    for n, low in ((5, 0.0), (6, 0.001)):
        changes = np.zeros(60)
        changes[:n] = 0.5
        interval = stats.interval_of_means(changes[:, None], shares=False)[0]
        assert (stats.sign_flip(changes)[0] > 0.05) == (interval.low <= 0.0)
        assert interval.low >= low


def test_one_large_difference_among_tiny_ones_does_not_explode() -> None:
    changes = np.array([1.0, 1e-5, 2e-5, -1e-6, 3e-5, 1e-7, 4e-5, 5e-6, 0.0, 0.0])
    interval = stats.interval_of_means(changes[:, None], shares=False)[0]
    assert -1.0 < interval.low < interval.value < interval.high < 1.0


def test_three_clusters_get_students_t() -> None:
    values = np.array([0.2, 0.5, 0.9])
    interval = stats.interval_of_means(values[:, None])[0]
    wanted = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(wanted)


def test_an_undefined_scenario_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    values = rng.random((50, 2))
    padded = np.vstack([values, np.full((9, 2), np.nan)])
    padded[3, 1] = np.nan
    plain, other = stats.interval_of_means(values), stats.interval_of_means(padded)
    assert other[0].low == pytest.approx(plain[0].low)
    assert other[1].scenarios == 49


def test_many_scenarios_are_resampled_in_chunks_to_the_same_answer() -> None:
    values = np.random.default_rng(8).normal(size=(3_000, 1))
    got = stats.interval_of_means(values)[0]
    reach = 1.96 * got.se
    assert got.low == pytest.approx(got.value - reach, abs=0.1 * reach)
    assert got.high == pytest.approx(got.value + reach, abs=0.1 * reach)
    assert stats.interval_of_means(values)[0] == got


def test_sign_flips_are_scipys_permutations() -> None:
    rng = np.random.default_rng(9)
    for n in (2, 5, 9, 12):
        x, y = rng.normal(size=n), rng.normal(0.5, size=n)
        wanted = scipy.stats.permutation_test(
            (x, y),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
        )
        assert stats.sign_flip(x - y)[0] == pytest.approx(wanted.pvalue)


def test_sign_flips_above_the_limit_are_drawn_and_corrected() -> None:
    rng = np.random.default_rng(10)
    differences = rng.normal(0.3, size=(EXACT_UP_TO + 14, 3))
    differences[:, 1] = np.abs(differences[:, 1]) + 1.0
    differences[:, 2] -= differences[:, 2].mean()
    p = stats.sign_flip(differences)
    assert p[0] == pytest.approx(scipy.stats.ttest_1samp(differences[:, 0], 0.0).pvalue, abs=0.02)
    assert p[1] == 1.0 / (FLIPS + 1)
    assert p[2] > 0.99
    assert (stats.sign_flip(differences) == p).all()


def test_clusters_that_do_not_differ_do_not_count() -> None:
    some = np.array([0.1, 0.2, 0.15, -0.05])
    padded = np.concatenate([some, np.zeros(500), [np.nan]])
    assert stats.sign_flip(padded)[0] == stats.sign_flip(some)[0] == 4 / 16
    assert stats.sign_flip(np.zeros(30))[0] == 1.0


def test_holms_correction_by_hand() -> None:
    got = stats.holm([0.01, math.nan, 0.04, 0.03, 0.005])
    assert got[[0, 2, 3, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(got[1])
    assert stats.holm([0.7, 0.9]).tolist() == [1.0, 1.0]
    assert stats.holm([]).size == 0


@pytest.mark.parametrize(("effect", "sigma"), [(0.02, 0.1), (0.05, 0.08), (0.3, 1.0)])
def test_power_is_that_of_the_noncentral_t(effect: float, sigma: float) -> None:
    def power(n: int, delta: float) -> float:
        edge = scipy.stats.t.ppf(0.975, n - 1)
        return float(scipy.stats.nct.sf(edge, n - 1, delta * math.sqrt(n) / sigma))

    got = stats.paired_power(sigma / math.sqrt(60), 60, effect)
    assert got.needed is not None
    assert power(got.needed + 1, effect) >= 0.8
    assert power(got.needed - 1, effect) < 0.8
    assert got.detectable is not None
    assert power(60, got.detectable) == pytest.approx(0.8, abs=0.01)


def test_power_without_a_spread_or_an_effect() -> None:
    assert stats.paired_power(0.0, 50, 0.1).needed is None
    assert stats.paired_power(0.1, 50, 0.0).needed is None
    assert stats.paired_power(0.1, 1, 0.1).detectable is None
    four = stats.paired_power(0.01, 200, 0.05, clusters=50)
    assert four.needed == pytest.approx(4 * (stats.paired_power(0.01, 50, 0.05).needed or 0), abs=4)


def test_no_interval_leaves_the_bounds_of_its_column() -> None:
    values = np.array([[0.9, 0.9], [1.0, 1.0], [0.5, 0.5], [1.0, 1.0]])
    bounds = (np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    kept, free = stats.interval_of_means(values, bounds=bounds)
    assert free.high > 1.0
    assert (kept.low, kept.high, kept.value) == (free.low, 1.0, free.value)
    (nothing,) = stats.interval_of_means(
        np.full((3, 1), np.nan), bounds=(bounds[0][:1], bounds[1][:1])
    )
    assert math.isnan(nothing.low)
