"""Kernels are compiled on first use, so an example's time says nothing: no deadlines."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
