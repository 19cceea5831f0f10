"""Shapes that the CPU kernels share: tiles, projected records, and the arrays handed to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCKS_X",
    "BLOCKS_Y",
    "CHUNK",
    "FAULTS",
    "PARTIALS",
    "RECORD",
    "SPAN_BITS",
    "TILE_BLOCKS",
    "TILE_PIXELS",
    "TILE_X",
    "TILE_Y",
    "Lens",
    "Projected",
    "Scene",
    "Thresholds",
]

TILE_X = 16
TILE_Y = 8
BLOCKS_X = TILE_X // 4
BLOCKS_Y = TILE_Y // 2
TILE_BLOCKS = BLOCKS_X * BLOCKS_Y
TILE_PIXELS = TILE_X * TILE_Y
CHUNK = 4096  # Gaussians projected at a time; fixed, so that sums over chunks have one order
RECORD = 16  # floats in a projected record: one cache line
PARTIALS = 10  # sums that the backward pass keeps for a Gaussian in a tile

# Fields of a record. The mean is split into a whole pixel and a fraction, so that its distance
# to a pixel keeps full float32 precision however wide the image is. The quadratic form is
# sigma * log2(e) = -(A * (dx - K dy)^2 + C dy^2), which cannot go negative or cancel.
# Unsigned, so that kernels need not ask whether an index is negative.
_FIELDS = [np.uint64(field) for field in range(14)]
WHOLE_X, PART_X, WHOLE_Y, PART_Y, QUAD_A, SHEAR_K, QUAD_C, OPACITY = _FIELDS[:8]
RED, GREEN, BLUE, DEPTH, HALF_X, HALF_Y = _FIELDS[8:]

SPAN_BITS = 24  # an image has fewer tiles than 2**24

FAULTS = ("", "mean", "quaternion", "scale", "opacity", "colour")  # names by fault code


class Scene(NamedTuple):
    """The Gaussians, all float32 and C-contiguous.

    `colors` is [N, K, 3] spherical-harmonic coefficients, or [N, 1, 3] plain colours where the
    degree handed along is -1.
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    colors: NDArray[np.float32]


class Lens(NamedTuple):
    """One camera. Distances in scene units, image quantities in pixels."""

    world_to_camera: NDArray[np.float64]  # [3, 4] world to camera
    centre: NDArray[np.float64]  # [3] camera centre in the world
    fx: float
    fy: float
    cx: float
    cy: float
    low_u: float  # range to which x/z and y/z are clamped in the Jacobian
    high_u: float
    low_v: float
    high_v: float
    stretch: float  # squared, at least the largest stretch of that's rotation (1: rigid)
    near: float
    far: float
    width: int
    height: int


class Thresholds(NamedTuple):
    """The constants of compositing."""

    eps2d: float
    antialiased: bool
    radius_clip: float
    max_alpha: float
    alpha: float
    transmittance: float
    degree: int  # spherical-harmonic degree; -1: plain colours


class Projected(NamedTuple):
    """What projection leaves behind; index v is dense within a chunk and keeps memory order."""

    records: NDArray[np.float32]  # [N * RECORD]
    source: NDArray[np.int32]  # [N] index of the Gaussian
    keys: NDArray[np.uint64]  # [N] depth bits << 32 | v
    spans: NDArray[np.int64]  # [N] where its tiles start in `slot_tile` << SPAN_BITS | their number
    slot_tile: NDArray[np.int32]  # [chunks * slots a chunk may use]
    visible: NDArray[np.int64]  # [chunks] records made
    used: NDArray[np.int64]  # [chunks] slots wanted
    fault: NDArray[np.int64]  # [chunks, 2] code and Gaussian of the first fault, or 0
    tile_counts: NDArray[np.int64]  # [workers, tiles]
