"""Order by depth, and a list of Gaussians for every tile in that order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from roadworthy_simulators.splat.cpu.jit import BARE
from roadworthy_simulators.splat.cpu.layout import CHUNK, SPAN_BITS
from roadworthy_simulators.splat.cpu.simd import prefetch

__all__ = ["fill_tiles", "gather_keys", "sort_keys"]

_DIGITS = 2048
_AHEAD = 16


@njit(**BARE)
def gather_keys(keys: Any, visible: Any, out: Any) -> int:
    """Copies the used part of every chunk of `keys` to the front of `out`; their number."""
    n = 0
    for chunk in range(visible.shape[0]):
        start = chunk * CHUNK
        for k in range(start, start + visible[chunk]):
            out[n] = keys[k]
            n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def sort_keys(keys: Any, spare: Any, n: int) -> bool:
    """Least-significant-digit radix sort by the upper 32 bits, stable: ties keep memory order.

    Args:
        keys, spare: uint64 [>= n].
        n: number of keys.

    Returns:
        Whether the result lies in `spare` (else in `keys`).
    """
    counts = np.zeros((3, _DIGITS), np.int64)
    for i in range(n):
        high = keys[i] >> np.uint64(32)
        counts[0, high & np.uint64(2047)] += 1
        counts[1, (high >> np.uint64(11)) & np.uint64(2047)] += 1
        counts[2, high >> np.uint64(22)] += 1
    swapped = False
    for digit in range(3):
        row = counts[digit]
        shift = np.uint64(32 + 11 * digit)
        source, target = (spare, keys) if swapped else (keys, spare)
        if n > 0 and row[(source[0] >> shift) & np.uint64(2047)] == n:
            continue
        total = 0
        for d in range(_DIGITS):
            here = row[d]
            row[d] = total
            total += here
        for i in range(n):
            key = source[i]
            d = (key >> shift) & np.uint64(2047)
            target[row[d]] = key
            row[d] += 1
        swapped = not swapped
    return swapped


@njit(**BARE)
def fill_tiles(
    order: Any, n: int, projected: Any, dense: Any, cursor: Any, tile_list: Any, slot_list: Any
) -> None:
    """Appends every Gaussian, nearest first, to the list of each tile that it touches.

    Args:
        order: uint64 [>= n], sorted keys.
        n: number of visible Gaussians.
        projected: see `layout.Projected`.
        dense: int64 [chunks], what to add to a slot of the chunk to number slots without gaps.
        cursor: int64 [tiles], where each tile's list starts; moved to where it ends.
        tile_list: int32 [pairs], the record indices, overwritten.
        slot_list: int32 [pairs] or [0], the dense slot of each pair, overwritten if not empty.
    """
    with_slots = slot_list.shape[0] > 0
    low = np.uint64(0xFFFFFFFF)
    for k in range(n):
        # Two dependent reads at random places: ask for each a while before it is needed.
        prefetch(projected.spans, np.int64(order[min(k + 2 * _AHEAD, n - 1)] & low))
        ahead = projected.spans[np.int64(order[min(k + _AHEAD, n - 1)] & low)]
        prefetch(projected.slot_tile, ahead >> SPAN_BITS)
        v = np.int64(order[k] & low)
        span = projected.spans[v]
        slot = span >> SPAN_BITS
        shift = dense[v // CHUNK]
        for s in range(slot, slot + (span & ((1 << SPAN_BITS) - 1))):
            tile = projected.slot_tile[s]
            at = cursor[tile]
            tile_list[at] = v
            if with_slots:
                slot_list[at] = s + shift
            cursor[tile] = at + 1
