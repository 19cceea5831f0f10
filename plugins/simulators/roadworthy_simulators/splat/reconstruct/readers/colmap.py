"""COLMAP's sparse models, text and binary: `sparse/0/{cameras,images,points3D}` beside `images/`.

The first folder of an image's name is its traversal. The world frame is COLMAP's own, whatever way
is up. Camera models of one or two focal lengths with up to `FULL_OPENCV` distortion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.said import within

__all__ = ["colmap_model", "read_colmap", "view_of"]

# Number in binary files: name, parameters.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5),
    4: ("OPENCV", 8), 6: ("FULL_OPENCV", 12),
}  # fmt: skip
_COUNTS = dict(_MODELS.values())


def colmap_model(path: Path) -> Path | None:
    """The folder of the sparse model in a recording, if there is one."""
    for folder in (path / "sparse" / "0", path / "sparse", path / "colmap" / "sparse" / "0", path):
        if (folder / "cameras.bin").is_file() or (folder / "cameras.txt").is_file():
            return folder
    return None


def _lens(model: str, width: int, height: int, p: Any) -> OpenCVLens:
    if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        return OpenCVLens(p[0], p[0], p[1], p[2], width, height, tuple(p[3:]))
    if model == "FULL_OPENCV":
        return OpenCVLens(*p[:4], width, height, (p[4], p[5], *p[8:12]), (p[6], p[7]))
    return OpenCVLens(*p[:4], width, height, tuple(p[4:6]), tuple(p[6:8]) or (0.0, 0.0))


class _Bytes:
    """A binary file, read with every count checked against what is left."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + layout)
        if self.at + size > len(self.data):
            raise DataError(f"{self.path}: is cut short at byte {self.at}")
        self.at += size
        return struct.unpack_from("<" + layout, self.data, self.at - size)

    def skip(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise DataError(f"{self.path}: is cut short at byte {self.at}")
        self.at += size

    def name(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise DataError(f"{self.path}: a name has no end")
        raw, self.at = self.data[self.at : end], end + 1
        return raw.decode("utf-8", "replace")


def _lines(path: Path, step: int = 1) -> Iterator[tuple[str, list[str]]]:
    """Where a line is, and its words; every so many-th that is no comment, if it is not empty."""
    with within(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    kept = [(i + 1, line.split()) for i, line in enumerate(lines) if not line.startswith("#")]
    for number, words in kept[::step]:
        if words:
            yield f"{path}: line {number}", words


def _cameras(folder: Path) -> dict[int, OpenCVLens]:
    out = {}
    if (folder / "cameras.bin").is_file():
        data = _Bytes(folder / "cameras.bin")
        for _ in range(data.take("Q")[0]):
            number, model, width, height = data.take("iiQQ")
            with within(f"{data.path}: camera {number}"):
                if model not in _MODELS:
                    raise DataError(f"unknown model {model}")
                name, count = _MODELS[model]
                out[number] = _lens(name, width, height, data.take(f"{count}d"))
        return out
    for where, line in _lines(folder / "cameras.txt"):
        with within(where):
            if len(line) < 4 or len(line) - 4 != _COUNTS.get(line[1]):
                raise DataError(f"cannot read camera {' '.join(line)!r}")
            out[int(line[0])] = _lens(
                line[1], int(line[2]), int(line[3]), tuple(float(x) for x in line[4:])
            )
    return out


def _images(folder: Path) -> list[tuple[str, int, NDArray[np.float64]]]:
    """Name, camera, [qw, qx, qy, qz, tx, ty, tz] world to camera."""
    out = []
    path = folder / "images.bin"
    if path.is_file():
        data = _Bytes(path)
        for _ in range(data.take("Q")[0]):
            found = data.take("i7di")
            out.append((data.name(), int(found[8]), np.array(found[1:8])))
            data.skip(24 * data.take("Q")[0])
    else:
        path = folder / "images.txt"
        # Two lines an image, the second (its points) may be empty.
        for where, line in _lines(path, 2):
            with within(where):
                if len(line) < 10:
                    raise DataError(f"cannot read image {' '.join(line)!r}")
                pose = np.array([float(x) for x in line[1:8]])
                out.append((" ".join(line[9:]), int(line[8]), pose))
    if not out:
        raise DataError(f"{path}: has no images")
    return out


def _points(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    xyz, rgb = [], []
    if (folder / "points3D.bin").is_file():
        data = _Bytes(folder / "points3D.bin")
        for _ in range(data.take("Q")[0]):
            found = data.take("Q3d3Bd")
            xyz.append(found[1:4])
            rgb.append(found[4:7])
            data.skip(8 * data.take("Q")[0])
    elif (folder / "points3D.txt").is_file():
        for where, line in _lines(folder / "points3D.txt"):
            with within(where):
                if len(line) < 7:
                    raise DataError(f"cannot read point {' '.join(line)!r}")
                color = tuple(int(x) for x in line[4:7])
                if not all(0 <= c <= 255 for c in color):
                    raise DataError(f"the colour is {color}, not within 0 to 255")
                xyz.append(tuple(float(x) for x in line[1:4]))
                rgb.append(color)
    return np.array(xyz, np.float64).reshape(-1, 3), np.array(rgb, np.uint8).reshape(-1, 3)


def view_of(origin: str, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """[4, 4] from w, x, y, z, tx, ty, tz; `origin` is what errors call it."""
    q = pose[:4]
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(q))
    if not np.isfinite(pose).all() or abs(length - 1) > 1e-2:
        raise DataError(f"{origin}: the pose is {pose.tolist()}, without a unit quaternion")
    w, x, y, z = q / length
    view = np.eye(4)
    view[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    view[:3, 3] = pose[4:]
    return view


def read_colmap(path: Path, width: int | None) -> Recording:
    """See `read_recording`."""
    folder = colmap_model(path)
    assert folder is not None
    cameras = _cameras(folder)
    images = sorted(_images(folder), key=lambda image: image[0])
    lenses = []
    for name, camera, _ in images:
        if camera not in cameras:
            raise DataError(f"{folder}: image {name} has camera {camera}, which is not there")
        lenses.append(cameras[camera])
    pictures, ks = read_pictures([path / "images" / i[0] for i in images], lenses, width)
    drives = [i[0].split("/")[0] if "/" in i[0] else "0" for i in images]
    traversals = tuple(dict.fromkeys(drives))
    points, colors = _points(folder)
    return Recording(
        name=str(path), images=pictures,
        viewmats=np.stack([view_of(f"{folder}: {i[0]}", i[2]) for i in images]), Ks=ks,
        frames=tuple(i[0] for i in images),
        traversal=np.array([traversals.index(d) for d in drives]), traversals=traversals,
        times=np.arange(len(images), dtype=np.float64), test=np.zeros(len(images), bool),
        points_world=points, point_colors=colors,
        camera=np.array([i[1] for i in images], dtype=np.int64),
    )  # fmt: skip
