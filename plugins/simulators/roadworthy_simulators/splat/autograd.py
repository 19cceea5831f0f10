"""`rasterize`: the renderer as a differentiable torch function, same names for both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from roadworthy.errors import DataError
from torch import Tensor

from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.cpu import backend as cpu
from roadworthy_simulators.splat.cpu.layout import Scene
from roadworthy_simulators.splat.render import Backend, choose_backend

__all__ = ["rasterize"]


def _array(name: str, tensor: Tensor) -> Any:
    if tensor.device.type != "cpu":
        raise DataError(f"{name} is on {tensor.device}, but the CPU backend renders host memory")
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


class _Rasterize(torch.autograd.Function):
    """Forward and backward of the CPU backend."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        ks: Tensor,
        size: tuple[int, int],
        options: RenderOptions,
        threads: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        names = ("means", "quats", "scales", "opacities", "colors")
        tensors = (means, quats, scales, opacities, colors)
        scene = Scene(*(_array(n, t) for n, t in zip(names, tensors, strict=True)))
        cameras = Cameras(_array("viewmats", viewmats), _array("Ks", ks), *size)
        keep = any(ctx.needs_input_grad)
        rendering, ctx.kept = cpu.forward(scene, cameras, options, threads, keep)
        ctx.threads = threads
        ctx.shapes = colors.shape
        ctx.types = [t.dtype for t in (*tensors, viewmats)]
        return (
            torch.from_numpy(rendering.rgb),
            torch.from_numpy(rendering.alpha),
            torch.from_numpy(rendering.depth),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        arrays = (np.ascontiguousarray(g.numpy(), dtype=np.float32) for g in gradients)
        grads, views = cpu.backward(ctx.kept, Rendering(*arrays), ctx.threads)
        found = [torch.from_numpy(a) for a in (*grads, views)]
        found[4] = found[4].reshape(ctx.shapes)
        wanted: list[Tensor | None] = [
            g.to(t) if need else None
            for g, t, need in zip(found, ctx.types, ctx.needs_input_grad, strict=False)
        ]
        return (*wanted, None, None, None, None)


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    options: RenderOptions | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Differentiable images of Gaussians.

    Gradients reach means, quats, scales, opacities, colors and viewmats; not Ks. Computed in
    float32 with float64 where it matters, whatever type comes in. On the CPU they are summed in a
    fixed order: the same bits for any number of threads.

    Args:
        means: [N, 3].
        quats: [N, 4] w, x, y, z, any length but 0.
        scales: [N, 3] linear.
        opacities: [N] in [0, 1].
        colors: [N, (d + 1)^2, 3] spherical harmonics, or [N, 3] plain colours.
        viewmats: [C, 4, 4] world to camera, OpenCV axes.
        Ks: [C, 3, 3] intrinsics [pixels].
        width, height: image size [pixels].
        options: see `RenderOptions`; `antialiased` None counts as False.
        backend: `auto` takes gsplat only for tensors that are on a CUDA device.
        threads: of the CPU backend; None: one for each core.

    Returns:
        rgb [C, H, W, 3], alpha [C, H, W], depth [C, H, W]; see `Rendering`.

    Raises:
        DataError: shapes that do not fit, or a Gaussian that cannot be drawn (names it).
        SimulatorError: the backend cannot be used.
    """
    options = options or RenderOptions()
    n = means.shape[0] if means.ndim else -1
    shapes = {"means": (means, (n, 3)), "quats": (quats, (n, 4)), "scales": (scales, (n, 3))}
    shapes["opacities"] = (opacities, (n,))
    for name, (tensor, shape) in shapes.items():
        if tuple(tensor.shape) != shape:
            raise DataError(f"{name} has shape {tuple(tensor.shape)}, not {shape}")
    plain = tuple(colors.shape) == (n, 3)
    if not plain and (
        colors.ndim != 3 or colors.shape[0] != n or colors.shape[1] not in (1, 4, 9, 16)
        or colors.shape[2] != 3
    ):  # fmt: skip
        raise DataError(
            f"colors has shape {tuple(colors.shape)}",
            hint=f"It must be ({n}, 3) for colours, or ({n}, K, 3) with K of 1, 4, 9 or 16.",
        )
    if backend == "auto" and not means.is_cuda:
        backend = "cpu"
    if choose_backend(backend, options) == "gsplat":
        from roadworthy_simulators.splat import gsplat_backend

        return gsplat_backend.rasterize(
            means, quats, scales, opacities, colors, viewmats, Ks, width, height, options
        )
    out: tuple[Tensor, Tensor, Tensor] = _Rasterize.apply(
        means, quats, scales, opacities, colors, viewmats, Ks, (width, height), options, threads
    )  # type: ignore[no-untyped-call]
    return out
