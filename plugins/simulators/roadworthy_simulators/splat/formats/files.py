"""Reading and writing by the name of the file."""

from __future__ import annotations

from pathlib import Path

from roadworthy.errors import DataError

from roadworthy_simulators.splat.formats.ply import read_ply, write_ply
from roadworthy_simulators.splat.formats.splat_file import read_splat
from roadworthy_simulators.splat.formats.spz import read_spz, write_spz
from roadworthy_simulators.splat.gaussians import Gaussians

__all__ = ["read_gaussians", "write_gaussians"]

_READERS = {".ply": read_ply, ".spz": read_spz, ".splat": read_splat}
_WRITERS = {".ply": write_ply, ".spz": write_spz}


def read_gaussians(path: Path) -> Gaussians:
    """Reads a `.ply`, `.spz` or `.splat` file.

    Returns:
        The Gaussians, every one fit to be drawn, in the frame that a `.ply` of the scene has.

    Raises:
        DataError: another ending, or a file that is not what its ending says; names file, field
            and value.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: cannot read {path.suffix!r}", hint=f"Known: {sorted(_READERS)}.")
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def write_gaussians(path: Path, gaussians: Gaussians) -> None:
    """Writes a `.ply` (exact but for the logit of the opacity) or `.spz` (8 bits a value).

    Raises:
        DataError: another ending, or values that the format cannot hold.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"{path}: cannot write {path.suffix!r}", hint=f"Known: {sorted(_WRITERS)}.")
    try:
        writer(path, gaussians)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
