"""nerfstudio's `transforms.json`, with a traversal and a time a frame.

As nerfstudio has it: `transform_matrix` camera to world with OpenGL axes (x right, y up, z back),
`fl_x fl_y cx cy w h` and `k1 .. k6 p1 p2` for all or a frame, `ply_file_path` of the points,
`test_filenames`. Beyond that, a frame may have `traversal` and `camera` (names or numbers) and
`time` [s], and the file `actors`: a list of `{"name", "kind", "size": [length, width, height],
"poses": [{"time", "position": [x, y, z], "yaw"}]}`, interpolated between the poses. Frame: world,
z up [m].
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from roadworthy.errors import DataError

from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures, size_of
from roadworthy_simulators.splat.reconstruct.readers.points import read_points
from roadworthy_simulators.splat.reconstruct.readers.said import read_json, within
from roadworthy_simulators.splat.reconstruct.readers.tracks import track_at
from roadworthy_simulators.splat.reconstruct.recording import Recording, check_pose

__all__ = ["read_nerfstudio"]

_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")


class _Lens(msgspec.Struct, kw_only=True):
    camera_model: str | None = None
    camera_angle_x: float | None = None
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k4: float | None = None
    k5: float | None = None
    k6: float | None = None
    p1: float | None = None
    p2: float | None = None


class _Frame(_Lens, kw_only=True):
    file_path: str
    transform_matrix: list[list[float]]
    traversal: str | int | float = 0
    camera: str | int | float = ""
    time: float | None = None


class _Pose(msgspec.Struct):
    time: float
    position: tuple[float, float, float]
    yaw: float


class _Actor(msgspec.Struct):
    name: str
    size: tuple[float, float, float]
    poses: list[_Pose]
    kind: str = "vehicle"


class _Transforms(_Lens, kw_only=True):
    frames: list[_Frame]
    test_filenames: list[str] = []
    ply_file_path: str | None = None
    actors: list[_Actor] = []


def _lens(frame: _Lens, shared: _Lens, path: Path) -> OpenCVLens:
    given = {
        name: value
        for part in (shared, frame)  # a frame's own come last, and hold
        for name in _Lens.__struct_fields__
        if (value := getattr(part, name)) is not None
    }
    model = given.pop("camera_model", "OPENCV")
    if model not in _MODELS:
        raise DataError(f"camera_model is {model!r}", hint=f"Known: {', '.join(_MODELS)}.")
    if "w" not in given or "h" not in given:
        given["w"], given["h"] = size_of(path)
    w, h = given["w"], given["h"]
    if (w, h) != (int(w), int(h)):
        raise DataError(f"size is {w} x {h}, not whole pixels")
    if "fl_x" not in given and "camera_angle_x" in given:
        given["fl_x"] = 0.5 * w / np.tan(0.5 * given["camera_angle_x"])
    if "fl_x" not in given:
        raise DataError("neither fl_x nor camera_angle_x is given")
    return OpenCVLens(
        given["fl_x"], given.get("fl_y", given["fl_x"]),
        given.get("cx", w / 2), given.get("cy", h / 2), int(w), int(h),
        tuple(given.get(f"k{i}", 0.0) for i in range(1, 7)),
        (given.get("p1", 0.0), given.get("p2", 0.0)),
    )  # fmt: skip


def read_nerfstudio(path: Path, width: int | None) -> Recording:
    """See `read_recording`; `path` is the JSON file."""
    about = read_json(path, _Transforms)
    frames = about.frames
    if not frames:
        raise DataError(f"{path}: has no frames")
    lenses, views, files = [], [], []
    for i, frame in enumerate(frames):
        with within(f"{path}: frames[{i}]"):
            file = path.parent / frame.file_path
            if not file.suffix and not file.exists():
                file = file.with_suffix(".png")
            if not file.is_file():
                raise DataError(f"{file}: there is a pose for this image, but no image")
            rows = [len(row) for row in frame.transform_matrix]
            if rows != [4] * 4:
                raise DataError(f"transform_matrix has rows of {rows} numbers, not 4 x 4")
            matrix = np.array(frame.transform_matrix, dtype=np.float64)
            check_pose("transform_matrix", matrix)
            matrix[:3, 1:3] *= -1
            views.append(np.linalg.inv(matrix))
            lenses.append(_lens(frame, about, file))
            files.append(file)
    images, ks = read_pictures(files, lenses, width)
    names = [str(f.traversal) for f in frames]
    traversals = tuple(dict.fromkeys(names))
    times = np.array([float(i) if f.time is None else f.time for i, f in enumerate(frames)])
    held = set(about.test_filenames)
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if about.ply_file_path:
        points, colors = read_points(path.parent / about.ply_file_path)
    actors = []
    for a in about.actors:
        poses = np.array([[p.time, *p.position, p.yaw] for p in a.poses]).reshape(-1, 5)
        actors.append(track_at(a.name, a.kind, a.size, poses, times))
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(f.file_path for f in frames),
        traversal=np.array([traversals.index(n) for n in names]), traversals=traversals,
        times=times, test=np.array([f.file_path in held for f in frames]),
        points_world=points, point_colors=colors, actors=tuple(actors),
        camera=np.unique([str(f.camera) for f in frames], return_inverse=True)[1],
    )  # fmt: skip
