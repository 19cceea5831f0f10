"""The protocol buffers wire format, read within bounds and without a schema compiler.

Format: "Encoding", protobuf.dev. A message is a sequence of fields; each begins with its
number and one of four kinds of value: a varint, 8 bytes, a run of bytes, 4 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["Wire", "WireError", "doubles", "fields", "number", "signed", "varints"]

Wire = int | bytes
"""A field's value: an integer for varints, the bytes for all else."""


class WireError(Exception):
    """The bytes are no protocol buffer; says why."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError(f"a number at byte {at} does not end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Number and value of each field of a message, in the order of the bytes.

    Raises:
        WireError: truncated, or of an unknown kind.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"a field of the unknown kind {kind} before byte {at}")
        if length > end - at:
            raise WireError(f"a field at byte {at} of {length} bytes is longer than its message")
        yield key >> 3, data[at : at + length]
        at += length


def number(value: Wire) -> float:
    """A double or float field; integers are taken as they are.

    Raises:
        WireError: bytes of another length.
    """
    if isinstance(value, int):
        return float(value)
    if len(value) == 8:
        return float(struct.unpack("<d", value)[0])
    if len(value) == 4:
        return float(struct.unpack("<f", value)[0])
    raise WireError(f"a number of {len(value)} bytes")


def signed(value: Wire) -> int:
    """An int32, int64, enum or bool field.

    Raises:
        WireError: not a varint.
    """
    if not isinstance(value, int):
        raise WireError("an integer that is no varint")
    return value - 2**64 if value >= 2**63 else value


def doubles(value: Wire) -> list[float]:
    """One entry of a repeated double field, or all of them where they are packed."""
    if isinstance(value, bytes) and len(value) % 8 == 0:
        return list(struct.unpack(f"<{len(value) // 8}d", value))
    return [number(value)]


def varints(value: Wire) -> list[int]:
    """One entry of a repeated integer field, or all of them where they are packed."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        item, at = _varint(value, at)
        found.append(signed(item))
    return found
