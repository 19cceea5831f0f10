"""What tyres and a driver can do."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an evasive drive.

    A dry road gives a car 8 to 9 m/s² before it slides; sideways, drivers in an
    emergency seldom use more than 5.

    Attributes:
        lateral: largest lateral acceleration [m/s²].
        combined: largest magnitude of longitudinal and lateral acceleration together [m/s²].
        jerk: how fast braking builds up [m/s³].
        curvature: of the tightest turn that the steering allows [1/m].
    """

    lateral: float = 5.0
    combined: float = 8.5
    jerk: float = 20.0
    curvature: float = 0.2

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"Limits.{name} = {value!r}: must be positive")
