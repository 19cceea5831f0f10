r"""How a plan that follows a path comes back to it from beside it.

A tracker takes the present pose for the plan's first one. A plan that jumps to its path at
once therefore asks for no steering, and the ego would drift off in curves and stay off. So the
lateral offset dies away over the distance :math:`u` as a critically damped spring would have it,

.. math:: d(u) = \left[d_0 + (d'_0 + d_0 / \ell) \, u\right] e^{-u / \ell},

from the present offset and direction, and the plan's heading follows its slope.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEEPEST", "merge_length", "offset_and_slope"]

STEEPEST = 0.8
"""Largest heading relative to the path that is taken for meant [rad]."""

Real = TypeVar("Real", float, NDArray[np.float64])


def merge_length(speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """l at a speed [m]: what is driven in 0.5 s, but at least 3 m."""
    return np.maximum(3.0, 0.5 * speed)


def offset_and_slope(offset: Real, slope: Real, length: Real, u: Real) -> tuple[Real, Real]:
    """The lateral offset after `u`, and its derivative.

    Args:
        offset: d_0, to the left of the path [m].
        slope: d'_0, the tangent of the heading relative to the path.
        length: l [m], positive.
        u: distance along the path from the present [m].
    """
    rate = slope + offset / length
    decay = np.exp(-u / length)
    spring = offset + rate * u
    return spring * decay, (rate - spring / length) * decay
