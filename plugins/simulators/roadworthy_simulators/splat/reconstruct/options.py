"""`FitOptions`: every number that a reconstruction depends on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from roadworthy.errors import DataError

__all__ = ["FitOptions"]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What to fit and how. Rates and thresholds as in Kerbl et al. 2023 unless a comment says so.

    Attributes:
        steps: images looked at.
        seed: of everything drawn at random.
        threads: of the renderer; None: one for each core. The result does not depend on it.
        degree: of the spherical harmonics, 0 to 3; one more is let in every `degree_every` steps.
        points: Gaussians to begin with, at most; drawn from the recording's points, or along the
            views' rays where it has none.
        sky: Gaussians of the far shell; 0: none.
        ssim_weight: of D-SSIM in the loss; the rest is L1.
        depth_weight: of the inverse-depth loss where points are seen; 0: none.
        strategy: `default` clones and splits by gradient, `mcmc` relocates the faint and adds
            noise (Kheradmand et al. 2024), `fixed` keeps the Gaussians it began with.
        most: Gaussians that densification may reach.
        refine_from, refine_until: share of the steps between which the number changes.
        refine_every: steps between changes.
        grow_gradient: mean gradient on the image, in half image widths, above which to densify.
        appearance: whether each traversal has harmonics of its own over the shared geometry.
        exposure: whether each image has an affine exposure of its own.
        actors: whether moving boxes become rigid sets of their own; else they are part of the rest.
        refine_poses: whether the poses of those boxes are fitted too.
        holdout_every: every so many-th image of a traversal is kept for testing; 0: none beyond
            those the recording itself names.
        holdout_traversal: a traversal that is kept for testing.

    Raises:
        DataError: a value out of range.
    """

    steps: int = 3000
    seed: int = 0
    threads: int | None = None
    degree: int = 1
    degree_every: int = 500
    points: int = 20_000
    sky: int = 1000
    ssim_weight: float = 0.2
    depth_weight: float = 0.0
    strategy: Literal["default", "mcmc", "fixed"] = "default"
    most: int = 60_000
    refine_from: float = 0.1
    refine_until: float = 0.6
    refine_every: int = 100
    grow_gradient: float = 2e-4
    appearance: bool = True
    exposure: bool = True
    actors: bool = True
    refine_poses: bool = True
    holdout_every: int = 8
    holdout_traversal: str | None = None

    def __post_init__(self) -> None:
        ranges = {
            "steps": (1, 10_000_000), "degree": (0, 3), "degree_every": (1, 10_000_000),
            "points": (1, 10_000_000), "sky": (0, 1_000_000), "ssim_weight": (0, 1),
            "depth_weight": (0, 1e6), "most": (1, 50_000_000), "refine_from": (0, 1),
            "refine_until": (0, 1), "refine_every": (1, 10_000_000), "grow_gradient": (0, 1e6),
            "holdout_every": (0, 1_000_000), "seed": (0, 2**63),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise DataError(
                    f"reconstruct: {name} is {getattr(self, name)}, not within [{low}, {high}]"
                )
        if self.strategy not in ("default", "mcmc", "fixed"):
            raise DataError(
                f"reconstruct: strategy is {self.strategy!r}, not default, mcmc or fixed"
            )
        if self.holdout_every == 1:
            raise DataError("reconstruct: holdout_every is 1, which leaves no image to fit")

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return dataclasses.asdict(self)
