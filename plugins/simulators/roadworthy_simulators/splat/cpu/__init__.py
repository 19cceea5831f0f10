"""The renderer without CUDA: numba kernels. `backend` is its face."""
