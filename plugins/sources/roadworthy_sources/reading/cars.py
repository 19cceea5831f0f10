"""A recorded car as the ego."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from roadworthy.vehicle import PACIFICA, Vehicle

__all__ = ["is_car", "jumps", "rear_axle_poses", "vehicle_of_box"]

_SHORTEST, _LONGEST = 2.5, 15.0
_FASTEST_STEP = 10.0


def is_car(length: float, width: float) -> bool:
    """Whether a box could be a car, van or lorry that a planner drives."""
    return _SHORTEST <= length <= _LONGEST and 1.0 <= width <= 3.5


def vehicle_of_box(length: float, width: float, height: float = PACIFICA.height) -> Vehicle:
    """A vehicle of which only the box is known [m].

    Where its axles are is taken from `PACIFICA`, in proportion to the length.

    Raises:
        ValueError: a box without extent, or larger than a vehicle's.
    """
    share = length / PACIFICA.length
    return Vehicle(
        width=width,
        front=share * PACIFICA.front,
        rear=share * PACIFICA.rear,
        wheelbase=share * PACIFICA.wheelbase,
        cog=share * PACIFICA.cog,
        height=height,
    )


def rear_axle_poses(poses: NDArray[np.float64], vehicle: Vehicle) -> NDArray[np.float64]:
    """Poses [T, 3] of the rear axle from those of the box's centre."""
    out = np.array(poses, np.float64)
    back = vehicle.rear_axle_to_centre
    out[:, 0] -= back * np.cos(poses[:, 2])
    out[:, 1] -= back * np.sin(poses[:, 2])
    return out


def jumps(poses: NDArray[np.float64]) -> str:
    """Where poses [T, 3] at 10 Hz move by more than 10 m in a step, in words; "" for nowhere."""
    step = np.hypot(*np.diff(poses[:, :2], axis=0).T)
    if not len(step) or step.max() <= _FASTEST_STEP:
        return ""
    at = int(step.argmax())
    return f"moves by {step[at]:.1f} m in the step of 0.1 s to step {at + 1}"
