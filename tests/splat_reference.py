"""A plain torch rasteriser: the semantics of gsplat's classic mode, and nothing for speed.

Any dtype, gradients by torch alone. Tile by tile it composites every Gaussian whose bounding box
meets the tile, all pixels at once.
"""

from __future__ import annotations

import torch
from roadworthy_simulators.splat.cameras import RenderOptions
from torch import Tensor

__all__ = ["plain_rasterize"]


def _basis(degree: int, d: Tensor) -> Tensor:
    x, y, z = d.unbind(-1)
    terms = [torch.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]
    if degree >= 3:
        terms += [
            -0.5900435899266435 * y * (3 * x * x - y * y),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
            -0.4570457994644658 * x * (5 * z * z - 1),
            1.445305721320277 * z * (x * x - y * y),
            -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(terms, dim=-1)


def _rotations(q: Tensor) -> Tensor:
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        dim=-1,
    ).reshape(*q.shape[:-1], 3, 3)  # fmt: skip


def plain_rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor,
    viewmat: Tensor, k: Tensor, width: int, height: int, options: RenderOptions, tile: int = 16,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One camera: rgb [H, W, 3], alpha [H, W], depth [H, W]. Arguments as `autograd.rasterize`."""
    seen = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    z = seen[:, 2]
    index = torch.nonzero((z > options.near) & (z < options.far))[:, 0]
    index = index[torch.argsort(z.detach()[index].float(), stable=True)]
    means, seen, z = means[index], seen[index], z[index]
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    u = (seen[:, 0] / z).clamp(
        float(-(cx / fx + 0.15 * width / fx)), float((width - cx) / fx + 0.15 * width / fx)
    )
    v = (seen[:, 1] / z).clamp(
        float(-(cy / fy + 0.15 * height / fy)), float((height - cy) / fy + 0.15 * height / fy)
    )
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1)
    half = jacobian.reshape(-1, 2, 3) @ viewmat[:3, :3] @ _rotations(quats[index])
    half = half * scales[index][:, None]
    sharp = half @ half.transpose(1, 2)
    cov = sharp + options.eps2d * torch.eye(2, dtype=means.dtype)
    det = torch.linalg.det(cov)
    opacity = opacities[index]
    if options.antialiased:
        ratio = (torch.linalg.det(sharp) / det).clamp(min=0.005**2)
        opacity = opacity * ratio.sqrt()
    if colors.ndim == 3:
        centre = torch.linalg.inv(viewmat)[:3, 3]
        direction = means - centre
        direction = direction / direction.norm(dim=-1, keepdim=True)
        degree = round(colors.shape[1] ** 0.5) - 1
        shade = (_basis(degree, direction)[..., None] * colors[index]).sum(1)
        shade = (shade + 0.5).clamp(min=0.0)
    else:
        shade = colors[index]
    features = torch.cat([shade, z[:, None]], dim=1)
    mean2d = torch.stack([fx * seen[:, 0] / z + cx, fy * seen[:, 1] / z + cy], dim=-1)
    with torch.no_grad():
        tau = 2 * torch.log((opacity / options.alpha_threshold).clamp(min=1.0)) + 1e-3
        reach = torch.sqrt(tau[:, None] * torch.stack([cov[:, 0, 0], cov[:, 1, 1]], -1))
        low, high = mean2d - reach, mean2d + reach
        drawn = opacity >= options.alpha_threshold * 0.999
    a, b, c = cov[:, 1, 1] / det, -cov[:, 0, 1] / det, cov[:, 0, 0] / det
    background = means.new_tensor([*options.background, 0.0])
    out_rows, light_rows = [], []
    for y0 in range(0, height, tile):
        y1 = min(y0 + tile, height)
        row = drawn & (low[:, 1] < y1) & (high[:, 1] > y0)
        outs, lights = [], []
        for x0 in range(0, width, tile):
            x1 = min(x0 + tile, width)
            here = torch.nonzero(row & (low[:, 0] < x1) & (high[:, 0] > x0))[:, 0]
            ys, xs = torch.meshgrid(
                torch.arange(y0, y1, dtype=means.dtype) + 0.5,
                torch.arange(x0, x1, dtype=means.dtype) + 0.5,
                indexing="ij",
            )
            dx = xs.reshape(-1, 1) - mean2d[here, 0]
            dy = ys.reshape(-1, 1) - mean2d[here, 1]
            sigma = 0.5 * (a[here] * dx * dx + c[here] * dy * dy) + b[here] * dx * dy
            alpha = (opacity[here] * torch.exp(-sigma)).clamp(max=options.max_alpha)
            keep = (sigma >= 0) & (alpha >= options.alpha_threshold)
            alpha = torch.where(keep, alpha, torch.zeros_like(alpha))
            with torch.no_grad():
                going = torch.cumprod(1 - alpha, dim=1) > options.transmittance_threshold
            alpha = torch.where(going, alpha, torch.zeros_like(alpha))
            light = torch.cumprod(1 - alpha, dim=1)
            before = torch.cat([torch.ones_like(light[:, :1]), light], dim=1)
            last = before[:, -1:]
            out = (alpha * before[:, :-1]) @ features[here] + last * background
            outs.append(out.reshape(y1 - y0, x1 - x0, 4))
            lights.append(last.reshape(y1 - y0, x1 - x0))
        out_rows.append(torch.cat(outs, dim=1))
        light_rows.append(torch.cat(lights, dim=1))
    image = torch.cat(out_rows)
    return image[..., :3], 1 - torch.cat(light_rows), image[..., 3]
