"""Gradients of compositing: each tile again, front to back, with the decisions of the forward pass.

Going forwards needs no stored transmittance and no division by it: what is still to come at a
Gaussian is the pixel's total less what has passed. Each pair of a Gaussian and a tile gets sums of
its own (`PARTIALS` floats at its slot), which `project_backward` adds up in the order of slots, so
that the gradient has one order of summation for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu import layout
from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.layout import (
    BLOCKS_X,
    PARTIALS,
    RECORD,
    TILE_BLOCKS,
    TILE_PIXELS,
    TILE_X,
    TILE_Y,
)
from roadworthy_simulators.splat.cpu.rasterize import (
    BATCH,
    BLOCK_BITS,
    list_visits,
    make_bit_table,
    open_tile,
    pixel_offsets,
    still_open,
)
from roadworthy_simulators.splat.cpu.simd import (
    LANES,
    atomic_add,
    exp2_of_negative,
    fma,
    horizontal_sum,
    load,
    maximum,
    minimum,
    negative_abs,
    select,
    splat,
    store,
)

__all__ = ["backward_worker"]

_SUMS = PARTIALS * LANES
# Rows of the tile's buffer: transmittance, what is still to come, and the gradients of the image.
_REST, _V_RED, _V_GREEN, _V_BLUE, _V_DEPTH = (row * TILE_PIXELS for row in range(1, 6))
_ROWS = 6


@njit(**BARE)
def _load_gradients(
    buffer: Any, x0: int, y0: int, rgb: Any, alpha: Any, depth: Any,
    v_rgb: Any, v_alpha: Any, v_depth: Any,
) -> None:  # fmt: skip
    """Fills a tile's rows from the image and the gradients of the loss with respect to it."""
    height, width = alpha.shape
    for block in range(TILE_BLOCKS):
        left = x0 + (block % BLOCKS_X) * 4
        top = y0 + (block // BLOCKS_X) * 2
        for lane in range(LANES):
            x, y = left + lane % 4, top + lane // 4
            p = block * LANES + lane
            if x >= width or y >= height:
                for row in range(1, _ROWS):
                    buffer[row * TILE_PIXELS + p] = 0.0
                continue
            red, green, blue = v_rgb[y, x, 0], v_rgb[y, x, 1], v_rgb[y, x, 2]
            shown = red * rgb[y, x, 0] + green * rgb[y, x, 1] + blue * rgb[y, x, 2]
            last = np.float32(1.0) - alpha[y, x]
            buffer[_REST + p] = shown + v_depth[y, x] * depth[y, x] - last * v_alpha[y, x]
            buffer[_V_RED + p] = red
            buffer[_V_GREEN + p] = green
            buffer[_V_BLUE + p] = blue
            buffer[_V_DEPTH + p] = v_depth[y, x]


@njit(**BARE, inline="always")
def _add(sums: Any, at: Any, value: Any) -> None:
    store(sums, at, load(sums, at) + value)


@njit(**BARE)
def _backward_tile(
    buffer: Any, columns: Any, rows: Any, x0: int, y0: int, open_blocks: int,
    tile_list: Any, slot_list: Any, since: int, until: int, records: Any, bit_table: Any,
    visits: Any, sums: Any, max_alpha: float, alpha_threshold: float,
    transmittance_threshold: float, partials: Any, touched: Any,
) -> None:  # fmt: skip
    cap = splat(max_alpha)
    least = splat(alpha_threshold)
    stop = splat(transmittance_threshold)
    zero, one = splat(0.0), splat(1.0)
    corner_x, corner_y = np.float32(x0), np.float32(y0)
    for start in range(since, until, BATCH):
        end = min(start + BATCH, until)
        n = list_visits(
            x0, y0, open_blocks, tile_list, start, end, until, records, bit_table, visits
        )
        for k in range(np.int64(_SUMS) * (end - start) // LANES):
            store(sums, k * LANES, zero)
        for k in range(n):
            visit = np.int64(visits[k])
            place = visit >> BLOCK_BITS
            r = np.uint64(tile_list[start + place]) * np.uint64(RECORD)
            at = (visit & (TILE_BLOCKS - 1)) * LANES
            mean_x = (records[r + layout.WHOLE_X] - corner_x) + records[r + layout.PART_X]
            mean_y = (records[r + layout.WHOLE_Y] - corner_y) + records[r + layout.PART_Y]
            dy = load(rows, at) - splat(mean_y)
            dx = load(columns, at) - fma(splat(records[r + layout.SHEAR_K]), dy, splat(mean_x))
            base = splat(records[r + layout.QUAD_C]) * dy * dy
            power = fma(dx * dx, splat(records[r + layout.QUAD_A]), base)
            raw = splat(records[r + layout.OPACITY]) * exp2_of_negative(power)
            alpha = minimum(raw, cap)
            seen = alpha >= least
            light = load(buffer, at)
            before = maximum(light, zero)
            weight = select(seen, alpha, zero) * before
            after = before - weight
            going = after > stop
            weight = select(going, weight, zero)
            store(buffer, at, select(going, after, negative_abs(light)))

            v_red, v_green = load(buffer, at + _V_RED), load(buffer, at + _V_GREEN)
            v_blue, v_depth = load(buffer, at + _V_BLUE), load(buffer, at + _V_DEPTH)
            shade = v_red * splat(records[r + layout.RED])
            shade = fma(v_green, splat(records[r + layout.GREEN]), shade)
            shade = fma(v_blue, splat(records[r + layout.BLUE]), shade)
            shade = fma(v_depth, splat(records[r + layout.DEPTH]), shade)
            rest = load(buffer, at + _REST) - weight * shade
            store(buffer, at + _REST, rest)
            v_alpha = before * shade - rest / (one - alpha)
            free = seen & going & (cap >= raw)
            s = select(free, v_alpha * alpha, zero)
            sx, sy = s * dx, s * dy
            to = place * _SUMS
            _add(sums, to, s)
            _add(sums, to + LANES, sx)
            _add(sums, to + 2 * LANES, sx * dx)
            _add(sums, to + 3 * LANES, sy)
            _add(sums, to + 4 * LANES, sx * dy)
            _add(sums, to + 5 * LANES, sy * dy)
            _add(sums, to + 6 * LANES, weight * v_red)
            _add(sums, to + 7 * LANES, weight * v_green)
            _add(sums, to + 8 * LANES, weight * v_blue)
            _add(sums, to + 9 * LANES, weight * v_depth)
        last = -1
        for k in range(n):
            place = np.int64(visits[k]) >> BLOCK_BITS
            if place == last:
                continue
            last = place
            slot = np.int64(slot_list[start + place])
            touched[slot] = 1
            for field in range(PARTIALS):
                total = horizontal_sum(load(sums, place * _SUMS + field * LANES))
                partials[slot * PARTIALS + field] = total
        open_blocks = still_open(buffer, open_blocks)
        if open_blocks == 0:
            return


@njit(cache=True, nogil=True, error_model="numpy")
def backward_worker(
    counter: Any, ends: Any, tile_list: Any, slot_list: Any, records: Any, limits: Any,
    rgb: Any, alpha: Any, depth: Any, v_rgb: Any, v_alpha: Any, v_depth: Any,
    partials: Any, touched: Any,
) -> None:  # fmt: skip
    """Takes tile rows from a shared counter until none is left.

    Args:
        counter: int64 [1], zero at the start.
        ends, tile_list, slot_list, records, limits: as the forward pass left them.
        rgb, alpha, depth: the image, float32 [H, W, 3], [H, W], [H, W].
        v_rgb, v_alpha, v_depth: gradient of the loss with respect to it.
        partials: float32 [pairs * PARTIALS]; with alpha the opacity times 2^power, s the gradient
            of the loss with respect to ln(alpha), and dx sheared as in the record:
            sums of s, s dx, s dx^2, s dy, s dx dy, s dy^2, and of weight times v_rgb and v_depth.
        touched: uint8 [pairs], zero at the start; set where `partials` was written.
    """
    height, width = alpha.shape
    tiles_x = (width + TILE_X - 1) // TILE_X
    tiles_y = (height + TILE_Y - 1) // TILE_Y
    buffer = np.empty(_ROWS * TILE_PIXELS, np.float32)
    columns, rows = pixel_offsets()
    bit_table = make_bit_table()
    visits = np.empty(BATCH * TILE_BLOCKS + BLOCKS_X, np.uint16)
    sums = np.empty(BATCH * _SUMS, np.float32)
    max_alpha = np.float32(limits.max_alpha)
    least = np.float32(limits.alpha)
    stop = np.float32(limits.transmittance)
    while True:
        row = atomic_add(counter, 0, 1)
        if row >= tiles_y:
            break
        for column in range(tiles_x):
            tile = row * tiles_x + column
            since = ends[tile - 1] if tile > 0 else 0
            x0, y0 = column * TILE_X, row * TILE_Y
            open_blocks = open_tile(buffer, columns, rows, width - x0, height - y0)
            _load_gradients(buffer, x0, y0, rgb, alpha, depth, v_rgb, v_alpha, v_depth)
            _backward_tile(
                buffer, columns, rows, x0, y0, open_blocks, tile_list, slot_list, since,
                ends[tile], records, bit_table, visits, sums, max_alpha, least, stop,
                partials, touched,
            )  # fmt: skip
