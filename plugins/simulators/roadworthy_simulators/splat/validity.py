"""Whether a rendered picture may be believed: holes, places no camera saw, and the recorded path.

A picture that may not is an artefact of the scene, and what a planner does on seeing it is not
held against it unseen: the figures stay with the rollout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy_simulators.splat.cameras import Cameras, Rendering
from roadworthy_simulators.splat.scenes.scene import SplatScene, View

__all__ = ["Coverage", "hollow", "off_path"]

_GRID = (9, 16)
_MOST_VIEWS = 256
_NEARER = 3.0
_FAR = 80.0


def hollow(rendering: Rendering) -> NDArray[np.float64]:
    """Share of each picture [C] that less than half covers: holes."""
    return np.asarray((rendering.alpha < 0.5).mean(axis=(1, 2)), np.float64)


def off_path(scene: SplatScene, xy: NDArray[np.float64]) -> float:
    """Distance [m] of a place [2] from the recorded path, scene frame; 0 where none is known."""
    path = scene.path
    if len(path) < 2:
        return 0.0
    a, d = path[:-1], np.diff(path, axis=0)
    t = ((xy - a) * d).sum(1) / np.maximum((d * d).sum(1), 1e-12)
    gap = xy - a - np.clip(t, 0.0, 1.0)[:, None] * d
    return float(np.sqrt((gap**2).sum(1).min()))


class Coverage:
    """Which part of a picture a scene's recorded views show too.

    A place counts as covered where a view has it in its image, no further than 3 times as far
    away. What hides it there is not looked at. The sky, and whatever is beyond 80 m, count as
    covered; so does everything of a scene that was not fitted to pictures.

    Args:
        views: recorded pictures; the nearest 256 to the camera are asked.
    """

    def __init__(self, views: tuple[View, ...]) -> None:
        self._count = len(views)
        if views:
            self._viewmats = np.array([v.viewmat for v in views], np.float64).reshape(-1, 4, 4)
            self._k = np.array([(v.fx, v.fy, v.cx, v.cy, v.width, v.height) for v in views])
            rotation, shift = self._viewmats[:, :3, :3], self._viewmats[:, :3, 3]
            self._centres = -np.einsum("vji,vj->vi", rotation, shift)

    def unseen(self, cameras: Cameras, rendering: Rendering) -> NDArray[np.float64]:
        """Share of each picture [C] that no recorded view shows."""
        out = np.zeros(len(cameras))
        if not self._count:
            return out
        rows = ((np.arange(_GRID[0]) + 0.5) * cameras.height / _GRID[0]).astype(int)
        columns = ((np.arange(_GRID[1]) + 0.5) * cameras.width / _GRID[1]).astype(int)
        for c in range(len(cameras)):
            alpha = rendering.alpha[c][np.ix_(rows, columns)].astype(np.float64)
            z = rendering.depth[c][np.ix_(rows, columns)] / np.maximum(alpha, 1e-6)
            j, i = np.meshgrid(columns + 0.5, rows + 0.5)
            k = cameras.Ks[c].astype(np.float64)
            rays = np.stack([(j - k[0, 2]) / k[0, 0], (i - k[1, 2]) / k[1, 1], np.ones_like(z)], -1)
            ask = (alpha > 0.5) & (z < _FAR)
            if not ask.any():
                continue
            view = cameras.viewmats[c].astype(np.float64)
            seen_from = (rays * z[..., None])[ask]
            places = (seen_from - view[:3, 3]) @ np.linalg.inv(view[:3, :3]).T
            centre = -view[:3, :3].T @ view[:3, 3]
            covered = self._covered(places, centre, np.linalg.norm(seen_from, axis=1))
            out[c] = float((~covered).sum()) / ask.size
        return out

    def _covered(
        self, places: NDArray[np.float64], centre: NDArray[np.float64], far: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        nearest = np.argsort(((self._centres - centre) ** 2).sum(1), kind="stable")[:_MOST_VIEWS]
        m, k = self._viewmats[nearest], self._k[nearest][:, :, None]
        p = np.einsum("vij,nj->vin", m[:, :3, :3], places) + m[:, :3, 3:]
        z = p[:, 2]
        ahead = np.maximum(z, 1e-6)
        u, v = k[:, 0] * p[:, 0] / ahead + k[:, 2], k[:, 1] * p[:, 1] / ahead + k[:, 3]
        inside = (z > 0.1) & (u >= 0) & (u < k[:, 4]) & (v >= 0) & (v < k[:, 5])
        inside &= np.linalg.norm(p, axis=1) < _NEARER * np.maximum(far, 1.0)
        return np.asarray(inside.any(axis=0))
