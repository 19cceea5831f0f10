"""How the kernels are compiled."""

from __future__ import annotations

__all__ = ["BARE"]

# For kernels that make no arrays: numba then counts no references to those it is handed. Counting
# is a locked instruction for every array taken out of a tuple, and costs a fifth of projection.
BARE = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
