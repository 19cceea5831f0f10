"""Looks for every kind and size of agent: nothing that can be collided with is invisible."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from roadworthy.scenario import AgentKind

from roadworthy_simulators.splat.procedural.paint import Paint
from roadworthy_simulators.splat.procedural.people import make_cyclist, make_pedestrian
from roadworthy_simulators.splat.procedural.vehicles import make_vehicle
from roadworthy_simulators.splat.scenes.scene import Actor, Part

__all__ = ["CATALOGUE", "catalogue", "make_actor"]

CATALOGUE: tuple[tuple[str, AgentKind, tuple[float, float, float]], ...] = (
    ("car-1", AgentKind.VEHICLE, (4.6, 1.9, 1.6)),
    ("car-2", AgentKind.VEHICLE, (4.4, 1.85, 1.5)),
    ("car-3", AgentKind.VEHICLE, (4.8, 1.95, 1.7)),
    ("van", AgentKind.VEHICLE, (5.4, 2.0, 2.2)),
    ("truck", AgentKind.VEHICLE, (8.5, 2.4, 3.2)),
    ("bus", AgentKind.VEHICLE, (11.5, 2.5, 3.1)),
    ("pedestrian-1", AgentKind.PEDESTRIAN, (0.6, 0.6, 1.75)),
    ("pedestrian-2", AgentKind.PEDESTRIAN, (0.6, 0.6, 1.65)),
    ("child", AgentKind.PEDESTRIAN, (0.4, 0.4, 1.15)),
    ("cyclist", AgentKind.BICYCLE, (1.8, 0.6, 1.75)),
    ("cone", AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7)),
    ("barrier", AgentKind.BARRIER, (2.0, 0.5, 1.0)),
    ("sign", AgentKind.CZONE_SIGN, (0.5, 0.8, 1.6)),
    ("bin", AgentKind.GENERIC_OBJECT, (0.7, 0.7, 1.2)),
)
"""Names, kinds and sizes of the looks that a written procedural scene holds."""

_ORANGE = (0.95, 0.38, 0.05)
_WHITE = (0.94, 0.94, 0.92)
_RED = (0.82, 0.10, 0.08)
_LEAST = 0.05


def make_actor(name: str, kind: int, size: Any, seed: int = 0) -> Actor:
    """The procedural look of an agent.

    Args:
        name: its name; with `seed` it chooses colours.
        kind: an `AgentKind`; any other is drawn as a box.
        size: [3] length, width, height [m]; a side below 5 cm is drawn as 5 cm.
        seed: any number.
    """
    digest = hashlib.blake2b(f"{seed}/{name}/{int(kind)}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    size = np.maximum(np.nan_to_num(np.asarray(size, np.float64)), _LEAST)
    if kind == AgentKind.VEHICLE:
        if size[1] < 1.2 and size[0] < 3.0:  # a motorcycle
            cyclist = make_cyclist(name, size, rng)
            return Actor(name, AgentKind.VEHICLE, cyclist.size, cyclist.parts)
        return make_vehicle(name, size, rng)
    if kind == AgentKind.PEDESTRIAN:
        return make_pedestrian(name, size, rng)
    if kind == AgentKind.BICYCLE:
        return make_cyclist(name, size, rng)
    makers = {
        AgentKind.TRAFFIC_CONE: _cone,
        AgentKind.BARRIER: _barrier,
        AgentKind.CZONE_SIGN: _sign,
    }
    paint = Paint(rng, 0.02)
    known = AgentKind(kind) if kind in tuple(AgentKind) else AgentKind.GENERIC_OBJECT
    makers.get(known, _object)(paint, size)
    length, width, height = (float(x) for x in size)
    return Actor(name, known, (length, width, height), (Part(paint.gaussians()),))


def catalogue(seed: int = 0) -> tuple[Actor, ...]:
    """One look for each entry of `CATALOGUE`."""
    return tuple(make_actor(name, kind, size, seed) for name, kind, size in CATALOGUE)


def _cone(paint: Paint, size: Any) -> None:
    length, width, height = size
    paint.box(
        (0, 0, 0.03 * height), (0.98 * length, 0.98 * width, 0.06 * height), 0.08, (0.1, 0.1, 0.1)
    )
    base = 0.36 * min(length, width)
    levels = 12
    for k in range(levels):
        z = height * (0.06 + 0.94 * (k + 0.5) / levels)
        radius = base * (1.0 - (k + 0.5) / levels) + 0.03
        n = max(8, int(2.0 * np.pi * radius / 0.05))
        turn = 2.0 * np.pi * np.arange(n) / n
        means = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), np.full(n, z)])
        colour = _WHITE if k in (4, 5, 8) else _ORANGE
        normals = np.column_stack([np.cos(turn), np.sin(turn), np.full(n, 0.3)])
        sigma = 0.6 * height / levels
        paint.upright(means, normals, 0.6 * 2.0 * np.pi * radius / n, sigma, colour)


def _barrier(paint: Paint, size: Any) -> None:
    length, width, height = size

    def stripes(u: Any, v: Any) -> Any:
        return np.where(((np.floor((u + v) / 0.25) % 2) == 0)[:, None], _RED, _WHITE)

    cell = 0.09
    half = 0.5 * width
    for sign in (1.0, -1.0):
        paint.quad((sign * 0.5 * length, sign * half, 0.35 * height), (-sign * length, 0, 0),
                   (0, 0, 0.65 * height), cell, stripes)  # fmt: skip
        paint.quad((sign * 0.5 * length, -sign * half, 0.0), (0, sign * width, 0),
                   (0, 0, height), cell, stripes)  # fmt: skip
        paint.box((sign * 0.42 * length, 0, 0.18 * height), (0.1, width, 0.36 * height), cell,
                  (0.35, 0.35, 0.36))  # fmt: skip
    paint.quad((-0.5 * length, -half, height), (length, 0, 0), (0, width, 0), cell, _WHITE)


def _sign(paint: Paint, size: Any) -> None:
    length, width, height = size
    for y in (-0.35, 0.35):
        paint.rod((0, y * width, 0), (0, y * width, 0.4 * height), 0.04, (0.3, 0.3, 0.3), 5)
    paint.box((0, 0, 0.05), (length, 0.9 * width, 0.1), 0.1, (0.2, 0.2, 0.2))

    def board(u: Any, v: Any) -> Any:
        rim = (u < 0.07) | (u > width - 0.07) | (v < 0.07) | (v > 0.62 * height - 0.07)
        arrow = np.abs(u - 0.5 * width) + 0.8 * np.abs(v - 0.31 * height) < 0.22 * width
        return np.where((rim | arrow)[:, None], (0.08, 0.08, 0.08), _ORANGE)

    low = 0.38 * height
    for sign in (1.0, -1.0):
        paint.quad((sign * 0.04, -sign * 0.5 * width, low), (0, sign * width, 0),
                   (0, 0, 0.62 * height), 0.05, board)  # fmt: skip
    paint.box((0, 0, low + 0.31 * height), (0.07, width, 0.62 * height), 0.12, (0.5, 0.3, 0.1))


def _object(paint: Paint, size: Any) -> None:
    length, width, height = size
    cell = float(np.clip(0.1 * np.cbrt(length * width * height), 0.04, 0.25))
    paint.box(
        (0, 0, 0.45 * height), (0.96 * length, 0.96 * width, 0.9 * height), cell, (0.22, 0.36, 0.28)
    )
    paint.box((0, 0, 0.95 * height), (length, width, 0.1 * height), cell, (0.14, 0.16, 0.16))
