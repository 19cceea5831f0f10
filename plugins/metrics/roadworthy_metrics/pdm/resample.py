"""10 Hz boxes from 2 Hz annotations (specification, section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["resample_tracks"]


def resample_tracks(
    pose: NDArray[np.float64],
    velocity: NDArray[np.float64],
    valid: NDArray[np.bool_],
    factor: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Interpolate tracks linearly between their first and last observation.

    Args:
        pose: [A, N, 3], box centre x, y and heading at the annotations.
        velocity: [A, N, 2].
        valid: [A, N], whether the object was annotated; gaps are bridged.
        factor: steps from one annotation to the next.

    Returns:
        pose [A, (N - 1) factor + 1, 3] (headings wrapped to [-pi, pi)), velocity [A, ..., 2] and
        valid [A, ...]. A track observed once is there at all steps, at that pose. Values are 0
        where an object is not there.

    Raises:
        ValueError: shapes that do not fit.
    """
    count, knots = valid.shape
    if pose.shape != (count, knots, 3) or velocity.shape != (count, knots, 2):
        raise ValueError(f"valid {valid.shape}, pose {pose.shape}, velocity {velocity.shape}")
    length = (knots - 1) * factor + 1
    steps = np.arange(length)
    out_pose, out_velocity = np.zeros((count, length, 3)), np.zeros((count, length, 2))
    out_valid = np.zeros((count, length), bool)
    for a in range(count):
        seen = np.flatnonzero(valid[a])
        if len(seen) == 0:
            continue
        at = seen * factor
        there = (steps >= at[0]) & (steps <= at[-1]) if len(seen) > 1 else np.ones(length, bool)
        values = np.concatenate([pose[a, seen], velocity[a, seen]], axis=1)
        values[:, 2] = np.unwrap(values[:, 2])
        for column in range(5):
            row = np.interp(steps[there], at, values[:, column])
            target = out_pose if column < 3 else out_velocity
            target[a, there, column % 3] = row
        out_valid[a] = there
    out_pose[..., 2] = (out_pose[..., 2] + np.pi) % (2.0 * np.pi) - np.pi
    return out_pose, out_velocity, out_valid
