"""Depth from the recording's points, for the optional depth loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from roadworthy_simulators.splat.reconstruct.recording import Recording

__all__ = ["depth_loss", "seen_depth"]

_NEIGHBOURS = 2  # pixels around a point in which a much nearer one hides it
_HIDDEN = 0.9  # nearer than this share of the depth is much nearer


def seen_depth(recording: Recording, frame: int) -> Tensor:
    """Depth [H, W] of the nearest point in each pixel of an image [m]; 0 where there is none.

    A point with a much nearer one within two pixels counts as hidden: points have gaps between.
    """
    view, k = recording.viewmats[frame], recording.Ks[frame]
    height, width = recording.height, recording.width
    local = recording.points_world @ view[:3, :3].T + view[:3, 3]
    local = local[local[:, 2] > 0.1]
    u = (k[0, 0] * local[:, 0] / local[:, 2] + k[0, 2]).astype(np.int64)
    v = (k[1, 1] * local[:, 1] / local[:, 2] + k[1, 2]).astype(np.int64)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    depth = np.full((height, width), np.inf, np.float32)
    np.minimum.at(depth, (v[inside], u[inside]), local[inside, 2].astype(np.float32))
    padded = np.pad(depth, _NEIGHBOURS, constant_values=np.inf)
    window = np.lib.stride_tricks.sliding_window_view(padded, (2 * _NEIGHBOURS + 1,) * 2)
    nearest = window.min(axis=(2, 3))
    return torch.from_numpy(np.where(nearest >= _HIDDEN * depth, depth, 0)).nan_to_num(posinf=0.0)


def depth_loss(depth: Tensor, alpha: Tensor, seen: Tensor) -> Tensor:
    """Mean |1 / rendered - 1 / seen| [1/m] over the pixels where a point is seen.

    Args:
        depth, alpha: [H, W] as rendered.
        seen: [H, W] of `seen_depth`.
    """
    mask = (seen > 0) & (alpha > 0.5)
    if not bool(mask.any()):
        return depth.sum() * 0.0
    rendered = depth[mask] / alpha[mask]
    return (1 / rendered.clamp(min=0.1) - 1 / seen[mask]).abs().mean()
