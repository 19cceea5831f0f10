"""The renderer on CUDA: gsplat (Ye et al. 2024), behind the names that both backends share."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.gaussians import Gaussians

__all__ = ["rasterize", "render", "why_unusable"]


@functools.cache
def _why_no_kernels() -> str:
    """Empty where gsplat renders a Gaussian on CUDA here, else the reason that it does not."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        one = torch.ones(1, device="cuda")
        k = torch.tensor([[[4.0, 0, 4], [0, 4, 4], [0, 0, 1]]], device="cuda")
        rasterize(
            one.new_tensor([[0.0, 0.0, 2.0]]), one.new_tensor([[1.0, 0, 0, 0]]),
            one.new_ones(1, 3), one, one.new_ones(1, 3), torch.eye(4, device="cuda")[None], k, 8, 8,
            RenderOptions(max_alpha=_max_alpha()),
        )  # fmt: skip
    except Exception as error:  # whatever a missing compiler or an old driver raises
        return f"gsplat does not work here: {type(error).__name__}: {error}"
    return ""


def _max_alpha() -> float:
    """The alpha clamp compiled into the gsplat that is installed: 0.99 from 1.6 on."""
    import gsplat

    major, minor = (int(x) for x in re.findall(r"\d+", gsplat.__version__)[:2])
    return 0.99 if (major, minor) >= (1, 6) else 0.999


def why_unusable(options: RenderOptions) -> str:
    """Empty where gsplat can render with these options, else the reason that it cannot."""
    reason = _why_no_kernels()
    if reason:
        return reason
    built = {
        "max_alpha": _max_alpha(), "alpha_threshold": 1.0 / 255.0, "transmittance_threshold": 1e-4
    }  # fmt: skip
    for name, value in built.items():
        if not np.isclose(getattr(options, name), value, rtol=1e-6, atol=0.0):
            return f"its {name} is {value}, and {getattr(options, name)} was asked for"
    return ""


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
    options: RenderOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `autograd.rasterize`, for tensors on one CUDA device."""
    from gsplat import rasterization

    degree = None
    if colors.ndim == 3:
        most = round(colors.shape[1] ** 0.5) - 1
        degree = most if options.sh_degree is None else options.sh_degree
    background = means.new_tensor(options.background).expand(viewmats.shape[0], 3)
    out, alpha, _ = rasterization(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height,
        near_plane=options.near, far_plane=options.far, radius_clip=options.radius_clip,
        eps2d=options.eps2d, sh_degree=degree, packed=False, backgrounds=background,
        render_mode="RGB+D", rasterize_mode="antialiased" if options.antialiased else "classic",
    )  # fmt: skip
    return out[..., :3], alpha[..., 0], out[..., 3]


def render(gaussians: Gaussians, cameras: Cameras, options: RenderOptions) -> Rendering:
    """As `render.render`; the Gaussians travel to the device and the images back."""
    if options.antialiased is None:
        options = replace(options, antialiased=gaussians.antialiased)
    g = gaussians.checked("Gaussians")
    arrays = (g.means, g.quats, g.scales, g.opacities, g.sh, cameras.viewmats, cameras.Ks)
    with torch.no_grad():
        images = rasterize(
            *(torch.from_numpy(a).cuda() for a in arrays), cameras.width, cameras.height, options
        )
    rgb, alpha, depth = (i.cpu().numpy() for i in images)
    return Rendering(np.ascontiguousarray(rgb), alpha, np.ascontiguousarray(depth))
