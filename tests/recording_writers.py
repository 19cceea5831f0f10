"""Recordings as `reconstruct` reads them, written from arrays."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "quaternion",
    "write_colmap",
    "write_colmap_binary",
    "write_kitti",
    "write_nerfstudio",
    "write_pandaset",
]

_POINTS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def quaternion(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """[w, x, y, z] of a rotation [3, 3]."""
    w = np.sqrt(max(1 + np.trace(r), 1e-12)) / 2
    v = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / (4 * w)
    return np.array([w, *v])


def write_images(folder: Path, images: NDArray[np.uint8], names: list[str]) -> None:
    """One image a name."""
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)


def write_pandaset(
    folder: Path, images: NDArray[np.uint8], k: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    """Images of one camera, 0.1 s apart, two points, and a box that moves 5 m ahead."""
    write_images(folder, images, [f"images/front/{i:02d}.jpg" for i in range(len(images))])
    poses = [np.linalg.inv(view) for view in views]
    camera = {
        "intrinsics": {"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2]},
        "timestamps_s": [0.1 * i for i in range(len(images))],
        "poses_cam_to_world": [
            {"position_xyz_m": p[:3, 3].tolist(), "quat_wxyz": quaternion(p[:3, :3]).tolist()}
            for p in poses
        ],
    }
    about = {"width": images.shape[2], "height": images.shape[1], "cameras": {"front": camera}}
    (folder / "cameras.json").write_text(json.dumps(about))
    np.savez_compressed(
        folder / "lidar_static_rgb.npz", xyz=_POINTS, rgb=np.full((2, 3), 9, np.uint8)
    )
    rows = [
        {
            "frame": i, "timestamp_s": 0.1 * i, "uuid": "a", "label": "Car", "x_m": 5.0 * i,
            "y_m": 5.0, "z_m": 0.0, "yaw_rad": 0.0, "width_m": 2.0, "length_m": 4.5,
            "height_m": 1.5, "sensor_id": -1, "sibling_id": "-",
        }
        for i in range(len(images))
    ]  # fmt: skip
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    (folder / "cuboids.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _colmap_folder(folder: Path, images: NDArray[np.uint8]) -> tuple[Path, list[str]]:
    """Writes the images; the model's folder, which is made, and the images' names."""
    names = [f"{i}.png" for i in range(len(images))]
    write_images(folder / "images", images, names)
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    return model, names


def write_colmap(
    folder: Path, images: NDArray[np.uint8], k: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    """COLMAP's text, one camera with a little distortion, two points."""
    model, names = _colmap_folder(folder, images)
    lens = f"{k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]} 0.01 0 0 0"
    (model / "cameras.txt").write_text(f"1 OPENCV {images.shape[2]} {images.shape[1]} {lens}\n")
    lines = [
        " ".join(map(str, (i, *quaternion(v[:3, :3]), *v[:3, 3], 1, name))) + "\n\n"
        for i, (v, name) in enumerate(zip(views, names, strict=True))
    ]
    (model / "images.txt").write_text("".join(lines))
    (model / "points3D.txt").write_text("1 1 2 3 4 5 6 0.5 1 2\n2 4 5 6 7 8 9 0.5 1 2\n")


def write_colmap_binary(
    folder: Path, images: NDArray[np.uint8], k: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    """COLMAP's binary files, one camera without distortion, one point."""
    model, names = _colmap_folder(folder, images)
    size = (images.shape[2], images.shape[1])
    lens = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, 1, *size, *lens))
    data = struct.pack("<Q", len(images))
    for i, (v, name) in enumerate(zip(views, names, strict=True)):
        data += struct.pack("<i7di", i, *quaternion(v[:3, :3]), *v[:3, 3], 1)
        data += name.encode() + b"\0" + struct.pack("<Q2dq", 1, 0.0, 0.0, -1)
    (model / "images.bin").write_bytes(data)
    point = struct.pack("<QQ3d3BdQii", 1, 1, 1, 2, 3, 4, 5, 6, 0.5, 1, 1, 2)
    (model / "points3D.bin").write_bytes(point)


def write_kitti(
    folder: Path, images: NDArray[np.uint8], k: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    """A sequence of KITTI odometry."""
    write_images(folder, images, [f"image_2/{i:06d}.png" for i in range(len(images))])
    p = np.hstack([k, np.zeros((3, 1))])
    (folder / "calib.txt").write_text("P2: " + " ".join(map(str, p.reshape(-1))) + "\n")
    rows = [np.linalg.inv(v)[:3].reshape(-1) for v in views]
    (folder / "poses.txt").write_text("\n".join(" ".join(map(str, r)) for r in rows) + "\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * i}\n" for i in range(len(images))))


def write_nerfstudio(
    folder: Path, images: NDArray[np.uint8], k: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    """A `transforms.json` that uses every field, with a `.ply` of two points."""
    names = [f"images/{i}.png" for i in range(len(images))]
    write_images(folder, images, names)
    frames = []
    for i, (name, view) in enumerate(zip(names, views, strict=True)):
        matrix = np.linalg.inv(view)
        matrix[:3, 1:3] *= -1
        frames.append(
            {"file_path": name, "transform_matrix": matrix.tolist(), "traversal": i, "camera": "a",
             "time": 0.1 * i}
        )  # fmt: skip
    poses = [{"time": t, "position": [t, 0, 0], "yaw": 3.1} for t in (0.0, 0.2)]
    about = {
        "camera_model": "OPENCV", "fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2],
        "w": images.shape[2], "h": images.shape[1], "k1": 0.01, "frames": frames,
        "test_filenames": names[:1], "ply_file_path": "points.ply",
        "actors": [{"name": "a", "kind": "vehicle", "size": [4, 2, 1.5], "poses": poses}],
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(about))
    header = ["ply", "format ascii 1.0", "element vertex 2"]
    header += [f"property float {n}" for n in "xyz"]
    header += [f"property uchar {n}" for n in ("red", "green", "blue")]
    body = ["end_header", "1 2 3 4 5 6", "7 8 9 10 11 12"]
    (folder / "points.ply").write_text("\n".join([*header, *body]) + "\n")
