"""3DGS `.ply` in the layout of INRIA (Kerbl et al. 2023), in and out, and SuperSplat's, in.

The one PLY library with bounds worth having, plyfile, is under the GPL, which this project cannot
depend on; binary tables of scalars, which is all that a splat file has, need one page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.gaussians import (
    MAX_DEGREE,
    MAX_GAUSSIANS,
    Gaussians,
    terms_of_degree,
)

__all__ = ["read_ply", "write_ply"]

_MAX_HEADER = 1 << 16
_MAX_PROPERTIES = 512
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_SHAPE = (
    "x", "y", "z", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    "f_dc_0", "f_dc_1", "f_dc_2",
)  # fmt: skip
_SH_0 = 0.28209479177387814
_CHUNK = 256  # vertices that share one range in the compressed layout
_MOST_LOGIT = 30.0  # written for opacities of 0 and 1, whose logits are infinite


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    count: int
    dtype: np.dtype[Any]


def read_ply(path: Path) -> Gaussians:
    """Reads INRIA's layout or SuperSplat's compressed one, whichever the header declares.

    Raises:
        DataError: not such a file, shorter than it declares, or with a Gaussian that cannot be
            drawn; names the file, the field and the value.
        OSError: it cannot be opened.
    """
    tables: dict[str, NDArray[Any]] = {}
    with open(path, "rb") as file:
        elements = _read_header(path, file)
        left = path.stat().st_size - file.tell()
        needed = sum(e.count * e.dtype.itemsize for e in elements)
        if needed > left:
            raise DataError(
                f"{path}: declares {needed} bytes of data, but {left} follow the header",
                hint="The file is cut short, or its element counts are wrong.",
            )
        for element in elements:
            raw = file.read(element.count * element.dtype.itemsize)
            tables[element.name] = np.frombuffer(raw, element.dtype, element.count)
    if "vertex" not in tables:
        raise DataError(f"{path}: has no element 'vertex'")
    vertex = tables["vertex"]
    if "packed_position" in (vertex.dtype.names or ()):
        return _unpack(path, tables).checked(str(path))
    _require(path, "vertex", vertex, _SHAPE)
    sh = _coefficients(path, vertex, "f_rest_")
    dc = np.stack([vertex[f"f_dc_{c}"] for c in range(3)], axis=1).astype(np.float32)
    with np.errstate(all="ignore"):
        logits = vertex["opacity"].astype(np.float64)
        return Gaussians(
            means=_columns(vertex, "x", "y", "z"),
            quats=_columns(vertex, "rot_0", "rot_1", "rot_2", "rot_3"),
            scales=np.exp(_columns(vertex, "scale_0", "scale_1", "scale_2")),
            opacities=(1.0 / (1.0 + np.exp(-logits))).astype(np.float32),
            sh=np.concatenate([dc[:, None], sh], axis=1),
        ).checked(str(path))


def _columns(table: NDArray[Any], *names: str) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        return np.stack([table[name] for name in names], axis=1).astype(np.float32)


def _require(path: Path, element: str, table: NDArray[Any], names: tuple[str, ...]) -> None:
    have = table.dtype.names or ()
    missing = [name for name in names if name not in have]
    if missing:
        raise DataError(
            f"{path}: element {element!r} lacks {', '.join(missing)}",
            hint="This is no 3D Gaussian Splatting file, or one of another layout.",
        )


def _coefficients(path: Path, table: NDArray[Any], prefix: str) -> NDArray[np.float32]:
    """[N, K - 1, 3] from `f_rest_*`, which run channel by channel."""
    count = sum(name.startswith(prefix) for name in table.dtype.names or ())
    known = [3 * (terms_of_degree(d) - 1) for d in range(MAX_DEGREE + 1)]
    if count not in known:
        raise DataError(f"{path}: has {count} properties {prefix}*, not one of {known}")
    names = tuple(f"{prefix}{k}" for k in range(count))
    _require(path, "vertex", table, names)
    if count == 0:
        return np.zeros((table.shape[0], 0, 3), np.float32)
    return _columns(table, *names).reshape(-1, 3, count // 3).transpose(0, 2, 1)


def _read_header(path: Path, file: BinaryIO) -> list[_Element]:
    """Elements in order; leaves the file at the first byte of data."""
    if file.readline(16).strip() != b"ply":
        raise DataError(f"{path}: does not begin with 'ply'")
    order = ""
    elements: list[tuple[str, int, list[tuple[str, str]]]] = []
    while True:
        line = file.readline(1024)
        if not line.endswith(b"\n") or file.tell() > _MAX_HEADER:
            raise DataError(f"{path}: the header has no end_header within {_MAX_HEADER} bytes")
        words = line.decode("ascii", errors="replace").split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "end_header":
            break
        if words[0] == "format" and len(words) == 3:
            if words[1] not in _ORDERS:
                raise DataError(
                    f"{path}: format is {words[1]!r}", hint=f"Known: {', '.join(_ORDERS)}."
                )
            order = _ORDERS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            count = int(words[2]) if words[2].isascii() and words[2].isdigit() else -1
            if not 0 <= count <= MAX_GAUSSIANS:
                raise DataError(
                    f"{path}: element {words[1]!r} counts {words[2][:32]}",
                    hint=f"A count must lie within [0, {MAX_GAUSSIANS}].",
                )
            if any(words[1] == name for name, _, _ in elements):
                raise DataError(f"{path}: element {words[1]!r} is declared twice")
            elements.append((words[1], count, []))
        elif words[0] == "property" and elements:
            if len(words) != 3 or words[1] not in _TYPES:
                raise DataError(
                    f"{path}: cannot read {' '.join(words)[:80]!r}",
                    hint="Splat files hold scalar properties of the usual types only.",
                )
            properties = elements[-1][2]
            if words[2] in dict(properties) or len(properties) >= _MAX_PROPERTIES:
                raise DataError(f"{path}: property {words[2][:80]!r} is one too many")
            properties.append((words[2], _TYPES[words[1]]))
        else:
            raise DataError(f"{path}: cannot read header line {' '.join(words)[:80]!r}")
    if not order:
        raise DataError(f"{path}: the header declares no format")
    return [
        _Element(name, count, np.dtype([(p, order + t) for p, t in properties]))
        for name, count, properties in elements
        if properties
    ]


def _unpack(path: Path, tables: dict[str, NDArray[Any]]) -> Gaussians:
    """SuperSplat's compressed layout: 256 vertices share the ranges of a chunk."""
    vertex = tables["vertex"]
    packed = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
    _require(path, "vertex", vertex, packed)
    if "chunk" not in tables:
        raise DataError(f"{path}: has no element 'chunk'")
    chunk = tables["chunk"]
    ranges = tuple(
        f"{end}_{name}" for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z")
        for end in ("min", "max")
    )  # fmt: skip
    _require(path, "chunk", chunk, ranges)
    n = vertex.shape[0]
    if chunk.shape[0] * _CHUNK < n:
        raise DataError(f"{path}: {chunk.shape[0]} chunks are too few for {n} vertices")
    for name in packed:
        if vertex.dtype[name].kind != "u" or vertex.dtype[name].itemsize != 4:
            raise DataError(f"{path}: {name} is of type {vertex.dtype[name]}, not uint")
    of = np.arange(n) // _CHUNK

    def field(name: str, shift: int, bits: int) -> NDArray[np.float32]:
        mask = (1 << bits) - 1
        return ((vertex[name] >> np.uint32(shift)) & np.uint32(mask)).astype(np.float32) / mask

    def between(name: str, part: NDArray[np.float32]) -> NDArray[np.float32]:
        low = chunk[f"min_{name}"].astype(np.float32)[of]
        return low + part * (chunk[f"max_{name}"].astype(np.float32)[of] - low)

    thirds = ((21, 11), (11, 10), (0, 11))
    with np.errstate(all="ignore"):
        means = [
            between(a, field("packed_position", *b)) for a, b in zip("xyz", thirds, strict=True)
        ]
        scales = [
            np.exp(between(f"scale_{a}", field("packed_scale", *b)))
            for a, b in zip("xyz", thirds, strict=True)
        ]
        rest = np.stack([field("packed_rotation", s, 10) for s in (20, 10, 0)], axis=1)
        rest = (rest - np.float32(0.5)) * np.float32(np.sqrt(2.0))
        largest = np.sqrt(np.maximum(1.0 - (rest**2).sum(axis=1), 0.0)).astype(np.float32)
        colors = [field("packed_color", s, 8) for s in (24, 16, 8)]
        if "min_r" in (chunk.dtype.names or ()):
            _require(path, "chunk", chunk, ("min_g", "min_b", "max_r", "max_g", "max_b"))
            colors = [between(a, c) for a, c in zip("rgb", colors, strict=True)]
        dc = (np.stack(colors, axis=1) - np.float32(0.5)) / np.float32(_SH_0)
    where = (vertex["packed_rotation"] >> np.uint32(30)).astype(np.int64)
    quats = np.empty((n, 4), np.float32)
    for place in range(4):  # the largest component is left out: 0 is w
        rows = where == place
        quats[rows] = np.insert(rest[rows], place, largest[rows], axis=1)
    sh = np.zeros((n, 0, 3), np.float32)
    if "sh" in tables:
        coded = tables["sh"]
        if coded.shape[0] != n:
            raise DataError(f"{path}: element 'sh' counts {coded.shape[0]}, not {n}")
        coded_sh = _coefficients(path, coded, "f_rest_")
        unit = np.where(coded_sh >= 255, 1.0, np.where(coded_sh <= 0, 0.0, (coded_sh + 0.5) / 256))
        sh = ((unit - 0.5) * 8.0).astype(np.float32)
    return Gaussians(
        means=np.stack(means, axis=1),
        quats=quats,
        scales=np.stack(scales, axis=1),
        opacities=field("packed_color", 0, 8),
        sh=np.concatenate([dc[:, None], sh], axis=1),
    )


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """Writes INRIA's layout, little-endian. It has no place for `antialiased`.

    Raises:
        DataError: a Gaussian that cannot be drawn.
        OSError: it cannot be written.
    """
    g = gaussians.checked("Gaussians to write")
    rest = g.sh.shape[1] - 1
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{c}" for c in range(3))]
    names += [f"f_rest_{k}" for k in range(3 * rest)]
    names += ["opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4))]
    table = np.zeros((len(g), len(names)), "<f4")
    table[:, 0:3] = g.means
    table[:, 6:9] = g.sh[:, 0]
    table[:, 9 : 9 + 3 * rest] = g.sh[:, 1:].transpose(0, 2, 1).reshape(len(g), -1)
    with np.errstate(divide="ignore"):
        o = g.opacities.astype(np.float64)
        logits = np.log(o) - np.log1p(-o)
    at = 9 + 3 * rest
    table[:, at] = np.clip(logits, -_MOST_LOGIT, _MOST_LOGIT)
    table[:, at + 1 : at + 4] = np.log(g.scales)
    table[:, at + 4 : at + 8] = g.quats
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(g)}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]
    path.write_bytes("\n".join(header).encode("ascii") + table.tobytes())
