"""Lines and strips: the geometry that lane formats have in common. All in metres."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of, ring_of

__all__ = ["between", "distinct", "length_of", "middle", "strip", "sweep"]

_SPACING = 1.0
_MOST = 100_000
_SAME = 1e-4


def distinct(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line [N, 2] without points closer than 0.1 mm to the one before."""
    if len(xy) < 2:
        return xy
    return xy[np.concatenate([[True], np.hypot(*np.diff(xy, axis=0).T) > _SAME])]


def length_of(xy: NDArray[np.float64]) -> float:
    """Length of a line [N, 2]."""
    return float(np.hypot(*np.diff(xy, axis=0).T).sum())


def _at_shares(line: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.stack([np.interp(shares * arc[-1], arc, line[:, k]) for k in (0, 1)], axis=1)


def middle(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Halfway between two lines at equal shares of their lengths, about 1 m apart: [N, 2].

    At most 100,001 points come back, so that a point far off costs no memory.
    """
    longest = max(length_of(left), length_of(right))
    count = int(np.ceil(min(longest / _SPACING, _MOST)))
    shares = np.linspace(0.0, 1.0, max(2, count + 1))
    return 0.5 * (_at_shares(left, shares) + _at_shares(right, shares))


def strip(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ring between a lane's left and right bounds, both in driving direction."""
    return np.concatenate([left, right[::-1]])


def between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ring between two edges, whichever way the second one runs."""
    straight = np.hypot(*(a[0] - b[0])) + np.hypot(*(a[-1] - b[-1]))
    crossed = np.hypot(*(a[0] - b[-1])) + np.hypot(*(a[-1] - b[0]))
    return np.concatenate([a, b[::-1] if straight <= crossed else b])


def sweep(line: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The outline of a strip of even width around a line [N, 2], as a ring.

    Ends are cut square. A line that closes on itself loses its hole.
    """
    shape = shapely.linestrings(line).buffer(0.5 * width, cap_style="flat", join_style="mitre")
    parts = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and p.area > 0.0]
    if not parts:
        return polygon_ring(line, width)
    return ring_of(max(parts, key=lambda p: p.area))


def polygon_ring(line: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The smallest upright box around a line, grown by half a width."""
    x0, y0 = line.min(axis=0) - 0.5 * width
    x1, y1 = line.max(axis=0) + 0.5 * width
    return ring_of(polygon_of(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])))
