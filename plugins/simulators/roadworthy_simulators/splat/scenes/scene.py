"""The noun of this package: a place in Gaussians, its traversals, and who moves through it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError, did_you_mean
from roadworthy.rig import Rig
from roadworthy.scenario import AgentKind

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.scenes.light import Light, light_up

__all__ = ["Actor", "Alignment", "Part", "SplatScene", "Track", "Traversal", "View"]

_FARTHEST = 1e7  # m from the origin


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the scene lies in the world of a scenario: turned about z, then moved.

    Attributes:
        x, y, z: world position of the scene's origin [m].
        yaw: world heading of the scene's x axis [rad].
        map_hash: hash of the road map it was aligned to, "" where there is none.
    """

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    map_hash: str = ""

    def to_scene(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """World positions [..., 2] in the scene's frame."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        gap = np.asarray(xy, np.float64) - (self.x, self.y)
        return np.stack(
            [c * gap[..., 0] + s * gap[..., 1], c * gap[..., 1] - s * gap[..., 0]], axis=-1
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A rigid part of an actor: its Gaussians, and how it swings.

    Attributes:
        gaussians: in the actor's frame: x forward, y left, z up, on the ground below its centre.
        pivot: [3], the point it swings about.
        swing: amplitude about the y axis at a brisk walk [rad]; 0 for what does not move.
        phase: of the swing [rad].
        spin: whether it turns as a wheel does instead, about the pivot.
    """

    gaussians: Gaussians
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    swing: float = 0.0
    phase: float = 0.0
    spin: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """What an agent, or a class of agents, looks like.

    Attributes:
        name: unique within the scene.
        kind: what it is.
        size: length, width, height [m] that it was made for.
        parts: at least one.
        albedo: whether its colours are albedos, to be lit (see `light.light_up`).
        track: the agent whose look this is, "" for a class of agents.
    """

    name: str
    kind: AgentKind
    size: tuple[float, float, float]
    parts: tuple[Part, ...]
    albedo: bool = True
    track: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Where an actor was while it was there, straight in between.

    Attributes:
        actor: name of its look.
        poses: float64 [P, 5] time [s], x, y, z [m] of the ground below its centre and yaw [rad],
            scene frame, in the order of time. It is there from the first to the last.

    Raises:
        DataError: no poses, one that is not finite or too far away, or times that do not ascend.
    """

    actor: str
    poses: NDArray[np.float64]

    def __post_init__(self) -> None:
        poses = self.poses
        if poses.ndim != 2 or poses.shape[1] != 5 or not len(poses):
            raise DataError(
                f"track of {self.actor!r}: poses have shape {poses.shape}",
                hint="Give one or more of time, x, y, z, yaw.",
            )
        bad = ~np.isfinite(poses).all(axis=1) | (np.abs(poses[:, 1:4]) > _FARTHEST).any(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"track of {self.actor!r}: poses[{row}] is {poses[row].tolist()}",
                hint="Metres below 10,000 km, seconds and radians.",
            )
        late = np.flatnonzero(np.diff(poses[:, 0]) <= 0.0)
        if len(late):
            before, after = poses[late[0] : late[0] + 2, 0]
            raise DataError(
                f"track of {self.actor!r}: poses[{late[0] + 1}] is at {after} s, after {before} s",
                hint="Times must ascend.",
            )

    def at(self, time: float) -> NDArray[np.float64] | None:
        """[4] x, y, z, yaw at a time [s]; None where it is not there."""
        times = self.poses[:, 0]
        if not times[0] <= time <= times[-1]:
            return None
        values = self.poses[:, 1:].copy()
        values[:, 3] = np.unwrap(values[:, 3])
        return np.array([np.interp(time, times, column) for column in values.T])


@dataclass(frozen=True, slots=True, eq=False)
class Traversal:
    """One drive through the place: its light and its look, and whom it met.

    Attributes:
        name: unique within the scene.
        light: lights albedos; needed where anything in the scene has them.
        sky: Gaussians behind everything, None for none.
        appearance: float32 [N, K, 3] harmonics of the background in this traversal, None where
            the background's own hold.
        exposure: [3, 4], what a camera makes of colours: rgb' = M rgb + t.
        background: colour where nothing is.
        tracks: of actors, on the drive's own clock; one that comes again has one for each time.
    """

    name: str
    light: Light | None = None
    sky: Gaussians | None = None
    appearance: NDArray[np.float32] | None = None
    exposure: NDArray[np.float64] = field(default_factory=lambda: np.eye(3, 4))
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A recorded picture that the scene was fitted to.

    Attributes:
        traversal: name of its traversal.
        viewmat: row-major [16], scene to camera, OpenCV axes.
        fx, fy, cx, cy, width, height: its pinhole [pixels].
    """

    traversal: str
    viewmat: tuple[float, ...]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class SplatScene:
    """A place in Gaussians. Frame: metres, z up.

    Attributes:
        name: for messages.
        background: what stands still.
        traversals: at least one.
        albedo: whether the background's colours are albedos.
        actors: looks of agents; an agent without one gets a procedural look of its class and size.
        alignment: where the scene lies in the world.
        rig: the cameras that it was recorded with, None where unknown.
        views: recorded pictures; none for a scene that was not fitted to any.
        path: [P, 2] recorded path, scene frame; empty where unknown.
        reach: how far off the path pictures may be trusted [m].
        ground: [G, 3] points on the road; empty where it lies at z = 0.

    Raises:
        DataError: no traversals, two of one name, one without the light it needs, or a track of
            nobody.
    """

    name: str
    background: Gaussians
    traversals: tuple[Traversal, ...]
    albedo: bool = False
    actors: tuple[Actor, ...] = ()
    alignment: Alignment = Alignment()
    rig: Rig | None = None
    views: tuple[View, ...] = ()
    path: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    reach: float = 2.0
    ground: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    def __post_init__(self) -> None:
        known = {a.name for a in self.actors}
        names = [t.name for t in self.traversals]
        if not names or len(set(names)) < len(names):
            raise DataError(f"{self.name}: traversals are {names}", hint="Give unique names.")
        for t in self.traversals:
            if self.albedo and t.light is None:
                raise DataError(
                    f"{self.name}: traversal {t.name!r} has no light",
                    hint="A scene of albedos needs one to be seen.",
                )
            if t.appearance is not None and len(t.appearance) != len(self.background):
                raise DataError(
                    f"{self.name}: traversal {t.name!r} has an appearance of {len(t.appearance)} "
                    f"Gaussians, the background has {len(self.background)}"
                )
            for track in t.tracks:
                if track.actor not in known:
                    raise DataError(
                        f"{self.name}: traversal {t.name!r} has a track of {track.actor!r}, "
                        "which is no actor",
                        hint=did_you_mean(track.actor, known),
                    )

    def traversal(self, name: str) -> Traversal:
        """The traversal of that name.

        Raises:
            DataError: there is none.
        """
        for t in self.traversals:
            if t.name == name:
                return t
        raise DataError(
            f"{self.name}: there is no traversal {name!r}",
            hint=did_you_mean(name, [t.name for t in self.traversals]),
        )

    def ground_at(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height [...] of the ground [m] below places [..., 2], scene frame: the mean of the four
        nearest known heights, weighted by the inverse square of their distance (Shepard 1968)."""
        xy = np.asarray(xy, np.float64)
        if not len(self.ground):
            return np.zeros(xy.shape[:-1])
        flat = xy.reshape(-1, 2)
        square = ((flat[:, None] - self.ground[None, :, :2]) ** 2).sum(axis=2)
        rows = np.argsort(square, axis=1, kind="stable")[:, :4]
        weight = 1.0 / (np.take_along_axis(square, rows, axis=1) + 0.01)
        height = (weight * self.ground[rows, 2]).sum(axis=1) / weight.sum(axis=1)
        return np.asarray(height.reshape(xy.shape[:-1]))

    def lit_background(self, traversal: Traversal) -> Gaussians:
        """The background as it looks in a traversal, the sky left out."""
        b = self.background
        if traversal.appearance is not None:
            return Gaussians(
                b.means, b.quats, b.scales, b.opacities, traversal.appearance, b.antialiased
            )
        if self.albedo and traversal.light is not None:
            return light_up(b, traversal.light)
        return b
