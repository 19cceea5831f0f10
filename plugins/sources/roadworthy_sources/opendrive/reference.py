"""Reference lines: lines, arcs, clothoids and cubic polynomials by arc length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cubic", "Piece", "cubic_at", "reference_at"]

_FINE = 0.25
_MAX_STEPS = 200_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True, slots=True)
class Piece:
    """One `<geometry>`, from station `s` on for `length` [m].

    `shape` is `line`, `arc`, `spiral`, `poly3` or `paramPoly3`. `values` are: nothing; the
    curvature; curvature at start and end; a, b, c, d; aU, bU, cU, dU, aV, bV, cV, dV and 1
    where the parameter runs from 0 to 1 (0 where it is the arc length).
    """

    s: float
    x: float
    y: float
    heading: float
    length: float
    shape: str
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Cubic:
    """a + b ds + c ds² + d ds³ from station `s` on."""

    s: float
    a: float
    b: float
    c: float
    d: float


def cubic_at(cubics: list[Cubic], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value of a sequence of cubics, sorted by station, at stations [N]; 0 before the first."""
    if not cubics:
        return np.zeros_like(s)
    at = np.searchsorted([c.s for c in cubics], s + 1e-9, "right") - 1
    table = np.array([[c.s, c.a, c.b, c.c, c.d] for c in cubics])[np.maximum(at, 0)]
    ds = s - table[:, 0]
    value = table[:, 1] + ds * (table[:, 2] + ds * (table[:, 3] + ds * table[:, 4]))
    return np.where(at >= 0, value, 0.0)


def reference_at(pieces: list[Piece], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """x, y, heading [N, 3] at stations [N], of pieces sorted by station.

    Stations before the first or beyond the last piece are taken at its end.
    """
    starts = np.array([piece.s for piece in pieces])
    which = np.clip(np.searchsorted(starts, s + 1e-9, "right") - 1, 0, len(pieces) - 1)
    out = np.empty((len(s), 3))
    for k in np.unique(which):
        piece, rows = pieces[k], which == k
        ds = np.clip(s[rows] - piece.s, 0.0, piece.length)
        u, v, turn = _local(piece, ds)
        cos, sin = np.cos(piece.heading), np.sin(piece.heading)
        out[rows, 0] = piece.x + cos * u - sin * v
        out[rows, 1] = piece.y + sin * u + cos * v
        out[rows, 2] = piece.heading + turn
    return out


def _local(
    piece: Piece, ds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Position and heading in the piece's own frame at arc lengths [N]."""
    if piece.shape in ("line", "arc", "spiral"):
        first, last = {
            "line": (0.0, 0.0),
            "arc": piece.values * 2,
            "spiral": piece.values,
        }[piece.shape]
        return _clothoid(first, (last - first) / piece.length, ds)
    count = int(np.clip(np.ceil(piece.length / _FINE), 8, _MAX_STEPS)) + 1
    if piece.shape == "poly3":
        return _poly3(piece, ds, count)
    a, b, c, d, e, f, g, h, unit = piece.values
    p = ds / piece.length if unit else ds
    u = a + p * (b + p * (c + p * d))
    v = e + p * (f + p * (g + p * h))
    du = b + p * (2.0 * c + p * 3.0 * d)
    dv = f + p * (2.0 * g + p * 3.0 * h)
    return u, v, np.arctan2(dv, du)


def _poly3(
    piece: Piece, ds: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """v = a + b u + c u² + d u³; u is found from the arc length by a table."""
    a, b, c, d = piece.values
    grid = np.linspace(0.0, piece.length, count)
    slope = b + grid * (2.0 * c + grid * 3.0 * d)
    speed = np.sqrt(1.0 + slope**2)
    arc = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(grid))])
    u = np.interp(ds, arc, grid)
    return u, a + u * (b + u * (c + u * d)), np.arctan(b + u * (2.0 * c + u * 3.0 * d))


def _clothoid(
    curvature: float, change: float, ds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Curvature k + k' s: headings in closed form, positions by Gauss-Legendre quadrature
    over steps of at most 1 m and 0.2 rad."""
    total = float(ds.max(initial=0.0))
    turned = (abs(curvature) + 0.5 * abs(change) * total) * total
    count = int(np.clip(np.ceil(max(total, turned / 0.2)), 1, _MAX_STEPS))
    stops = np.unique(np.concatenate([[0.0], ds, np.linspace(0.0, total, count + 1)]))
    half = 0.5 * np.diff(stops)
    at = (stops[:-1] + half)[:, None] + half[:, None] * _NODES
    angle = at * (curvature + 0.5 * change * at)
    x = np.concatenate([[0.0], np.cumsum(half * (np.cos(angle) @ _WEIGHTS))])
    y = np.concatenate([[0.0], np.cumsum(half * (np.sin(angle) @ _WEIGHTS))])
    row = np.searchsorted(stops, ds)
    return x[row], y[row], ds * (curvature + 0.5 * change * ds)
