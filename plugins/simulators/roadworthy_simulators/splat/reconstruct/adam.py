"""Adam whose state is plain arrays, so that Gaussians can be added, dropped and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Moments"]

Rows = NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _step(p: Rows, g: Rows, m: Rows, v: Rows, touched: Any, rates: Rows, c1: Any, c2: Any) -> None:
    """One step of Adam over the rows [N, K] that are touched; `rates` [K]."""
    one = np.float32(1.0)
    b1, b2, eps = np.float32(0.9), np.float32(0.999), np.float32(1e-15)
    for i in range(p.shape[0]):
        if touched[i]:
            for k in range(p.shape[1]):
                x = g[i, k]
                m[i, k] = b1 * m[i, k] + (one - b1) * x
                v[i, k] = b2 * v[i, k] + (one - b2) * x * x
                p[i, k] -= rates[k] * (m[i, k] * c1) / (np.sqrt(v[i, k] * c2) + eps)


class Moments:
    """Adam (Kingma and Ba 2015; betas 0.9 and 0.999, epsilon 1e-15) of one array of rows.

    Rows that the image did not see keep their moments and their value, as in Mallick et al. 2024:
    a camera in a street sees a part of it.

    Attributes:
        first, second: float32 [N, K], the running means of gradient and squared gradient.
        steps: steps taken.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        rows = int(shape[0])
        columns = int(np.prod(shape[1:], dtype=np.int64))
        self.first = np.zeros((rows, columns), np.float32)
        self.second = np.zeros((rows, columns), np.float32)
        self.steps = 0

    def step(
        self, parameter: NDArray[np.float32], gradient: NDArray[np.float32],
        touched: NDArray[np.bool_], rates: float | NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Changes `parameter` in place.

        Args:
            parameter, gradient: float32 [N, ...], C-contiguous.
            touched: [N] rows to change.
            rates: learning rate, one for all or one a column [K].
        """
        self.steps += 1
        columns = self.first.shape[1]
        _step(
            parameter.reshape(-1, columns), gradient.reshape(-1, columns), self.first, self.second,
            touched, np.broadcast_to(np.float32(rates), (columns,)).copy(),
            np.float32(1 / (1 - 0.9**self.steps)), np.float32(1 / (1 - 0.999**self.steps)),
        )  # fmt: skip

    def rearrange(self, source: NDArray[np.int64], fresh: NDArray[np.bool_]) -> None:
        """Rows follow their Gaussians.

        Args:
            source: [M] the row that each new row comes from.
            fresh: [M] rows that start without moments.
        """
        self.first = self.first[source]
        self.second = self.second[source]
        self.first[fresh] = 0
        self.second[fresh] = 0
