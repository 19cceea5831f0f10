"""`reconstruct`: a recording in, a scene out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from roadworthy.errors import DataError, did_you_mean

from roadworthy_simulators.splat.reconstruct.checkpoint import fit_options, load_fit
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
        options: None with `resume`: those of the checkpoint.
        width: of the images to work with [pixels], if `recording` is a path.
        resume: take up the fit in `out` where it stopped.
        progress: show a bar.

    Returns:
        The figures of `evaluate`.

    Raises:
        DataError: the recording or the checkpoint cannot be used; `out` holds a fit already and
            `resume` is off, or holds none and it is on; or the fit in it was begun with other
            options (`threads` may differ).
        KeyboardInterrupt: Ctrl-C; `resume` goes on from the step that was under way.
    """
    folder = Path(out) / "checkpoint"
    begun = (folder / "fit.json").is_file()
    if begun and not resume:
        raise DataError(
            f"{out}: holds a reconstruction already",
            hint="Resume it, or name another folder.",
        )
    if resume:
        options = _resumed(folder, options)
    if not isinstance(recording, Recording):
        recording = read_recording(recording, width)
    options = options or FitOptions()
    fit = load_fit(folder, recording, options.threads) if resume else Fit(recording, options)
    run_fit(fit, folder, progress=progress)
    figures = evaluate(fit)
    write_reconstruction(fit, Path(out), figures)
    return figures


def _resumed(folder: Path, options: FitOptions | None) -> FitOptions:
    """The options of the fit in a folder, if those asked for are no others."""
    path = folder / "fit.json"
    if not path.is_file():
        raise DataError(
            f"{path}: there is no reconstruction to resume",
            hint="Begin one without --resume, or name the folder of one.",
        )
    begun = fit_options(folder)
    if options is None:
        return begun
    for name, value in options.as_dict().items():
        if name != "threads" and value != getattr(begun, name):
            raise DataError(
                f"{path}: the fit was begun with {name} = {getattr(begun, name)}, not {value}",
                hint="Leave the setting out, or begin anew in another folder.",
            )
    return options


def reconstruct_command(
    path: Path, out: Path, width: int | None, resume: bool, settings: dict[str, str]
) -> dict[str, Any]:
    """What `roadworthy reconstruct` calls.

    Args:
        path, out, width, resume: see `reconstruct`.
        settings: fields of `FitOptions` by name, as text; with `resume`, over those of the fit.

    Raises:
        DataError: see `reconstruct`; or a setting that there is not, or with a value it cannot
            have.
    """
    folder = out / "checkpoint"
    known = (_resumed(folder, None) if resume else FitOptions()).as_dict()
    for name in settings:
        if name not in known:
            raise DataError(
                f"reconstruct: there is no setting {name!r}", hint=did_you_mean(name, known)
            )
    try:
        options = msgspec.convert({**known, **settings}, FitOptions, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"reconstruct: {error}") from error
    return reconstruct(path, out, options, width=width, resume=resume, progress=True)
