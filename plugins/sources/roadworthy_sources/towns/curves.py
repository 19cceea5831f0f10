"""Plane curves: cubic Bézier curves and arcs of circles, sampled with their tangents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy_sources.towns import exact

__all__ = ["Curve", "arc", "bezier", "heading", "hermite", "shifted", "turned"]

Array = NDArray[np.float64]

_STRAIGHT = 1e-6
_CURVED_SPACING = 1.5
_STRAIGHT_SPACING = 6.0
_FINE = 64


@dataclass(frozen=True, eq=False)
class Curve:
    """A sampled curve and the formula that it was sampled from.

    Attributes:
        xy: [N, 2] points, N >= 2, ends included.
        yaw: [N] continuous tangent directions [rad], exact at every point.
        control: [4, 2] Bézier control points, or None for an arc.
        circle: centre x, y, radius, first angle, turn (left positive), or None.
    """

    xy: Array
    yaw: Array
    control: Array | None = None
    circle: tuple[float, float, float, float, float] | None = None

    @property
    def length(self) -> float:
        """Length of the polyline [m]."""
        step = np.diff(self.xy, axis=0)
        return float(np.cumsum(exact.length(step[:, 0], step[:, 1]))[-1])

    @property
    def start(self) -> tuple[Array, float]:
        """First point [2] and direction [rad]."""
        return self.xy[0], float(self.yaw[0])

    @property
    def end(self) -> tuple[Array, float]:
        """Last point [2] and direction [rad]."""
        return self.xy[-1], float(self.yaw[-1])

    def reversed(self) -> Curve:
        """The same curve driven the other way."""
        control = None if self.control is None else self.control[::-1]
        circle = self.circle
        if circle is not None:
            circle = (*circle[:3], circle[3] + circle[4], -circle[4])
        return Curve(self.xy[::-1], self.yaw[::-1] + np.pi, control, circle)


def heading(turn: float) -> Array:
    """Unit vector [2] along a direction [rad]."""
    c, s = exact.cos_sin(turn)
    return np.array([float(c), float(s)])


def turned(vector: Sequence[float] | Array, quarter: int = 1) -> Array:
    """A vector [2] turned by quarter circles to the left."""
    x, y = float(vector[0]), float(vector[1])
    for _ in range(quarter % 4):
        x, y = -y, x
    return np.array([x, y])


def _bezier_at(p: Array, u: Array) -> tuple[Array, Array]:
    """Points and derivatives of a cubic Bézier curve: [N, 2] each."""
    u = u[:, None]
    w = 1.0 - u
    xy = w * w * w * p[0] + 3.0 * w * w * u * p[1] + 3.0 * w * u * u * p[2] + u * u * u * p[3]
    d = 3.0 * (w * w * (p[1] - p[0]) + 2.0 * w * u * (p[2] - p[1]) + u * u * (p[3] - p[2]))
    return xy, d


def bezier(control: Array) -> Curve:
    """A cubic Bézier curve, sampled evenly: every 1.5 m, or every 6 m where it is straight.

    Args:
        control: [4, 2].
    """
    control = exact.rounded(control)
    fine, d = _bezier_at(control, np.linspace(0.0, 1.0, _FINE + 1))
    step = np.diff(fine, axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(step[:, 0], step[:, 1]))])
    yaw = exact.unwrapped(exact.angle(d[:, 0], d[:, 1]))
    bends = float(np.max(np.abs(yaw - yaw[0]))) > _STRAIGHT
    spacing = _CURVED_SPACING if bends else _STRAIGHT_SPACING
    count = max(2, int(np.ceil(walked[-1] / spacing)) + 1)
    at = walked[-1] * np.arange(count) / (count - 1)
    u = np.interp(at, walked, np.arange(_FINE + 1) / _FINE)
    u[0], u[-1] = 0.0, 1.0
    xy, d = _bezier_at(control, u)
    return Curve(xy, exact.unwrapped(exact.angle(d[:, 0], d[:, 1])), control)


def hermite(start: Array, yaw: float, end: Array, end_yaw: float) -> Curve:
    """A smooth curve between two poses [2] and directions [rad].

    Where the tangents meet between them, the curve bends like an arc towards that corner; else its
    control points lie a third of the way along the tangents.
    """
    a, b = heading(yaw), heading(end_yaw)
    gap = end - start
    cross = a[0] * b[1] - a[1] * b[0]
    far = float(exact.length(gap[0], gap[1]))
    reach = back = far / 3.0
    if abs(cross) > 0.2:
        ahead = (gap[0] * b[1] - gap[1] * b[0]) / cross
        behind = (a[0] * gap[1] - a[1] * gap[0]) / cross
        if 0.2 * far < ahead < 2.0 * far and 0.2 * far < behind < 2.0 * far:
            reach, back = 0.55 * ahead, 0.55 * behind
    return bezier(np.stack([start, start + reach * a, end - back * b, end]))


def arc(centre: Array, radius: float, first: float, turn: float) -> Curve:
    """An arc of a circle.

    Args:
        centre: [2].
        radius: [m].
        first: angle at which the first point is seen from the centre [rad].
        turn: how far it goes round, to the left if positive [rad].
    """
    count = max(3, int(np.ceil(radius * abs(turn) / _CURVED_SPACING)) + 1)
    at = first + turn * np.arange(count) / (count - 1)
    c, s = exact.cos_sin(at)
    xy = np.stack([centre[0] + radius * c, centre[1] + radius * s], axis=1)
    side = 0.5 * np.pi if turn > 0.0 else -0.5 * np.pi
    circle = (float(centre[0]), float(centre[1]), radius, first, turn)
    return Curve(xy, at + side, None, circle)


def shifted(curve: Curve, left: float) -> Array:
    """Points [N, 2] of a curve moved to its left along its normals [m]."""
    c, s = exact.cos_sin(curve.yaw)
    return curve.xy + left * np.stack([-s, c], axis=1)
