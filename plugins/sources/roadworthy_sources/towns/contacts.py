"""Whose boxes meet."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect

__all__ = ["first_contact", "touching"]


@njit(cache=True, nogil=True, error_model="numpy")
def first_contact(
    centre: NDArray[np.float64],
    there: NDArray[np.bool_],
    half: NDArray[np.float64],
    margin: float,
) -> tuple[int, int, int]:
    """First step and pair whose boxes, grown by a margin, meet; (-1, -1, -1) for none.

    Args:
        centre: [N, T, 5] x, y, yaw, vx, vy.
        there: bool [N, T].
        half: [N, 2] half lengths and widths.
        margin: added to every half length and half width [m].
    """
    n, steps = there.shape
    cos, sin = np.cos(centre[:, :, 2]), np.sin(centre[:, :, 2])
    for t in range(steps):
        for i in range(n):
            if not there[i, t]:
                continue
            for j in range(i + 1, n):
                dx, dy = centre[j, t, 0] - centre[i, t, 0], centre[j, t, 1] - centre[i, t, 1]
                reach = half[i, 0] + half[i, 1] + half[j, 0] + half[j, 1] + 4.0 * margin
                if not there[j, t] or dx * dx + dy * dy > reach * reach:
                    continue
                if boxes_intersect(
                    centre[i, t, 0], centre[i, t, 1], cos[i, t], sin[i, t],
                    half[i, 0] + margin, half[i, 1] + margin,
                    centre[j, t, 0], centre[j, t, 1], cos[j, t], sin[j, t],
                    half[j, 0] + margin, half[j, 1] + margin,
                ):  # fmt: skip
                    return t, i, j
    return -1, -1, -1


@njit(cache=True, nogil=True, error_model="numpy")
def touching(
    centre: NDArray[np.float64],
    there: NDArray[np.bool_],
    half: NDArray[np.float64],
    light: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Who of the light ones must go so that none of them touches anyone: bool [N].

    Args:
        centre, there, half: as in `first_contact`.
        light: bool [N], who may be taken away.
    """
    n, steps = there.shape
    gone = np.zeros(n, np.bool_)
    for i in range(n):
        for j in range(n):
            if gone[i] or not light[i] or j == i or gone[j]:
                continue
            reach = half[i, 0] + half[i, 1] + half[j, 0] + half[j, 1] + 0.2
            t = 0
            while t < steps and not gone[i]:
                dx, dy = centre[j, t, 0] - centre[i, t, 0], centre[j, t, 1] - centre[i, t, 1]
                far = np.sqrt(dx * dx + dy * dy)
                if far > reach:
                    t += max(1, int((far - reach) / 0.6))
                    continue
                if there[i, t] and there[j, t]:
                    gone[i] = boxes_intersect(
                        centre[i, t, 0], centre[i, t, 1],
                        np.cos(centre[i, t, 2]), np.sin(centre[i, t, 2]),
                        half[i, 0] + 0.05, half[i, 1] + 0.05,
                        centre[j, t, 0], centre[j, t, 1],
                        np.cos(centre[j, t, 2]), np.sin(centre[j, t, 2]),
                        half[j, 0] + 0.05, half[j, 1] + 0.05,
                    )  # fmt: skip
                t += 1
    return gone
