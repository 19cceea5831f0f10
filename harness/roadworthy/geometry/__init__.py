"""Geometry kernels shared by simulators and metrics: boxes, polygons, polylines.

Every kernel is compiled by numba on first use (cached on disk), releases the GIL, and uses
float64 without fast-math, so results are the same bits on every run. Coordinates may be
UTM-sized: every formula works on differences of coordinates.
"""
