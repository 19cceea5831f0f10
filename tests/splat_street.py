"""A procedural street of Gaussians, for tests and timing: road, facades, objects, sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cameras", "street"]


def street(n: int, degree: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """`n` Gaussians along 135 m of street, in random memory order.

    Surfaces are flat discs about as wide as their spacing, ten times as wide as thick; 2 % are
    sky. World frame: x along the street, y left, z up [m].

    Returns:
        float32 means [n, 3], quats [n, 4], scales [n, 3], opacities [n], colors [n, K, 3].
    """
    rng = np.random.default_rng(seed)
    share = rng.choice(4, n, p=[0.38, 0.42, 0.18, 0.02])
    spacing = np.sqrt(5400.0 / n)
    means = np.empty((n, 3))
    along = rng.uniform(-18.0, 117.0, n)
    side = rng.choice([-1.0, 1.0], n)
    means[:, 0] = along
    means[:, 1] = np.where(share == 0, rng.uniform(-10.5, 10.5, n), side * rng.normal(10.5, 0.3, n))
    means[:, 2] = np.where(share == 0, rng.normal(0.0, 0.03, n), rng.uniform(0.0, 10.0, n))
    objects = share == 2
    centres = np.stack(
        [
            rng.uniform(5, 110, 60),
            rng.choice([-1, 1], 60) * rng.uniform(3, 9, 60),
            np.full(60, 0.8),
        ],
        axis=1,
    )
    shell = rng.normal(size=(n, 3))
    shell *= np.array([2.1, 0.9, 0.8]) / np.linalg.norm(shell, axis=1, keepdims=True)
    means[objects] = (centres[rng.integers(0, 60, n)] + shell)[objects]
    sky = share == 3
    dome = rng.normal(size=(n, 3))
    dome[:, 2] = np.abs(dome[:, 2])
    means[sky] = 400.0 * (dome / np.linalg.norm(dome, axis=1, keepdims=True))[sky]
    scales = np.exp(rng.normal(0.0, 0.45, (n, 3))) * spacing * np.array([0.85, 0.85, 0.1])
    scales[sky] *= 2000.0 / spacing / np.sqrt(n)
    # The thin axis is the normal of the surface: z for the road, y for facades, free otherwise.
    quats = rng.normal(size=(n, 4))
    road, wall = share == 0, share == 1
    turn = rng.uniform(0, np.pi, n)
    quats[road] = np.stack([np.cos(turn), 0 * turn, 0 * turn, np.sin(turn)], axis=1)[road]
    half = np.sqrt(0.5)
    quats[wall] = (
        half * np.stack([np.cos(turn), np.cos(turn), np.sin(turn), np.sin(turn)], axis=1)
    )[wall]
    terms = (degree + 1) ** 2
    colors = rng.normal(0.0, 0.05, (n, terms, 3))
    base = np.array([[0.3, 0.3, 0.32], [0.6, 0.45, 0.35], [0.5, 0.2, 0.2], [0.5, 0.7, 0.95]])[share]
    colors[:, 0] = (base + rng.normal(0.0, 0.06, (n, 3)) - 0.5) / 0.28209479177387814
    opacities = 1.0 / (1.0 + np.exp(-rng.normal(1.3, 1.4, n)))
    arrays = {
        "means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors,
    }  # fmt: skip
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in arrays.items()}


def cameras(
    count: int, width: int = 480, height: int = 270
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Front camera, then the two 60 degrees left and right of it, 1.6 m above the road.

    Returns:
        viewmats [count, 4, 4] world to camera (x right, y down, z forward), Ks [count, 3, 3].
    """
    views = []
    for yaw in (0.0, np.pi / 3, -np.pi / 3)[:count]:
        forward = np.array([np.cos(yaw), np.sin(yaw), -0.05])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        view = np.eye(4)
        view[:3, :3] = rotation
        view[:3, 3] = -rotation @ np.array([0.0, -1.8, 1.6])
        views.append(view)
    focal = 0.596 * width
    k = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return np.stack(views).astype(np.float32), np.stack([k] * count).astype(np.float32)
