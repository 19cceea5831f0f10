"""Pictures of a scene folder from the poses of a nerfstudio `transforms.json`.

A frame's `transform_matrix` is camera to world, OpenGL axes (x right, y up, z backward), in the
scene's own frame. Intrinsics stand at the top, or in a frame for that frame: `fl_x`, `fl_y`, `cx`,
`cy`, `w`, `h`, and distortion `k1`, `k2`, `p1`, `p2` (`camera_model` PINHOLE or OPENCV). A
frame's `traversal` names its light.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from roadworthy.errors import DataError
from roadworthy.rig import THREE_CAMERAS

from roadworthy_simulators.splat.camera_view import Stage
from roadworthy_simulators.splat.cameras import Cameras
from roadworthy_simulators.splat.lenses import OpenCVLens, render_distorted
from roadworthy_simulators.splat.scenes.folder import read_scene

__all__ = ["render_pictures"]

_MOST_FRAMES = 100_000
_LARGEST = 256 * 1024 * 1024
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


class _Lens(msgspec.Struct, frozen=True, kw_only=True):
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    p1: float | None = None
    p2: float | None = None


class _Frame(_Lens, frozen=True, kw_only=True):
    transform_matrix: tuple[tuple[float, ...], ...]
    file_path: str = ""
    traversal: str = ""


class _Transforms(_Lens, frozen=True, kw_only=True):
    frames: tuple[_Frame, ...]
    camera_model: str = "PINHOLE"


def render_pictures(scene: Path, cameras: Path, out: Path, traversal: str = "") -> int:
    """Write `NAME.png` for each frame, named by its `file_path` or its number.

    Args:
        scene: a scene folder.
        cameras: a transforms.json.
        out: made if absent.
        traversal: for frames that name none; the scene's first if empty.

    Returns:
        How many were written.

    Raises:
        DataError: a file cannot be read, or says what no camera can; names frame and field.
    """
    place = read_scene(scene)
    said = _decode(cameras)
    default = place.traversal(traversal).name if traversal else place.traversals[0].name
    stages: dict[str, Stage] = {}
    jobs: list[tuple[Path, str, NDArray[np.float64], OpenCVLens]] = []
    taken: set[Path] = set()
    for i, frame in enumerate(said.frames):
        where = f"{cameras}: frames[{i}]"
        name = traversal or frame.traversal or default
        place.traversal(name)
        target = out / f"{Path(frame.file_path).stem or f'{i:06d}'}.png"
        if target in taken:
            target = out / f"{target.stem}-{i:06d}.png"
        taken.add(target)
        jobs.append((target, name, _viewmat(frame, where), _lens(frame, said, where)))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    for target, name, view, lens in jobs:
        if name not in stages:
            stages[name] = Stage(place, name, THREE_CAMERAS, backend="auto")
        picture = _picture(stages[name], view, lens)
        try:
            Image.fromarray(picture).save(target)
        except OSError as error:
            raise DataError(f"{target}: cannot be written: {error}") from error
    return len(jobs)


def _decode(path: Path) -> _Transforms:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: has {path.stat().st_size} bytes, more than {_LARGEST}")
        said = msgspec.json.decode(path.read_bytes(), type=_Transforms)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path}: {error}", hint="It must be a nerfstudio transforms.json."
        ) from error
    if not 1 <= len(said.frames) <= _MOST_FRAMES:
        raise DataError(f"{path}: has {len(said.frames)} frames, not 1 to {_MOST_FRAMES}")
    if said.camera_model not in ("PINHOLE", "OPENCV"):
        raise DataError(
            f"{path}: camera_model is {said.camera_model!r}", hint="Known: PINHOLE, OPENCV."
        )
    return said


def _viewmat(frame: _Frame, where: str) -> NDArray[np.float64]:
    rows = [len(r) for r in frame.transform_matrix]
    if rows != [4] * 4 and rows != [4] * 3:
        raise DataError(f"{where}.transform_matrix is not 4 x 4")
    pose = np.eye(4)
    pose[: len(rows)] = frame.transform_matrix
    rotation = pose[:3, :3]
    straight = np.isfinite(pose).all() and np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
    if not straight or np.linalg.det(rotation) < 0 or not np.array_equal(pose[3], [0, 0, 0, 1]):
        raise DataError(
            f"{where}.transform_matrix is {pose.tolist()}",
            hint="It must be a rotation and a position, camera to world.",
        )
    out: NDArray[np.float64] = np.linalg.inv(pose @ _TO_OPENCV)
    return out


def _lens(frame: _Frame, said: _Transforms, where: str) -> OpenCVLens:
    got: dict[str, Any] = {}
    for name in _Lens.__struct_fields__:
        own = getattr(frame, name)
        got[name] = getattr(said, name) if own is None else own
    if got["fl_y"] is None:
        got["fl_y"] = got["fl_x"]
    missing = [n for n in ("fl_x", "w", "h") if got[n] is None]
    if missing:
        raise DataError(f"{where}: has no {' and no '.join(missing)}, nor has the file's top")
    for name, side in (("cx", "w"), ("cy", "h")):
        if got[name] is None:
            got[name] = 0.5 * got[side]
    if got["w"] != int(got["w"]) or got["h"] != int(got["h"]):
        raise DataError(f"{where}: size is {got['w']} x {got['h']}, not whole pixels")
    bends = {n: got[n] or 0.0 for n in ("k1", "k2", "k3", "p1", "p2")}
    if said.camera_model == "PINHOLE":
        bends = dict.fromkeys(bends, 0.0)
    try:
        return OpenCVLens(
            fx=got["fl_x"], fy=got["fl_y"], cx=got["cx"], cy=got["cy"],
            width=int(got["w"]), height=int(got["h"]),
            radial=(bends["k1"], bends["k2"], bends["k3"]),
            tangential=(bends["p1"], bends["p2"]),
        )  # fmt: skip
    except DataError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from error


def _picture(stage: Stage, view: NDArray[np.float64], lens: OpenCVLens) -> NDArray[np.uint8]:
    if any(lens.radial) or any(lens.tangential):
        shown = render_distorted(stage.still, view[None].astype(np.float32), lens, stage.options)
        return stage.develop(shown, 0)
    k = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    cameras = Cameras(view[None].astype(np.float32), k[None], lens.width, lens.height)
    return stage.develop(stage.render(stage.still, cameras), 0)
