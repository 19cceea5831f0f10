"""The ego vehicle: its box, its wheelbase, and the layout of its state.

Frames follow ISO 8855: x forward, y left, heading counter-clockwise. The ego's reference
point is the centre of the rear axle; an agent's is the centre of its box.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["EGO_STATE_SIZE", "PACIFICA", "EgoIndex", "Vehicle", "VehicleIndex"]


class EgoIndex(IntEnum):
    """Columns of an ego state: rear axle, world pose, vehicle-frame velocity and acceleration."""

    X = 0
    Y = 1
    YAW = 2
    VX = 3
    VY = 4
    AX = 5
    AY = 6
    STEER = 7
    STEER_RATE = 8
    YAW_RATE = 9
    YAW_ACCEL = 10


EGO_STATE_SIZE = 11


class VehicleIndex(IntEnum):
    """Columns of `Vehicle.as_array`."""

    WIDTH = 0
    FRONT = 1
    REAR = 2
    WHEELBASE = 3
    COG = 4
    HEIGHT = 5


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Dimensions of the ego vehicle, all in metres.

    Attributes:
        width: full width of the box.
        front: rear axle to front bumper.
        rear: rear axle to rear bumper (positive).
        wheelbase: rear axle to front axle.
        cog: rear axle to centre of gravity.
        height: full height of the box.
    """

    width: float
    front: float
    rear: float
    wheelbase: float
    cog: float
    height: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (np.isfinite(value) and 0.0 < value < 50.0):
                raise ValueError(f"Vehicle.{name} = {value!r}: must lie in (0, 50) m")

    @property
    def length(self) -> float:
        """Bumper to bumper [m]."""
        return self.front + self.rear

    @property
    def rear_axle_to_centre(self) -> float:
        """Rear axle to the centre of the box [m]."""
        return 0.5 * (self.front - self.rear)

    def as_array(self) -> NDArray[np.float64]:
        """The dimensions in `VehicleIndex` order, for kernels: float64 [6]."""
        return np.array(
            [self.width, self.front, self.rear, self.wheelbase, self.cog, self.height], np.float64
        )


PACIFICA = Vehicle(width=2.297, front=4.049, rear=1.127, wheelbase=3.089, cog=1.67, height=1.777)
"""The vehicle of NAVSIM and nuPlan (dimensions: the PDM Score specification, section 0)."""
