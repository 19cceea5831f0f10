"""Pictures of a scene folder from the poses of a nerfstudio `transforms.json`.

Poses, in the scene's own frame, and lenses are read as `transforms` says. A frame's `traversal`
names its light, and its `time` [s] the moment: actors stand where the traversal's tracks have them
then. A frame without a time shows the place without them.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from roadworthy.errors import DataError
from roadworthy.plugins import PluginWarning
from roadworthy.rig import THREE_CAMERAS

from roadworthy_simulators.splat.camera_view import Stage
from roadworthy_simulators.splat.cameras import Cameras, Rendering
from roadworthy_simulators.splat.lenses import OpenCVLens, render_distorted
from roadworthy_simulators.splat.scenes.folder import read_scene
from roadworthy_simulators.splat.transforms import Transforms, lens_of, read_transforms, view_of

__all__ = ["render_pictures"]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One picture to take: where to write it, in which light, of what moment, from where."""

    target: Path
    traversal: str
    time: float | None
    view: NDArray[np.float64]
    lens: OpenCVLens


def render_pictures(scene: Path, cameras: Path, out: Path, traversal: str = "") -> int:
    """Write `NAME.png` for each frame, named by its `file_path` or its number.

    Warns, in one sentence, of pictures that show nothing of the scene.

    Args:
        scene: a scene folder.
        cameras: a transforms.json.
        out: made if absent.
        traversal: instead of what the frames name; frames that name none show the scene's first.

    Returns:
        How many were written.

    Raises:
        DataError: a file cannot be read, or says what no camera can; names frame and field.
    """
    place = read_scene(scene)
    said = read_transforms(cameras, Transforms)
    default = place.traversal(traversal).name if traversal else place.traversals[0].name
    stages: dict[str, Stage] = {}
    jobs: list[_Job] = []
    taken: set[Path] = set()
    for i, frame in enumerate(said.frames):
        where = f"{cameras}: frames[{i}]"
        name = traversal or str(frame.traversal) or default
        place.traversal(name)
        if frame.time is not None and not math.isfinite(frame.time):
            raise DataError(f"{where}.time is {frame.time}", hint="Give seconds.")
        target = out / f"{Path(frame.file_path).stem or f'{i:06d}'}.png"
        if target in taken:
            target = out / f"{target.stem}-{i:06d}.png"
        taken.add(target)
        jobs.append(
            _Job(target, name, frame.time, view_of(frame, where), lens_of(frame, said, where))
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    empty = []
    for job in jobs:
        if job.traversal not in stages:
            stages[job.traversal] = Stage(place, job.traversal, THREE_CAMERAS, backend="auto")
        stage = stages[job.traversal]
        shown = _rendered(stage, job)
        if not shown.alpha.any():
            empty.append(job.target.name)
        try:
            Image.fromarray(stage.develop(shown, 0)).save(job.target)
        except OSError as error:
            raise DataError(f"{job.target}: cannot be written: {error}") from error
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(jobs)} pictures show nothing of the scene, beginning with "
            f"{empty[0]}: their cameras look past it, or stand far away from it",
            PluginWarning,
            stacklevel=2,
        )
    return len(jobs)


def _rendered(stage: Stage, job: _Job) -> Rendering:
    lens, views = job.lens, job.view[None].astype(np.float32)
    gaussians = stage.still if job.time is None else stage.at(job.time)
    if any(lens.radial) or any(lens.tangential):
        return render_distorted(gaussians, views, lens, stage.options)
    k = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    return stage.render(gaussians, Cameras(views, k[None], lens.width, lens.height))
