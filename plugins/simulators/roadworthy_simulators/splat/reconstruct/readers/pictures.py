"""Images of a recording, straightened, shrunk, and all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import MAX_SIDE
from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.said import within

__all__ = ["read_pictures"]


def _read(path: Path, size: tuple[int, int], work: tuple[int, int]) -> NDArray[np.uint8]:
    if not path.is_file():
        raise DataError(f"{path}: there is a pose for this image, but no image")
    with within(path), Image.open(path) as image:
        if image.size != size:
            raise DataError(
                f"the image is {image.size[0]} x {image.size[1]}, but its camera has "
                f"{size[0]} x {size[1]} pixels"
            )
        rgb = image.convert("RGB")
        if rgb.size != work:
            rgb = rgb.resize(work, Image.Resampling.BOX)
        return np.asarray(rgb, dtype=np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file [pixels]."""
    with within(path), Image.open(path) as image:
        return image.size


def read_pictures(
    paths: Sequence[Path], lenses: Sequence[OpenCVLens], width: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Images and their pinhole intrinsics.

    Args:
        paths: F > 0 files.
        lenses: F lenses, of the size of the files; distortion is taken out.
        width: to shrink to [pixels]; None or more than there are: as they are.

    Returns:
        uint8 [F, H, W, 3] and [F, 3, 3].

    Raises:
        DataError: a file that is missing, damaged or of another size than its lens; lenses of
            unequal size.
    """
    first = lenses[0]
    for path, lens in zip(paths, lenses, strict=True):
        if (lens.width, lens.height) != (first.width, first.height):
            raise DataError(
                f"{path}: the image is {lens.width} x {lens.height}, but {paths[0].name} is "
                f"{first.width} x {first.height}",
                hint="All images of a recording must have one size.",
            )
    size = (first.width, first.height)
    if max(size) > MAX_SIDE:
        raise DataError(f"{paths[0]}: {size[0]} x {size[1]} pixels are too many")
    shrink = 1.0 if width is None else min(1.0, width / size[0])
    work = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
    scale = (work[0] / size[0], work[1] / size[1])
    with within(f"{paths[0].parent}: {len(paths)} images of {work[0]} x {work[1]} pixels"):
        images = np.empty((len(paths), work[1], work[0], 3), np.uint8)
    ks = np.zeros((len(paths), 3, 3))
    for f, (path, lens) in enumerate(zip(paths, lenses, strict=True)):
        k = np.array(
            [[lens.fx * scale[0], 0, lens.cx * scale[0]],
             [0, lens.fy * scale[1], lens.cy * scale[1]], [0, 0, 1]]
        )  # fmt: skip
        image = _read(path, size, work)
        if any(lens.radial) or any(lens.tangential):
            small = OpenCVLens(
                k[0, 0], k[1, 1], k[0, 2], k[1, 2], *work, lens.radial, lens.tangential
            )
            with within(path), np.errstate(all="ignore"):
                straight = small.straighten(image.astype(np.float32), k.astype(np.float32), *work)
            image = np.clip(np.round(straight), 0, 255).astype(np.uint8)
        images[f], ks[f] = image, k
    return images, ks
