"""Gradients of projection: from sums over pixels to means, quaternions, scales, colours, views.

Gaussians are walked in memory order. Everything is worked again from the inputs, in float64,
which is cheaper than keeping it. What is summed over Gaussians (the view) is summed chunk by
chunk, and the chunks in order, so that it never depends on the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu import ellipse_backward as back
from roadworthy_simulators.splat.cpu import layout
from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.layout import CHUNK, PARTIALS, RECORD, SPAN_BITS
from roadworthy_simulators.splat.cpu.project import sh_basis
from roadworthy_simulators.splat.cpu.simd import LANES, atomic_add, load, splat, store

__all__ = ["VIEW_SUMS", "project_backward_worker"]

VIEW_SUMS = 15  # gradient of a view: rotation [9], translation [3], camera centre [3]
_ONE, _TWO = np.uint64(1), np.uint64(2)


@njit(**BARE, inline="always")
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


@njit(**BARE, inline="always")
def _gather(
    record: Any,
    scene: Any,
    projected: Any,
    shift: int,
    partials: Any,
    touched: Any,
    sums: Any,
    rows: Any,
    j: Any,
) -> bool:
    """Fills column j with a record's sums and its Gaussian; False where no pixel saw it."""
    span = projected.spans[record]
    slot = (span >> SPAN_BITS) + shift
    seen = False
    low, high = splat(0.0), splat(0.0)  # fields 0 to 7, and 2 to 9
    for s in range(slot, slot + (span & ((1 << SPAN_BITS) - 1))):
        if touched[s] != 0:
            seen = True
            low = low + load(partials, s * PARTIALS)
            high = high + load(partials, s * PARTIALS + PARTIALS - LANES)
    if not seen:
        return False
    store(sums, 0, low)
    store(sums, PARTIALS - LANES, high)
    for field in range(np.uint64(PARTIALS)):
        rows[field * np.uint64(back.STRIDE) + j] = sums[field]
    i = projected.source[record]
    means, quats, scales = scene.means, scene.quats, scene.scales
    rows[back.POINT_X + j], rows[back.POINT_Y + j] = means[i, 0], means[i, 1]
    rows[back.POINT_Z + j] = means[i, 2]
    rows[back.QW + j], rows[back.QX + j] = quats[i, 0], quats[i, 1]
    rows[back.QY + j], rows[back.QZ + j] = quats[i, 2], quats[i, 3]
    rows[back.SX + j], rows[back.SY + j], rows[back.SZ + j] = (
        scales[i, 0],
        scales[i, 1],
        scales[i, 2],
    )
    rows[back.OPAQUE + j] = scene.opacities[i]
    return True


@njit(**BARE, inline="always")
def _scatter(i: Any, grads: Any, rows: Any, j: Any) -> None:
    """Adds column j to the gradients of Gaussian i, but for its colours."""
    grads.means[i, 0] += np.float32(rows[back.V_POINT_X + j])
    grads.means[i, 1] += np.float32(rows[back.V_POINT_Y + j])
    grads.means[i, 2] += np.float32(rows[back.V_POINT_Z + j])
    grads.quats[i, 0] += np.float32(rows[back.V_QUAT_0 + j])
    grads.quats[i, 1] += np.float32(rows[back.V_QUAT_1 + j])
    grads.quats[i, 2] += np.float32(rows[back.V_QUAT_2 + j])
    grads.quats[i, 3] += np.float32(rows[back.V_QUAT_3 + j])
    grads.scales[i, 0] += np.float32(rows[back.V_SCALE_0 + j])
    grads.scales[i, 1] += np.float32(rows[back.V_SCALE_1 + j])
    grads.scales[i, 2] += np.float32(rows[back.V_SCALE_2 + j])
    grads.opacities[i] += np.float32(rows[back.V_OPACITY + j])


@njit(**BARE)
def _backward_chunk(
    chunk: int, scene: Any, lens: Any, limits: Any, projected: Any, dense: Any, partials: Any,
    touched: Any, grads: Any, view_sums: Any, sums: Any, rows: Any, drawn: Any, basis: Any,
    weights: Any, pushed: Any,
) -> None:  # fmt: skip
    centre = lens.centre
    degree = limits.degree
    terms = (degree + 1) * (degree + 1)
    colors, v_colors = scene.colors.reshape(-1), grads.colors.reshape(-1)
    shift = dense[chunk]
    record = chunk * CHUNK
    end = record + projected.visible[chunk]
    while record < end:
        count = np.uint64(0)
        while record < end and count < np.uint64(back.BATCH):
            drawn[count] = record
            if _gather(record, scene, projected, shift, partials, touched, sums, rows, count):
                count += np.uint64(1)
            record += 1
        back.pull_back(count, lens, limits, rows)
        for j in range(count):
            for k in range(12):
                view_sums[k] += rows[back.V_VIEW_0 + np.uint64(k * back.STRIDE) + j]
            i = np.int64(projected.source[drawn[j]])
            red, green, blue = rows[back.SUM_6 + j], rows[back.SUM_7 + j], rows[back.SUM_8 + j]
            if degree < 0:
                grads.colors[i, 0, 0] += np.float32(red)
                grads.colors[i, 0, 1] += np.float32(green)
                grads.colors[i, 0, 2] += np.float32(blue)
            else:
                at = np.int64(drawn[j]) * RECORD + np.int64(layout.RED)
                if projected.records[at] <= 0.0:
                    red = 0.0
                if projected.records[at + 1] <= 0.0:
                    green = 0.0
                if projected.records[at + 2] <= 0.0:
                    blue = 0.0
                dx = rows[back.POINT_X + j] - centre[0]
                dy = rows[back.POINT_Y + j] - centre[1]
                dz = rows[back.POINT_Z + j] - centre[2]
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
                rows[back.V_POINT_X + j] += v_dx
                rows[back.V_POINT_Y + j] += v_dy
                rows[back.V_POINT_Z + j] += v_dz
                view_sums[12] -= v_dx
                view_sums[13] -= v_dy
                view_sums[14] -= v_dz
            _scatter(i, grads, rows, j)


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
    sums = np.empty(PARTIALS, np.float32)
    rows = np.empty(back.ROOM)
    drawn = np.empty(back.BATCH, np.int64)
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
            view_sums[chunk], sums, rows, drawn, basis, weights, pushed,
        )  # fmt: skip
