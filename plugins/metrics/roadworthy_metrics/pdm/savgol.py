"""Savitzky-Golay filters with precomputed coefficients (scipy's "interp" edges)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["SavgolFilter", "apply_savgol", "savgol_filter"]


class SavgolFilter(NamedTuple):
    """One filter for series of one length. Build with `savgol_filter`.

    Attributes:
        inner: float64 [w], taps of the interior samples.
        left: float64 [w, w // 2], left[:, k] makes sample k from the first w samples.
        right: float64 [w, w // 2], right[:, k] makes the k-th of the last w // 2 samples from
            the last w samples.
    """

    inner: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]


@lru_cache(maxsize=256)
def savgol_filter(
    length: int, window: int, order: int, derivative: int, delta: float = 0.1
) -> SavgolFilter:
    """Least-squares polynomial filter of a series.

    Args:
        length: samples of the series; the window is capped at it.
        window: samples per fit. An even window w uses samples k - w/2 + 1 .. k + w/2 for sample
            k and evaluates the fit half a sample late, as scipy does.
        order: of the polynomial.
        derivative: of the result.
        delta: sample spacing [s].

    Raises:
        ValueError: a series too short for the polynomial.
    """
    w = min(window, length)
    if w <= order:
        raise ValueError(f"{length} samples are too few for a polynomial of order {order}")
    half = w // 2
    scale = math.factorial(derivative) / delta**derivative

    def taps(at: float) -> NDArray[np.float64]:
        powers = np.vander(np.arange(w) - at, order + 1, increasing=True)
        weights: NDArray[np.float64] = np.linalg.pinv(powers)[derivative] * scale
        return weights

    inner = np.ascontiguousarray(taps(half if w % 2 else half - 0.5))
    edges = np.empty((2, w, half))
    for k in range(half):
        edges[0, :, k], edges[1, :, k] = taps(k), taps(w - half + k)
    return SavgolFilter(inner, edges[0], edges[1])


@njit(cache=True, nogil=True, error_model="numpy")
def apply_savgol(y: NDArray[np.float64], taps: SavgolFilter, out: NDArray[np.float64]) -> None:
    """Filter a series and round the result to 8 decimals, as nuPlan does.

    Args:
        y: float64 [n].
        taps: `savgol_filter(n, ...)`.
        out: float64 [n], overwritten; not `y`.
    """
    n, w = y.shape[0], taps.inner.shape[0]
    half = w // 2
    first = 1 - w % 2
    out[:] = 0.0
    for j in range(w):
        tap = taps.inner[j]
        for i in range(n - 2 * half):
            out[half + i] += tap * y[first + i + j]
        for i in range(half):
            out[i] += taps.left[j, i] * y[j]
            out[n - half + i] += taps.right[j, i] * y[n - w + j]
    for i in range(n):
        out[i] = np.rint(out[i] * 1e8) / 1e8
