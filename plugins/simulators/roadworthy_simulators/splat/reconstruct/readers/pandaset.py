"""PandaSet (Xiao et al. 2021) with poses gathered in one file.

`cameras.json` (intrinsics and camera-to-world poses, OpenCV axes), `images/CAMERA/NN.jpg`,
`cuboids.csv.gz` (a box's length lies along its local y) and `lidar_static_rgb.npz` (points that do
not move, with colours). Frame: PandaSet's world, z up [m]. Boxes that are stationary all the time
are part of the background; of a box that both lidars have, that of the spinning one is taken.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from roadworthy.errors import DataError

from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.colmap import view_of
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures
from roadworthy_simulators.splat.reconstruct.readers.tracks import track_at
from roadworthy_simulators.splat.reconstruct.recording import ActorTrack, Recording

__all__ = ["read_pandaset"]

_MOVED = 1.0  # m between the ends of a track, to count as moving


def _actors(path: Path, times: Any) -> list[ActorTrack]:
    table = pd.read_csv(path)
    # What both lidars see has two boxes, each naming the other; sensor 1 looks ahead only.
    twin = table["sibling_id"].astype(str) != "-"
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
    about = json.loads((path / "cameras.json").read_text(encoding="utf-8"))
    lenses, views, files, times = [], [], [], []
    for name, camera in sorted(about["cameras"].items()):
        k = camera["intrinsics"]
        lens = OpenCVLens(
            k["fx"], k["fy"], k["cx"], k["cy"], int(about["width"]), int(about["height"])
        )
        for i, pose in enumerate(camera["poses_cam_to_world"]):
            file = path / "images" / name / f"{i:02d}.jpg"
            if not file.is_file():
                continue
            origin = f"{path / 'cameras.json'}: {name}, frame {i}"
            numbers = np.array([*pose["quat_wxyz"], *pose["position_xyz_m"]], dtype=np.float64)
            views.append(np.linalg.inv(view_of(origin, numbers)))
            lenses.append(lens)
            files.append(file)
            times.append(float(camera["timestamps_s"][i]))
    if not files:
        raise DataError(f"{path / 'images'}: has no images")
    images, ks = read_pictures(files, lenses, width)
    try:
        with np.load(path / "lidar_static_rgb.npz", allow_pickle=False) as points:
            xyz, rgb = points["xyz"].astype(np.float64), points["rgb"].astype(np.uint8)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path / 'lidar_static_rgb.npz'}: cannot be read: {error}") from error
    at = np.array(times)
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(f"{f.parent.name}/{f.name}" for f in files),
        traversal=np.zeros(len(files), np.int64), traversals=("0",), times=at,
        test=np.zeros(len(files), bool), points_world=xyz, point_colors=rgb,
        actors=tuple(_actors(path / "cuboids.csv.gz", at)),
        camera=np.unique([f.parent.name for f in files], return_inverse=True)[1],
    )  # fmt: skip
