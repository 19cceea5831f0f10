"""`.splat`: 32 bytes a Gaussian, without a header, as the first web viewers had it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from roadworthy.errors import DataError

from roadworthy_simulators.splat.gaussians import MAX_GAUSSIANS, Gaussians

__all__ = ["read_splat"]

_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
_SH_0 = 0.28209479177387814


def read_splat(path: Path) -> Gaussians:
    """Reads positions and linear scales (float32), colour, opacity and w, x, y, z (8 bits each).

    Raises:
        DataError: a size that is no multiple of 32 bytes, or a Gaussian that cannot be drawn.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    if size % _ROW.itemsize or size == 0:
        raise DataError(
            f"{path}: is {size} bytes long, not a multiple of {_ROW.itemsize}",
            hint="The file is cut short, or no .splat file.",
        )
    if size // _ROW.itemsize > MAX_GAUSSIANS:
        raise DataError(f"{path}: holds {size // _ROW.itemsize} Gaussians, over {MAX_GAUSSIANS}")
    rows = np.frombuffer(path.read_bytes(), _ROW)
    dc = (rows["rgba"][:, :3].astype(np.float32) / 255.0 - 0.5) / _SH_0
    return Gaussians(
        means=rows["mean"],
        quats=(rows["quat"].astype(np.float32) - 128.0) / 128.0,
        scales=rows["scale"],
        opacities=rows["rgba"][:, 3].astype(np.float32) / 255.0,
        sh=dc[:, None],
    ).checked(str(path))
