"""Points of a `.ply`: x, y, z and red, green, blue, as nerfstudio and COLMAP write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.said import within

__all__ = ["read_points"]

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


def read_points(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """[P, 3] positions and [P, 3] colours (grey where the file has none).

    Raises:
        DataError: not a PLY of points, or cut short.
    """
    with within(path):
        return _parse(path.read_bytes())


def _parse(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    end = data.find(b"end_header")
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise DataError("is not a PLY file")
    lines = [line.split() for line in data[:end].decode("ascii", "replace").splitlines()]
    style = next((x[1] for x in lines if x[:1] == ["format"] and len(x) > 1), "")
    elements = [x for x in lines if x[:1] == ["element"]]
    if not elements or elements[0][1] != "vertex":
        raise DataError("its first element is not vertex")
    count = int(elements[0][2])
    start = lines.index(elements[0])
    stop = lines.index(elements[1]) if len(elements) > 1 else len(lines)
    fields = [(x[2], _TYPES.get(x[1])) for x in lines[start:stop] if x[:1] == ["property"]]
    if any(kind is None for _, kind in fields) or not {"x", "y", "z"} <= {n for n, _ in fields}:
        raise DataError("its vertices are not x, y, z and scalars")
    names = [name for name, _ in fields]
    body = data[line_end + 1 :]
    if style == "ascii":
        rows = body.decode("ascii", "replace").split()[: count * len(fields)]
        if count < 0 or len(rows) < count * len(fields):
            raise DataError(f"holds fewer than the {count} points it declares")
        table = np.array(rows, dtype=np.float64).reshape(count, len(fields))
        columns = {n: table[:, i] for i, n in enumerate(names)}
    elif style in ("binary_little_endian", "binary_big_endian"):
        order = "<" if style == "binary_little_endian" else ">"
        dtype = np.dtype([(n, order + str(kind)) for n, kind in fields])
        if count < 0 or count * dtype.itemsize > len(body):
            raise DataError(f"holds fewer than the {count} points it declares")
        records = np.frombuffer(body, dtype, count)
        columns = {n: records[n] for n in names}
    else:
        raise DataError(f"unknown PLY format {style!r}")
    points = np.stack([columns[k].astype(np.float64) for k in "xyz"], axis=1)
    colors = np.full((count, 3), 128, np.uint8)
    if {"red", "green", "blue"} <= set(names):
        rgb = np.stack([columns[k] for k in ("red", "green", "blue")], axis=1)
        colors = np.clip(np.nan_to_num(rgb), 0, 255).astype(np.uint8)
    return points, colors
