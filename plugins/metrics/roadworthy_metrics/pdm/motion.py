"""What the kernels need of one ego trajectory, computed once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Motion", "make_motion"]


class Motion(NamedTuple):
    """One trajectory of T states, world frame.

    Attributes:
        x, y: float64 [T], rear axle [m].
        cos, sin: float64 [T], of the heading.
        centre_x, centre_y: float64 [T], box centre [m].
        speed: float64 [T] [m/s].
        half_length, half_width: of the ego's box [m].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    cos: NDArray[np.float64]
    sin: NDArray[np.float64]
    centre_x: NDArray[np.float64]
    centre_y: NDArray[np.float64]
    speed: NDArray[np.float64]
    half_length: float
    half_width: float


@njit(cache=True, nogil=True, error_model="numpy")
def make_motion(states: NDArray[np.float64], vehicle: NDArray[np.float64]) -> Motion:
    """Derive the `Motion` of states [T, 11] (`EgoIndex`) for `Vehicle.as_array()`."""
    n = states.shape[0]
    work = np.empty((7, n))
    to_centre = 0.5 * (vehicle[1] - vehicle[2])
    for t in range(n):
        c, s = math.cos(states[t, 2]), math.sin(states[t, 2])
        work[0, t], work[1, t] = states[t, 0], states[t, 1]
        work[2, t], work[3, t] = c, s
        work[4, t] = states[t, 0] + to_centre * c
        work[5, t] = states[t, 1] + to_centre * s
        work[6, t] = math.sqrt(states[t, 3] * states[t, 3] + states[t, 4] * states[t, 4])
    return Motion(
        work[0], work[1], work[2], work[3], work[4], work[5], work[6],
        0.5 * (vehicle[1] + vehicle[2]), 0.5 * vehicle[0],
    )  # fmt: skip
