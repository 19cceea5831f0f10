"""What all checks share: the error's wording, and arrays made fit to keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import ScenarioError

__all__ = ["FARTHEST", "Report", "frozen_copy"]

_MAX_VALUES = 50_000_000
FARTHEST = 1e8
"""Bound on every coordinate and state [m, m/s, rad]."""

_MAX_REPAIRS = 200


@dataclass
class Report:
    """Collects repairs and words errors for one scenario.

    Attributes:
        scenario: its id, for messages.
        repairs: sentences, in the order of the checks.
    """

    scenario: str
    repairs: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Record a repair."""
        if len(self.repairs) < _MAX_REPAIRS:
            self.repairs.append(sentence)
        elif len(self.repairs) == _MAX_REPAIRS:
            self.repairs.append("More repairs than are listed here.")

    def error(self, name: str, index: Any, value: Any, advice: str) -> ScenarioError:
        """The error for a field: scenario, field, index, value, and what to do."""
        at = "" if index is None else f"[{', '.join(map(str, np.atleast_1d(index).tolist()))}]"
        return ScenarioError(f"scenario {self.scenario!r}: {name}{at} is {value}", hint=advice)

    def check_finite(self, values: NDArray[np.float64], name: str) -> None:
        """Raise at the first value that is not finite, or further than 1e8 from zero."""
        bad = ~(np.abs(values) < FARTHEST)
        if bad.any():
            where = np.argwhere(bad)[0]
            raise self.error(
                name,
                where.tolist(),
                values[tuple(where)],
                "Every value must be finite and below 1e8.",
            )

    def check_indices(self, values: NDArray[np.int64], count: int, name: str, what: str) -> None:
        """Raise at the first index outside [0, count)."""
        bad = (values < 0) | (values >= count)
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise self.error(
                name, at, int(values[at]), f"There are {count} {what}: give 0 to {count - 1}."
            )


def frozen_copy(
    value: Any, dtype: Any, name: str, shape: tuple[int | None, ...], report: Report
) -> NDArray[Any]:
    """A read-only, C-contiguous array of the wanted type and shape.

    An array that is already all of that is returned as it is.

    Args:
        value: what the source gave.
        dtype: the type wanted; whole numbers and booleans are not made from fractions.
        name: field name for messages.
        shape: lengths wanted, None where any will do.
        report: words the errors.

    Raises:
        ScenarioError: not an array, another shape, or values that `dtype` cannot hold.
    """
    wanted = np.dtype(dtype)
    if type(value) is np.ndarray and _is_kept(value, wanted, shape):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise report.error(name, None, "ragged", f"Give an array: {error}.") from error
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        words = ", ".join("*" if want is None else str(want) for want in shape)
        raise report.error(name, None, f"of shape {array.shape}", f"Its shape must be [{words}].")
    if array.size > _MAX_VALUES:
        raise report.error(name, None, f"{array.size} values", f"At most {_MAX_VALUES}.")
    kinds = {"f": "fiu", "i": "iu", "b": "b"}[wanted.kind]
    if array.dtype.kind not in kinds and array.size:
        raise report.error(name, None, f"of type {array.dtype}", f"Its type must be {wanted}.")
    if wanted.kind == "i" and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise report.error(name, None, f"out of the range of {wanted}", "Check the values.")
    if _is_kept(array, wanted, shape):
        return array
    out = np.array(array, dtype=wanted, order="C")
    out.flags.writeable = False
    return out


def _is_kept(array: NDArray[Any], wanted: np.dtype[Any], shape: tuple[int | None, ...]) -> bool:
    """Whether an array is already what `frozen_copy` would make of it."""
    flags = array.flags
    return (
        array.dtype == wanted
        and array.ndim == len(shape)
        and array.size <= _MAX_VALUES
        and flags.c_contiguous
        and not flags.writeable
        and all(want is None or want == have for want, have in zip(shape, array.shape, strict=True))
    )
