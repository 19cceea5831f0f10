"""Readers of recordings. Which one serves is told by the files that are there.

`transforms.json` (nerfstudio), `cameras.txt` or `cameras.bin` (COLMAP), `calib.txt` (KITTI
odometry), `cameras.json` with `cuboids.csv.gz` (PandaSet with images as JPEG).
"""

from __future__ import annotations

from pathlib import Path

from roadworthy.errors import DataError

from roadworthy_simulators.splat.reconstruct.readers.colmap import colmap_model, read_colmap
from roadworthy_simulators.splat.reconstruct.readers.kitti import read_kitti
from roadworthy_simulators.splat.reconstruct.readers.nerfstudio import read_nerfstudio
from roadworthy_simulators.splat.reconstruct.readers.pandaset import read_pandaset
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.said import within

__all__ = ["read_recording"]


def read_recording(path: Path, width: int | None = None) -> Recording:
    """Reads a recording.

    Args:
        path: its folder, or a `transforms.json`.
        width: of the images to work with [pixels]; larger ones are shrunk. None: as they are.

    Raises:
        DataError: nothing known is there, an image is missing or has another size, a pose or a
            camera is not one, or a file is damaged; names the file and the place in it.
    """
    path = Path(path)
    if width is not None and width < 16:
        raise DataError(f"{path}: a width of {width} pixels is less than 16")
    with within(path):
        if path.is_file() or (path / "transforms.json").is_file():
            return read_nerfstudio(path if path.is_file() else path / "transforms.json", width)
        if colmap_model(path) is not None:
            return read_colmap(path, width)
        if (path / "calib.txt").is_file():
            return read_kitti(path, width)
        if (path / "cameras.json").is_file() and (path / "cuboids.csv.gz").is_file():
            return read_pandaset(path, width)
    raise DataError(
        f"{path}: is not a recording",
        hint="A folder with transforms.json (nerfstudio), sparse/0/cameras.bin or .txt (COLMAP), "
        "calib.txt (KITTI odometry), or cameras.json and cuboids.csv.gz (PandaSet).",
    )
