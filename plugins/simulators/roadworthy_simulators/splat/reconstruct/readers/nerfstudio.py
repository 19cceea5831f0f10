"""nerfstudio's `transforms.json`, with a traversal and a time a frame.

Poses and lenses as `transforms` reads them; `ply_file_path` of the points, `test_filenames`. Beyond
nerfstudio, a frame may have `traversal` and `camera` (names or numbers) and `time` [s], and the
file `actors`: a list of `{"name", "kind", "size": [length, width, height], "poses": [{"time",
"position": [x, y, z], "yaw"}]}`, interpolated between the poses. Frame: world, z up [m].
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from roadworthy.errors import DataError

from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures, size_of
from roadworthy_simulators.splat.reconstruct.readers.points import read_points
from roadworthy_simulators.splat.reconstruct.readers.tracks import track_at
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.transforms import Transforms, lens_of, read_transforms, view_of

__all__ = ["read_nerfstudio"]


class _Pose(msgspec.Struct, frozen=True):
    time: float
    position: tuple[float, float, float]
    yaw: float


class _Actor(msgspec.Struct, frozen=True):
    name: str | int
    size: tuple[float, float, float]
    poses: tuple[_Pose, ...]
    kind: str = "vehicle"


class _File(Transforms, frozen=True, kw_only=True):
    ply_file_path: str | None = None
    test_filenames: tuple[str, ...] = ()
    actors: tuple[_Actor, ...] = ()


def read_nerfstudio(path: Path, width: int | None) -> Recording:
    """See `read_recording`; `path` is the JSON file."""
    about = read_transforms(path, _File)
    frames = about.frames
    lenses, views, files = [], [], []
    for i, frame in enumerate(frames):
        origin = f"{path}: frames[{i}]"
        if not frame.file_path:
            raise DataError(f"{origin}: has no file_path")
        file = path.parent / frame.file_path
        if not file.suffix and not file.exists():
            file = file.with_suffix(".png")
        if not file.is_file():
            raise DataError(f"{file}: there is a pose for this image, but no image")
        views.append(view_of(frame, origin))
        lenses.append(lens_of(frame, about, origin, size_of(file)))
        files.append(file)
    images, ks = read_pictures(files, lenses, width)
    names = [str(f.traversal) or "0" for f in frames]
    traversals = tuple(dict.fromkeys(names))
    times = np.array([float(i) if f.time is None else f.time for i, f in enumerate(frames)])
    held = set(about.test_filenames)
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if about.ply_file_path:
        points, colors = read_points(path.parent / about.ply_file_path)
    actors = []
    for a in about.actors:
        poses = np.array([[p.time, *p.position, p.yaw] for p in a.poses], np.float64)
        actors.append(track_at(str(a.name), a.kind, a.size, poses.reshape(-1, 5), times))
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(f.file_path for f in frames),
        traversal=np.array([traversals.index(n) for n in names]), traversals=traversals,
        times=times, test=np.array([f.file_path in held for f in frames]),
        points_world=points, point_colors=colors, actors=tuple(actors),
        camera=np.unique([str(f.camera) for f in frames], return_inverse=True)[1],
    )  # fmt: skip
