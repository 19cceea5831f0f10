"""Compositing: front to back over each tile, eight pixels at a time.

A tile lives in five rows of L1 memory: transmittance, red, green, blue, depth. A finished pixel
(its transmittance would fall to the threshold) keeps its last transmittance with the sign bit
set, which stops it without another array. A Gaussian only visits the 4 x 2 blocks of a tile that
its bounding box meets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu import layout
from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.layout import (
    BLOCKS_X,
    BLOCKS_Y,
    RECORD,
    TILE_BLOCKS,
    TILE_PIXELS,
    TILE_X,
    TILE_Y,
)
from roadworthy_simulators.splat.cpu.simd import (
    LANES,
    all_negative,
    any_lane,
    atomic_add,
    ceil,
    exp2_of_negative,
    fma,
    load,
    maximum,
    minimum,
    negative_abs,
    prefetch,
    select,
    splat,
    store,
    store_word,
)

__all__ = ["box_blocks", "open_tile", "pixel_offsets", "rasterize_worker"]

_EVERY_ROW = sum(1 << (BLOCKS_X * row) for row in range(BLOCKS_Y))
BATCH = 32  # pairs whose visits are listed at a time
BLOCK_BITS = TILE_BLOCKS.bit_length() - 1
_AHEAD = 16  # pairs between asking for a record and using it


@njit(**BARE, inline="always")
def box_blocks(mean_x: float, mean_y: float, half_x: float, half_y: float) -> int:
    """Bit set of the blocks of a tile with a pixel centre in the box mean +- half.

    All float32 and relative to the tile's first pixel. Bit `BLOCKS_X * row + column`.
    """
    left = max(ceil(mean_x - half_x), np.float32(0.0))
    right = min(mean_x + half_x, np.float32(TILE_X - 1))
    top = max(ceil(mean_y - half_y), np.float32(0.0))
    bottom = min(mean_y + half_y, np.float32(TILE_Y - 1))
    if not (left <= right and top <= bottom):
        return 0
    first, last = np.int64(np.int32(left)) >> 2, np.int64(np.int32(right)) >> 2
    columns = ((2 << last) - (1 << first)) * _EVERY_ROW
    first, last = np.int64(np.int32(top)) >> 1, np.int64(np.int32(bottom)) >> 1
    return columns & ((1 << (BLOCKS_X * (last + 1))) - (1 << (BLOCKS_X * first)))


@njit(cache=True, nogil=True, error_model="numpy")
def pixel_offsets() -> tuple[Any, Any]:
    """Column and row of every pixel of a tile, in the order of the buffer; float32."""
    columns = np.empty(TILE_PIXELS, np.float32)
    rows = np.empty(TILE_PIXELS, np.float32)
    for p in range(TILE_PIXELS):
        block, lane = p // LANES, p % LANES
        columns[p] = (block % BLOCKS_X) * 4 + lane % 4
        rows[p] = (block // BLOCKS_X) * 2 + lane // 4
    return columns, rows


@njit(**BARE)
def open_tile(buffer: Any, columns: Any, rows: Any, width: int, height: int) -> int:
    """Clears a tile of which `width` x `height` pixels lie in the image.

    Pixels outside start finished. Returns the bit set of the blocks that are open.
    """
    one, zero = splat(1.0), splat(0.0)
    wide, high = splat(np.float32(width)), splat(np.float32(height))
    open_blocks = 0
    for block in range(TILE_BLOCKS):
        at = block * LANES
        inside = (load(columns, at) < wide) & (load(rows, at) < high)
        store(buffer, at, select(inside, one, negative_abs(one)))
        if any_lane(inside):
            open_blocks |= 1 << block
    for block in range(TILE_BLOCKS, 5 * TILE_BLOCKS):
        store(buffer, block * LANES, zero)
    return open_blocks


@njit(**BARE)
def list_visits(
    x0: int,
    y0: int,
    open_blocks: int,
    tile_list: Any,
    since: int,
    until: int,
    last: int,
    records: Any,
    bit_table: Any,
    visits: Any,
) -> int:
    """Which blocks the Gaussians `tile_list[since:until]` visit, in order.

    Apart from the compositing, so that the branches here never wait for it: a block that finishes
    meanwhile is visited in vain, which changes nothing.

    Args:
        x0, y0: corner of the tile [pixels].
        open_blocks: bit set of blocks with unfinished pixels.
        last: end of the tile's list; records are asked for up to it.
        bit_table: see `make_bit_table`.
        visits: uint16 [>= TILE_BLOCKS * (until - since) + BLOCKS_X], overwritten: place of
            the pair in the list (from `since`) * TILE_BLOCKS + block.

    Returns:
        Number of visits.
    """
    corner_x, corner_y = np.float32(x0), np.float32(y0)
    n = np.uint64(0)
    for pair in range(since, until):
        prefetch(records, tile_list[min(pair + _AHEAD, last - 1)] * RECORD)
        r = np.uint64(tile_list[pair]) * np.uint64(RECORD)
        mean_x = (records[r + layout.WHOLE_X] - corner_x) + records[r + layout.PART_X]
        mean_y = (records[r + layout.WHOLE_Y] - corner_y) + records[r + layout.PART_Y]
        half_x, half_y = records[r + layout.HALF_X], records[r + layout.HALF_Y]
        blocks = box_blocks(mean_x, mean_y, half_x, half_y) & open_blocks
        # Without a branch on the bits, which none could predict: four places at a time from a
        # table, of which as many count as there are.
        first = np.uint64(pair - since) * np.uint64(TILE_BLOCKS)
        for row in range(BLOCKS_Y):
            bits = np.uint64(blocks >> (BLOCKS_X * row)) & np.uint64(2**BLOCKS_X - 1)
            base = (first + np.uint64(BLOCKS_X * row)) * np.uint64(0x0001000100010001)
            store_word(visits, np.int64(n), base + bit_table[bits])
            n += bit_table[bits + np.uint64(2**BLOCKS_X)]
    return np.int64(n)


@njit(cache=True, nogil=True, error_model="numpy")
def make_bit_table() -> Any:
    """For every set of `BLOCKS_X` = 4 bits: their places in 16 bits each, ascending from the low
    end of a word; then, for every set, how many they are. uint64 [32]."""
    sets = 2**BLOCKS_X
    table = np.zeros(2 * sets, np.uint64)
    for bits in range(sets):
        n = 0
        for k in range(BLOCKS_X):
            if bits >> k & 1:
                table[bits] |= np.uint64(k) << np.uint64(16 * n)
                n += 1
        table[sets + bits] = n
    return table


@njit(**BARE)
def _composite_tile(
    buffer: Any,
    columns: Any,
    rows: Any,
    x0: int,
    y0: int,
    open_blocks: int,
    tile_list: Any,
    since: int,
    until: int,
    records: Any,
    bit_table: Any,
    visits: Any,
    max_alpha: float,
    alpha_threshold: float,
    transmittance_threshold: float,
) -> None:
    """Adds the Gaussians `tile_list[since:until]` to the tile whose corner is (x0, y0)."""
    cap = splat(max_alpha)
    least = splat(alpha_threshold)
    stop = splat(transmittance_threshold)
    zero = splat(0.0)
    corner_x, corner_y = np.float32(x0), np.float32(y0)
    for start in range(since, until, BATCH):
        end = min(start + BATCH, until)
        n = list_visits(
            x0, y0, open_blocks, tile_list, start, end, until, records, bit_table, visits
        )
        for k in range(n):
            visit = np.int64(visits[k])
            r = np.uint64(tile_list[start + (visit >> BLOCK_BITS)]) * np.uint64(RECORD)
            at = (visit & (TILE_BLOCKS - 1)) * LANES
            mean_x = (records[r + layout.WHOLE_X] - corner_x) + records[r + layout.PART_X]
            mean_y = (records[r + layout.WHOLE_Y] - corner_y) + records[r + layout.PART_Y]
            dy = load(rows, at) - splat(mean_y)
            dx = load(columns, at) - fma(splat(records[r + layout.SHEAR_K]), dy, splat(mean_x))
            base = splat(records[r + layout.QUAD_C]) * dy * dy
            power = fma(dx * dx, splat(records[r + layout.QUAD_A]), base)
            alpha = splat(records[r + layout.OPACITY]) * exp2_of_negative(power)
            alpha = minimum(alpha, cap)
            light = load(buffer, at)
            before = maximum(light, zero)
            weight = select(alpha >= least, alpha, zero) * before
            after = before - weight
            going = after > stop
            weight = select(going, weight, zero)
            store(buffer, at, select(going, after, negative_abs(light)))
            at += TILE_PIXELS
            store(buffer, at, fma(weight, splat(records[r + layout.RED]), load(buffer, at)))
            at += TILE_PIXELS
            store(buffer, at, fma(weight, splat(records[r + layout.GREEN]), load(buffer, at)))
            at += TILE_PIXELS
            store(buffer, at, fma(weight, splat(records[r + layout.BLUE]), load(buffer, at)))
            at += TILE_PIXELS
            store(buffer, at, fma(weight, splat(records[r + layout.DEPTH]), load(buffer, at)))
        open_blocks = still_open(buffer, open_blocks)
        if open_blocks == 0:
            return


@njit(**BARE, inline="always")
def still_open(buffer: Any, open_blocks: int) -> int:
    """The bit set of open blocks, without those whose pixels have all finished since."""
    for block in range(TILE_BLOCKS):
        if all_negative(load(buffer, block * LANES)):
            open_blocks &= ~(1 << block)
    return open_blocks


@njit(**BARE)
def _close_tile(
    buffer: Any, x0: int, y0: int, background: Any, rgb: Any, alpha: Any, depth: Any
) -> None:
    """Writes a tile to the image, over the background."""
    height, width = alpha.shape
    red, green, blue = background[0], background[1], background[2]
    flat_rgb, flat_alpha, flat_depth = rgb.reshape(-1), alpha.reshape(-1), depth.reshape(-1)
    for block in range(TILE_BLOCKS):
        left = x0 + (block % BLOCKS_X) * 4
        top = y0 + (block // BLOCKS_X) * 2
        columns = np.uint64(max(min(width - left, 4), 0))
        for row in range(max(min(height - top, 2), 0)):
            source = np.uint64(block * LANES + row * 4)
            target = np.uint64((top + row) * width + left)
            for lane in range(columns):
                p, to = source + lane, target + lane
                light = abs(buffer[p])
                at = np.uint64(3) * to
                flat_rgb[at] = buffer[np.uint64(TILE_PIXELS) + p] + light * red
                flat_rgb[at + np.uint64(1)] = buffer[np.uint64(2 * TILE_PIXELS) + p] + light * green
                flat_rgb[at + np.uint64(2)] = buffer[np.uint64(3 * TILE_PIXELS) + p] + light * blue
                flat_alpha[to] = np.float32(1.0) - light
                flat_depth[to] = buffer[np.uint64(4 * TILE_PIXELS) + p]


@njit(cache=True, nogil=True, error_model="numpy")
def rasterize_worker(
    counter: Any,
    ends: Any,
    tile_list: Any,
    records: Any,
    limits: Any,
    background: Any,
    rgb: Any,
    alpha: Any,
    depth: Any,
) -> None:
    """Composites tiles taken from a shared counter until none is left.

    Args:
        counter: int64 [1], zero at the start.
        ends: int64 [tiles], where each tile's list ends; it starts where the last one ended.
        tile_list: int32 [pairs].
        records: float32 [N * RECORD].
        limits: see `layout.Thresholds`.
        background: float32 [3].
        rgb, alpha, depth: float32 [H, W, 3], [H, W], [H, W], overwritten.
    """
    height, width = alpha.shape
    tiles_x = (width + TILE_X - 1) // TILE_X
    tiles_y = (height + TILE_Y - 1) // TILE_Y
    buffer = np.empty(5 * TILE_PIXELS, np.float32)
    columns, rows = pixel_offsets()
    bit_table = make_bit_table()
    visits = np.empty(BATCH * TILE_BLOCKS + BLOCKS_X, np.uint16)
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
            _composite_tile(
                buffer,
                columns,
                rows,
                x0,
                y0,
                open_blocks,
                tile_list,
                since,
                ends[tile],
                records,
                bit_table,
                visits,
                max_alpha,
                least,
                stop,
            )
            _close_tile(buffer, x0, y0, background, rgb, alpha, depth)
