"""Filters against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy_metrics.pdm.savgol import apply_savgol, savgol_filter
from scipy.signal import savgol_filter as scipy_savgol

SETTINGS = st.sampled_from(
    [(8, 2, 0), (41, 2, 0), (41, 2, 1), (15, 2, 1), (5, 3, 2), (5, 2, 1), (5, 2, 2), (7, 4, 3)]
)


@given(SETTINGS, st.integers(8, 200), st.integers(0, 2**32 - 1))
def test_filters_are_scipys(setting, length, seed):
    window, order, derivative = setting
    y = np.random.default_rng(seed).normal(0.0, 3.0, length)
    out = np.empty(length)
    apply_savgol(y, savgol_filter(length, window, order, derivative), out)
    want = scipy_savgol(y, min(window, length), order, deriv=derivative, delta=0.1, mode="interp")
    assert out == pytest.approx(want, abs=2e-8, rel=1e-9)
    assert (np.round(out, 8) == out).all()


def test_a_series_too_short_is_refused():
    with pytest.raises(ValueError, match="too few"):
        savgol_filter(3, 5, 3, 2)
