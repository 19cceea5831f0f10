"""A drive along the procedural street in several lights, rendered: a recording with a truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from roadworthy_simulators.splat import Cameras, Gaussians, render
from roadworthy_simulators.splat.reconstruct import Recording
from splat_street import cameras, street

__all__ = ["LIGHTS", "drive"]

LIGHTS = ("noon", "dusk", "overcast")


def _lit(g: Gaussians, light: str) -> NDArray[np.float32]:
    """The harmonics [N, K, 3] in a light: each surface by its own amount, as a sun does it."""
    sh = g.sh.copy()
    y0 = 0.28209479177387814
    base = 0.5 + y0 * sh[:, 0]
    wall = g.means[:, 2:3] > 0.3
    left = g.means[:, 1:2] > 0
    gain = {
        "noon": np.ones(3),
        "dusk": np.where(wall & left, (1.1, 0.75, 0.5), (0.4, 0.35, 0.45)),
        "overcast": np.where(wall, (0.6, 0.65, 0.7), (0.75, 0.8, 0.85)),
    }[light]
    sh[:, 0] = (base * gain - 0.5) / y0
    return sh


def drive(
    images: int, width: int, height: int, lights: tuple[str, ...] = ("noon",),
    gaussians: int = 60_000, points: int = 10_000, length: float = 30.0, seed: int = 0,
) -> Recording:  # fmt: skip
    """`images` of each light along `length` metres, looking ahead with a slow sway."""
    arrays = street(gaussians, 1, seed)
    truth = Gaussians(*(arrays[n] for n in ("means", "quats", "scales", "opacities", "colors")))
    view, k = cameras(1, width, height)
    pictures, views, lane = [], [], []
    for t, light in enumerate(lights):
        lit = Gaussians(truth.means, truth.quats, truth.scales, truth.opacities, _lit(truth, light))
        place = (np.arange(images) + t / len(lights)) / images
        for s in place:
            sway = 0.12 * np.sin(7.0 * s)
            turn = np.eye(4)
            turn[:2, :2] = [[np.cos(sway), -np.sin(sway)], [np.sin(sway), np.cos(sway)]]
            shift = np.eye(4)
            shift[:3, 3] = [-length * s, -0.8 * np.sin(5.0 * s + t), 0.0]
            views.append(view[0].astype(np.float64) @ turn @ shift)
            lane.append(t)
        poses = np.stack(views[-images:]).astype(np.float32)
        shot = render(lit, Cameras(poses, np.repeat(k, images, 0), width, height), backend="cpu")
        pictures.append(np.round(255 * np.clip(shot.rgb, 0, 1)).astype(np.uint8))
    rng = np.random.default_rng(seed + 1)
    near = np.flatnonzero(np.abs(truth.means).max(axis=1) < 150)
    pick = rng.choice(near, min(points, len(near)), replace=False)
    color = np.clip(0.5 + 0.28209479177387814 * truth.sh[pick, 0], 0, 1)
    poses64 = np.stack(views)
    # float32 rounding left the rotation a little off: nearest rotation.
    u, _, vt = np.linalg.svd(poses64[:, :3, :3])
    poses64[:, :3, :3] = u @ vt
    count = images * len(lights)
    return Recording(
        name="street", images=np.concatenate(pictures), viewmats=poses64,
        Ks=np.repeat(k.astype(np.float64), count, 0),
        frames=tuple(f"{lights[t]}/{i % images:03d}" for i, t in enumerate(lane)),
        traversal=np.array(lane), traversals=lights, times=np.arange(count) * 0.1,
        test=np.zeros(count, bool), points_world=truth.means[pick].astype(np.float64),
        point_colors=np.round(255 * color).astype(np.uint8),
    )  # fmt: skip
