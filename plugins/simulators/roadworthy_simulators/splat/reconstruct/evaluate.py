"""How good a reconstruction is: PSNR, SSIM, and LPIPS where that is at hand.

Of images that it was, and was not, made from.
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
from roadworthy_simulators.splat.reconstruct.perceptual import lpips_at_hand
from roadworthy_simulators.splat.reconstruct.photometric import psnr, ssim
from roadworthy_simulators.splat.reconstruct.recording import Recording

__all__ = ["evaluate"]

_TRAIN_IMAGES = 30  # at most, evenly spaced, to state the figure of


def _truth(fit: Fit, frame: int) -> NDArray[np.float32]:
    return fit.recording.images[frame].astype(np.float32) / np.float32(255)


def _scores(fit: Fit, frames: NDArray[np.int64]) -> dict[str, Any]:
    pairs = [(fit.image(int(f)), _truth(fit, int(f))) for f in frames]
    out = _mean(pairs)
    moving = [
        (a[mask], b[mask])
        for f, (a, b) in zip(frames, pairs, strict=True)
        if (mask := _on_actors(fit.recording, int(f))).any()
    ]
    if moving:
        out["actors_psnr_db"] = round(float(np.mean([psnr(a, b) for a, b in moving])), 3)
    return out


def _on_actors(recording: Recording, frame: int) -> NDArray[np.bool_]:
    """[H, W] pixels within the outlines of moving boxes, each the rectangle around its corners."""
    mask = np.zeros((recording.height, recording.width), np.bool_)
    view, k = recording.viewmats[frame], recording.Ks[frame]
    signs = np.array([[i, j, h] for i in (-1, 1) for j in (-1, 1) for h in (-1, 1)])
    for actor in recording.actors:
        if not actor.present[frame]:
            continue
        x, y, z, yaw = actor.poses_world[frame]
        corners = signs * np.array(actor.size) / 2
        c, s = np.cos(yaw), np.sin(yaw)
        world = np.stack(
            [c * corners[:, 0] - s * corners[:, 1] + x, s * corners[:, 0] + c * corners[:, 1] + y,
             corners[:, 2] + z], axis=1,
        )  # fmt: skip
        local = world @ view[:3, :3].T + view[:3, 3]
        if local[:, 2].min() < 0.5:
            continue
        u = k[0, 0] * local[:, 0] / local[:, 2] + k[0, 2]
        v = k[1, 1] * local[:, 1] / local[:, 2] + k[1, 2]
        columns = slice(max(int(u.min()), 0), max(int(np.ceil(u.max())), 0))
        mask[max(int(v.min()), 0) : max(int(np.ceil(v.max())), 0), columns] = True
    return mask


def _mean(pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "images": len(pairs),
        "psnr_db": round(float(np.mean([psnr(a, b) for a, b in pairs])), 3),
        "ssim": round(float(np.mean([ssim(a, b) for a, b in pairs])), 4),
    }
    lpips = lpips_at_hand()
    if lpips is not None:
        out["lpips"] = round(float(np.mean([lpips(a, b) for a, b in pairs])), 4)
    return out


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

    Each has `images`, `psnr_db` (mean over images) and `ssim`, and, where there are moving boxes,
    `actors_psnr_db` of the pixels that they take; `held_out_traversal` has `raw` and,
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
