"""Cameras and the constants of rendering: what an image is rendered with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

__all__ = ["MAX_SIDE", "Cameras", "RenderOptions", "Rendering", "check_pose"]

_FARTHEST_M = 1e9
"""From the origin of a frame; beyond the Earth's, products of positions lose their metres."""

MAX_SIDE = 16384  # pixels; a side that no camera has


@dataclass(frozen=True, slots=True)
class Cameras:
    """C pinhole cameras of one image size, each with its own intrinsics.

    Attributes:
        viewmats: float32 [C, 4, 4] world to camera, OpenCV axes (x right, y down, z forward).
        Ks: float32 [C, 3, 3] intrinsics [pixels], no skew. Pixel (i, j) has its centre at
            (j + 0.5, i + 0.5).
        width, height: image size [pixels].

    Raises:
        DataError: a shape, size or value that no pinhole camera has.
    """

    viewmats: NDArray[np.float32]
    Ks: NDArray[np.float32]
    width: int
    height: int

    def __post_init__(self) -> None:
        viewmats = np.ascontiguousarray(self.viewmats, dtype=np.float32)
        ks = np.ascontiguousarray(self.Ks, dtype=np.float32)
        object.__setattr__(self, "viewmats", viewmats)
        object.__setattr__(self, "Ks", ks)
        for name, size in (("width", self.width), ("height", self.height)):
            if not 1 <= int(size) <= MAX_SIDE:
                raise DataError(f"cameras: {name} is {size}, not within [1, {MAX_SIDE}]")
            object.__setattr__(self, name, int(size))
        if viewmats.ndim != 3 or viewmats.shape[1:] != (4, 4) or viewmats.shape[0] == 0:
            raise DataError(f"cameras: viewmats has shape {viewmats.shape}, not (C, 4, 4)")
        if ks.shape != (viewmats.shape[0], 3, 3):
            raise DataError(f"cameras: Ks has shape {ks.shape}, not ({viewmats.shape[0]}, 3, 3)")
        for c in range(len(self)):
            v, k = viewmats[c], ks[c]
            if not np.isfinite(v).all() or not np.array_equal(v[3], np.float32([0, 0, 0, 1])):
                raise DataError(
                    f"cameras: viewmats[{c}] is {v.tolist()}",
                    hint="It must be finite and end in the row 0, 0, 0, 1.",
                )
            if abs(np.linalg.det(v[:3, :3].astype(np.float64))) < 1e-12:
                raise DataError(f"cameras: viewmats[{c}] cannot be inverted: {v.tolist()}")
            pinhole = np.float32([[k[0, 0], 0, k[0, 2]], [0, k[1, 1], k[1, 2]], [0, 0, 1]])
            focal = min(k[0, 0], k[1, 1])
            if not np.isfinite(k).all() or not np.array_equal(k, pinhole) or focal <= 0:
                raise DataError(
                    f"cameras: Ks[{c}] is {k.tolist()}",
                    hint="It must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0.",
                )

    def __len__(self) -> int:
        return int(self.viewmats.shape[0])


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """The constants of gsplat's `rasterization`, by its names where it has one.

    Attributes:
        background: red, green, blue behind everything.
        near, far: only Gaussians with near < z < far are drawn [scene units].
        eps2d: added to both diagonal entries of the 2-D covariance [pixels^2].
        radius_clip: Gaussians whose 2-D radius is not above this are left out [pixels].
        antialiased: whether opacity is scaled by what `eps2d` spread out; None: as the Gaussians
            say.
        max_alpha: the most that one Gaussian covers. 0.999 as in every gsplat on PyPI so far (1.5);
            its repository has 0.99 since 2026, which differs by up to 0.016 in colour.
        alpha_threshold: less is not drawn.
        transmittance_threshold: a pixel is finished where its transmittance would fall to this.
        sh_degree: highest degree of spherical harmonics used; None: all there are.

    Raises:
        DataError: a constant out of range.
    """

    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    near: float = 0.01
    far: float = 1e10
    eps2d: float = 0.3
    radius_clip: float = 0.0
    antialiased: bool | None = None
    max_alpha: float = 0.999
    alpha_threshold: float = 1.0 / 255.0
    transmittance_threshold: float = 1e-4
    sh_degree: int | None = None

    def __post_init__(self) -> None:
        background = tuple(float(x) for x in np.ravel(self.background))
        if len(background) != 3 or not np.isfinite(background).all():
            raise DataError(f"render options: background is {self.background}, not three numbers")
        object.__setattr__(self, "background", background)
        ranges = {
            "near": (0.0, 1e10), "far": (0.0, np.inf), "eps2d": (0.0, 1e4),
            "radius_clip": (0.0, 1e6), "max_alpha": (0.0, 1.0),
            "alpha_threshold": (1e-6, 1.0), "transmittance_threshold": (0.0, 1.0),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            value = float(getattr(self, name))
            if not low <= value <= high:
                raise DataError(f"render options: {name} is {value}, not within [{low}, {high}]")
            object.__setattr__(self, name, value)
        if self.sh_degree is not None and not 0 <= self.sh_degree <= 3:
            raise DataError(f"render options: sh_degree is {self.sh_degree}, not 0, 1, 2 or 3")


@dataclass(frozen=True, slots=True)
class Rendering:
    """C images, float32.

    Attributes:
        rgb: [C, H, W, 3] colour over the background; not clamped to 1.
        alpha: [C, H, W] how much of the background is covered.
        depth: [C, H, W] sum of weight x camera z [scene units]; depth / alpha is the expected z.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth: NDArray[np.float32]


def check_pose(origin: str, view: NDArray[np.float64]) -> None:
    """Raises DataError unless a [4, 4] is a finite, rigid transformation, right-handed."""
    if not np.isfinite(view).all():
        raise DataError(f"{origin}: the pose is not finite: {view.tolist()}")
    if np.abs(view[:3, 3]).max() > _FARTHEST_M:
        raise DataError(f"{origin}: the pose is farther than {_FARTHEST_M:g} m: {view.tolist()}")
    rotation = view[:3, :3]
    # Rows of length 1 to begin with, else their products overflow.
    straight = np.abs(rotation).max() < 2 and np.allclose(
        rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-3
    )
    if not straight or np.linalg.det(rotation) < 0 or not np.allclose(view[3], (0, 0, 0, 1)):
        raise DataError(
            f"{origin}: the pose is not rigid: {view.tolist()}",
            hint="The upper left 3 x 3 must be a rotation, the last row 0, 0, 0, 1.",
        )
