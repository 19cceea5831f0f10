"""LPIPS (Zhang et al. 2018), where the package `lpips` and its network's weights are at hand.

Nothing is downloaded: the weights of AlexNet must lie in torch's cache already
(`torch.hub.get_dir()`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["lpips_at_hand"]

Image = NDArray[np.float32]


def lpips_at_hand() -> Callable[[Image, Image], float] | None:
    """LPIPS of two images [H, W, 3] in [0, 1], or None where it cannot be had."""
    if importlib.util.find_spec("lpips") is None:
        return None
    if not any((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth")):
        return None
    network = importlib.import_module("lpips").LPIPS(net="alex", verbose=False).eval()

    def distance(image: Image, target: Image) -> float:
        both: Any = (
            torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None]
            for x in (image, target)
        )
        with torch.inference_mode():
            return float(network(*both, normalize=True))

    return distance
