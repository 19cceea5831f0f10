"""What stands along a street: houses, trees, lamps, and the sky over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.routing import path_yaw, resample

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.procedural.paint import Paint, frames
from roadworthy_simulators.splat.procedural.road import PAVEMENT, Ground
from roadworthy_simulators.splat.scenes.light import Light

__all__ = ["paint_surroundings", "sky_of"]

Floats = NDArray[np.float64]

_WALLS = (
    (0.72, 0.62, 0.50), (0.66, 0.42, 0.34), (0.78, 0.76, 0.72), (0.58, 0.56, 0.60),
    (0.80, 0.70, 0.52), (0.55, 0.48, 0.42),
)  # fmt: skip
_GLASS = (0.20, 0.25, 0.32)
_FLOOR, _BAY = 3.0, 3.0
_WALL_CELL = 0.75
_SKY_RADIUS = 900.0
_MOST_HOUSES = 56
_MOST_TREES = 70


def paint_surroundings(paint: Paint, ground: Ground, rng: np.random.Generator) -> None:
    """Houses behind the pavement, trees and lamps on the verge; nothing stands on the road."""
    clear = ground.road.buffer(PAVEMENT + 1.0)
    placed: list[Any] = []
    path = shapely.LineString(ground.path)
    for spot, yaw in _spots(ground, PAVEMENT + 5.0, 3.0):
        if len(placed) >= _MOST_HOUSES:
            break
        wide, deep = rng.uniform(9.0, 20.0), rng.uniform(9.0, 13.0)
        tall = _FLOOR * int(rng.integers(2, 7))
        outward = np.array([np.sin(yaw), -np.cos(yaw)])
        along = np.array([np.cos(yaw), np.sin(yaw)])
        corners = np.array([
            spot - 0.5 * wide * along, spot + 0.5 * wide * along,
            spot + 0.5 * wide * along + deep * outward, spot - 0.5 * wide * along + deep * outward,
        ])  # fmt: skip
        base = shapely.Polygon(corners)
        if base.intersects(clear) or any(base.buffer(1.5).intersects(p) for p in placed):
            continue
        placed.append(base)
        _house(paint, corners, tall, rng)
    blocked = shapely.union_all([clear, *(p.buffer(2.0) for p in placed)])
    shapely.prepare(blocked)
    trees = 0
    last = np.array([np.inf, np.inf])
    for spot, _ in _spots(ground, PAVEMENT + 2.2, 1.0):
        if np.hypot(*(spot - last)) < rng.uniform(9.0, 17.0) or trees >= _MOST_TREES:
            continue
        if not shapely.contains_xy(blocked, *spot) and path.distance(shapely.Point(spot)) < 90.0:
            _tree(paint, spot, rng)
            trees, last = trees + 1, spot
    last = np.array([np.inf, np.inf])
    lamp_clear = ground.road.buffer(0.4)
    for spot, yaw in _spots(ground, 0.7, 1.0):
        near = path.distance(shapely.Point(spot)) < 60.0
        if (
            near
            and np.hypot(*(spot - last)) > 28.0
            and not lamp_clear.contains(shapely.Point(spot))
        ):
            _lamp(paint, spot, yaw)
            last = spot


def _spots(ground: Ground, off: float, step: float) -> list[tuple[Floats, float]]:
    """Points that run round the road `off` metres outside, and headings with it on the left."""
    out = []
    for part in shapely.get_parts(ground.road.buffer(off, quad_segs=2).simplify(0.3)):
        ring = np.asarray(shapely.geometry.polygon.orient(part).exterior.coords)
        line = resample(ring, step)
        inside = shapely.contains_xy(ground.near.buffer(-4.0), line[:, 0], line[:, 1])
        yaw = path_yaw(line)
        out.extend((p, float(y)) for p, y, i in zip(line, yaw, inside, strict=True) if i)
    return out


def _house(paint: Paint, corners: Floats, tall: float, rng: np.random.Generator) -> None:
    wall = np.asarray(_WALLS[int(rng.integers(len(_WALLS)))]) * rng.uniform(0.9, 1.08)
    shop = rng.random() < 0.4
    accent = rng.uniform(0.25, 0.75, 3)

    def facade(a: Floats, b: Floats) -> Floats:
        floor = b % _FLOOR
        window = (a % _BAY > 0.75) & (a % _BAY < 2.25) & (floor > 0.75) & (floor < 2.25)
        colour = np.where(window[:, None], _GLASS, wall)
        if shop:
            colour = np.where(((b < 2.3) & (a % 4.5 > 0.75))[:, None], _GLASS, colour)
            colour = np.where(((b > 2.3) & (b < 3.0))[:, None], accent, colour)
        else:
            colour = np.where((b < 0.75)[:, None], 0.7 * wall, colour)
        return np.where((b > tall - 0.7)[:, None], 0.8 * wall, colour)

    up = np.array([0.0, 0.0, tall])
    # Seen from the road, the first side is the front; the back is never seen.
    for i, j in ((0, 1), (1, 2), (3, 0)):
        a, b = corners[i], corners[j]
        paint.quad((*b, 0.0), (*(a - b), 0.0), up, _WALL_CELL, facade)
    u, v = corners[1] - corners[0], corners[3] - corners[0]
    paint.quad((*corners[0], tall), (*v, 0.0), (*u, 0.0), 1.5, (0.42, 0.36, 0.34))


def _tree(paint: Paint, spot: Floats, rng: np.random.Generator) -> None:
    tall, crown = rng.uniform(2.2, 3.2), rng.uniform(1.5, 2.4)
    x, y = spot
    paint.rod((x, y, 0.0), (x, y, tall + 0.5), 0.16, (0.36, 0.27, 0.19), 8)
    green = np.array([0.24, 0.42, 0.16]) * rng.uniform(0.85, 1.2)
    for _ in range(4):
        at = rng.normal(0.0, 0.38 * crown, 3)
        centre = (x + at[0], y + at[1], tall + 0.75 * crown + 0.7 * at[2])
        radius = crown * rng.uniform(0.55, 0.8)
        shade = lambda d: green * (0.8 + 0.35 * d[:, 2:] + 0.16 * rng.standard_normal((len(d), 1)))  # noqa: E731
        paint.ball(centre, (radius, radius, 0.85 * radius), 55, shade, 0.9)


def _lamp(paint: Paint, spot: Floats, yaw: float) -> None:
    x, y = spot
    inward = np.array([-np.sin(yaw), np.cos(yaw)])
    grey = (0.36, 0.38, 0.40)
    paint.rod((x, y, 0.0), (x, y, 6.5), 0.08, grey, 12)
    end = spot + 1.6 * inward
    paint.rod((x, y, 6.5), (*end, 6.7), 0.06, grey, 5)
    paint.box((*end, 6.65), (0.6, 0.25, 0.12), 0.2, (0.85, 0.85, 0.80), yaw)


def sky_of(light: Light, rng: np.random.Generator) -> Gaussians:
    """A dome of Gaussians: from the horizon's colour to the zenith's, a sun, thin clouds, and
    hills at its foot."""
    paint = Paint(rng, grain=0.0)
    horizon, zenith = np.array(light.horizon), np.array(light.zenith)
    step = np.radians(5.0)
    directions = []
    for elevation in np.arange(-0.5 * step, 0.5 * np.pi, step):
        n = max(4, round(2.0 * np.pi * np.cos(elevation) / step))
        turn = 2.0 * np.pi * np.arange(n) / n
        level = np.full(n, np.sin(elevation))
        directions.append(
            np.column_stack(
                [np.cos(elevation) * np.cos(turn), np.cos(elevation) * np.sin(turn), level]
            )
        )
    d = np.concatenate(directions)
    height = np.clip(d[:, 2:], 0.0, 1.0) ** 0.6
    toward = np.clip(d @ np.array(light.sun), 0.0, 1.0)[:, None]
    cloud = np.sin(7.0 * d[:, :1] + 2.0 * d[:, 2:]) * np.sin(9.0 * d[:, 1:2] + 5.0 * d[:, 2:])
    colour = horizon + (zenith - horizon) * height
    colour += np.array(light.sun_colour) * (0.35 * toward**6 + 1.5 * toward**200)
    colour += 0.10 * np.clip(cloud - 0.25, 0.0, None)
    sigma = 0.62 * step * _SKY_RADIUS
    scales = np.array([[sigma, sigma, 2.0]])
    paint.surfels(_SKY_RADIUS * d, frames(-d), scales, np.clip(colour, 0.0, 1.0), 0.995)
    turn = np.arange(0.0, 2.0 * np.pi, np.radians(1.6))
    rise = 6.0 + 10.0 * np.sin(3.0 * turn + 0.7) ** 2 + 6.0 * np.sin(11.0 * turn) ** 2
    for k in range(3):
        at = 640.0 * np.column_stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)])
        at[:, 2] = rise * (0.9 * k / 2.0) - 6.0
        hills = 0.55 * horizon + 0.45 * np.array([0.28, 0.36, 0.30])
        towards = -at / np.linalg.norm(at, axis=1, keepdims=True)
        paint.surfels(at, frames(towards), np.array([[10.0, 7.0, 1.0]]), hills, 0.97)
    return paint.gaussians()
