"""A planner that brakes to a standstill, straight ahead."""

from __future__ import annotations

import numpy as np
from roadworthy import Brief, EgoIndex, Observation, Trajectory


class Stop:
    """Args: deceleration: at which to brake [m/s2]."""

    def __init__(self, *, deceleration: float = 3.0) -> None:
        if not deceleration > 0.0:
            raise ValueError(f"deceleration = {deceleration!r} must be positive")
        self._deceleration = deceleration

    def reset(self, brief: Brief) -> None:
        """Nothing is kept."""

    def plan(self, observation: Observation) -> Trajectory:
        speed = max(0.0, observation.ego_state[-1, EgoIndex.VX])
        time = np.minimum(0.1 * np.arange(1, 41), speed / self._deceleration)
        poses = np.zeros((40, 3))
        poses[:, 0] = speed * time - 0.5 * self._deceleration * time**2
        return Trajectory(poses, 0.1)
