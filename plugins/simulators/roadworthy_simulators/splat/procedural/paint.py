"""Collects surfels: flat Gaussians that lie in a surface, with an albedo and a normal.

The local z axis of every Gaussian is its outward normal and its colour is its albedo, so that
`scenes.light` can light a finished set again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.quaternions import quaternions_of
from roadworthy_simulators.splat.scenes.light import colours_to_sh

__all__ = ["Paint"]

Floats = NDArray[np.float64]
Colour = Any
"""Red, green, blue in 0..1: three numbers, or [N, 3]."""

THIN = 0.012
"""Standard deviation across a surface [m]."""


def _unit(vector: Floats) -> Floats:
    out: Floats = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
    return out


def frames(normal: Floats, along: Floats | None = None) -> Floats:
    """Rotations [N, 3, 3] whose columns are a tangent (near `along`), another, and the normal."""
    normal = _unit(np.atleast_2d(normal))
    if along is None:
        steep = np.abs(normal[:, 2:]) > 0.9
        along = np.where(steep, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    along = np.broadcast_to(along, normal.shape)
    first = _unit(along - (along * normal).sum(-1, keepdims=True) * normal)
    return np.stack([first, np.cross(normal, first), normal], axis=-1)


class Paint:
    """Surfels, collected piece by piece; `gaussians` puts them together.

    Args:
        rng: varies the colours.
        grain: standard deviation of a surfel's brightness, as a share of it.

    Attributes:
        parts: the pieces so far: means, quaternions, scales, opacities, colours, a row a surfel.
    """

    def __init__(self, rng: np.random.Generator, grain: float = 0.04) -> None:
        self._rng = rng
        self._grain = grain
        self.parts: list[tuple[Floats, Floats, Floats, Floats, Floats]] = []

    def surfels(
        self,
        means: Floats,
        rotations: Floats,
        scales: Floats,
        colour: Colour,
        opacity: float = 0.97,
    ) -> None:
        """Add surfels: means [N, 3], rotations [N or 1, 3, 3], scales [N or 1, 3] (sigma, m)."""
        n = len(means)
        if n == 0:
            return
        grain = 1.0 + self._grain * self._rng.standard_normal((n, 1))
        self.parts.append(
            (
                np.asarray(means, np.float64),
                np.broadcast_to(quaternions_of(rotations), (n, 4)),
                np.broadcast_to(scales, (n, 3)),
                np.full(n, opacity),
                np.clip(np.broadcast_to(colour, (n, 3)) * grain, 0.0, 1.0),
            )
        )

    def flat(
        self, xy: Floats, z: float, cell: float, colour: Colour, opacity: float = 0.97
    ) -> None:
        """Add level surfels at xy [N, 2], `cell` metres apart."""
        means = np.column_stack([xy, np.full(len(xy), z)])
        sigma = 0.55 * cell
        self.surfels(means, np.eye(3)[None], np.array([[sigma, sigma, THIN]]), colour)

    def strip(
        self, xy: Floats, yaw: Floats, z: float, length: float, width: float, colour: Colour
    ) -> None:
        """Add level surfels at xy [N, 2], long along a heading [N]."""
        means = np.column_stack([xy, np.full(len(xy), z)])
        along = np.column_stack([np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))])
        rotations = frames(np.broadcast_to([0.0, 0.0, 1.0], along.shape), along)
        scales = np.array([[0.55 * length, 0.5 * width, THIN]])
        self.surfels(means, rotations, scales, colour)

    def upright(
        self, means: Floats, normals: Floats, wide: float, tall: float, colour: Colour
    ) -> None:
        """Add surfels of a wall: sigmas `wide` sideways and `tall` upwards [m]."""
        scales = np.array([[tall, wide, THIN]])
        self.surfels(means, frames(normals, np.array([0.0, 0.0, 1.0])), scales, colour)

    def quad(
        self,
        corner: Any,
        u: Any,
        v: Any,
        cell: float,
        colour: Colour | Callable[[Floats, Floats], Colour],
        keep: Callable[[Floats, Floats], NDArray[np.bool_]] | None = None,
    ) -> None:
        """Add the parallelogram corner + a u + b v (a, b in 0..1); the normal is u x v.

        Args:
            corner, u, v: [3] metres.
            cell: distance between surfels at most [m].
            colour: three numbers, or a function of (a |u|, b |v|) in metres.
            keep: which places to fill, a function of the same; all if not given.
        """
        corner, u, v = (np.asarray(x, np.float64) for x in (corner, u, v))
        long, high = float(np.linalg.norm(u)), float(np.linalg.norm(v))
        if long < 1e-6 or high < 1e-6:
            return
        m, n = max(1, round(long / cell)), max(1, round(high / cell))
        a, b = np.meshgrid((np.arange(m) + 0.5) / m, (np.arange(n) + 0.5) / n)
        a, b = a.ravel(), b.ravel()
        if keep is not None:
            good = keep(a * long, b * high)
            a, b = a[good], b[good]
        if not len(a):
            return
        paint = colour(a * long, b * high) if callable(colour) else colour
        means = corner + a[:, None] * u + b[:, None] * v
        scales = np.array([[0.6 * long / m, 0.6 * high / n, THIN]])
        self.surfels(means, frames(np.cross(u, v), u), scales, paint)

    def box(self, centre: Any, size: Any, cell: float, colour: Colour, yaw: float = 0.0) -> None:
        """Add the six sides of a box: centre [3], size [3] (length, width, height)."""
        c, s = np.cos(yaw), np.sin(yaw)
        axes = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        half = 0.5 * np.asarray(size, np.float64)[:, None] * axes
        for i in range(3):
            for sign in (1.0, -1.0):
                j, k = (i + 1) % 3, (i + 2) % 3
                if sign < 0:
                    j, k = k, j
                corner = np.asarray(centre) + sign * half[i] - half[j] - half[k]
                self.quad(corner, 2.0 * half[j], 2.0 * half[k], cell, colour)

    def rod(self, a: Any, b: Any, radius: float, colour: Colour, pieces: int = 0) -> None:
        """Add a thin round bar from a [3] to b [3]: long Gaussians, not surfels."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        length = float(np.linalg.norm(b - a))
        if length < 1e-6:
            return
        n = pieces or max(2, int(length / (3.0 * radius)))
        at = (np.arange(n) + 0.5)[:, None] / n
        direction = (b - a) / length
        side = frames(direction[None])[0]
        rotation = np.stack([direction, side[:, 0], side[:, 1]], axis=-1)[None]
        scales = np.array([[0.55 * length / n, 0.6 * radius, 0.6 * radius]])
        self.surfels(a + at * (b - a), rotation, scales, colour)

    def ball(
        self,
        centre: Any,
        radii: Any,
        count: int,
        colour: Colour | Callable[[Floats], Colour],
        opacity: float = 0.97,
        axis: Floats | None = None,
    ) -> None:
        """Add an ellipsoid's surface: radii [3] along x, y and `axis` (z if not given).

        Args:
            colour: three numbers, or a function of the directions [N, 3].
        """
        radii = np.asarray(radii, np.float64)
        k = np.arange(count) + 0.5
        z = 1.0 - 2.0 * k / count
        turn = np.pi * (1.0 + np.sqrt(5.0)) * k
        r = np.sqrt(1.0 - z * z)
        direction = np.column_stack([r * np.cos(turn), r * np.sin(turn), z])
        points, normals = direction * radii, direction / radii
        if axis is not None:
            rotation = frames(np.asarray(axis)[None])[0]
            points, normals = points @ rotation.T, normals @ rotation.T
        area = (
            4.0 * np.pi * np.mean([radii[0] * radii[1], radii[0] * radii[2], radii[1] * radii[2]])
        )
        sigma = 0.65 * np.sqrt(area / count)
        paint = colour(direction) if callable(colour) else colour
        scales = np.array([[sigma, sigma, max(THIN, 0.25 * sigma)]])
        self.surfels(np.asarray(centre) + points, frames(normals), scales, paint, opacity)

    def turn(self, begin: int, normal: Floats) -> None:
        """Make the flat pieces from `begin` on face along `normal` [3]."""
        for i in range(begin, len(self.parts)):
            means, _, scales, opacities, colours = self.parts[i]
            quats = np.broadcast_to(quaternions_of(frames(normal)), (len(means), 4))
            first = frames(normal)[0][:, 0]
            if abs(first[2]) > 0.5:  # the tangents have changed places
                scales = scales[:, [1, 0, 2]]
            self.parts[i] = (means, quats, scales, opacities, colours)

    def bend(self, begin: int, move: Callable[[Floats], Floats]) -> None:
        """Move the means of the pieces from `begin` on."""
        for i in range(begin, len(self.parts)):
            means, *rest = self.parts[i]
            self.parts[i] = (move(means), *rest)  # type: ignore[assignment]

    def gaussians(self) -> Gaussians:
        """Everything so far as one set, colours as degree 0 harmonics."""
        columns = list(zip(*self.parts, strict=True)) or [
            (np.zeros((0, 3)),), (np.zeros((0, 4)),), (np.zeros((0, 3)),), (np.zeros(0),),
            (np.zeros((0, 3)),),
        ]  # fmt: skip
        means, quats, scales, opacities, colours = (np.concatenate(c) for c in columns)
        return Gaussians(means, quats, scales, opacities, colours_to_sh(colours)[:, None])
