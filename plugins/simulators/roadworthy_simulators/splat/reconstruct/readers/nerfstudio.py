"""nerfstudio's `transforms.json`, with a traversal and a time a frame.

As nerfstudio has it: `transform_matrix` camera to world with OpenGL axes (x right, y up, z back),
`fl_x fl_y cx cy w h` and `k1 .. k6 p1 p2` for all or a frame, `ply_file_path` of the points,
`test_filenames`. Beyond that, a frame may have `traversal` and `camera` (names or numbers) and
`time` [s], and the file `actors`: a list of `{"name", "kind", "size": [length, width, height],
"poses": [{"time", "position": [x, y, z], "yaw"}]}`, interpolated between the poses. Frame: world,
z up [m].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from roadworthy.errors import DataError

from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures, size_of
from roadworthy_simulators.splat.reconstruct.readers.points import read_points
from roadworthy_simulators.splat.reconstruct.readers.tracks import track_at
from roadworthy_simulators.splat.reconstruct.recording import Recording, check_pose

__all__ = ["read_nerfstudio"]

_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")


def _lens(origin: str, frame: dict[str, Any], shared: dict[str, Any], path: Path) -> OpenCVLens:
    values = {**shared, **frame}
    model = values.get("camera_model", "OPENCV")
    if model not in _MODELS:
        raise DataError(
            f"{origin}: camera_model is {model!r}", hint=f"Known: {', '.join(_MODELS)}."
        )
    if "w" not in values or "h" not in values:
        values["w"], values["h"] = size_of(path)
    if "fl_x" not in values and "camera_angle_x" in values:
        values["fl_x"] = 0.5 * values["w"] / np.tan(0.5 * float(values["camera_angle_x"]))
    if "fl_x" not in values:
        raise DataError(f"{origin}: neither fl_x nor camera_angle_x is given")
    return OpenCVLens(
        float(values["fl_x"]), float(values.get("fl_y", values["fl_x"])),
        float(values.get("cx", values["w"] / 2)), float(values.get("cy", values["h"] / 2)),
        int(values["w"]), int(values["h"]),
        tuple(float(values.get(f"k{i}", 0.0)) for i in range(1, 7)),
        (float(values.get("p1", 0.0)), float(values.get("p2", 0.0))),
    )  # fmt: skip


def read_nerfstudio(path: Path, width: int | None) -> Recording:
    """See `read_recording`; `path` is the JSON file."""
    about = json.loads(path.read_text(encoding="utf-8"))
    frames = about.get("frames") if isinstance(about, dict) else None
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path}: has no frames")
    lenses, views, files = [], [], []
    for i, frame in enumerate(frames):
        file = path.parent / str(frame["file_path"])
        origin = f"{path}: frames[{i}]"
        if not file.suffix and not file.exists():
            file = file.with_suffix(".png")
        if not file.is_file():
            raise DataError(f"{file}: there is a pose for this image, but no image")
        matrix = np.array(frame["transform_matrix"], dtype=np.float64)
        if matrix.shape != (4, 4):
            raise DataError(f"{origin}: transform_matrix has shape {matrix.shape}, not (4, 4)")
        check_pose(origin, matrix)
        matrix[:3, 1:3] *= -1
        views.append(np.linalg.inv(matrix))
        lenses.append(_lens(origin, frame, about, file))
        files.append(file)
    images, ks = read_pictures(files, lenses, width)
    names = [str(f.get("traversal", "0")) for f in frames]
    traversals = tuple(dict.fromkeys(names))
    times = np.array([float(f.get("time", i)) for i, f in enumerate(frames)])
    held = set(about.get("test_filenames", ()))
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if about.get("ply_file_path"):
        points, colors = read_points(path.parent / str(about["ply_file_path"]))
    actors = []
    for a in about.get("actors", ()):
        poses = [[p["time"], *p["position"], p["yaw"]] for p in a["poses"]]
        actors.append(
            track_at(
                str(a["name"]), str(a.get("kind", "vehicle")), tuple(map(float, a["size"])),
                np.array(poses, dtype=np.float64).reshape(-1, 5), times,
            )
        )  # fmt: skip
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(str(f["file_path"]) for f in frames),
        traversal=np.array([traversals.index(n) for n in names]), traversals=traversals,
        times=times, test=np.array([f["file_path"] in held for f in frames]),
        points_world=points, point_colors=colors, actors=tuple(actors),
        camera=np.unique([str(f.get("camera", "")) for f in frames], return_inverse=True)[1],
    )  # fmt: skip
