"""Paints vehicles: a side outline drawn across the width, glass, wheels and lamps."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.scenario import AgentKind

from roadworthy_simulators.splat.procedural.paint import Paint
from roadworthy_simulators.splat.scenes.scene import Actor, Part

__all__ = ["make_vehicle", "vehicle_class"]

Floats = NDArray[np.float64]

_GLASS = (0.13, 0.16, 0.20)
_TYRE = (0.08, 0.08, 0.09)
_COLOURS = (
    (0.82, 0.82, 0.84), (0.16, 0.17, 0.19), (0.66, 0.10, 0.10), (0.14, 0.28, 0.58),
    (0.52, 0.54, 0.57), (0.90, 0.88, 0.82), (0.20, 0.40, 0.30), (0.86, 0.58, 0.12),
)  # fmt: skip

# Outlines as shares of length (0 the middle, front positive) and of height, from the front
# bumper's foot over the roof to the rear one's; glass: segments that are windows.
_OUTLINES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[int, ...]]] = {
    "car": (
        ((0.5, 0.14), (0.5, 0.44), (0.45, 0.55), (0.21, 0.63), (0.04, 0.97), (-0.02, 1.0),
         (-0.24, 0.98), (-0.40, 0.66), (-0.48, 0.62), (-0.5, 0.5), (-0.5, 0.16)),
        (3, 6),
    ),
    "van": (
        ((0.5, 0.12), (0.5, 0.40), (0.44, 0.50), (0.36, 0.54), (0.22, 0.96), (0.16, 1.0),
         (-0.46, 1.0), (-0.49, 0.95), (-0.5, 0.5), (-0.5, 0.12)),
        (3, 7),
    ),
    "truck": (
        ((0.5, 0.14), (0.5, 0.42), (0.49, 0.48), (0.46, 0.74), (0.30, 0.76), (0.28, 0.76),
         (0.28, 1.0), (-0.5, 1.0), (-0.5, 0.3), (-0.5, 0.16)),
        (2,),
    ),
    "bus": (
        ((0.5, 0.1), (0.5, 0.32), (0.49, 0.36), (0.48, 0.86), (0.47, 1.0), (-0.49, 1.0),
         (-0.5, 0.9), (-0.5, 0.4), (-0.5, 0.1)),
        (2, 6),
    ),
}  # fmt: skip


def vehicle_class(size: Any) -> str:
    """`car`, `van`, `truck` or `bus`, by length, width and height [m]."""
    length, _, height = (float(x) for x in size)
    if length >= 10.0:
        return "bus"
    if length >= 6.6 or height >= 2.8:
        return "truck"
    return "van" if height >= 1.95 else "car"


def _side_glass(what: str, x: Floats, z: Floats, length: float) -> NDArray[np.bool_]:
    """Which places of a side (x in shares of length, z of height) are windows."""
    if what == "car":
        front, back = 0.20 - 0.17 * (z - 0.65) / 0.3, -0.38 + 0.14 * (z - 0.65) / 0.3
        pillar = np.abs(x + 0.10) < 0.012
        return (z > 0.66) & (z < 0.93) & (x < front - 0.02) & (x > back + 0.02) & ~pillar
    if what == "van":
        return (z > 0.56) & (z < 0.9) & (x < 0.34 - 0.12 * (z - 0.55) / 0.4) & (x > 0.12)
    if what == "truck":
        return (z > 0.50) & (z < 0.70) & (x > 0.36) & (x < 0.45)
    pane = (x * length) % 1.5 > 0.15
    return (z > 0.42) & (z < 0.80) & (np.abs(x) < 0.475) & pane


def make_vehicle(name: str, size: Any, rng: np.random.Generator) -> Actor:
    """A car, van, truck or bus of length, width and height [m], albedos, a few thousand surfels."""
    length, width, height = (float(x) for x in size)
    what = vehicle_class(size)
    outline, panes = _OUTLINES[what]
    cell = float(np.clip(0.09 * np.sqrt(length * height / 7.0), 0.05, 0.2))
    body = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))])
    if what == "bus":
        body = 0.4 * body + 0.45  # liveries are light
    paint = Paint(rng, grain=0.02)
    xz = np.array(outline) * (length, height)
    half = 0.5 * width
    roof_inset = 0.10 * width if what == "car" else 0.02 * width
    load = np.array([0.84, 0.85, 0.83])

    def inset(z: Any) -> Any:
        return roof_inset * np.clip((np.asarray(z) / height - 0.6) / 0.4, 0.0, 1.0)

    for i in range(len(xz) - 1):
        a, b = xz[i], xz[i + 1]
        y = half - float(inset(0.5 * (a[1] + b[1])))
        is_load = what == "truck" and i >= 5
        skin = load if is_load else body
        if i in panes:
            skin = np.array(_GLASS)
        elif i == 0:
            skin = 0.55 * body
        # The normal of (across to the left) x (along the outline) points outwards.
        paint.quad((a[0], -y, a[1]), (0.0, 2.0 * y, 0.0), (b[0] - a[0], 0.0, b[1] - a[1]),
                   cell, skin)  # fmt: skip
    low = 0.14 * height
    shape = shapely.Polygon(xz)
    shapely.prepare(shape)
    radius = min(0.36, 0.24 * height) if what in ("car", "van") else 0.48
    axles = (0.31 * length, -0.30 * length)

    def side(u: Floats, v: Floats) -> Floats:
        x, z = u / length - 0.5, v / height
        glass = _side_glass(what, x, z, length)
        colour = np.where(glass[:, None], _GLASS, body)
        if what == "truck":
            colour = np.where(((x < 0.28) & (z > 0.30))[:, None], load, colour)
            colour = np.where(((x < 0.28) & (z < 0.30))[:, None], (0.18, 0.18, 0.19), colour)
        seam = (np.abs(x + 0.10) < 0.006) & (z < 0.66) & (what == "car")
        colour = np.where(seam[:, None], 0.5 * body, colour)
        return np.where((v < 0.22 * height)[:, None], 0.5 * colour, colour)

    def keep(u: Floats, v: Floats) -> NDArray[np.bool_]:
        x = u - 0.5 * length
        arch = np.zeros(len(u), np.bool_)
        for axle in axles:
            arch |= np.hypot(x - axle, v - radius) < radius * 1.08
        return shapely.contains_xy(shape, x, v) & ~arch

    for sign in (1.0, -1.0):
        begin = len(paint.parts)
        corner = (-0.5 * length, sign * half, 0.0)
        paint.quad(corner, (length, 0, 0), (0, 0, height), cell, side, keep)
        if sign > 0:
            paint.turn(begin, np.array([0.0, 1.0, 0.0]))
        paint.bend(begin, lambda m, s=sign: np.column_stack(
            [m[:, 0], m[:, 1] - s * inset(m[:, 2]), m[:, 2]]
        ))  # fmt: skip
        for axle in axles:
            _wheel(paint, axle, sign * (half - 0.03), radius, sign)
    paint.quad((-0.48 * length, -0.9 * half, low), (0, 1.8 * half, 0), (0.96 * length, 0, 0),
               2.0 * cell, (0.06, 0.06, 0.07))  # fmt: skip
    _lamps(paint, length, width, height, what)
    _shadow(paint, length, width)
    return Actor(name, AgentKind.VEHICLE, (length, width, height), (Part(paint.gaussians()),))


def _wheel(paint: Paint, x: float, y: float, radius: float, sign: float) -> None:
    cell = radius / 4.0

    def ring(u: Floats, v: Floats) -> Floats:
        far = np.hypot(u - radius, v - radius)
        return np.where((far < 0.55 * radius)[:, None], (0.55, 0.56, 0.58), _TYRE)

    def round_(u: Floats, v: Floats) -> NDArray[np.bool_]:
        return np.hypot(u - radius, v - radius) < radius

    corner, u = (x - radius, y, 0.0), (2.0 * radius, 0.0, 0.0)
    if sign > 0:
        corner, u = (x + radius, y, 0.0), (-2.0 * radius, 0.0, 0.0)
    paint.quad(corner, u, (0.0, 0.0, 2.0 * radius), cell, ring, round_)
    # The tread, seen from ahead and behind.
    for face in (1.0, -1.0):
        at = x + face * 0.8 * radius
        foot = (at, y - sign * 0.22, 0.02), (at, y, 0.02)
        low, high = foot if (face > 0) == (sign > 0) else foot[::-1]
        across = np.subtract(high, low)
        paint.quad(low, across, (0.0, 0.0, radius), 0.1, _TYRE)


def _lamps(paint: Paint, length: float, width: float, height: float, what: str) -> None:
    z = (0.44 if what == "car" else 0.34 if what == "van" else 0.28) * height
    wide, tall = 0.2 * width, max(0.10, 0.06 * height)
    for sign in (1.0, -1.0):
        y = sign * 0.36 * width
        paint.quad((0.503 * length, y - 0.5 * wide, z), (0, wide, 0), (0, 0, tall), 0.07,
                   (0.98, 0.97, 0.88))  # fmt: skip
        paint.quad((-0.503 * length, y + 0.5 * wide, z + 0.04 * height), (0, -wide, 0),
                   (0, 0, tall), 0.07, (0.85, 0.06, 0.05))  # fmt: skip
    paint.quad((0.503 * length, -0.17 * width, 0.24 * height), (0, 0.34 * width, 0),
               (0, 0, 0.11), 0.06, (0.92, 0.92, 0.90))  # fmt: skip
    paint.quad((-0.503 * length, 0.14 * width, 0.36 * height), (0, -0.28 * width, 0),
               (0, 0, 0.11), 0.06, (0.92, 0.92, 0.90))  # fmt: skip


def _shadow(paint: Paint, length: float, width: float) -> None:
    """A dark patch on the ground: what keeps light from under a thing."""
    x, y = np.meshgrid(np.linspace(-0.42, 0.42, 8) * length, np.linspace(-0.36, 0.36, 4) * width)
    xy = np.column_stack([x.ravel(), y.ravel()])
    means = np.column_stack([xy, np.full(len(xy), 0.03)])
    scales = np.array([[0.075 * length, 0.16 * width, 0.01]])
    paint.surfels(means, np.eye(3)[None], scales, (0.03, 0.03, 0.04), 0.55)
