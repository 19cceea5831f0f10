r"""The loss between a rendered and a recorded image, with its gradient, and PSNR and SSIM.

    L = (1 - w) |x - y| + w (1 - SSIM(x, y)) / 2          (Kerbl et al. 2023 with w = 0.2; they
                                                            leave out the half)

SSIM of Wang et al. 2004: an 11 x 11 Gaussian window of sigma 1.5, zero padding at the border,
C1 = 0.01^2, C2 = 0.03^2, channels apart, averaged over pixels and channels. As numba kernels over
planes [3, H, W]: a 160 x 90 image takes about a millisecond, forward and backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["photometric_loss", "psnr", "ssim"]

_C1, _C2 = np.float32(0.01**2), np.float32(0.03**2)
_RADIUS = 5
_offsets = np.arange(-_RADIUS, _RADIUS + 1)
_window = np.exp(-(_offsets**2) / (2 * 1.5**2))
_WINDOW = (_window / _window.sum()).astype(np.float32)

Plane = NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _blur(src: Plane, rows: Plane, out: Plane, taps: Plane) -> None:
    """Separable window over a plane [H, W], zeros outside. `rows` is working space [H, W]."""
    height, width = src.shape
    radius = taps.size // 2
    for i in range(height):
        for j in range(width):
            rows[i, j] = 0.0
        for k in range(-radius, radius + 1):
            t = taps[k + radius]
            if 0 <= i + k < height:
                for j in range(width):
                    rows[i, j] += t * src[i + k, j]
    for i in range(height):
        for j in range(width):
            out[i, j] = taps[radius] * rows[i, j]
        for k in range(1, radius + 1):
            t = taps[k + radius]
            for j in range(width - k):
                out[i, j] += t * rows[i, j + k]
            for j in range(k, width):
                out[i, j] += t * rows[i, j - k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _plane(x: Plane, y: Plane, taps: Plane, grad: Plane, want: bool, c1: Any, c2: Any) -> float:
    """Sum of SSIM over a plane; if `want`, its gradient with respect to x into `grad`."""
    height, width = x.shape
    work = np.empty((height, width), np.float32)
    product = np.empty((height, width), np.float32)
    mx = np.empty((height, width), np.float32)
    my = np.empty((height, width), np.float32)
    xx = np.empty((height, width), np.float32)
    yy = np.empty((height, width), np.float32)
    xy = np.empty((height, width), np.float32)
    _blur(x, work, mx, taps)
    _blur(y, work, my, taps)
    product[:] = x * x
    _blur(product, work, xx, taps)
    product[:] = y * y
    _blur(product, work, yy, taps)
    product[:] = x * y
    _blur(product, work, xy, taps)
    total = 0.0
    two = np.float32(2.0)
    one = np.float32(1.0)
    for i in range(height):
        for j in range(width):
            a, b = mx[i, j], my[i, j]
            top1 = two * a * b + c1
            top2 = two * (xy[i, j] - a * b) + c2
            low1 = a * a + b * b + c1
            low2 = (xx[i, j] - a * a) + (yy[i, j] - b * b) + c2
            inverse = one / (low1 * low2)
            value = top1 * top2 * inverse
            total += value
            # By the three blurred images that hold x: mean, mean square, mean product.
            mx[i, j] = two * (b * (top2 - top1) * inverse - a * value * (one / low1 - one / low2))
            xx[i, j] = -value / low2
            xy[i, j] = two * top1 * inverse
    if want:
        # The window is symmetric, so the adjoint of a blur is the blur.
        _blur(mx, work, grad, taps)
        _blur(xx, work, product, taps)
        _blur(xy, work, my, taps)
        for i in range(height):
            for j in range(width):
                grad[i, j] += two * x[i, j] * product[i, j] + y[i, j] * my[i, j]
    return total


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, weight: float) -> Tensor:  # type: ignore[override]
        x = np.ascontiguousarray(image.detach().numpy().transpose(2, 0, 1))
        y = np.ascontiguousarray(target.numpy().transpose(2, 0, 1))
        difference = x - y
        grad = np.empty_like(x)
        total = sum(_plane(x[c], y[c], _WINDOW, grad[c], True, _C1, _C2) for c in range(x.shape[0]))
        value = (1 - weight) * np.abs(difference).mean() + weight * (1 - total / x.size) / 2
        grad *= np.float32(-weight / 2 / x.size)
        grad += np.sign(difference) * np.float32((1 - weight) / x.size)
        ctx.grad = torch.from_numpy(np.ascontiguousarray(grad.transpose(1, 2, 0)))
        return torch.tensor(float(value))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return ctx.grad * gradients[0], None, None


def photometric_loss(image: Tensor, target: Tensor, ssim_weight: float = 0.2) -> Tensor:
    """The loss of the module's head.

    Args:
        image: [H, W, 3] float32, rendered; the gradient reaches it.
        target: [H, W, 3] float32 in [0, 1], recorded.
        ssim_weight: w, in [0, 1].

    Returns:
        A scalar.
    """
    out: Tensor = _Loss.apply(image, target, ssim_weight)  # type: ignore[no-untyped-call]
    return out


def ssim(image: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Mean SSIM of two [H, W, 3] images in [0, 1]."""
    x = np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1))
    y = np.ascontiguousarray(np.asarray(target, np.float32).transpose(2, 0, 1))
    unused = np.empty_like(x[0])
    total = sum(_plane(a, b, _WINDOW, unused, False, _C1, _C2) for a, b in zip(x, y, strict=True))
    return float(total / x.size)


def psnr(image: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio of two images in [0, 1] [dB], after clipping to that range."""
    error = np.clip(image, 0, 1).astype(np.float64) - np.clip(target, 0, 1)
    return float(-10 * np.log10(max(float((error**2).mean()), 1e-12)))
