"""The vectorised half of the gradients of projection; see `ellipse` for the form of the loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu.jit import BARE

__all__ = ["BATCH", "ROOM", "pull_back"]

BATCH = 64
STRIDE = BATCH + 8
_NAMES = 44
ROOM = _NAMES * STRIDE
_COMPENSATION_FLOOR = 0.005

# Where each row starts in the flat buffer: what comes in, then what goes out.
_FIRST = [np.uint64(row * STRIDE) for row in range(_NAMES)]
SUM_0, SUM_1, SUM_2, SUM_3, SUM_4, SUM_5, SUM_6, SUM_7, SUM_8, SUM_9 = _FIRST[:10]
POINT_X, POINT_Y, POINT_Z, QW, QX, QY, QZ, SX, SY, SZ, OPAQUE = _FIRST[10:21]
V_POINT_X, V_POINT_Y, V_POINT_Z, V_QUAT_0, V_QUAT_1, V_QUAT_2, V_QUAT_3 = _FIRST[21:28]
V_SCALE_0, V_SCALE_1, V_SCALE_2, V_OPACITY = _FIRST[28:32]
V_VIEW_0, V_VIEW_1, V_VIEW_2, V_VIEW_3, V_VIEW_4, V_VIEW_5 = _FIRST[32:38]
V_VIEW_6, V_VIEW_7, V_VIEW_8, V_VIEW_9, V_VIEW_10, V_VIEW_11 = _FIRST[38:44]


@njit(**BARE)
def pull_back(count: Any, lens: Any, limits: Any, rows: Any) -> None:
    """Gradients of the first `count` columns: of the record, by way of the ellipse, to the shape.

    Args:
        count: uint64.
        lens, limits: see `layout`.
        rows: float64 [ROOM]. In: the sums of `backward` (6 to 8, of the colour, are not used) and
            the Gaussian. Out: rows V_*, the gradients of point, raw quaternion, scales, opacity,
            and this Gaussian's part in that of the view (rotation [9], translation [3]).
    """
    m = lens.world_to_camera
    m00, m01, m02, m03 = m[0, 0], m[0, 1], m[0, 2], m[0, 3]
    m10, m11, m12, m13 = m[1, 0], m[1, 1], m[1, 2], m[1, 3]
    m20, m21, m22, m23 = m[2, 0], m[2, 1], m[2, 2], m[2, 3]
    fx, fy = lens.fx, lens.fy
    low_u, high_u, low_v, high_v = lens.low_u, lens.high_u, lens.low_v, lens.high_v
    eps2d = limits.eps2d
    antialiased = 0.5 if limits.antialiased else 0.0
    for j in range(count):
        px, py, pz = rows[POINT_X + j], rows[POINT_Y + j], rows[POINT_Z + j]
        x = m00 * px + m01 * py + m02 * pz + m03
        y = m10 * px + m11 * py + m12 * pz + m13
        z = m20 * px + m21 * py + m22 * pz + m23
        inverse_z = 1.0 / z
        u0, v0 = x * inverse_z, y * inverse_z
        u = min(max(u0, low_u), high_u)
        v = min(max(v0, low_v), high_v)
        gx, gy = fx * inverse_z, fy * inverse_z
        qw, qx, qy, qz = rows[QW + j], rows[QX + j], rows[QY + j], rows[QZ + j]
        inverse_norm = 1.0 / np.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw * inverse_norm, qx * inverse_norm, qy * inverse_norm, qz * inverse_norm
        sx, sy, sz = rows[SX + j], rows[SY + j], rows[SZ + j]
        e0, e1, e2 = m00 - u * m20, m01 - u * m21, m02 - u * m22
        f0, f1, f2 = m10 - v * m20, m11 - v * m21, m12 - v * m22
        a0, a1, a2 = gx * e0, gx * e1, gx * e2
        b0, b1, b2 = gy * f0, gy * f1, gy * f2
        r00, r11 = 1.0 - 2.0 * (qy * qy + qz * qz), 1.0 - 2.0 * (qx * qx + qz * qz)
        r22 = 1.0 - 2.0 * (qx * qx + qy * qy)
        r01, r10 = 2.0 * (qx * qy - qw * qz), 2.0 * (qx * qy + qw * qz)
        r02, r20 = 2.0 * (qx * qz + qw * qy), 2.0 * (qx * qz - qw * qy)
        r12, r21 = 2.0 * (qy * qz - qw * qx), 2.0 * (qy * qz + qw * qx)
        p0 = a0 * r00 + a1 * r10 + a2 * r20
        p1 = a0 * r01 + a1 * r11 + a2 * r21
        p2 = a0 * r02 + a1 * r12 + a2 * r22
        o0 = b0 * r00 + b1 * r10 + b2 * r20
        o1 = b0 * r01 + b1 * r11 + b2 * r21
        o2 = b0 * r02 + b1 * r12 + b2 * r22
        t0, t1, t2 = p0 * sx, p1 * sy, p2 * sz
        s0, s1, s2 = o0 * sx, o1 * sy, o2 * sz
        sharp_xx = t0 * t0 + t1 * t1 + t2 * t2
        cov_xy = t0 * s0 + t1 * s1 + t2 * s2
        sharp_yy = s0 * s0 + s1 * s1 + s2 * s2
        cov_xx, cov_yy = sharp_xx + eps2d, sharp_yy + eps2d
        inverse_det = 1.0 / (cov_xx * cov_yy - cov_xy * cov_xy)

        # The record: A = a / 2 log2(e), K, C = c / 2 log2(e), with a, K, c of the covariance.
        a, c = cov_yy * inverse_det, 1.0 / cov_yy
        shear = cov_xy * c
        v_a, v_c = -0.5 * rows[SUM_2 + j], -0.5 * rows[SUM_5 + j]
        v_shear = a * rows[SUM_4 + j]
        v_mean_x = a * rows[SUM_1 + j]
        v_mean_y = c * rows[SUM_3 + j] - shear * v_mean_x
        v_xx = -a * a * v_a
        v_xy = 2.0 * a * a * shear * v_a + c * v_shear
        v_yy = -a * a * shear * shear * v_a - shear * c * v_shear - c * c * v_c
        opacity = rows[OPAQUE + j]
        v_opacity = rows[SUM_0 + j] / opacity
        # sums[0] is the gradient of ln(opacity) and of ln(factor) alike.
        ratio = (sharp_xx * sharp_yy - cov_xy * cov_xy) * inverse_det
        free = ratio > _COMPENSATION_FLOOR * _COMPENSATION_FLOOR
        v_ratio = antialiased * (rows[SUM_0 + j] / ratio if free else 0.0)
        v_xx += v_ratio * (sharp_yy - ratio * cov_yy) * inverse_det
        v_yy += v_ratio * (sharp_xx - ratio * cov_xx) * inverse_det
        v_xy -= v_ratio * 2.0 * cov_xy * (1.0 - ratio) * inverse_det
        rows[V_OPACITY + j] = v_opacity

        v_t0, v_s0 = 2.0 * v_xx * t0 + v_xy * s0, 2.0 * v_yy * s0 + v_xy * t0
        v_t1, v_s1 = 2.0 * v_xx * t1 + v_xy * s1, 2.0 * v_yy * s1 + v_xy * t1
        v_t2, v_s2 = 2.0 * v_xx * t2 + v_xy * s2, 2.0 * v_yy * s2 + v_xy * t2
        rows[V_SCALE_0 + j] = v_t0 * p0 + v_s0 * o0
        rows[V_SCALE_1 + j] = v_t1 * p1 + v_s1 * o1
        rows[V_SCALE_2 + j] = v_t2 * p2 + v_s2 * o2
        v_t0, v_t1, v_t2 = v_t0 * sx, v_t1 * sy, v_t2 * sz
        v_s0, v_s1, v_s2 = v_s0 * sx, v_s1 * sy, v_s2 * sz
        v_a0 = v_t0 * r00 + v_t1 * r01 + v_t2 * r02
        v_a1 = v_t0 * r10 + v_t1 * r11 + v_t2 * r12
        v_a2 = v_t0 * r20 + v_t1 * r21 + v_t2 * r22
        v_b0 = v_s0 * r00 + v_s1 * r01 + v_s2 * r02
        v_b1 = v_s0 * r10 + v_s1 * r11 + v_s2 * r12
        v_b2 = v_s0 * r20 + v_s1 * r21 + v_s2 * r22
        g00, g01, g02 = a0 * v_t0 + b0 * v_s0, a0 * v_t1 + b0 * v_s1, a0 * v_t2 + b0 * v_s2
        g10, g11, g12 = a1 * v_t0 + b1 * v_s0, a1 * v_t1 + b1 * v_s1, a1 * v_t2 + b1 * v_s2
        g20, g21, g22 = a2 * v_t0 + b2 * v_s0, a2 * v_t1 + b2 * v_s1, a2 * v_t2 + b2 * v_s2
        v_qw = 2.0 * (qx * (g21 - g12) + qy * (g02 - g20) + qz * (g10 - g01))
        v_qx = qy * (g01 + g10) + qz * (g02 + g20) + qw * (g21 - g12)
        v_qx = 2.0 * (v_qx - 2.0 * qx * (g11 + g22))
        v_qy = qx * (g01 + g10) + qz * (g12 + g21) + qw * (g02 - g20)
        v_qy = 2.0 * (v_qy - 2.0 * qy * (g00 + g22))
        v_qz = qx * (g02 + g20) + qy * (g12 + g21) + qw * (g10 - g01)
        v_qz = 2.0 * (v_qz - 2.0 * qz * (g00 + g11))
        along = qw * v_qw + qx * v_qx + qy * v_qy + qz * v_qz
        rows[V_QUAT_0 + j] = (v_qw - along * qw) * inverse_norm
        rows[V_QUAT_1 + j] = (v_qx - along * qx) * inverse_norm
        rows[V_QUAT_2 + j] = (v_qy - along * qy) * inverse_norm
        rows[V_QUAT_3 + j] = (v_qz - along * qz) * inverse_norm

        v_gx = v_a0 * e0 + v_a1 * e1 + v_a2 * e2
        v_gy = v_b0 * f0 + v_b1 * f1 + v_b2 * f2
        v_u = -gx * (v_a0 * m20 + v_a1 * m21 + v_a2 * m22)
        v_v = -gy * (v_b0 * m20 + v_b1 * m21 + v_b2 * m22)
        v_u0 = fx * v_mean_x + (v_u if u == u0 else 0.0)
        v_v0 = fy * v_mean_y + (v_v if v == v0 else 0.0)
        v_x, v_y = v_u0 * inverse_z, v_v0 * inverse_z
        v_z = rows[SUM_9 + j] - (v_gx * gx + v_gy * gy + v_u0 * u0 + v_v0 * v0) * inverse_z
        v_px = m00 * v_x + m10 * v_y + m20 * v_z
        v_py = m01 * v_x + m11 * v_y + m21 * v_z
        v_pz = m02 * v_x + m12 * v_y + m22 * v_z
        c0 = -gx * u
        c1 = -gy * v
        rows[V_VIEW_0 + j] = v_x * px + gx * v_a0
        rows[V_VIEW_1 + j] = v_x * py + gx * v_a1
        rows[V_VIEW_2 + j] = v_x * pz + gx * v_a2
        rows[V_VIEW_3 + j] = v_y * px + gy * v_b0
        rows[V_VIEW_4 + j] = v_y * py + gy * v_b1
        rows[V_VIEW_5 + j] = v_y * pz + gy * v_b2
        rows[V_VIEW_6 + j] = v_z * px + c0 * v_a0 + c1 * v_b0
        rows[V_VIEW_7 + j] = v_z * py + c0 * v_a1 + c1 * v_b1
        rows[V_VIEW_8 + j] = v_z * pz + c0 * v_a2 + c1 * v_b2
        rows[V_VIEW_9 + j] = v_x
        rows[V_VIEW_10 + j] = v_y
        rows[V_VIEW_11 + j] = v_z
        rows[V_POINT_X + j], rows[V_POINT_Y + j], rows[V_POINT_Z + j] = v_px, v_py, v_pz
