"""Angles by addition, multiplication, division and square roots alone.

IEEE 754 fixes those four to the last bit, but not sine, cosine, arctangent and hypotenuse, whose
last bits differ between processors and C libraries. Towns are made with the functions below, so
that the same seed gives the same numbers everywhere. They are accurate to some 1e-15.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANGLE_GRID", "GRID", "angle", "cos_sin", "length", "rounded", "slope", "unwrapped"]

Array = NDArray[np.float64]

GRID = 1e-4
"""Positions and speeds are rounded to this [m, m/s]."""
ANGLE_GRID = 1e-6
"""Angles, rates and accelerations are rounded to this [rad, rad/s, m/s²]."""

_SINE = (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000)
_COSINE = (-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600, -1 / 87178291200,
           1 / 20922789888000)  # fmt: skip
_TANGENT = tuple((-1.0) ** k / (2 * k + 1) for k in range(1, 12))


def rounded(values: Any, grid: float = GRID) -> Array:
    """Values on a grid; never minus zero."""
    return np.asarray(np.rint(np.asarray(values, np.float64) / grid) * grid + 0.0)


def length(x: Any, y: Any) -> Array:
    """Euclidean length."""
    return np.sqrt(np.asarray(x) * x + np.asarray(y) * y)


def cos_sin(turn: Any) -> tuple[Array, Array]:
    """Cosine and sine of angles [rad] below a few thousand."""
    turn = np.asarray(turn, np.float64)
    quarter = np.floor(turn * (2.0 / np.pi) + 0.5)
    x = (turn - quarter * 1.5707963267341256) - quarter * 6.077100506506192e-11
    square = x * x
    sine, cosine = np.zeros_like(x), np.zeros_like(x)
    for factor in reversed(_SINE):
        sine = (sine + factor) * square
    for factor in reversed(_COSINE):
        cosine = (cosine + factor) * square
    sine, cosine = x + x * sine, 1.0 + cosine
    which = quarter - 4.0 * np.floor(quarter * 0.25)
    swap = (which == 1.0) | (which == 3.0)
    c, s = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    return np.where((which == 1.0) | (which == 2.0), -c, c), np.where(which >= 2.0, -s, s)


def angle(x: Any, y: Any) -> Array:
    """Direction of (x, y) in (-pi, pi], 0 for the origin: `arctan2(y, x)`."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    big, small = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    t = small / np.where(big > 0.0, big, 1.0)
    for _ in range(2):
        t = t / (1.0 + np.sqrt(1.0 + t * t))
    square = t * t
    out = np.zeros_like(t)
    for factor in reversed(_TANGENT):
        out = (out + factor) * square
    out = 4.0 * (t + t * out)
    out = np.where(np.abs(y) > np.abs(x), 0.5 * np.pi - out, out)
    out = np.where(x < 0.0, np.pi - out, out)
    return np.where(y < 0.0, -out, out)


def unwrapped(turn: Array) -> Array:
    """Angles [..., N] made continuous along the last axis."""
    step = np.diff(turn, axis=-1)
    jump = -2.0 * np.pi * np.floor((step + np.pi) / (2.0 * np.pi))
    out = turn.copy()
    out[..., 1:] += np.cumsum(jump, axis=-1)
    return out


def slope(values: Array, derivative: int, dt: float) -> Array:
    """Derivative of a series [N, ...] by a quadratic through windows of seven (Savitzky and
    Golay, 1964): [N - 6, ...], for the middles of the windows.

    Args:
        values: evenly spaced.
        derivative: 1 or 2.
        dt: the spacing.
    """
    count = len(values) - 6
    taps = ((-3, -2, -1, 0, 1, 2, 3), (5, 0, -3, -4, -3, 0, 5))[derivative - 1]
    out = np.zeros((count, *values.shape[1:]))
    for k, tap in enumerate(taps):
        out = out + float(tap) * values[k : k + count]
    return out / (28.0 * dt) if derivative == 1 else out / (42.0 * dt * dt)
