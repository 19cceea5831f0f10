"""`.spz` (Niantic): quantised Gaussians, gzip'd (versions 1 to 3) or in zstd streams (4).

Versions 1 to 3 are one gzip stream: a header of 16 bytes, then all positions, opacities, colours,
scales, rotations and harmonics, one after the other. Version 4 is a plain header of 32 bytes, a
table of contents, and a zstd stream for each of those. The file's frame is right, up, back; a
`.ply` of the same scene has right, down, forward, and that is what is read and written here.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.gaussians import (
    MAX_DEGREE,
    MAX_GAUSSIANS,
    Gaussians,
    terms_of_degree,
)

__all__ = ["read_spz", "write_spz"]

_MAGIC = 0x5053474E  # "NGSP"
_HEADER = struct.Struct("<IIIBBBB")
_ANTIALIASED, _EXTENSIONS = 1, 2
_COLOR_SCALE = 0.15
_BIG = 256 << 20  # from here on, a file that unpacks to more than _RATIO times its size is refused
_RATIO = 100
_MAX_FRACTION = 24
# Signs of the harmonics under y -> -y, z -> -z.
_FLIP_SH = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], dtype=np.float32)
_FLIP = np.array([1, -1, -1], dtype=np.float32)


def read_spz(path: Path) -> Gaussians:
    """Reads versions 1 to 4.

    Raises:
        DataError: not such a file, another size than it declares, unpacking without end, or a
            Gaussian that cannot be drawn; names file, field and value.
        OSError: it cannot be opened.
    """
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        version, n, degree, fraction, flags, streams = _from_gzip(path, data)
    elif data[:4] == struct.pack("<I", _MAGIC):
        version, n, degree, fraction, flags, streams = _from_zstd(path, data)
    else:
        raise DataError(f"{path}: begins with {data[:4]!r}, neither gzip nor 'NGSP'")
    positions, alphas, colors, scales, rotations, harmonics = streams
    means: NDArray[np.float32]
    if version == 1:
        means = positions.view("<f2").astype(np.float32).reshape(n, 3)
    else:
        low, middle, high = positions.reshape(n, 3, 3).astype(np.int32).transpose(2, 0, 1)
        fixed = (low | (middle << 8) | (high << 16)) << 8 >> 8  # the top bit is the sign
        means = (fixed / 2.0**fraction).astype(np.float32)
    sh = np.empty((n, terms_of_degree(degree), 3), np.float32)
    sh[:, 0] = (colors.reshape(n, 3) / np.float32(255) - np.float32(0.5)) / _COLOR_SCALE
    sh[:, 1:] = (harmonics.reshape(n, sh.shape[1] - 1, 3).astype(np.float32) - 128.0) / 128.0
    return Gaussians(
        means=means * _FLIP,
        quats=_unpack_rotations(rotations, n, smallest_three=version >= 3),
        scales=np.exp(scales.reshape(n, 3) / np.float32(16) - np.float32(10)),
        opacities=alphas / np.float32(255),
        sh=sh * _FLIP_SH[: sh.shape[1], None],
        antialiased=bool(flags & _ANTIALIASED),
    ).checked(str(path))


_Parts = tuple[int, int, int, int, int, list[NDArray[np.uint8]]]


def _check_header(path: Path, header: bytes, versions: range) -> tuple[int, int, int, int, int]:
    magic, version, n, degree, fraction, flags, _ = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise DataError(f"{path}: the magic number is {magic:#x}, not {_MAGIC:#x}")
    if version not in versions:
        raise DataError(f"{path}: version is {version}", hint="Versions 1 to 4 can be read.")
    if n > MAX_GAUSSIANS:
        raise DataError(f"{path}: numPoints is {n}, more than {MAX_GAUSSIANS}")
    if degree > MAX_DEGREE:
        raise DataError(f"{path}: shDegree is {degree}, more than {MAX_DEGREE}")
    if fraction > _MAX_FRACTION:
        raise DataError(f"{path}: fractionalBits is {fraction}, more than {_MAX_FRACTION}")
    return version, n, degree, fraction, flags


def _sizes(version: int, n: int, degree: int) -> list[int]:
    """Bytes of positions, opacities, colours, scales, rotations, harmonics."""
    position = 6 if version == 1 else 9
    rotation = 4 if version >= 3 else 3
    each = (position, 1, 3, 3, rotation, 3 * (terms_of_degree(degree) - 1))
    return [n * size for size in each]


def _refuse_bomb(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > _BIG and unpacked > _RATIO * packed:
        raise DataError(
            f"{path}: declares {unpacked} bytes in a file of {packed}",
            hint="No scene packs so well; the file is damaged or made to fill the memory.",
        )


def _from_gzip(path: Path, data: bytes) -> _Parts:
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        header = stream.decompress(data, _HEADER.size)
        if len(header) < _HEADER.size:
            raise DataError(f"{path}: ends within its header")
        version, n, degree, fraction, flags = _check_header(path, header, range(1, 4))
        if flags & _EXTENSIONS:
            raise DataError(
                f"{path}: flags is {flags}: it has vendor extensions, whose length is not declared",
                hint="Write it again without extensions, or as version 4.",
            )
        sizes = _sizes(version, n, degree)
        _refuse_bomb(path, sum(sizes), len(data))
        body = stream.decompress(stream.unconsumed_tail, sum(sizes) + 1)
    except zlib.error as error:
        raise DataError(f"{path}: damaged gzip stream: {error}") from error
    if len(body) != sum(sizes):
        shown = f"more than {sum(sizes)}" if len(body) > sum(sizes) else str(len(body))
        raise DataError(
            f"{path}: unpacks to {shown} bytes after the header, but numPoints {n} and shDegree "
            f"{degree} need {sum(sizes)}"
        )
    ends = np.cumsum(sizes)[:-1]
    return version, n, degree, fraction, flags, np.split(np.frombuffer(body, np.uint8), ends)


def _from_zstd(path: Path, data: bytes) -> _Parts:
    if len(data) < 32:
        raise DataError(f"{path}: ends within its header")
    version, n, degree, fraction, flags = _check_header(path, data[:16], range(4, 5))
    count = data[15]
    (table,) = struct.unpack_from("<I", data, 16)
    sizes = _sizes(version, n, degree)
    wanted = sizes if sizes[-1] else sizes[:-1]
    if count != len(wanted):
        raise DataError(f"{path}: has {count} streams, not {len(wanted)}")
    if table < 32 or table + 16 * count > len(data):
        raise DataError(f"{path}: tocByteOffset is {table}, outside the file")
    _refuse_bomb(path, sum(sizes), len(data))
    at = table + 16 * count
    codec = pa.Codec("zstd")
    streams = []
    for k, size in enumerate(wanted):
        packed, unpacked = struct.unpack_from("<QQ", data, table + 16 * k)
        if unpacked != size:
            raise DataError(f"{path}: stream {k} declares {unpacked} bytes, not {size}")
        if packed > len(data) - at:
            raise DataError(f"{path}: stream {k} ends beyond the file")
        try:
            raw = codec.decompress(data[at : at + packed], decompressed_size=size, asbytes=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: damaged zstd stream {k}: {error}") from error
        if len(raw) != size:
            raise DataError(f"{path}: stream {k} unpacks to {len(raw)} bytes, not {size}")
        streams.append(np.frombuffer(raw, np.uint8))
        at += packed
    if len(streams) == 5:
        streams.append(np.zeros(0, np.uint8))
    return version, n, degree, fraction, flags, streams


def _unpack_rotations(
    rotations: NDArray[np.uint8], n: int, *, smallest_three: bool
) -> NDArray[np.float32]:
    """w, x, y, z in the frame right, down, forward."""
    xyzw = np.empty((n, 4), np.float32)
    if smallest_three:
        words = rotations.view("<u4").astype(np.uint32)
        largest = (words >> np.uint32(30)).astype(np.int64)
        rows = np.arange(n)
        total = np.zeros(n, np.float32)
        for component in (3, 2, 1, 0):
            size = (words & np.uint32(511)).astype(np.float32) * np.float32(np.sqrt(0.5) / 511)
            value = np.where(words & np.uint32(512), -size, size)
            here = largest != component
            xyzw[here, component] = value[here]
            total[here] += value[here] ** 2
            words = np.where(here, words >> np.uint32(10), words)
        xyzw[rows, largest] = np.sqrt(np.maximum(1.0 - total, 0.0))
    else:
        xyzw[:, :3] = rotations.reshape(n, 3) / np.float32(127.5) - np.float32(1)
        xyzw[:, 3] = np.sqrt(np.maximum(1.0 - (xyzw[:, :3] ** 2).sum(axis=1), 0.0))
    return np.concatenate([xyzw[:, 3:], xyzw[:, :3] * _FLIP], axis=1)


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Writes version 3, which every reader knows. Lossy: 8 bits a value, 10 a rotation component,
    24 a coordinate (12 of them after the point, fewer where the scene is larger than 2 km).

    Raises:
        DataError: a Gaussian that cannot be drawn, or a position too far out.
        OSError: it cannot be written.
    """
    g = gaussians.checked("Gaussians to write")
    n = len(g)
    reach = float(np.abs(g.means).max(initial=0.0))
    fraction = 12
    while fraction > 0 and reach * 2**fraction > 2**23 - 1:
        fraction -= 1
    if reach * 2**fraction > 2**23 - 1:
        raise DataError(f"{path}: a mean lies {reach:.4g} from the origin; .spz ends at {2**23}")
    fixed = np.round(g.means.astype(np.float64) * _FLIP * 2.0**fraction).astype(np.int32)
    positions = fixed.astype("<i4").view(np.uint8).reshape(n, 3, 4)[:, :, :3]
    sh = g.sh * _FLIP_SH[: g.sh.shape[1], None]
    header = _HEADER.pack(_MAGIC, 3, n, g.degree, fraction, _ANTIALIASED if g.antialiased else 0, 0)
    body = [
        positions,
        _byte(g.opacities * 255.0),
        _byte(sh[:, 0] * (_COLOR_SCALE * 255.0) + 127.5),
        _byte((np.log(g.scales) + 10.0) * 16.0),
        _pack_rotations(g.quats),
        _byte(sh[:, 1:] * 128.0 + 128.0),
    ]
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    parts = [packer.compress(header), *(packer.compress(b.tobytes()) for b in body), packer.flush()]
    path.write_bytes(b"".join(parts))


def _byte(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _pack_rotations(quats: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The three smallest components of x, y, z, w as sign and 9 bits, and which is left out."""
    xyzw = np.concatenate([quats[:, 1:] * _FLIP, quats[:, :1]], axis=1).astype(np.float64)
    xyzw /= np.abs(xyzw).max(axis=1, keepdims=True)  # a tiny quaternion must not underflow
    xyzw /= np.linalg.norm(xyzw, axis=1, keepdims=True)
    largest = np.abs(xyzw).argmax(axis=1)
    rows = np.arange(len(quats))
    xyzw *= np.where(xyzw[rows, largest] < 0, -1.0, 1.0)[:, None]
    words = largest.astype(np.uint32)
    for component in range(4):
        value = xyzw[:, component]
        size = np.minimum(511, (511 * np.abs(value) / np.sqrt(0.5) + 0.5).astype(np.uint32))
        coded = (words << np.uint32(10)) | ((value < 0).astype(np.uint32) << np.uint32(9)) | size
        words = np.where(largest != component, coded.astype(np.uint32), words)
    return words.astype("<u4")
