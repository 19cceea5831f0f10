"""Cameras of a nerfstudio `transforms.json`: one reader for what renders and what reconstructs.

A frame's `transform_matrix` is camera to world, OpenGL axes (x right, y up, z backward). What
follows stands at the file's top, or in a frame for that frame: `fl_x` and `fl_y` or
`camera_angle_x` and `camera_angle_y` [rad], `cx`, `cy`, `w`, `h`, `camera_model`, and the
distortion `k1` .. `k6`, `p1`, `p2` of OpenCV (see `lenses`), which is applied under every model but
the pinholes, where it is refused. Fisheyes and panoramas are refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import check_pose
from roadworthy_simulators.splat.lenses import OpenCVLens
from roadworthy_simulators.splat.said import read_json, within

__all__ = ["Frame", "Transforms", "lens_of", "read_transforms", "view_of"]

_MOST_FRAMES = 100_000
_LARGEST = 256 * 1024 * 1024
_PINHOLES = ("SIMPLE_PINHOLE", "PINHOLE")
_MODELS = (*_PINHOLES, "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_RADIAL = ("k1", "k2", "k3", "k4", "k5", "k6")
_TANGENTIAL = ("p1", "p2")
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


class _Lens(msgspec.Struct, frozen=True, kw_only=True):
    camera_model: str | None = None
    camera_angle_x: float | None = None
    camera_angle_y: float | None = None
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


class Frame(_Lens, frozen=True, kw_only=True):
    """One image: its pose, what it calls itself, its drive and camera, its time [s]."""

    transform_matrix: tuple[tuple[float, ...], ...]
    file_path: str = ""
    traversal: str | int = ""
    camera: str | int = ""
    time: float | None = None


class Transforms(_Lens, frozen=True, kw_only=True):
    """The file: at least one frame, and the intrinsics that they share."""

    frames: tuple[Frame, ...]


_File = TypeVar("_File", bound=Transforms)


def read_transforms(path: Path, kind: type[_File]) -> _File:
    """Reads the file as a `Transforms`, or as a kind of it that knows more fields.

    Raises:
        DataError: it cannot be read, is too large, lacks a field or has one of another type, or
            has no frames.
    """
    with within(path):
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: has {path.stat().st_size} bytes, more than {_LARGEST}")
    said = read_json(path, kind)
    if not said.frames:
        raise DataError(f"{path}: has no frames")
    if len(said.frames) > _MOST_FRAMES:
        raise DataError(f"{path}: has {len(said.frames)} frames, more than {_MOST_FRAMES}")
    return said


def view_of(frame: Frame, where: str) -> NDArray[np.float64]:
    """[4, 4] world to camera, OpenCV axes.

    Raises:
        DataError: the matrix is not a rotation and a position; `where` names the frame.
    """
    where = f"{where}.transform_matrix"
    rows = [len(row) for row in frame.transform_matrix]
    if rows not in ([4] * 4, [4] * 3):
        raise DataError(f"{where} has the shape {rows}, not 4 x 4")
    pose = np.eye(4)
    pose[: len(rows)] = frame.transform_matrix
    check_pose(where, pose)
    out: NDArray[np.float64] = np.linalg.inv(pose @ _TO_OPENCV)
    return out


def lens_of(
    frame: Frame, shared: Transforms, where: str, size: tuple[int, int] | None = None
) -> OpenCVLens:
    """The lens of a frame.

    Args:
        frame: its own fields come before those of
        shared: the file.
        where: names the frame in messages.
        size: width and height of its image, for a file that does not say; None: it must.

    Raises:
        DataError: something is missing, or of a camera that cannot be drawn; names the field.
    """
    got: dict[str, Any] = {}
    for name in _Lens.__struct_fields__:
        own = getattr(frame, name)
        got[name] = getattr(shared, name) if own is None else own
    if size is not None and (got["w"] is None or got["h"] is None):
        got["w"], got["h"] = size
    missing = [n for n in ("w", "h") if got[n] is None]
    if got["fl_x"] is None and got["camera_angle_x"] is None:
        missing.append("fl_x or camera_angle_x")
    if missing:
        raise DataError(f"{where}: has no {' and no '.join(missing)}, nor has the file's top")
    width, height = got["w"], got["h"]
    for name in ("w", "h"):
        if not float(got[name]).is_integer():
            raise DataError(f"{where}.{name} is {got[name]}", hint="Give whole pixels.")
    fx = _focal(got["fl_x"], got["camera_angle_x"], width, f"{where}.camera_angle_x")
    fy = _focal(got["fl_y"], got["camera_angle_y"], height, f"{where}.camera_angle_y")
    bends = {name: got[name] or 0.0 for name in (*_RADIAL, *_TANGENTIAL)}
    _check_model(got["camera_model"] or "OPENCV", bends, where)
    try:
        return OpenCVLens(
            fx, fx if fy is None else fy,
            width / 2 if got["cx"] is None else got["cx"],
            height / 2 if got["cy"] is None else got["cy"],
            int(width), int(height),
            tuple(bends[n] for n in _RADIAL), (bends["p1"], bends["p2"]),
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error


def _focal(length: float | None, angle: float | None, side: float, where: str) -> Any:
    """A focal length [pixels], given itself or as the angle that a side takes [rad]."""
    if length is not None or angle is None:
        return length
    if not 0.0 < angle < math.pi:
        raise DataError(f"{where} is {angle}", hint="Give radians between 0 and pi.")
    return 0.5 * side / math.tan(0.5 * angle)


def _check_model(model: str, bends: dict[str, float], where: str) -> None:
    if model not in _MODELS:
        raise DataError(f"{where}: camera_model is {model!r}", hint=f"Known: {', '.join(_MODELS)}.")
    bent = [f"{name} is {value}" for name, value in bends.items() if value]
    if model in _PINHOLES and bent:
        raise DataError(
            f"{where}: camera_model is {model!r}, but {bent[0]}",
            hint="A pinhole bends nothing: name OPENCV, or leave the coefficient out.",
        )
