"""Arrays of numbers in few bytes: quantised, differenced, split into byte planes, deflated.

A blob is base64 of zlib of

    uint32 little endian   length of the header
    header                 JSON: [[name, shape, order, scale, bytes of a first, bytes of the rest]]
    per array              its firsts, then its rest

Every array is integers times `scale`. Along the last axis, the first value of each row
is kept apart; what is left is differenced `order` times. Integers are zigzag coded
(0, -1, 1, -2, ..) and stored plane by plane: all lowest bytes first. The page's
`decode.js` is the other half.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "pack", "quantise"]

Field = tuple[NDArray[np.int64], int, float]
"""Integers, how often to difference them along the last axis, and what one of them is worth."""

_LIMIT = 1 << 29


def quantise(values: Any, scale: float, order: int) -> Field:
    """Values as whole multiples of `scale`; what is not finite becomes 0.

    Args:
        values: any array.
        scale: the step.
        order: how often to difference along the last axis; 2 suits positions over time.
    """
    steps = np.nan_to_num(np.asarray(values, np.float64) / scale, nan=0.0, posinf=0.0, neginf=0.0)
    return np.rint(np.clip(steps, -_LIMIT, _LIMIT)).astype(np.int64), order, scale


def pack(fields: Mapping[str, Field]) -> str:
    """The blob of named arrays, as base64."""
    header: list[Sequence[Any]] = []
    body: list[bytes] = []
    for name, (whole, order, scale) in fields.items():
        array = whole if whole.ndim else whole[None]
        rest = array
        firsts = array[..., :0]
        if order and array.size:
            firsts = array[..., :1]
            rest = array - firsts
            for _ in range(order):
                rest = np.diff(rest, axis=-1, prepend=0)
        small, first_bytes = _planes(firsts)
        large, rest_bytes = _planes(rest)
        header.append([name, list(array.shape), order, scale, first_bytes, rest_bytes])
        body += [small, large]
    head = json.dumps(header, separators=(",", ":")).encode()
    raw = len(head).to_bytes(4, "little") + head + b"".join(body)
    return base64.b64encode(zlib.compress(raw, 6)).decode()


def _planes(values: NDArray[np.int64]) -> tuple[bytes, int]:
    """Zigzag coded byte planes, and how many there are."""
    coded = ((values << 1) ^ (values >> 63)).ravel()
    top = int(coded.max()) if coded.size else 0
    width = 1 if top < 1 << 8 else 2 if top < 1 << 16 else 4
    planes = coded.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width]
    return planes.T.tobytes(), width
