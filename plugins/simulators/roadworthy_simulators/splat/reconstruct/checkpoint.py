"""A fit on disk: `fit.safetensors` for arrays, `fit.json` for the rest. No pickle."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.options import FitOptions
from roadworthy_simulators.splat.reconstruct.recording import Recording

__all__ = ["fit_options", "load_fit", "save_fit"]

_VERSION = 2


def _digest(recording: Recording) -> str:
    """What the recording is, so that a fit goes on with the same one."""
    hashed = hashlib.sha256()
    for array in (
        recording.images, recording.viewmats, recording.Ks, recording.traversal, recording.test,
        recording.points_world, *(a.poses_world[a.present] for a in recording.actors),
    ):  # fmt: skip
        hashed.update(str(array.shape).encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def _arrays(fit: Fit) -> dict[str, NDArray[Any]]:
    model = fit.model
    out: dict[str, NDArray[Any]] = {f"row.{k}": v for k, v in model.rows.items()}
    out |= {"owner": model.owner, "exposure": model.exposure, "deltas": model.deltas}
    out |= {"pull": fit.growth.pull, "views": fit.growth.views}
    for name, moments in model.moments.items():
        out[f"first.{name}"], out[f"second.{name}"] = moments.first, moments.second
    return {k: np.ascontiguousarray(v) for k, v in out.items()}


def save_fit(fit: Fit, folder: Path) -> None:
    """Writes the fit so that `load_fit` goes on bit for bit.

    A kill while it writes leaves the checkpoint before it: the JSON, which names the arrays' file,
    is replaced last and at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"fit-{fit.step}.safetensors"
    save_file(_arrays(fit), folder / name)
    about = {
        "version": _VERSION,
        "arrays": name,
        "step": fit.step,
        "adam_steps": {k: m.steps for k, m in fit.model.moments.items()},
        "options": fit.options.as_dict(),
        "recording": _digest(fit.recording),
    }
    draft = folder / "fit.json.new"
    draft.write_text(json.dumps(about, indent=1), encoding="utf-8")
    os.replace(draft, folder / "fit.json")
    for old in folder.glob("fit-*.safetensors"):
        if old.name != name:
            old.unlink()


def _about(path: Path) -> tuple[dict[str, Any], FitOptions]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["version"] != _VERSION:
            raise DataError(f"{path}: version {about['version']}, not {_VERSION}")
        return about, FitOptions(**about["options"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be taken up again: {error}") from error


def fit_options(folder: Path) -> FitOptions:
    """What the fit that `save_fit` wrote was begun with.

    Raises:
        DataError: there is none, or it is damaged.
    """
    return _about(folder / "fit.json")[1]


def load_fit(folder: Path, recording: Recording, threads: int | None = None) -> Fit:
    """The fit that `save_fit` wrote.

    Args:
        folder: that it wrote to.
        recording: the same one as then.
        threads: of the renderer from now on.

    Raises:
        DataError: there is none, it is damaged, or it is of another recording.
    """
    path = folder / "fit.json"
    about, begun = _about(path)
    options = replace(begun, threads=threads)
    try:
        step, steps = int(about["step"]), dict(about["adam_steps"])
        stored = load_file(folder / Path(about["arrays"]).name)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be taken up again: {error}") from error
    if about["recording"] != _digest(recording):
        raise DataError(
            f"{path}: is a fit of another recording than {recording.name}",
            hint="Give the recording, width and readers' options that it was begun with.",
        )
    fit = Fit(recording, options)
    wanted = _arrays(fit)
    n = len(stored.get("owner", ()))
    # One row a Gaussian, of which there may be other than at the start.
    names = [*fit.model.rows]
    sized = {f"{kind}.{name}" for kind in ("row", "first", "second") for name in names} | {"owner"}
    if options.strategy == "default":
        sized |= {"pull", "views"}
    for name, like in wanted.items():
        shape = (n, *like.shape[1:]) if name in sized else like.shape
        found = stored.get(name)
        if found is None or found.shape != shape or found.dtype != like.dtype:
            raise DataError(f"{path}: {name} is missing or has another shape or type")
    model = fit.model
    model.rows = {name: stored[f"row.{name}"] for name in model.rows}
    model.owner, model.exposure = stored["owner"], stored["exposure"]
    model.deltas = stored["deltas"]
    fit.growth.pull, fit.growth.views = stored["pull"], stored["views"]
    for name, moments in model.moments.items():
        moments.first, moments.second = stored[f"first.{name}"], stored[f"second.{name}"]
        moments.steps = int(steps.get(name, 0))
    fit.step = step
    return fit
