"""Checked access to what a pickle held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

__all__ = ["entries", "line_of", "series"]

_MAX_POINTS = 1_000_000


def entries(path: Path, value: Any, where: str, most: int) -> dict[str, dict[str, Any]]:
    """A dictionary of dictionaries, its keys as text, and so their `type`, "" for none.

    Raises:
        DataError: something else, more than `most`, or keys that are not distinct as text.
    """
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise DataError(
            f"{path}: {where} is not a dictionary of dictionaries", hint="Is it ScenarioNet's?"
        )
    if len(value) > most:
        raise DataError(f"{path}: {where} has {len(value)} entries", hint=f"At most {most}.")
    found = {str(key)[:200]: item | {"type": _word(item)} for key, item in value.items()}
    if len(found) != len(value):
        raise DataError(f"{path}: {where} has two entries of one name", hint="Make ids unique.")
    return found


def _word(item: dict[str, Any]) -> str:
    word = item.get("type")
    return word[:200] if isinstance(word, str) else ""


def series(path: Path, value: Any, where: str, steps: int, width: int) -> NDArray[np.float64]:
    """Numbers per step: [steps, width], from an array or list with at least `width` columns.

    Raises:
        DataError: another length or shape, or no numbers.
    """
    if isinstance(value, list) and (
        len(value) > _MAX_POINTS or any(isinstance(v, (list, dict)) and len(v) > 8 for v in value)
    ):
        raise DataError(f"{path}: {where} is too large", hint="Is the file damaged?")
    try:
        array = np.asarray(value, np.float64)
        array = array.reshape(len(array), -1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {where} is no array of numbers", hint=str(error)[:100]) from error
    if len(array) != steps or array.shape[1] < width:
        raise DataError(
            f"{path}: {where} has shape {np.shape(array)}", hint=f"Wanted: [{steps}, {width}]."
        )
    return array[:, :width]


def line_of(value: Any) -> NDArray[np.float64] | None:
    """x and y of a line or ring [N, 2], without repeated points; None for anything else."""
    if isinstance(value, list):
        if len(value) > _MAX_POINTS:
            return None
        if any(not isinstance(p, (list, np.ndarray)) or len(p) > 8 for p in value):
            return None
    elif not isinstance(value, np.ndarray):
        return None
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    if array.ndim != 2 or array.shape[1] < 2 or not len(array):
        return None
    xy = array[:, :2]
    if not (np.abs(xy) < 1e8).all():
        return None
    keep = np.concatenate([[True], np.hypot(*np.diff(xy, axis=0).T) > 1e-4])
    return np.ascontiguousarray(xy[keep])
