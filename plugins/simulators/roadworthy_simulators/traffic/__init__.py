"""Reactive traffic: lanes in packed form, car following, lane changes, and path followers.

Everything that runs per step is a numba kernel over packed arrays; agents are rows, never
objects. Kernels release the GIL, use float64 without fast-math, and treat each scenario by
itself, so a result does not depend on threads or on what else is in the batch.
"""
