"""Boxes at the instants of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy_simulators.splat.reconstruct.recording import ActorTrack

__all__ = ["track_at"]

_REACH = 0.11  # s beyond the first and last box that a track still holds


def track_at(
    name: str, kind: str, size: tuple[float, ...], poses: NDArray[np.float64],
    times: NDArray[np.float64],
) -> ActorTrack:  # fmt: skip
    """A track, interpolated.

    Args:
        name, kind, size: see `ActorTrack`.
        poses: [P, 5] time [s], x, y, z [m], yaw [rad], in any order.
        times: [F] of the images [s].
    """
    poses = poses[np.argsort(poses[:, 0], kind="stable")]
    if not len(poses):
        return ActorTrack(name, kind, size, np.zeros((len(times), 4)), np.zeros(len(times), bool))  # type: ignore[arg-type]
    values = poses[:, 1:].copy()
    values[:, 3] = np.unwrap(values[:, 3])
    at = np.stack([np.interp(times, poses[:, 0], values[:, k]) for k in range(4)], axis=1)
    present = (times >= poses[0, 0] - _REACH) & (times <= poses[-1, 0] + _REACH)
    return ActorTrack(name, kind, size, at, present)  # type: ignore[arg-type]
