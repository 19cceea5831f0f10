"""Paints people on foot and on bicycles, in rigid parts that swing as they go."""

from __future__ import annotations

from typing import Any

import numpy as np
from roadworthy.scenario import AgentKind

from roadworthy_simulators.splat.procedural.paint import Paint
from roadworthy_simulators.splat.scenes.scene import Actor, Part

__all__ = ["make_cyclist", "make_pedestrian"]

_SKIN = ((0.86, 0.68, 0.56), (0.62, 0.44, 0.33), (0.40, 0.27, 0.20))
_HAIR = ((0.12, 0.09, 0.07), (0.38, 0.25, 0.14), (0.55, 0.52, 0.48))
_TOPS = (
    (0.75, 0.14, 0.14), (0.12, 0.30, 0.62), (0.86, 0.74, 0.20), (0.20, 0.48, 0.30),
    (0.22, 0.22, 0.26), (0.84, 0.82, 0.78), (0.55, 0.25, 0.52),
)  # fmt: skip
_LEGS = ((0.14, 0.17, 0.28), (0.12, 0.12, 0.13), (0.45, 0.38, 0.28))
_SHOES = (0.10, 0.09, 0.09)
_STEEL = (0.25, 0.26, 0.28)


class _Person:
    """Colours of one person, and a painter of limbs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.skin = _SKIN[int(rng.integers(len(_SKIN)))]
        self.hair = _HAIR[int(rng.integers(len(_HAIR)))]
        self.top = _TOPS[int(rng.integers(len(_TOPS)))]
        self.legs = _LEGS[int(rng.integers(len(_LEGS)))]

    def limb(self, a: Any, b: Any, radius: float, colour: Any, end: Any, tip: float) -> Paint:
        """A limb from its joint a [3] to b [3], `tip` of its end in another colour."""
        paint = Paint(self.rng, 0.03)
        a, b = np.asarray(a, float), np.asarray(b, float)
        axis, length = b - a, float(np.linalg.norm(b - a))
        down = (axis / length)[2]

        def shade(d: Any) -> Any:
            along = np.sign(down) * d[:, 2:] if abs(down) > 0.2 else d[:, 2:]
            return np.where(along > 1.0 - 2.0 * tip, end, colour)

        paint.ball(0.5 * (a + b), (radius, radius, 0.5 * length), 70, shade, axis=_upright(axis))
        return paint


def _upright(axis: Any) -> Any:
    axis = np.asarray(axis, float)
    return -axis if axis[2] < 0 else axis


def _joined(*paints: Paint) -> Paint:
    out = paints[0]
    for other in paints[1:]:
        out.parts.extend(other.parts)
    return out


def make_pedestrian(name: str, size: Any, rng: np.random.Generator) -> Actor:
    """A person of length, width and height [m]; arms and legs swing at the hips and shoulders."""
    h = float(size[2])
    who = _Person(rng)
    across = float(np.clip(0.5 * float(size[1]), 0.2, 0.28)) * h / 1.75
    hip, shoulder = 0.50 * h, 0.80 * h
    body = Paint(rng, 0.03)
    body.ball((0, 0, 0.655 * h), (0.075 * h, 0.115 * h, 0.18 * h), 150, who.top)
    face = lambda d: np.where((d[:, :1] > 0.1) & (d[:, 2:] < 0.45), who.skin, who.hair)  # noqa: E731
    body.ball((0, 0, 0.925 * h), (0.058 * h, 0.052 * h, 0.075 * h), 70, face)
    body.ball((0, 0, 0.50 * h), (0.075 * h, 0.10 * h, 0.07 * h), 60, who.legs)
    _patch(body, 0.28)
    parts = [Part(body.gaussians())]
    for sign, phase in ((1.0, 0.0), (-1.0, np.pi)):
        y = sign * 0.052 * h
        leg = who.limb((0, y, hip), (0, y, 0.05 * h), 0.042 * h, who.legs, who.legs, 0.0)
        leg.ball((0.03 * h, y, 0.025 * h), (0.07 * h, 0.032 * h, 0.028 * h), 40, _SHOES)
        parts.append(Part(leg.gaussians(), (0.0, y, hip), 0.50, phase))
        y = sign * min(across, 0.135 * h)
        arm = who.limb((0, y, shoulder), (0, y, 0.44 * h), 0.03 * h, who.top, who.skin, 0.12)
        parts.append(Part(arm.gaussians(), (0.0, y, shoulder), 0.42, phase + np.pi))
    length, width = float(size[0]), float(size[1])
    return Actor(name, AgentKind.PEDESTRIAN, (length, width, h), tuple(parts))


def make_cyclist(name: str, size: Any, rng: np.random.Generator) -> Actor:
    """A bicycle of length, width and height [m] with its rider; legs pedal, wheels turn."""
    length, width, h = (float(x) for x in size)
    s = min(length / 1.75, h / 1.70)
    radius = 0.33 * s
    rear, front = -0.5 * length + radius, 0.5 * length - radius
    crank = np.array([0.5 * (rear + front) - 0.05, 0.0, 0.29 * s])
    saddle = np.array([rear + 0.28 * (front - rear), 0.0, 0.50 * h])
    head = np.array([front - 0.12 * s, 0.0, 0.52 * h])
    who = _Person(rng)
    frame = np.array(_TOPS[int(rng.integers(len(_TOPS)))])
    body = Paint(rng, 0.02)
    hub_rear, hub_front = (rear, 0.0, radius), (front, 0.0, radius)
    for a, b in ((hub_rear, crank), (crank, saddle), (crank, head), (saddle, head),
                 (hub_rear, saddle), (head, hub_front)):  # fmt: skip
        body.rod(a, b, 0.035, frame, 10)
    grip = head + np.array([0.06, 0.0, 0.06])
    half = float(np.clip(0.45 * width, 0.2, 0.3))
    bar = np.array([0.0, half, 0.0])
    body.rod(grip - bar, grip + bar, 0.028, _STEEL, 8)
    body.box((saddle[0], 0.0, saddle[2] + 0.03), (0.26, 0.14, 0.06), 0.06, _SHOES)
    chest = saddle + np.array([0.32 * s, 0.0, 0.30 * h])
    spine = chest - saddle
    body.ball(0.5 * (saddle + chest), (0.12 * s, 0.17 * s, 0.6 * np.linalg.norm(spine)), 150,
              who.top, axis=spine)  # fmt: skip
    skull = chest + np.array([0.10 * s, 0.0, 0.13 * h])
    helmet = lambda d: np.where((d[:, 2:] < 0.15) & (d[:, :1] > 0.0), who.skin, frame)  # noqa: E731
    body.ball(skull, (0.12 * s, 0.10 * s, 0.13 * s), 70, helmet)
    for sign in (1.0, -1.0):
        side = np.array([0.0, sign * 0.17 * s, 0.0])
        arm = who.limb(chest + side, grip + 0.9 * sign * bar, 0.055 * s, who.top,
                       who.skin, 0.1)  # fmt: skip
        body = _joined(body, arm)
    _patch(body, 0.35)
    parts = [Part(body.gaussians())]
    for x in (rear, front):
        wheel = Paint(rng, 0.02)
        turn = 2.0 * np.pi * np.arange(28) / 28
        rim = np.column_stack([x + 0.95 * radius * np.cos(turn), np.zeros(28),
                               radius + 0.95 * radius * np.sin(turn)])  # fmt: skip
        for a, b in zip(rim, np.roll(rim, -1, axis=0), strict=True):
            wheel.rod(a, b, 0.04, (0.09, 0.09, 0.10), 1)
        for k in range(0, 28, 4):
            wheel.rod((x, 0.0, radius), rim[k], 0.012, _STEEL, 3)
        parts.append(Part(wheel.gaussians(), (x, 0.0, radius), spin=True))
    for sign, phase in ((1.0, 0.0), (-1.0, np.pi)):
        y = sign * 0.10 * s
        hip = saddle + np.array([0.0, y, 0.02])
        foot = crank + np.array([0.04, y, -0.10 * s])
        leg = who.limb(hip, foot, 0.075 * s, who.legs, _SHOES, 0.1)
        parts.append(Part(leg.gaussians(), tuple(hip), 0.35, phase))
    return Actor(name, AgentKind.BICYCLE, (length, width, h), tuple(parts))


def _patch(paint: Paint, radius: float) -> None:
    """The dark of the ground beneath."""
    paint.surfels(np.array([[0.0, 0.0, 0.02]]), np.eye(3)[None],
                  np.array([[radius, 0.7 * radius, 0.01]]), (0.05, 0.05, 0.06), 0.5)  # fmt: skip
