"""How the kernels that run per step are compiled."""

from __future__ import annotations

from functools import partial

from numba import njit

__all__ = ["kernel"]

kernel = partial(njit, cache=True, nogil=True, error_model="numpy", _nrt=False)
"""`njit` for functions that allocate no arrays. They borrow their arguments and count no
references: counting is atomic, costs more than what these functions do with an array, and
makes threads that read the same lanes wait for one another."""
