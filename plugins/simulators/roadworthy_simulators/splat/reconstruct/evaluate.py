"""How good a reconstruction is: PSNR and SSIM of images that it was, and was not, made from.

A held-out view of a fitted traversal is shown in its traversal's look and mean exposure. A held-out
traversal has neither, so there are two figures for it: `raw`, in the mean of the fitted looks, and
`calibrated`: every second image of it serves to find how its colours follow from those that the
fitted looks give (an affine map, least squares), the others are scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.photometric import psnr, ssim

__all__ = ["evaluate"]

_TRAIN_IMAGES = 30  # at most, evenly spaced, to state the figure of


def _truth(fit: Fit, frame: int) -> NDArray[np.float32]:
    return fit.recording.images[frame].astype(np.float32) / np.float32(255)


def _scores(fit: Fit, frames: NDArray[np.int64]) -> dict[str, Any]:
    pairs = [(fit.image(int(f)), _truth(fit, int(f))) for f in frames]
    return _mean(pairs)


def _mean(pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> dict[str, Any]:
    return {
        "images": len(pairs),
        "psnr_db": round(float(np.mean([psnr(a, b) for a, b in pairs])), 3),
        "ssim": round(float(np.mean([ssim(a, b) for a, b in pairs])), 4),
    }


def _features(fit: Fit, frame: int, looks: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """[H W, 3 L + 1] colours of an image in each look, and a one."""
    images = [fit.image(frame, look, exposed=False).reshape(-1, 3) for look in looks]
    return np.concatenate([*images, np.ones((len(images[0]), 1))], axis=1, dtype=np.float64)


def _calibrated(fit: Fit, frames: NDArray[np.int64]) -> dict[str, Any]:
    fitted = np.unique(fit.recording.traversal[fit.train])
    count = len(fit.recording.traversals)
    looks = [np.eye(count, dtype=np.float32)[t] for t in fitted]
    if "look_0" not in fit.model.rows:
        looks = looks[:1]
    squares: Any = 0.0
    products: Any = 0.0
    for f in frames[::2]:
        x = _features(fit, int(f), looks)
        squares = squares + x.T @ x
        products = products + x.T @ _truth(fit, int(f)).reshape(-1, 3)
    # A trace of ridge: looks may be equal.
    ridge = 1e-6 * float(np.trace(squares)) * np.eye(len(squares))
    solved = np.linalg.solve(squares + ridge, products)
    pairs = []
    for f in frames[1::2]:
        image = (_features(fit, int(f), looks) @ solved).reshape(*fit.recording.images.shape[1:])
        pairs.append((np.clip(image, 0, 1).astype(np.float32), _truth(fit, int(f))))
    return _mean(pairs)


def evaluate(fit: Fit) -> dict[str, Any]:
    """Figures, for JSON: `train`, `held_out_views`, `held_out_traversal` where there are such.

    Each has `images`, `psnr_db` (mean over images) and `ssim`; `held_out_traversal` has `raw` and,
    of at least two images, `calibrated`.
    """
    rec = fit.recording
    fitted = np.isin(rec.traversal, np.unique(rec.traversal[fit.train]))
    views, away = np.flatnonzero(fit.test & fitted), np.flatnonzero(~fitted)
    spaced = np.unique(np.linspace(0, len(fit.train) - 1, _TRAIN_IMAGES).astype(int))
    out: dict[str, Any] = {"train": _scores(fit, fit.train[spaced])}
    if len(views):
        out["held_out_views"] = _scores(fit, views)
    if len(away):
        out["held_out_traversal"] = {"raw": _scores(fit, away)}
        if len(away) > 1:
            out["held_out_traversal"]["calibrated"] = _calibrated(fit, away)
    return out
