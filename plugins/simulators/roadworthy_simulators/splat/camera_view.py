"""One place in one light, seen from a rig: pictures and how far they may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from roadworthy.rig import Pinhole, Rig

from roadworthy_simulators.splat.actors import Agents, Heads, Wardrobe, recorded
from roadworthy_simulators.splat.cameras import Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.gaussians import Gaussians, concatenate
from roadworthy_simulators.splat.render import Backend, render
from roadworthy_simulators.splat.scenes.scene import SplatScene, Traversal
from roadworthy_simulators.splat.validity import Coverage, hollow, off_path

__all__ = ["MOST_HOLLOW", "MOST_UNSEEN", "Shot", "Stage"]

MOST_HOLLOW = 0.05
"""A picture with more holes than this is not valid."""
MOST_UNSEEN = 0.25
"""A picture of which more than this was never recorded is not valid."""
_NEAR, _FAR = 0.1, 5000.0
_IN_SIGHT = 150.0
_SLOPE = 2.0  # to either side of the rear axle, to tell the slope of the ground [m]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """The pictures of one moment.

    Attributes:
        images: per camera uint8 [H, W, 3].
        hollow: [C] share of each picture that less than half covers.
        unseen: [C] share of each picture that no recorded view shows.
        off_path: distance of the ego from the recorded path [m].
        valid: whether none of them is too large.
    """

    images: Mapping[str, NDArray[np.uint8]]
    hollow: NDArray[np.float64]
    unseen: NDArray[np.float64]
    off_path: float
    valid: bool


class Stage:
    """A traversal of a scene, lit once, and a rig to see it.

    Args:
        scene: the place.
        traversal: name of its light.
        rig: the cameras.
        seed: of procedural looks.
        threads, backend: see `render.render`.
    """

    def __init__(
        self,
        scene: SplatScene,
        traversal: str,
        rig: Rig,
        *,
        seed: int = 0,
        threads: int | None = None,
        backend: Backend = "cpu",
    ) -> None:
        self._scene = scene
        self._traversal = scene.traversal(traversal)
        self._rig = rig
        self._threads = threads
        self._backend: Backend = backend
        self._wardrobe = Wardrobe(scene, seed)
        sky = [] if self._traversal.sky is None else [self._traversal.sky]
        self._still = concatenate([scene.lit_background(self._traversal), *sky])
        self._coverage = Coverage(scene.views)
        self._options = RenderOptions(
            background=self._traversal.background,
            near=_NEAR,
            far=_FAR,
            antialiased=self._still.antialiased,
        )

    def take(
        self,
        ego: NDArray[np.float64],
        agents: Agents | None = None,
        heads: Heads | None = None,
    ) -> Shot:
        """Pictures from an ego pose [3] (x, y, yaw of the rear axle, world frame), with whoever
        is there and the traffic lights as they are."""
        align = self._scene.alignment
        place = align.to_scene(ego[:2])
        images: dict[str, NDArray[np.uint8]] = {}
        holes, unseen = np.zeros(len(self._rig.cameras)), np.zeros(len(self._rig.cameras))
        everything = self.populated(place, agents, heads)
        vehicle = self._pose(place, float(ego[2]) - align.yaw)
        for rows in _alike(self._rig):
            pinholes = [self._rig.cameras[i] for i in rows]
            cameras = Cameras(
                np.stack([p.from_vehicle @ vehicle for p in pinholes]),
                np.stack([p.intrinsics for p in pinholes]),
                pinholes[0].width,
                pinholes[0].height,
            )
            shown = self.render(everything, cameras)
            for k, p in enumerate(pinholes):
                images[p.name] = self.develop(shown, k)
            holes[rows], unseen[rows] = hollow(shown), self._coverage.unseen(cameras, shown)
        away = off_path(self._scene, place)
        valid = bool(
            holes.max() <= MOST_HOLLOW and unseen.max() <= MOST_UNSEEN and away <= self._scene.reach
        )
        return Shot({p.name: images[p.name] for p in self._rig.cameras}, holes, unseen, away, valid)

    def render(self, gaussians: Gaussians, cameras: Cameras) -> Rendering:
        """Renders with this traversal's background colour."""
        return render(
            gaussians, cameras, self._options, backend=self._backend, threads=self._threads
        )

    def develop(self, rendering: Rendering, camera: int) -> NDArray[np.uint8]:
        """A picture as the traversal's camera makes it: uint8 [H, W, 3]."""
        exposure = self._traversal.exposure.astype(np.float32)
        rgb = rendering.rgb[camera] @ exposure[:, :3].T + exposure[:, 3]
        return (np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    @property
    def scene(self) -> SplatScene:
        """The place."""
        return self._scene

    @property
    def traversal(self) -> Traversal:
        """Its light, and whom it met."""
        return self._traversal

    @property
    def rig(self) -> Rig:
        """The cameras."""
        return self._rig

    @property
    def options(self) -> RenderOptions:
        """What `render` renders with."""
        return self._options

    @property
    def still(self) -> Gaussians:
        """The lit background and the sky."""
        return self._still

    def _pose(self, place: NDArray[np.float64], yaw: float) -> NDArray[np.float64]:
        """[4, 4], scene frame to that of a vehicle that stands on the ground, nose up or down with
        the slope along it."""
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        rear, middle, front = self._scene.ground_at(place + np.outer((-_SLOPE, 0, _SLOPE), ahead))
        pitch = np.arctan2(front - rear, 2.0 * _SLOPE)
        forward = np.array([*(np.cos(pitch) * ahead), np.sin(pitch)])
        left = np.array([-ahead[1], ahead[0], 0.0])
        out = np.eye(4)
        out[:3, :3] = np.stack([forward, left, np.cross(forward, left)])
        out[:3, 3] = -out[:3, :3] @ np.array([*place, middle])
        return out

    def populated(
        self, place: NDArray[np.float64], agents: Agents | None, heads: Heads | None = None
    ) -> Gaussians:
        """The place with everyone within 150 m of `place` [2] (scene frame), and traffic lights."""
        others: list[Gaussians] = []
        if agents is not None and len(agents.ids):
            gap = self._scene.alignment.to_scene(agents.state[:, :2]) - place
            near = np.flatnonzero((gap**2).sum(1) < _IN_SIGHT**2)
            seen = Agents(
                [agents.ids[int(i)] for i in near],
                agents.kind[near],
                agents.size[near],
                agents.state[near],
                agents.time,
            )
            others += self._wardrobe.dress(seen, self._traversal)
        if heads is not None and len(heads.state):
            others += self._wardrobe.hang(heads)
        return self._with(others)

    def at(self, time: float) -> Gaussians:
        """The place with the actors that were recorded there, at a time [s] of the traversal."""
        return self._with(recorded(self._scene, self._traversal, time))

    def _with(self, others: list[Gaussians]) -> Gaussians:
        if not others:
            return self._still
        # Everyone is rendered with the filter that the place was fitted with.
        same = self._still.antialiased
        return concatenate([self._still, *(replace(g, antialiased=same) for g in others)])


def _alike(rig: Rig) -> list[list[int]]:
    """Indices of cameras, by image size: those of one size are rendered together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for i, camera in enumerate(rig.cameras):
        sizes.setdefault(_size(camera), []).append(i)
    return list(sizes.values())


def _size(camera: Pinhole) -> tuple[int, int]:
    return camera.width, camera.height
