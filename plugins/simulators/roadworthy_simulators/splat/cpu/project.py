"""Projection: Gaussians in the world to ellipses, colours and tiles of one image.

`ellipse` does the arithmetic for a batch in vector code; here the few scalar decisions follow:
which tiles an ellipse meets, and what colour it shows this camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu import ellipse, layout
from roadworthy_simulators.splat.cpu.ellipse import BATCH, ROOM
from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.layout import CHUNK, RECORD, SPAN_BITS, TILE_X, TILE_Y
from roadworthy_simulators.splat.cpu.simd import (
    LANES,
    atomic_add,
    ceil,
    float_bits,
    fma,
    lane,
    load,
    splat,
)

__all__ = ["project_worker", "sh_basis"]

_HALF_LOG2E = 0.7213475204444817  # log2(e) / 2


@njit(**BARE, inline="always")
def sh_basis(degree: int, x: float, y: float, z: float, out: Any) -> None:
    """Real spherical harmonics of a unit direction, in the order and signs of gsplat and INRIA.

    Args:
        degree: 0 to 3.
        x, y, z: unit direction from the camera to the Gaussian (world frame).
        out: float [>= (degree + 1)^2], overwritten.
    """
    out[0] = 0.2820947917738781
    if degree < 1:
        return
    out[1] = -0.48860251190292 * y
    out[2] = 0.48860251190292 * z
    out[3] = -0.48860251190292 * x
    if degree < 2:
        return
    zz = z * z
    b = -1.092548430592079 * z
    c1 = x * x - y * y
    s1 = 2.0 * x * y
    out[4] = 0.5462742152960395 * s1
    out[5] = b * y
    out[6] = 0.9461746957575601 * zz - 0.3153915652525201
    out[7] = b * x
    out[8] = 0.5462742152960395 * c1
    if degree < 3:
        return
    c = -2.285228997322329 * zz + 0.4570457994644658
    d = 1.445305721320277 * z
    out[9] = -0.5900435899266435 * (x * s1 + y * c1)
    out[10] = d * s1
    out[11] = c * y
    out[12] = z * (1.865881662950577 * zz - 1.119528997770346)
    out[13] = c * x
    out[14] = d * c1
    out[15] = -0.5900435899266435 * (x * c1 - y * s1)


@njit(**BARE, inline="always")
def _touch_tiles(
    rows: Any,
    j: Any,
    lens: Any,
    tiles_x: int,
    slot: int,
    slot_end: int,
    slot_tile: Any,
    counts: Any,
) -> int:
    """Lists the tiles that ellipse j meets: for each row of tiles its exact span.

    Writes to `slot_tile[slot:slot_end]` as far as it fits, and returns how many there are.
    """
    mean_x, mean_y = rows[ellipse.MEAN_X + j], rows[ellipse.MEAN_Y + j]
    half_x, half_y = rows[ellipse.HALF_X + j], rows[ellipse.HALF_Y + j]
    last_x, last_y = np.float64(lens.width - 1), np.float64(lens.height - 1)
    left, right = max(mean_x - half_x, 0.0), min(mean_x + half_x, last_x)
    top, bottom = max(mean_y - half_y, 0.0), min(mean_y + half_y, last_y)
    if not (left <= right and top <= bottom):
        return 0
    first_x, last_column = np.int64(np.ceil(left)), np.int64(right)
    first_y, last_row = np.int64(np.ceil(top)), np.int64(bottom)
    if first_x > last_column or first_y > last_row:
        return 0
    tile_top, tile_bottom = first_y // TILE_Y, last_row // TILE_Y
    tile_left, tile_right = first_x // TILE_X, last_column // TILE_X
    exact = tile_left < tile_right  # one column of tiles: the box is as good as the ellipse
    tau, inverse_yy = rows[ellipse.TAU + j], rows[ellipse.INVERSE_YY + j]
    spread, extreme = rows[ellipse.SPREAD + j], rows[ellipse.EXTREME + j]
    shear = rows[ellipse.SHEAR + j]
    made = 0
    for row in range(tile_top, tile_bottom + 1):
        if exact:
            # `extreme` is dy of the rightmost point of the whole ellipse; the leftmost opposes it.
            since = max(np.float64(row * TILE_Y), top) - mean_y
            until = min(np.float64(row * TILE_Y + TILE_Y - 1), bottom) - mean_y
            at = min(max(extreme, since), until)
            edge = np.sqrt(max(tau - at * at * inverse_yy, 0.0) * spread)
            high = min(mean_x + shear * at + edge + 1e-3, last_x)
            at = min(max(-extreme, since), until)
            edge = np.sqrt(max(tau - at * at * inverse_yy, 0.0) * spread)
            low = max(mean_x + shear * at - edge - 1e-3, 0.0)
            if not low <= high:
                continue
            tile_left, tile_right = np.int64(np.ceil(low)) // TILE_X, np.int64(high) // TILE_X
        for column in range(tile_left, tile_right + 1):
            if slot + made < slot_end:
                tile = row * tiles_x + column
                slot_tile[slot + made] = tile
                counts[tile] += 1
            made += 1
    return made


@njit(**BARE, inline="always")
def _write_record(
    record: Any, at: int, rows: Any, j: Any, depth: float, red: float, green: float, blue: float
) -> None:
    mean_x, mean_y = rows[ellipse.MEAN_X + j], rows[ellipse.MEAN_Y + j]
    whole = np.float64(ceil(np.float32(mean_x)))
    record[at + layout.WHOLE_X] = np.float32(whole)
    record[at + layout.PART_X] = np.float32(mean_x - whole)
    whole = np.float64(ceil(np.float32(mean_y)))
    record[at + layout.WHOLE_Y] = np.float32(whole)
    record[at + layout.PART_Y] = np.float32(mean_y - whole)
    record[at + layout.QUAD_A] = np.float32(-_HALF_LOG2E * rows[ellipse.QUAD_A + j])
    record[at + layout.SHEAR_K] = np.float32(rows[ellipse.SHEAR + j])
    record[at + layout.QUAD_C] = np.float32(-_HALF_LOG2E * rows[ellipse.INVERSE_YY + j])
    record[at + layout.OPACITY] = np.float32(rows[ellipse.OPAQUE + j])
    record[at + layout.RED] = red
    record[at + layout.GREEN] = green
    record[at + layout.BLUE] = blue
    record[at + layout.DEPTH] = depth
    record[at + layout.HALF_X] = np.float32(rows[ellipse.HALF_X + j])
    record[at + layout.HALF_Y] = np.float32(rows[ellipse.HALF_Y + j])


@njit(**BARE, inline="always")
def _color(
    colors: Any, flat: Any, i: int, degree: int, rows: Any, j: Any, basis: Any
) -> tuple[float, float, float]:
    """Colour of Gaussian i towards the camera, before the cut at 0 (float32).

    Args:
        colors: see `layout.Scene`; `flat` is the same, one-dimensional.
        basis: float32 [16], overwritten.
    """
    if degree < 0:
        return colors[i, 0, 0], colors[i, 0, 1], colors[i, 0, 2]
    sh_basis(
        degree, rows[ellipse.DIR_X + j], rows[ellipse.DIR_Y + j], rows[ellipse.DIR_Z + j], basis
    )
    terms = (degree + 1) * (degree + 1)
    at = i * colors.shape[1] * 3
    if at + 3 * terms + LANES > flat.shape[0]:  # the last Gaussian: eight lanes would run past it
        red = green = blue = np.float32(0.5)
        for k in range(terms):
            red = fma(basis[k], colors[i, k, 0], red)
            green = fma(basis[k], colors[i, k, 1], green)
            blue = fma(basis[k], colors[i, k, 2], blue)
        return red, green, blue
    total = splat(0.5)  # lanes 0, 1, 2 are the colour; the others run along
    for k in range(terms):
        total = fma(splat(basis[k]), load(flat, at + 3 * k), total)
    return lane(total, 0), lane(total, 1), lane(total, 2)


@njit(**BARE, inline="always")
def _note_fault(fault: Any, chunk: int, code: int, gaussian: int) -> None:
    if fault[chunk, 0] == 0:
        fault[chunk, 0] = code
        fault[chunk, 1] = gaussian


@njit(**BARE)
def _project_chunk(
    chunk: int,
    scene: Any,
    lens: Any,
    limits: Any,
    out: Any,
    slot_base: Any,
    counts: Any,
    basis: Any,
    rows: Any,
    chosen: Any,
) -> None:
    """Projects Gaussians [chunk * CHUNK, ...) and lists the tiles that each one touches."""
    start = chunk * CHUNK
    stop = min(start + CHUNK, scene.means.shape[0])
    tiles_x = (lens.width + TILE_X - 1) // TILE_X
    flat_colors = scene.colors.reshape(-1)
    flat_means, flat_scales = scene.means.reshape(-1), scene.scales.reshape(-1)
    visible = start
    slot, slot_end = slot_base[chunk], slot_base[chunk + 1]
    wanted = 0
    out.fault[chunk, 0] = 0
    for batch in range(start, stop, BATCH):
        count = np.uint64(min(BATCH, stop - batch))
        ellipse.find_visible(
            np.uint64(batch), count, flat_means, flat_scales, scene.opacities, lens, limits, rows
        )
        n = 0
        for j in range(count):
            chosen[n] = j
            inside = rows[ellipse.INSIDE + j]
            n += np.int64(inside == 1.0)
            if inside == 2.0:
                i = batch + np.int64(j)
                total = scene.means[i, 0] + scene.means[i, 1] + scene.means[i, 2]
                _note_fault(out.fault, chunk, 4 if total * 0.0 == 0.0 else 1, i)
        ellipse.gather_shapes(chosen, np.uint64(n), np.uint64(batch), scene, rows)
        ellipse.form_ellipses(np.uint64(n), lens, limits, rows)
        for j in range(np.uint64(n)):
            i = batch + np.int64(chosen[j])
            if rows[ellipse.FAULT + j] != 0.0:
                _note_fault(out.fault, chunk, 1 + np.int64(rows[ellipse.FAULT + j]), i)
                continue
            if rows[ellipse.DRAWN + j] == 0.0:
                continue
            made = _touch_tiles(rows, j, lens, tiles_x, slot, slot_end, out.slot_tile, counts)
            if made == 0:
                continue
            wanted += made
            if slot + made > slot_end:
                slot = slot_end  # too few slots: the caller grows them and starts again
                continue
            red, green, blue = _color(scene.colors, flat_colors, i, limits.degree, rows, j, basis)
            total = red + green + blue
            if not np.isfinite(total):
                _note_fault(out.fault, chunk, 5, i)
                continue
            if limits.degree >= 0:
                red, green = max(red, np.float32(0.0)), max(green, np.float32(0.0))
                blue = max(blue, np.float32(0.0))
            depth = np.float32(rows[ellipse.Z + j])
            _write_record(
                out.records, np.uint64(visible * RECORD), rows, j, depth, red, green, blue
            )
            out.source[visible] = i
            out.spans[visible] = slot << SPAN_BITS | made
            key = np.uint64(float_bits(depth)) << np.uint64(32)
            out.keys[visible] = key | np.uint64(visible)
            visible += 1
            slot += made
    out.visible[chunk] = visible - start
    out.used[chunk] = wanted


@njit(cache=True, nogil=True, error_model="numpy")
def project_worker(
    counter: Any, worker: int, scene: Any, lens: Any, limits: Any, out: Any, slot_base: Any
) -> None:
    """Takes chunks from a shared counter until none is left.

    Args:
        counter: int64 [1], zero at the start.
        worker: row of `out.tile_counts` that this worker fills.
        scene, lens, limits: see `layout`.
        out: `layout.Projected`, overwritten; each chunk writes its own range alone.
        slot_base: int64 [chunks + 1], the slots of `out.slot_tile` that each chunk may use;
            `out.used` says how many it wanted.
    """
    basis = np.zeros(16, np.float32)
    rows = np.empty(ROOM)
    chosen = np.empty(BATCH + 1, np.uint64)
    counts = out.tile_counts[worker]
    counts[:] = 0
    chunks = out.visible.shape[0]
    while True:
        chunk = atomic_add(counter, 0, 1)
        if chunk >= chunks:
            break
        _project_chunk(chunk, scene, lens, limits, out, slot_base, counts, basis, rows, chosen)
