"""The vectorised half of projection: 64 Gaussians at a time, one row of float64 per quantity.

Each loop is free of branches over uint64 indices into one 2-D buffer, which is the form that
LLVM turns into vector code. EWA splatting (Zwicker et al. 2002) as 3D Gaussian Splatting (Kerbl
et al. 2023) and gsplat (Ye et al. 2024) do it: the covariance goes through the Jacobian of the
pinhole at the mean, x/z and y/z clamped to the image plus a margin, and `eps2d` is added to its
diagonal. float64, so that the determinant of a needle survives and the order by depth is that of
a float64 reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.simd import float_bits

__all__ = ["BATCH", "ROOM", "find_visible", "form_ellipses", "gather_shapes"]

BATCH = 64  # a batch of rows stays in L1
_STRIDE = BATCH + 8  # not a power of two: rows would share the same few sets of L1
_ROWS = 32
ROOM = _ROWS * _STRIDE
_COMPENSATION_FLOOR = 0.005
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)

# Where each row starts in the flat buffer. Unsigned, so that no index can be taken as negative:
# a signed one would stop the loops from becoming vector code.
_FIRST = [np.uint64(row * _STRIDE) for row in range(_ROWS)]
MEAN_X, MEAN_Y, Z, U, V, GX, GY, TAU = _FIRST[:8]
POINT_X, POINT_Y, POINT_Z, QW, QX, QY, QZ, SX, SY, SZ, OPAQUE = _FIRST[8:19]
HALF_X, HALF_Y, SHEAR, INVERSE_YY, SPREAD, EXTREME, QUAD_A = _FIRST[19:26]
INSIDE, DRAWN, FAULT, DIR_X, DIR_Y, DIR_Z = _FIRST[26:32]


@njit(**BARE, inline="always")
def _log2_bound(x: float) -> float:
    """An upper bound of log2(x), x >= 1, within 2e-3: no libm, so equal on every machine."""
    bits = float_bits(np.float32(x))
    exponent = np.float64(np.int32(bits >> np.uint32(23)) - np.int32(127))
    m = np.float64(np.int32(bits & np.uint32(0x7FFFFF))) * (1.0 / 8388608.0)
    log = m * (1.43902 + m * (-0.67995 + m * (0.32561 - 0.08478 * m)))
    return exponent + log + 1e-3


@njit(**BARE)
def find_visible(
    start: Any,
    count: Any,
    means: Any,
    scales: Any,
    opacities: Any,
    lens: Any,
    limits: Any,
    rows: Any,
) -> None:
    """Projects means, and marks those whose ellipse may meet the image.

    `means` and `scales` are flat: the stride of a 2-D array is not known when this is compiled,
    and vector code needs it. Row INSIDE is 1 for those, 0 for others, 2 where the mean or the
    opacity is no usable number.
    """
    m = lens.world_to_camera
    m00, m01, m02, m03 = m[0, 0], m[0, 1], m[0, 2], m[0, 3]
    m10, m11, m12, m13 = m[1, 0], m[1, 1], m[1, 2], m[1, 3]
    m20, m21, m22, m23 = m[2, 0], m[2, 1], m[2, 2], m[2, 3]
    fx, fy, cx, cy = lens.fx, lens.fy, lens.cx - 0.5, lens.cy - 0.5
    low_u, high_u, low_v, high_v = lens.low_u, lens.high_u, lens.low_v, lens.high_v
    near, far, stretch = lens.near, lens.far, lens.stretch * 1.00001
    last_x, last_y = np.float64(lens.width - 1), np.float64(lens.height - 1)
    inverse_least, eps2d = 1.0 / limits.alpha, limits.eps2d
    for j in range(count):
        i = start + j
        at = _THREE * i
        px, py = np.float64(means[at]), np.float64(means[at + _ONE])
        pz = np.float64(means[at + _TWO])
        opacity = np.float64(opacities[i])
        z = m20 * px + m21 * py + m22 * pz + m23
        inverse_z = 1.0 / z
        u = (m00 * px + m01 * py + m02 * pz + m03) * inverse_z
        v = (m10 * px + m11 * py + m12 * pz + m13) * inverse_z
        # Pixel (i, j) has its centre at (j + 0.5, i + 0.5): the half is in cx and cy.
        mean_x, mean_y = fx * u + cx, fy * v + cy
        u = min(max(u, low_u), high_u)
        v = min(max(v, low_v), high_v)
        # Squared Mahalanobis radius at which alpha falls to the threshold, and a margin above
        # every rounding of the pixel kernel, which alone decides.
        tau = 1.3862943611198906 * _log2_bound(max(opacity * inverse_least, 1.0)) + 1e-3
        gx, gy = fx * inverse_z, fy * inverse_z
        # No ellipse reaches further than the largest scale times the norm of its Jacobian row.
        big = max(max(abs(scales[at]), abs(scales[at + _ONE])), abs(scales[at + _TWO]))
        big2 = np.float64(big) * np.float64(big)
        over_x = max(max(-mean_x, mean_x - last_x), 0.0)
        over_y = max(max(-mean_y, mean_y - last_y), 0.0)
        reach_x = tau * (big2 * gx * gx * (1.0 + u * u) + eps2d) * stretch
        reach_y = tau * (big2 * gy * gy * (1.0 + v * v) + eps2d) * stretch
        near_enough = (z > near) & (z < far) & (opacity * inverse_least >= 1.0 - 1e-6)
        # Written so that a scale that is no number passes, to be found out later.
        meets = not ((over_x * over_x > reach_x) | (over_y * over_y > reach_y))
        total = px + py + pz
        sane = (total - total == 0.0) & (opacity >= 0.0) & (opacity <= 1.0)
        rows[MEAN_X + j], rows[MEAN_Y + j], rows[Z + j] = mean_x, mean_y, z
        rows[U + j], rows[V + j], rows[GX + j], rows[GY + j], rows[TAU + j] = u, v, gx, gy, tau
        rows[INSIDE + j] = (1.0 if near_enough & meets else 0.0) if sane else 2.0


@njit(**BARE)
def gather_shapes(chosen: Any, count: Any, start: Any, scene: Any, rows: Any) -> None:
    """Packs the chosen of a batch to the front of the rows, and adds their shapes.

    Args:
        chosen: uint64 [>= count], places in the batch, ascending.
        count: how many.
        start: Gaussian at place 0.
        scene: see `layout.Scene`.
        rows: float64 [ROOM].
    """
    means, quats, scales = scene.means, scene.quats, scene.scales
    for j in range(count):
        k = chosen[j]
        i = start + k
        for row in range(8):
            rows[np.uint64(row * _STRIDE) + j] = rows[np.uint64(row * _STRIDE) + k]
        rows[POINT_X + j], rows[POINT_Y + j] = means[i, 0], means[i, 1]
        rows[POINT_Z + j] = means[i, 2]
        rows[QW + j], rows[QX + j] = quats[i, 0], quats[i, 1]
        rows[QY + j], rows[QZ + j] = quats[i, 2], quats[i, 3]
        rows[SX + j], rows[SY + j], rows[SZ + j] = scales[i, 0], scales[i, 1], scales[i, 2]
        rows[OPAQUE + j] = scene.opacities[i]


@njit(**BARE)
def form_ellipses(count: Any, lens: Any, limits: Any, rows: Any) -> None:
    """Ellipse, extent, and direction of view of the first `count` columns of the rows.

    Row DRAWN is 0 where nothing is to be drawn; row FAULT is 1 for an unusable quaternion, 2 for
    an unusable scale.
    """
    m, centre = lens.world_to_camera, lens.centre
    m00, m01, m02 = m[0, 0], m[0, 1], m[0, 2]
    m10, m11, m12 = m[1, 0], m[1, 1], m[1, 2]
    m20, m21, m22 = m[2, 0], m[2, 1], m[2, 2]
    c0, c1, c2 = centre[0], centre[1], centre[2]
    eps2d, least = limits.eps2d, limits.alpha
    inverse_least = 1.0 / least
    antialiased = 1.0 if limits.antialiased else 0.0
    clip = limits.radius_clip
    for j in range(count):
        u, v, gx, gy = rows[U + j], rows[V + j], rows[GX + j], rows[GY + j]
        qw, qx, qy, qz = rows[QW + j], rows[QX + j], rows[QY + j], rows[QZ + j]
        sx, sy, sz = rows[SX + j], rows[SY + j], rows[SZ + j]
        norm = qw * qw + qx * qx + qy * qy + qz * qz
        two = 2.0 / norm
        a0, a1, a2 = gx * (m00 - u * m20), gx * (m01 - u * m21), gx * (m02 - u * m22)
        b0, b1, b2 = gy * (m10 - v * m20), gy * (m11 - v * m21), gy * (m12 - v * m22)
        r00, r11 = 1.0 - two * (qy * qy + qz * qz), 1.0 - two * (qx * qx + qz * qz)
        r22 = 1.0 - two * (qx * qx + qy * qy)
        r01, r10 = two * (qx * qy - qw * qz), two * (qx * qy + qw * qz)
        r02, r20 = two * (qx * qz + qw * qy), two * (qx * qz - qw * qy)
        r12, r21 = two * (qy * qz - qw * qx), two * (qy * qz + qw * qx)
        t0 = (a0 * r00 + a1 * r10 + a2 * r20) * sx
        t1 = (a0 * r01 + a1 * r11 + a2 * r21) * sy
        t2 = (a0 * r02 + a1 * r12 + a2 * r22) * sz
        s0 = (b0 * r00 + b1 * r10 + b2 * r20) * sx
        s1 = (b0 * r01 + b1 * r11 + b2 * r21) * sy
        s2 = (b0 * r02 + b1 * r12 + b2 * r22) * sz
        sharp_xx = t0 * t0 + t1 * t1 + t2 * t2
        cov_xy = t0 * s0 + t1 * s1 + t2 * s2
        sharp_yy = s0 * s0 + s1 * s1 + s2 * s2
        cov_xx, cov_yy = sharp_xx + eps2d, sharp_yy + eps2d
        det = cov_xx * cov_yy - cov_xy * cov_xy
        inverse = 1.0 / (det * cov_yy)
        inverse_det, inverse_yy = inverse * cov_yy, inverse * det
        sharp = max((sharp_xx * sharp_yy - cov_xy * cov_xy) * inverse_det, 0.0)
        factor = max(np.float64(np.sqrt(np.float32(sharp))), _COMPENSATION_FLOOR)
        opacity = rows[OPAQUE + j] * (1.0 + antialiased * (factor - 1.0))
        tau = 1.3862943611198906 * _log2_bound(max(opacity * inverse_least, 1.0)) + 1e-3
        # Roots and quotients of extents in float32: the margin in tau covers their rounding.
        half_x = np.float64(np.sqrt(np.float32(tau * cov_xx)))
        half_y = np.float64(np.sqrt(np.float32(tau * cov_yy)))
        steep = np.float64(np.float32(cov_xy) / np.float32(cov_xx))
        rows[OPAQUE + j], rows[TAU + j] = opacity, tau
        rows[HALF_X + j], rows[HALF_Y + j] = half_x, half_y
        rows[SHEAR + j], rows[INVERSE_YY + j] = cov_xy * inverse_yy, inverse_yy
        rows[SPREAD + j], rows[EXTREME + j] = det * inverse_yy, half_x * steep
        rows[QUAD_A + j] = cov_yy * inverse_det
        size = sx * sx + sy * sy + sz * sz
        wide = max(half_x, half_y) > clip
        real = (det > 0.0) & (det * 0.0 == 0.0) & (opacity >= least) & wide
        rows[DRAWN + j] = 1.0 if real else 0.0
        turned = (norm > 0.0) & (norm * 0.0 == 0.0)
        rows[FAULT + j] = (0.0 if turned else 1.0) if size * 0.0 == 0.0 else 2.0
        dx, dy, dz = rows[POINT_X + j] - c0, rows[POINT_Y + j] - c1, rows[POINT_Z + j] - c2
        squared = np.float32(dx * dx + dy * dy + dz * dz)
        length = np.float64(np.float32(1.0) / np.sqrt(squared))
        rows[DIR_X + j], rows[DIR_Y + j], rows[DIR_Z + j] = dx * length, dy * length, dz * length
