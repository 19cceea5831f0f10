"""Procedural splat scenes: a street painted along a scenario's map, and everyone on it."""
