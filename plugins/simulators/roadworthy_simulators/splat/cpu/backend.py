"""The CPU renderer behind the names that both backends share: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.cpu.engine import (
    Image,
    View,
    available_threads,
    backward_view,
    render_view,
)
from roadworthy_simulators.splat.cpu.layout import Lens, Scene, Thresholds

__all__ = ["Kept", "backward", "forward"]


@dataclass
class Kept:
    """What `backward` needs. Frees the memory of its views when it is dropped."""

    scene: Scene
    cameras: Cameras
    limits: Thresholds
    rendering: Rendering
    views: list[View]

    def __del__(self) -> None:
        for view in self.views:
            view.close()


def _inverse(view: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of an affine [4, 4], by cofactors: plain arithmetic, equal on every machine."""
    (a, b, c), (d, e, f), (g, h, i) = view[:3, :3]
    cofactors = np.array(
        [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]
    )
    rotation = cofactors / (a * cofactors[0, 0] + b * cofactors[1, 0] + c * cofactors[2, 0])
    out = np.eye(4)
    out[:3, :3] = rotation
    x, y, z = view[:3, 3]
    out[:3, 3] = -(rotation[:, 0] * x + rotation[:, 1] * y + rotation[:, 2] * z)
    return out


def _lens(cameras: Cameras, c: int, options: RenderOptions) -> Lens:
    view = cameras.viewmats[c].astype(np.float64)
    k = cameras.Ks[c].astype(np.float64)
    fx, fy, cx, cy = (float(x) for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
    width, height = cameras.width, cameras.height
    rotation = view[:3, :3]
    # A rigid view stretches nothing; the squared Frobenius norm bounds what any other does.
    rigid = np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
    return Lens(
        world_to_camera=np.ascontiguousarray(view[:3]),
        centre=_inverse(view)[:3, 3].copy(),
        fx=fx, fy=fy, cx=cx, cy=cy,
        low_u=-(cx / fx + 0.15 * width / fx),
        high_u=(width - cx) / fx + 0.15 * width / fx,
        low_v=-(cy / fy + 0.15 * height / fy),
        high_v=(height - cy) / fy + 0.15 * height / fy,
        stretch=1.01 if rigid else float((rotation**2).sum()),
        near=options.near, far=options.far, width=width, height=height,
    )  # fmt: skip


def _image(rendering: Rendering, c: int) -> Image:
    return Image(rendering.rgb[c], rendering.alpha[c], rendering.depth[c])


def forward(
    scene: Scene, cameras: Cameras, options: RenderOptions, threads: int | None, keep: bool
) -> tuple[Rendering, Kept | None]:
    """Renders every camera.

    Args:
        scene: `colors` [N, K, 3] harmonics, or [N, 3] plain colours.
        cameras, options: see there; `antialiased` None counts as False.
        threads: None: as many as the process has cores. The images do not depend on it.
        keep: whether `backward` will follow.

    Raises:
        DataError: a Gaussian that cannot be drawn, or fewer than one thread.
        SimulatorError: an image that would take too much memory.
    """
    plain = scene.colors.ndim == 2
    if plain:
        scene = scene._replace(colors=scene.colors.reshape(-1, 1, 3))
    most = -1 if plain else round(scene.colors.shape[1] ** 0.5) - 1
    degree = most if plain or options.sh_degree is None else options.sh_degree
    if degree > most:
        raise DataError(f"render options: sh_degree is {degree}, but the Gaussians have {most}")
    threads = available_threads() if threads is None else threads
    if threads < 1:
        raise DataError(f"threads is {threads}, not at least 1")
    limits = Thresholds(
        eps2d=options.eps2d,
        antialiased=bool(options.antialiased),
        radius_clip=options.radius_clip,
        max_alpha=options.max_alpha,
        alpha=float(np.float32(options.alpha_threshold)),
        transmittance=options.transmittance_threshold,
        degree=degree,
    )
    size = (len(cameras), cameras.height, cameras.width)
    rendering = Rendering(
        rgb=np.empty((*size, 3), np.float32),
        alpha=np.empty(size, np.float32),
        depth=np.empty(size, np.float32),
    )
    background = np.array(options.background, dtype=np.float32)
    kept = Kept(scene, cameras, limits, rendering, []) if keep else None
    for c in range(len(cameras)):
        view = render_view(
            scene,
            _lens(cameras, c, options),
            limits,
            background,
            _image(rendering, c),
            threads,
            keep,
        )
        if kept is not None and view is not None:
            kept.views.append(view)
    return rendering, kept


def backward(
    kept: Kept, gradient: Rendering, threads: int | None
) -> tuple[Scene, NDArray[np.float32]]:
    """Gradients of a loss, given its gradient with respect to the images.

    Returns:
        Gradients of the scene (float32, `colors` as [N, K, 3]), and of the view matrices
        [C, 4, 4], all sixteen entries, the camera centre being taken from the inverse.
    """
    threads = available_threads() if threads is None else threads
    grads = Scene(*(np.zeros(a.shape, np.float32) for a in kept.scene))
    views = np.zeros((len(kept.views), 4, 4))
    for c, view in enumerate(kept.views):
        sums = backward_view(
            kept.scene, view, kept.limits, _image(kept.rendering, c), _image(gradient, c), grads,
            threads,
        )  # fmt: skip
        inverse = _inverse(kept.cameras.viewmats[c].astype(np.float64))
        views[c, :3, :3] = sums[:9].reshape(3, 3)
        views[c, :3, 3] = sums[9:12]
        # d inverse = -inverse dV inverse, and only the centre, its last column, has a gradient.
        views[c] -= np.outer(inverse[:3].T @ sums[12:], inverse[:, 3])
    return grads, views.astype(np.float32)
