"""`render`: images of Gaussians, by whichever backend is there.

Both have the semantics of gsplat's `rasterization` with a pinhole camera (Ye et al. 2024): EWA
projection, spherical harmonics, front-to-back compositing, RGB, alpha and accumulated depth.
Rolling shutter is out of scope: every image is taken at one instant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from roadworthy.errors import DataError, SimulatorError, did_you_mean

from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.cpu import backend as cpu
from roadworthy_simulators.splat.cpu.layout import Scene
from roadworthy_simulators.splat.gaussians import Gaussians

__all__ = ["Backend", "choose_backend", "render"]

Backend = Literal["auto", "cpu", "gsplat"]


def choose_backend(backend: Backend, options: RenderOptions) -> Literal["cpu", "gsplat"]:
    """The backend to use.

    Args:
        backend: `cpu`, `gsplat`, or `auto`: gsplat where CUDA and its kernels work and it has the
            constants asked for, else `cpu`.
        options: what is asked for.

    Raises:
        SimulatorError: gsplat was asked for and cannot serve; says why.
        DataError: another name.
    """
    if backend == "cpu":
        return "cpu"
    if backend not in ("auto", "gsplat"):
        raise DataError(
            f"there is no splat backend {backend!r}",
            hint=did_you_mean(backend, ("auto", "cpu", "gsplat")),
        )
    from roadworthy_simulators.splat import gsplat_backend  # imports torch

    reason = gsplat_backend.why_unusable(options)
    if not reason:
        return "gsplat"
    if backend == "gsplat":
        raise SimulatorError(f"the gsplat backend cannot be used: {reason}")
    return "cpu"


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    options: RenderOptions | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
) -> Rendering:
    """Renders every camera.

    Args:
        gaussians: the scene.
        cameras: C of them.
        options: constants; by default those of gsplat on PyPI.
        backend: see `choose_backend`.
        threads: of the CPU backend, None: one for each core. Its images are bitwise the same for
            any number.

    Returns:
        C images, in host memory.

    Raises:
        DataError: a Gaussian that cannot be drawn (names it), or an option out of range.
        SimulatorError: the backend cannot be used, or the image would take too much memory.
    """
    options = options or RenderOptions()
    if options.antialiased is None:
        options = replace(options, antialiased=gaussians.antialiased)
    g = gaussians
    if choose_backend(backend, options) == "gsplat":
        from roadworthy_simulators.splat import gsplat_backend

        return gsplat_backend.render(g, cameras, options)
    scene = Scene(g.means, g.quats, g.scales, g.opacities, g.sh)
    rendering, _ = cpu.forward(scene, cameras, options, threads, keep=False)
    return rendering
