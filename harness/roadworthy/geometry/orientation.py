"""On which side of a line a point lies, exactly (Shewchuk 1997, with GEOS's double-double)."""

from __future__ import annotations

from numba import njit

__all__ = ["side_of"]

_FILTER = 3.3306690738754716e-16  # (3 + 16 eps) eps, eps = 2**-53: Shewchuk's orient2d bound
_SPLIT = 134217729.0  # 2**27 + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _two_diff(a: float, b: float) -> tuple[float, float]:
    x = a - b
    bv = a - x
    av = x + bv
    return x, (a - av) + (bv - b)


@njit(cache=True, nogil=True, error_model="numpy")
def _two_prod(a: float, b: float) -> tuple[float, float]:
    x = a * b
    t = _SPLIT * a
    ah = t - (t - a)
    al = a - ah
    t = _SPLIT * b
    bh = t - (t - b)
    bl = b - bh
    return x, al * bl - (((x - ah * bh) - al * bh) - ah * bl)


@njit(cache=True, nogil=True, error_model="numpy")
def _side_slow(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """Sign of (b - a) x (p - a) in double-double arithmetic (about 106 bits)."""
    ux, uxe = _two_diff(bx, ax)
    uy, uye = _two_diff(by, ay)
    vx, vxe = _two_diff(px, ax)
    vy, vye = _two_diff(py, ay)
    l0, l1 = _two_prod(ux, vy)
    r0, r1 = _two_prod(uy, vx)
    high, low = _two_diff(l0, r0)
    tail = (ux * vye + uxe * vy) - (uy * vxe + uye * vx)
    return high + (low + ((l1 - r1) + tail))


@njit(cache=True, nogil=True, error_model="numpy")
def side_of(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """A number with the sign of (b - a) x (p - a): positive where p is left of a -> b."""
    left = (bx - ax) * (py - ay)
    right = (by - ay) * (px - ax)
    cross = left - right
    if abs(cross) > _FILTER * (abs(left) + abs(right)):
        return cross
    return _side_slow(ax, ay, bx, by, px, py)
