"""Straight ahead at the present speed: the floor that any planner should clear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from roadworthy import Brief, EgoIndex, ObservationBatch, TrajectoryBatch

__all__ = ["ConstantVelocity"]

POSES = 8
DT = 0.5


class ConstantVelocity:
    """Keeps heading and speed for 4 s, as NAVSIM's baseline does (Dauner et al. 2024).

    The speed is the length of the velocity, its small lateral part included.
    """

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """Nothing is kept from case to case."""

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """Poses [S, 8, 3] at 0.5 s."""
        now = observations.ego_state[:, -1]
        speed = np.hypot(now[:, EgoIndex.VX], now[:, EgoIndex.VY])
        poses = np.zeros((len(now), POSES, 3))
        poses[:, :, 0] = speed[:, None] * (DT * np.arange(1, POSES + 1))
        return TrajectoryBatch(poses, DT)
