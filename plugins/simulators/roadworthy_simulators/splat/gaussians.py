"""The noun of this package: a set of 3D Gaussians, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

__all__ = ["MAX_DEGREE", "MAX_GAUSSIANS", "Gaussians", "concatenate", "terms_of_degree"]

MAX_DEGREE = 3
MAX_GAUSSIANS = 50_000_000  # what a file may declare: 12 GB at degree 3


def terms_of_degree(degree: int) -> int:
    """Number of spherical harmonics up to a degree."""
    return (degree + 1) ** 2


@dataclass(frozen=True, slots=True)
class Gaussians:
    """N Gaussians in one frame (Kerbl et al. 2023). Every array float32 and C-contiguous.

    Attributes:
        means: [N, 3] centres [scene units, metres in this project].
        quats: [N, 4] rotations w, x, y, z; any length but 0, the renderer normalises.
        scales: [N, 3] standard deviations along the own axes [scene units], linear, > 0.
        opacities: [N] in [0, 1].
        sh: [N, (d + 1)^2, 3] spherical-harmonic coefficients of degree d in 0..3, order and signs
            of gsplat and INRIA: colour = max(0.5 + sum_k basis_k sh_k, 0).
        antialiased: whether the set was fitted with the antialiased filter, and so is to be
            rendered with it.

    Raises:
        DataError: an array has another shape or type.
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    sh: NDArray[np.float32]
    antialiased: bool = False

    def __post_init__(self) -> None:
        n = np.shape(self.means)[0] if np.ndim(self.means) else 0
        shapes: dict[str, tuple[int, ...]] = {
            "means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise DataError(f"Gaussians: {name} has shape {array.shape}, not {shape}")
            object.__setattr__(self, name, array)
        sh = np.ascontiguousarray(self.sh, dtype=np.float32)
        known = [terms_of_degree(d) for d in range(MAX_DEGREE + 1)]
        if sh.ndim != 3 or sh.shape[0] != n or sh.shape[1] not in known or sh.shape[2] != 3:
            raise DataError(
                f"Gaussians: sh has shape {sh.shape}, not ({n}, K, 3)",
                hint=f"K must be one of {known}: degrees 0 to {MAX_DEGREE}.",
            )
        object.__setattr__(self, "sh", sh)

    def __len__(self) -> int:
        return int(self.means.shape[0])

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return round(self.sh.shape[1] ** 0.5) - 1

    def checked(self, origin: str) -> Gaussians:
        """Itself, if every Gaussian can be drawn.

        Args:
            origin: what to call it in the message, such as the file's path.

        Raises:
            DataError: a value is not finite, a quaternion is 0, a scale is not positive or an
                opacity lies outside [0, 1]; names the first Gaussian, its field and its value.
        """
        bad: dict[str, NDArray[np.bool_]] = {
            "means": ~np.isfinite(self.means).all(axis=1),
            "quats": ~(np.isfinite(self.quats).all(axis=1) & (np.abs(self.quats) > 0).any(axis=1)),
            "scales": ~(np.isfinite(self.scales) & (self.scales > 0)).all(axis=1),
            "opacities": ~((self.opacities >= 0) & (self.opacities <= 1)),
            "sh": ~np.isfinite(self.sh).all(axis=(1, 2)),
        }
        hints = {
            "means": "Positions must be finite.",
            "quats": "A rotation must be finite and not all zero.",
            "scales": "A standard deviation must be finite and greater than 0.",
            "opacities": "An opacity must lie within [0, 1].",
            "sh": "Colour coefficients must be finite.",
        }
        for name, mask in bad.items():
            if mask.any():
                index = int(np.flatnonzero(mask)[0])
                value: Any = getattr(self, name)[index]
                shown = np.array2string(np.asarray(value), max_line_width=10_000, threshold=8)
                raise DataError(
                    f"{origin}: {name}[{index}] is {shown} ({int(mask.sum())} of {len(self)} "
                    "Gaussians are like that)",
                    hint=hints[name],
                )
        return self


def concatenate(parts: Sequence[Gaussians]) -> Gaussians:
    """One set of several, in order. Lower degrees are filled up with zeros.

    Raises:
        DataError: no parts, or some antialiased and others not.
    """
    if not parts:
        raise DataError("no Gaussians to put together")
    if len({p.antialiased for p in parts}) > 1:
        raise DataError(
            "some of the Gaussians were fitted with the antialiased filter and others without",
            hint="One image has one filter: fit them alike.",
        )
    terms = max(p.sh.shape[1] for p in parts)
    return Gaussians(
        means=np.concatenate([p.means for p in parts]),
        quats=np.concatenate([p.quats for p in parts]),
        scales=np.concatenate([p.scales for p in parts]),
        opacities=np.concatenate([p.opacities for p in parts]),
        sh=np.concatenate(
            [np.pad(p.sh, ((0, 0), (0, terms - p.sh.shape[1]), (0, 0))) for p in parts]
        ),
        antialiased=parts[0].antialiased,
    )
