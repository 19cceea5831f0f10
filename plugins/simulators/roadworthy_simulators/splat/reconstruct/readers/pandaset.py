"""PandaSet (Xiao et al. 2021) with poses gathered in one file.

`cameras.json` (intrinsics and camera-to-world poses, OpenCV axes), `images/CAMERA/NN.jpg`,
`cuboids.csv.gz` (a box's length lies along its local y) and `lidar_static_rgb.npz` (points that do
not move, with colours). Frame: PandaSet's world, z up [m]. Boxes that are stationary all the time
are part of the background; of a box that both lidars have, that of the spinning one is taken.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.colmap import view_of
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures
from roadworthy_simulators.splat.reconstruct.readers.tracks import track_at
from roadworthy_simulators.splat.reconstruct.recording import ActorTrack, Recording
from roadworthy_simulators.splat.said import read_json, within

__all__ = ["read_pandaset"]

_MOVED = 1.0  # m between the ends of a track, to count as moving
_MOST_BYTES = 2**30  # unpacked, of either file that is packed
_COLUMNS = {
    "uuid": str, "label": str, "frame": int, "timestamp_s": float, "x_m": float, "y_m": float,
    "z_m": float, "yaw_rad": float, "length_m": float, "width_m": float, "height_m": float,
    "sensor_id": int, "sibling_id": str,
}  # fmt: skip


class _Intrinsics(msgspec.Struct):
    fx: float
    fy: float
    cx: float
    cy: float


class _Pose(msgspec.Struct):
    position_xyz_m: tuple[float, float, float]
    quat_wxyz: tuple[float, float, float, float]


class _Camera(msgspec.Struct):
    intrinsics: _Intrinsics
    timestamps_s: list[float]
    poses_cam_to_world: list[_Pose]


class _Rig(msgspec.Struct):
    width: int
    height: int
    cameras: dict[str, _Camera]


def _points(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    with within(path):
        with zipfile.ZipFile(path) as archive:
            _check_size(sum(entry.file_size for entry in archive.infolist()))
        with np.load(path, allow_pickle=False) as points:
            xyz, rgb = points["xyz"], points["rgb"]
        for name, array, kind in (("xyz", xyz, "f"), ("rgb", rgb, "u")):
            if array.dtype.kind != kind or array.shape != (len(xyz), 3):
                raise DataError(
                    f"{name} is {array.dtype} {array.shape}, not {kind} ({len(xyz)}, 3)"
                )
        return xyz.astype(np.float64), rgb.astype(np.uint8)


def _check_size(unpacked: int) -> None:
    if unpacked > _MOST_BYTES:
        raise DataError(f"unpacks to more than {_MOST_BYTES} bytes")


def _table(path: Path) -> pd.DataFrame:
    with within(path):
        with gzip.open(path) as file:
            text = file.read(_MOST_BYTES + 1)
        _check_size(len(text))
        table = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
        for name, kind in _COLUMNS.items():
            with within(f"column {name}"):
                table[name] = table[name].astype(kind)
        numbers = table.select_dtypes("number")
        odd = numbers.columns[~np.isfinite(numbers.to_numpy()).all(axis=0)]
        if len(odd):
            raise DataError(f"column {odd[0]} is not all finite")
        return table


def _actors(path: Path, times: NDArray[np.float64]) -> list[ActorTrack]:
    table = _table(path)
    # What both lidars see has two boxes, each naming the other; sensor 1 looks ahead only.
    twin = table["sibling_id"] != "-"
    table = table[~(twin & (table["sensor_id"] == 1))]
    actors = []
    for name, rows in table.groupby("uuid", sort=True):
        rows = rows.drop_duplicates("frame").sort_values("frame")
        place = rows[["x_m", "y_m", "z_m"]].to_numpy(np.float64)
        if len(rows) < 2 or np.linalg.norm(place.max(0) - place.min(0)) < _MOVED:
            continue
        poses = np.column_stack([rows["timestamp_s"], place, rows["yaw_rad"] + np.pi / 2])
        size = tuple(float(rows[k].median()) for k in ("length_m", "width_m", "height_m"))
        actors.append(track_at(str(name), str(rows["label"].iloc[0]), size, poses, times))
    return actors


def read_pandaset(path: Path, width: int | None) -> Recording:
    """See `read_recording`."""
    about = read_json(path / "cameras.json", _Rig)
    lenses, views, files, times = [], [], [], []
    for name, camera in sorted(about.cameras.items()):
        k = camera.intrinsics
        with within(f"{path / 'cameras.json'}: {name}"):
            lens = OpenCVLens(k.fx, k.fy, k.cx, k.cy, about.width, about.height)
            if len(camera.timestamps_s) != len(camera.poses_cam_to_world):
                raise DataError(
                    f"has {len(camera.timestamps_s)} timestamps_s for "
                    f"{len(camera.poses_cam_to_world)} poses_cam_to_world"
                )
        for i, pose in enumerate(camera.poses_cam_to_world):
            file = path / "images" / name / f"{i:02d}.jpg"
            if not file.is_file():
                continue
            origin = f"{path / 'cameras.json'}: {name}, frame {i}"
            numbers = np.array([*pose.quat_wxyz, *pose.position_xyz_m], dtype=np.float64)
            views.append(np.linalg.inv(view_of(origin, numbers)))
            lenses.append(lens)
            files.append(file)
            times.append(camera.timestamps_s[i])
    if not files:
        raise DataError(f"{path / 'images'}: has no images")
    images, ks = read_pictures(files, lenses, width)
    xyz, rgb = _points(path / "lidar_static_rgb.npz")
    at = np.array(times)
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(f"{f.parent.name}/{f.name}" for f in files),
        traversal=np.zeros(len(files), np.int64), traversals=("0",), times=at,
        test=np.zeros(len(files), bool), points_world=xyz, point_colors=rgb,
        actors=tuple(_actors(path / "cuboids.csv.gz", at)),
        camera=np.unique([f.parent.name for f in files], return_inverse=True)[1],
    )  # fmt: skip
