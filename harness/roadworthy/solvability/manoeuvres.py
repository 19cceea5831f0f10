"""The manoeuvres that a search tries, weakest first."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from roadworthy.solvability.certificate import Manoeuvre

__all__ = ["Column", "levels", "table"]


class Column(IntEnum):
    """Columns of the table: what one manoeuvre is.

    Deceleration [m/s²]; the share of its first speed that the ego slows down to, and then
    keeps; lateral offset from the base drive's path, to the left [m]; lateral acceleration on a
    straight road at that speed, which sets how long the swerve is [m/s²]; how long it stays
    beside the path before it comes back [s at the first speed], negative for never.
    """

    DECELERATION = 0
    SHARE = 1
    OFFSET = 2
    LATERAL = 3
    HOLD = 4


_BRAKING = {
    Manoeuvre.EASE_OFF: ((1.0, 2.0, 3.0), (0.8, 0.6, 0.4, 0.2, 0.0)),
    Manoeuvre.BRAKE: ((4.5,), (0.8, 0.6, 0.4, 0.2, 0.0)),
    Manoeuvre.BRAKE_HARD: ((6.0, 8.0), (0.6, 0.3, 0.0)),
}
_OFFSETS = (0.6, 1.2, 1.8, 2.6, 3.5, 4.5)
_LATERALS = (2.0, 3.5, 4.6)
_HOLDS = (-1.0, 1.0, 2.5)
_WITH_BRAKING = ((2.0, 0.6), (2.0, 0.0), (4.5, 0.5), (4.5, 0.0), (6.5, 0.5), (6.5, 0.0))


@cache
def _rows() -> tuple[tuple[Manoeuvre, tuple[float, ...]], ...]:
    rows: list[tuple[Manoeuvre, tuple[float, ...]]] = []
    for kind, (decelerations, shares) in _BRAKING.items():
        rows += [(kind, (a, f, 0.0, 0.0, -1.0)) for a in decelerations for f in shares]
    swerves = [
        (side * offset, lateral, hold)
        for offset in _OFFSETS
        for lateral in _LATERALS
        for hold in _HOLDS
        for side in (1.0, -1.0)
    ]
    rows += [(Manoeuvre.SWERVE, (0.0, 1.0, *swerve)) for swerve in swerves]
    rows += [
        (Manoeuvre.SWERVE_AND_BRAKE, (a, f, *swerve))
        for a, f in _WITH_BRAKING
        for swerve in swerves
    ]
    return tuple(rows)


@cache
def table() -> NDArray[np.float64]:
    """[M, 5] by `Column`, read only."""
    rows = np.array([row for _, row in _rows()])
    rows.flags.writeable = False
    return rows


@cache
def levels() -> tuple[Manoeuvre, ...]:
    """What each row of `table` is called; never decreasing."""
    return tuple(kind for kind, _ in _rows())
