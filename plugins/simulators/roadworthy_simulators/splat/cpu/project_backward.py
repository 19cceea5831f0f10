"""Gradients of projection: from sums over pixels to means, quaternions, scales, colours, views.

Gaussians are walked in memory order. Everything is worked again from the inputs, in float64,
which is cheaper than keeping it. What is summed over Gaussians (the view) is summed chunk by
chunk, and the chunks in order, so that it never depends on the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu.layout import CHUNK, PARTIALS, SPAN_BITS
from roadworthy_simulators.splat.cpu.project import sh_basis
from roadworthy_simulators.splat.cpu.simd import LANES, atomic_add, load, store

__all__ = ["VIEW_SUMS", "project_backward_worker"]

VIEW_SUMS = 15  # gradient of a view: rotation [9], translation [3], camera centre [3]
_COMPENSATION_FLOOR = 0.005
_ONE, _TWO = np.uint64(1), np.uint64(2)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _sh_gradient(degree: int, x: float, y: float, z: float, w: Any) -> tuple[float, float, float]:
    """Gradient of sum_k w[k] basis[k](x, y, z) with respect to x, y, z; see `sh_basis`."""
    gx = gy = gz = 0.0
    if degree >= 1:
        gx -= 0.48860251190292 * w[3]
        gy -= 0.48860251190292 * w[1]
        gz += 0.48860251190292 * w[2]
    if degree >= 2:
        k4, k8 = 1.0925484305920792 * w[4], 1.0925484305920792 * w[8]
        k5, k7 = -1.092548430592079 * w[5], -1.092548430592079 * w[7]
        gx += k4 * y + k7 * z + k8 * x
        gy += k4 * x + k5 * z - k8 * y
        gz += k5 * y + 1.8923493915151202 * z * w[6] + k7 * x
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        k9, k15 = -1.7701307697799304 * w[9], -1.7701307697799304 * w[15]
        k10, k14 = 2.890611442640554 * w[10], 2.890611442640554 * w[14]
        k11, k13 = w[11], w[13]
        band = -2.285228997322329 * zz + 0.4570457994644658
        gx += k9 * 2.0 * x * y + k10 * y * z + k13 * band + k14 * x * z + k15 * (xx - yy)
        gy += k9 * (xx - yy) + k10 * x * z + k11 * band - k14 * y * z - k15 * 2.0 * x * y
        gz += k10 * x * y + (k11 * y + k13 * x) * -4.570457994644658 * z
        gz += w[12] * (5.597644988851731 * zz - 1.119528997770346)
        gz += 0.5 * k14 * (xx - yy)
    return gx, gy, gz


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_chunk(
    chunk: int, scene: Any, lens: Any, limits: Any, projected: Any, dense: Any, partials: Any,
    touched: Any, grads: Any, view_sums: Any, sums: Any, basis: Any, weights: Any, pushed: Any,
) -> None:  # fmt: skip
    m, centre = lens.world_to_camera, lens.centre
    m00, m01, m02, m03 = m[0, 0], m[0, 1], m[0, 2], m[0, 3]
    m10, m11, m12, m13 = m[1, 0], m[1, 1], m[1, 2], m[1, 3]
    m20, m21, m22, m23 = m[2, 0], m[2, 1], m[2, 2], m[2, 3]
    degree = limits.degree
    terms = (degree + 1) * (degree + 1)
    colors, v_colors = scene.colors.reshape(-1), grads.colors.reshape(-1)
    start = chunk * CHUNK
    for record in range(start, start + projected.visible[chunk]):
        span = projected.spans[record]
        slot = (span >> SPAN_BITS) + dense[chunk]
        sums[:] = 0.0
        any_touched = False
        for s in range(slot, slot + (span & ((1 << SPAN_BITS) - 1))):
            if touched[s] != 0:
                any_touched = True
                for field in range(PARTIALS):
                    sums[field] += partials[s * PARTIALS + field]
        if not any_touched:
            continue
        i = np.int64(projected.source[record])
        px, py, pz = (
            np.float64(scene.means[i, 0]),
            np.float64(scene.means[i, 1]),
            np.float64(scene.means[i, 2]),
        )
        x = m00 * px + m01 * py + m02 * pz + m03
        y = m10 * px + m11 * py + m12 * pz + m13
        z = m20 * px + m21 * py + m22 * pz + m23
        inverse_z = 1.0 / z
        u0, v0 = x * inverse_z, y * inverse_z
        u = min(max(u0, lens.low_u), lens.high_u)
        v = min(max(v0, lens.low_v), lens.high_v)
        gx, gy = lens.fx * inverse_z, lens.fy * inverse_z
        qw, qx = np.float64(scene.quats[i, 0]), np.float64(scene.quats[i, 1])
        qy, qz = np.float64(scene.quats[i, 2]), np.float64(scene.quats[i, 3])
        inverse_norm = 1.0 / np.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw * inverse_norm, qx * inverse_norm, qy * inverse_norm, qz * inverse_norm
        sx, sy, sz = (
            np.float64(scene.scales[i, 0]),
            np.float64(scene.scales[i, 1]),
            np.float64(scene.scales[i, 2]),
        )
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
        cov_xx, cov_yy = sharp_xx + limits.eps2d, sharp_yy + limits.eps2d
        inverse_det = 1.0 / (cov_xx * cov_yy - cov_xy * cov_xy)

        # The record: A = a / 2 log2(e), K, C = c / 2 log2(e), with a, K, c of the covariance.
        a, c = cov_yy * inverse_det, 1.0 / cov_yy
        shear = cov_xy * c
        v_a, v_c = -0.5 * sums[2], -0.5 * sums[5]
        v_shear = a * sums[4]
        v_mean_x = a * sums[1]
        v_mean_y = c * sums[3] - shear * v_mean_x
        v_xx = -a * a * v_a
        v_xy = 2.0 * a * a * shear * v_a + c * v_shear
        v_yy = -a * a * shear * shear * v_a - shear * c * v_shear - c * c * v_c
        opacity = np.float64(scene.opacities[i])
        v_opacity = sums[0] / opacity
        if limits.antialiased:
            ratio = (sharp_xx * sharp_yy - cov_xy * cov_xy) * inverse_det
            if ratio > _COMPENSATION_FLOOR * _COMPENSATION_FLOOR:
                # sums[0] is the gradient of ln(opacity) and of ln(factor) alike.
                v_ratio = 0.5 * sums[0] / ratio
                v_xx += v_ratio * (sharp_yy - ratio * cov_yy) * inverse_det
                v_yy += v_ratio * (sharp_xx - ratio * cov_xx) * inverse_det
                v_xy -= v_ratio * 2.0 * cov_xy * (1.0 - ratio) * inverse_det
        grads.opacities[i] += np.float32(v_opacity)

        v_t0, v_s0 = 2.0 * v_xx * t0 + v_xy * s0, 2.0 * v_yy * s0 + v_xy * t0
        v_t1, v_s1 = 2.0 * v_xx * t1 + v_xy * s1, 2.0 * v_yy * s1 + v_xy * t1
        v_t2, v_s2 = 2.0 * v_xx * t2 + v_xy * s2, 2.0 * v_yy * s2 + v_xy * t2
        grads.scales[i, 0] += np.float32(v_t0 * p0 + v_s0 * o0)
        grads.scales[i, 1] += np.float32(v_t1 * p1 + v_s1 * o1)
        grads.scales[i, 2] += np.float32(v_t2 * p2 + v_s2 * o2)
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
        grads.quats[i, 0] += np.float32((v_qw - along * qw) * inverse_norm)
        grads.quats[i, 1] += np.float32((v_qx - along * qx) * inverse_norm)
        grads.quats[i, 2] += np.float32((v_qy - along * qy) * inverse_norm)
        grads.quats[i, 3] += np.float32((v_qz - along * qz) * inverse_norm)

        v_gx = v_a0 * e0 + v_a1 * e1 + v_a2 * e2
        v_gy = v_b0 * f0 + v_b1 * f1 + v_b2 * f2
        v_u = -gx * (v_a0 * m20 + v_a1 * m21 + v_a2 * m22)
        v_v = -gy * (v_b0 * m20 + v_b1 * m21 + v_b2 * m22)
        v_u0 = lens.fx * v_mean_x + (v_u if u == u0 else 0.0)
        v_v0 = lens.fy * v_mean_y + (v_v if v == v0 else 0.0)
        v_x, v_y = v_u0 * inverse_z, v_v0 * inverse_z
        v_z = sums[9] - (v_gx * gx + v_gy * gy + v_u0 * u0 + v_v0 * v0) * inverse_z
        v_px = m00 * v_x + m10 * v_y + m20 * v_z
        v_py = m01 * v_x + m11 * v_y + m21 * v_z
        v_pz = m02 * v_x + m12 * v_y + m22 * v_z
        c0 = -gx * u
        c1 = -gy * v
        view_sums[0] += v_x * px + gx * v_a0
        view_sums[1] += v_x * py + gx * v_a1
        view_sums[2] += v_x * pz + gx * v_a2
        view_sums[3] += v_y * px + gy * v_b0
        view_sums[4] += v_y * py + gy * v_b1
        view_sums[5] += v_y * pz + gy * v_b2
        view_sums[6] += v_z * px + c0 * v_a0 + c1 * v_b0
        view_sums[7] += v_z * py + c0 * v_a1 + c1 * v_b1
        view_sums[8] += v_z * pz + c0 * v_a2 + c1 * v_b2
        view_sums[9] += v_x
        view_sums[10] += v_y
        view_sums[11] += v_z

        red, green, blue = sums[6], sums[7], sums[8]
        if degree < 0:
            grads.colors[i, 0, 0] += np.float32(red)
            grads.colors[i, 0, 1] += np.float32(green)
            grads.colors[i, 0, 2] += np.float32(blue)
        else:
            at = record * 16 + 8
            if projected.records[at] <= 0.0:
                red = 0.0
            if projected.records[at + 1] <= 0.0:
                green = 0.0
            if projected.records[at + 2] <= 0.0:
                blue = 0.0
            dx, dy, dz = px - centre[0], py - centre[1], pz - centre[2]
            inverse = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
            sh_basis(degree, dx, dy, dz, basis)
            r32, g32, b32 = np.float32(red), np.float32(green), np.float32(blue)
            first = np.uint64(i) * np.uint64(3 * scene.colors.shape[1])
            for k in range(np.uint64(terms)):
                at, to = np.uint64(3) * k, first + np.uint64(3) * k
                share = np.float32(basis[k])
                pushed[at], pushed[at + _ONE], pushed[at + _TWO] = (
                    share * r32,
                    share * g32,
                    share * b32,
                )
                weight = colors[to] * r32 + colors[to + _ONE] * g32 + colors[to + _TWO] * b32
                weights[k] = np.float64(weight)
            whole = 3 * terms // LANES * LANES
            for k in range(0, whole, LANES):
                to = np.int64(first) + k
                store(v_colors, to, load(v_colors, to) + load(pushed, k))
            for k in range(whole, 3 * terms):
                v_colors[np.int64(first) + k] += pushed[k]
            v_dx, v_dy, v_dz = _sh_gradient(degree, dx, dy, dz, weights)
            along = v_dx * dx + v_dy * dy + v_dz * dz
            v_dx, v_dy, v_dz = v_dx - along * dx, v_dy - along * dy, v_dz - along * dz
            v_dx, v_dy, v_dz = v_dx * inverse, v_dy * inverse, v_dz * inverse
            v_px, v_py, v_pz = v_px + v_dx, v_py + v_dy, v_pz + v_dz
            view_sums[12] -= v_dx
            view_sums[13] -= v_dy
            view_sums[14] -= v_dz
        grads.means[i, 0] += np.float32(v_px)
        grads.means[i, 1] += np.float32(v_py)
        grads.means[i, 2] += np.float32(v_pz)


@njit(cache=True, nogil=True, error_model="numpy")
def project_backward_worker(
    counter: Any, scene: Any, lens: Any, limits: Any, projected: Any, dense: Any, partials: Any,
    touched: Any, grads: Any, view_sums: Any,
) -> None:  # fmt: skip
    """Takes chunks from a shared counter until none is left.

    Args:
        counter: int64 [1], zero at the start.
        scene, lens, limits, projected: as the forward pass had them; see `layout`.
        dense: int64 [chunks], what to add to a slot to number it without gaps.
        partials, touched: see `backward.backward_worker`.
        grads: `layout.Scene` of gradients, added to.
        view_sums: float64 [chunks, VIEW_SUMS], overwritten: the chunk's part of the gradient of
            the view.
    """
    sums = np.empty(PARTIALS)
    basis, weights = np.empty(16), np.empty(16)
    pushed = np.empty(48, np.float32)
    chunks = projected.visible.shape[0]
    while True:
        chunk = atomic_add(counter, 0, 1)
        if chunk >= chunks:
            break
        view_sums[chunk] = 0.0
        _backward_chunk(
            chunk, scene, lens, limits, projected, dense, partials, touched, grads,
            view_sums[chunk], sums, basis, weights, pushed,
        )  # fmt: skip
