"""`reconstruct`: a recording in, a scene out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from roadworthy.errors import DataError, did_you_mean

from roadworthy_simulators.splat.reconstruct.checkpoint import load_fit
from roadworthy_simulators.splat.reconstruct.evaluate import evaluate
from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.loop import run_fit
from roadworthy_simulators.splat.reconstruct.options import FitOptions
from roadworthy_simulators.splat.reconstruct.readers import read_recording
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.reconstruct.scene_out import write_reconstruction

__all__ = ["reconstruct", "reconstruct_command"]


def reconstruct(
    recording: Recording | Path,
    out: Path,
    options: FitOptions | None = None,
    *,
    width: int | None = None,
    resume: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Fits a recording, writes the scene, and says how good it is.

    Args:
        recording: itself, or where it lies (see `readers.read_recording`).
        out: folder of the scene (see `scene_out.write_reconstruction`); checkpoints go to
            `checkpoint` in it.
        options: with `resume`, those of the checkpoint hold instead.
        width: of the images to work with [pixels], if `recording` is a path.
        resume: take up the fit in `out` where it stopped.
        progress: show a bar.

    Returns:
        The figures of `evaluate`.

    Raises:
        DataError: the recording or the checkpoint cannot be used, or `out` holds a fit already and
            `resume` is off.
    """
    out, options = Path(out), options or FitOptions()
    if not isinstance(recording, Recording):
        recording = read_recording(recording, width)
    folder = out / "checkpoint"
    begun = (folder / "fit.json").is_file()
    if begun and not resume:
        raise DataError(
            f"{out}: holds a reconstruction already",
            hint="Resume it, or name another folder.",
        )
    fit = load_fit(folder, recording, options.threads) if begun else Fit(recording, options)
    run_fit(fit, folder, progress=progress)
    figures = evaluate(fit)
    write_reconstruction(fit, out, figures)
    return figures


def reconstruct_command(
    path: Path, out: Path, width: int | None, resume: bool, settings: dict[str, str]
) -> dict[str, Any]:
    """What `roadworthy reconstruct` calls.

    Args:
        path, out, width, resume: see `reconstruct`.
        settings: fields of `FitOptions` by name, as text.

    Raises:
        DataError: see `reconstruct`; or a setting that there is not, or with a value it cannot
            have.
    """
    known = FitOptions().as_dict()
    for name in settings:
        if name not in known:
            raise DataError(
                f"reconstruct: there is no setting {name!r}", hint=did_you_mean(name, known)
            )
    try:
        options = msgspec.convert(settings, FitOptions, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"reconstruct: {error}") from error
    return reconstruct(path, out, options, width=width, resume=resume, progress=True)
