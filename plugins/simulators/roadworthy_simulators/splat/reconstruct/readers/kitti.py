"""KITTI odometry: a sequence folder with `calib.txt`, `image_2/` and poses.

Poses, of the left grey camera, are taken from `poses.txt` in the folder or from
`../../poses/NN.txt` as the benchmark has it: twelve numbers a line, camera to world, OpenCV axes.
The world is turned so that z points up where the first camera's y points down.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import check_pose
from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.reconstruct.readers.pictures import read_pictures, size_of
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.said import within

__all__ = ["read_kitti"]

_UP = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def read_kitti(path: Path, width: int | None) -> Recording:
    """See `read_recording`."""
    with within(path / "calib.txt"):
        lines = (path / "calib.txt").read_text(encoding="utf-8").splitlines()
        rows = {line.split(":")[0]: line.split(":")[1].split() for line in lines if ":" in line}
        if len(rows.get("P2", ())) != 12:
            raise DataError("has no P2 of twelve numbers")
        p = np.array(rows["P2"], dtype=np.float64).reshape(3, 4)
        if not np.isfinite(p).all():
            raise DataError(f"P2 is not finite: {p.tolist()}")
        shift = np.eye(4)
        shift[:3, 3] = np.linalg.solve(p[:, :3], p[:, 3])
        check_pose("P2", shift)
    poses_file = path / "poses.txt"
    if not poses_file.is_file():
        poses_file = path.parent.parent / "poses" / f"{path.name}.txt"
    if not poses_file.is_file():
        raise DataError(f"{path}: has no poses.txt, nor is there {poses_file}")
    views, files = [], []
    with within(poses_file):
        poses = poses_file.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(filter(str.strip, poses)):
        with within(f"{poses_file}: line {i + 1}"):
            row = line.split()
            if len(row) != 12:
                raise DataError(f"has {len(row)} numbers, not 12")
            pose = np.vstack([np.array(row, dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])
            check_pose(f"{poses_file}: line {i + 1}", pose)
            views.append(shift @ np.linalg.inv(_UP @ pose))
        files.append(path / "image_2" / f"{i:06d}.png")
    if not files:
        raise DataError(f"{poses_file}: has no poses")
    missing = [f for f in files if not f.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: there is a pose for this image, but no image")
    size = size_of(files[0])
    with within(f"{path / 'calib.txt'}: P2"):
        lens = OpenCVLens(p[0, 0], p[1, 1], p[0, 2] + 0.5, p[1, 2] + 0.5, *size)
    images, ks = read_pictures(files, [lens] * len(files), width)
    times = np.arange(len(files), dtype=np.float64) * 0.1
    if (path / "times.txt").is_file():
        with within(path / "times.txt"):
            found = (path / "times.txt").read_text(encoding="utf-8").split()
            if len(found) < len(files):
                raise DataError(f"has {len(found)} times for {len(files)} poses")
            times = np.array(found[: len(files)], dtype=np.float64)
            if not np.isfinite(times).all():
                raise DataError("not every time is finite")
    return Recording(
        name=str(path), images=images, viewmats=np.stack(views), Ks=ks,
        frames=tuple(f.name for f in files), traversal=np.zeros(len(files), np.int64),
        traversals=("0",), times=times, test=np.zeros(len(files), bool),
    )  # fmt: skip
