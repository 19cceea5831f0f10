"""The light of a traversal: one sun, one sky, one exposure, and how they colour a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.quaternions import normals_of

__all__ = ["Light", "colours_to_sh", "light_up"]

SH_0 = 0.28209479177387814
"""The constant spherical harmonic, 1 / (2 sqrt(pi))."""


def colours_to_sh(colours: NDArray[np.float64]) -> NDArray[np.float32]:
    """Coefficients [..., 3] of degree 0 that give colours [..., 3] in 0..1."""
    return ((np.asarray(colours) - 0.5) / SH_0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """Sun and sky (Lambert's law, without cast shadows), in display values 0..1.

    Attributes:
        sun: unit vector towards the sun, scene frame (z up).
        sun_colour: red, green, blue that a white surface facing the sun gets from it.
        sky_colour: what a white surface facing up gets from the sky; facing down it gets half.
        horizon, zenith: colours of the sky to look at.

    Raises:
        DataError: a value is not finite, or the sun has no direction.
    """

    sun: tuple[float, float, float]
    sun_colour: tuple[float, float, float]
    sky_colour: tuple[float, float, float]
    horizon: tuple[float, float, float]
    zenith: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if len(value) != 3 or not np.isfinite(value).all():
                raise DataError(f"light: {name} is {value}, not three finite numbers")
        length = float(np.linalg.norm(self.sun))
        if not length > 1e-6:
            raise DataError(f"light: sun is {self.sun}, which has no direction")
        object.__setattr__(self, "sun", tuple(float(x) / length for x in self.sun))

    def shade(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """What surfaces with unit normals [N, 3] get: [N, 3]."""
        facing = np.clip(normals @ np.array(self.sun), 0.0, None)[:, None]
        up = 0.75 + 0.25 * normals[:, 2:]
        return facing * np.array(self.sun_colour) + up * np.array(self.sky_colour)


def light_up(gaussians: Gaussians, light: Light) -> Gaussians:
    """Colours a set whose degree-0 harmonics are albedos and whose local z axes are normals."""
    albedo = 0.5 + SH_0 * gaussians.sh[:, 0].astype(np.float64)
    colours = np.clip(albedo * light.shade(normals_of(gaussians.quats)), 0.0, 1.0)
    return Gaussians(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        colours_to_sh(colours)[:, None],
        gaussians.antialiased,
    )
