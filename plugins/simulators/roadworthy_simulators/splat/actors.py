"""Places actors: rigid bodies at the pose of a track, limbs and wheels in mid-stride."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import AgentKind, RoadMap, StateIndex

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.procedural.assets import make_actor
from roadworthy_simulators.splat.procedural.signals import make_signal
from roadworthy_simulators.splat.quaternions import multiply, yaw_quaternion
from roadworthy_simulators.splat.scenes.light import light_up
from roadworthy_simulators.splat.scenes.scene import Actor, SplatScene, Traversal

__all__ = ["Agents", "Heads", "Wardrobe", "pose_actor", "recorded"]

BRISK = 1.4
"""Walking speed at which limbs swing by their full amplitude [m/s]."""
_CADENCE, _CADENCE_PER_SPEED = 0.5, 0.35
_ALIKE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Agents:
    """Who is there at one moment. N agents.

    Attributes:
        ids: names; they choose colours, and the looks of recorded tracks.
        kind: int8 [N] `AgentKind`.
        size: [N, 3] length, width, height [m].
        state: [N, 5] `StateIndex`, box centres, world frame.
        time: seconds since the scenario's start, for the gait.
    """

    ids: Sequence[str]
    kind: NDArray[np.int8]
    size: NDArray[np.float64]
    state: NDArray[np.float64]
    time: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """The traffic lights of one moment. G heads.

    Attributes:
        pose: [G, 3] x, y, yaw of the lanes' entries, world frame: a head faces who comes.
        state: int8 [G] `SignalState`.
    """

    pose: NDArray[np.float64]
    state: NDArray[np.int8]

    @classmethod
    def over(cls, road_map: RoadMap, lanes: NDArray[np.int64], state: NDArray[np.int8]) -> Heads:
        """Heads over the entries of lanes [G]; those of one entry hang side by side."""
        poses, taken = [], dict[tuple[float, ...], int]()
        for lane in lanes:
            x, y, yaw = road_map.lane_centreline[int(lane)][0]
            place = (round(float(x), 1), round(float(y), 1))
            side = 0.6 * taken.get(place, 0)
            taken[place] = taken.get(place, 0) + 1
            poses.append((x + side * np.sin(yaw), y - side * np.cos(yaw), yaw))
        return cls(np.array(poses, np.float64).reshape(-1, 3), state)


def pose_actor(
    actor: Actor,
    xy: NDArray[np.float64],
    yaw: float,
    speed: float,
    time: float,
    size: Any = None,
    ground: float = 0.0,
) -> Gaussians:
    """An actor's Gaussians in the scene: its parts swung, stretched to a size, turned and moved.

    Args:
        actor: its look.
        xy: [2] centre of its box on the ground, scene frame.
        yaw: heading [rad], scene frame.
        speed: over ground [m/s]; who stands does not swing.
        time: [s]; the gait is a function of it and of the speed alone.
        size: [3] of the agent, the actor's own if not given.
        ground: height of the ground there [m].
    """
    means, quats = [], []
    pace = min(abs(speed) / BRISK, 1.0)
    turn = 2.0 * np.pi * time * (_CADENCE + _CADENCE_PER_SPEED * min(abs(speed), 4.0))
    for part in actor.parts:
        m, q = part.gaussians.means.astype(np.float64), part.gaussians.quats.astype(np.float64)
        angle = pace * part.swing * np.sin(turn + part.phase)
        if part.spin:
            angle = float(speed * time / max(part.pivot[2], 0.1))
        if angle:
            c, s = np.cos(angle), np.sin(angle)
            m = (m - part.pivot) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + part.pivot
            q = multiply(np.array([np.cos(0.5 * angle), 0.0, np.sin(0.5 * angle), 0.0]), q)
        means.append(m)
        quats.append(q)
    stretch = np.ones(3) if size is None else np.asarray(size, np.float64) / actor.size
    c, s = np.cos(yaw), np.sin(yaw)
    placed = np.concatenate(means) * stretch
    world = placed @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + (xy[0], xy[1], ground)
    sets = [part.gaussians for part in actor.parts]
    terms = max(g.sh.shape[1] for g in sets)
    return Gaussians(
        world,
        multiply(yaw_quaternion(yaw), np.concatenate(quats)),
        np.concatenate([g.scales for g in sets]) * np.float32(stretch.mean()),
        np.concatenate([g.opacities for g in sets]),
        np.concatenate([np.pad(g.sh, ((0, 0), (0, terms - g.sh.shape[1]), (0, 0))) for g in sets]),
        sets[0].antialiased,
    )


def recorded(scene: SplatScene, traversal: Traversal, time: float) -> list[Gaussians]:
    """The Gaussians of those whose tracks a traversal has, where they were at a time [s], as rigid
    bodies in their own looks; scene frame, one set for each who was there."""
    looks = {actor.name: actor for actor in scene.actors}
    out = []
    for track in traversal.tracks:
        pose = track.at(time)
        if pose is not None:
            actor = looks[track.actor]
            posed = pose_actor(actor, pose[:2], float(pose[3]), 0.0, 0.0, ground=float(pose[2]))
            out.append(_lit(posed, actor, traversal))
    return out


def _lit(posed: Gaussians, actor: Actor, traversal: Traversal) -> Gaussians:
    if actor.albedo and traversal.light is not None:
        return light_up(posed, traversal.light)
    return posed


class Wardrobe:
    """Finds a look for every agent of a scene: that of its track, else the scene's nearest of
    its kind and about its size, else a procedural one.

    Args:
        scene: may bring looks.
        seed: of procedural looks.
    """

    def __init__(self, scene: SplatScene, seed: int = 0) -> None:
        self._scene = scene
        self._seed = seed
        self._tracks = {a.track: a for a in scene.actors if a.track}
        self._classes = [a for a in scene.actors if not a.track]
        self._made: dict[tuple[str, int, tuple[float, ...]], Actor] = {}

    def look(self, name: str, kind: int, size: NDArray[np.float64]) -> Actor:
        """The look of an agent."""
        own = self._tracks.get(name)
        if own is not None and own.kind == kind:
            return own
        length = float(size[0])
        near = [
            a
            for a in self._classes
            if a.kind == kind and np.abs(np.log(np.asarray(a.size) / size)).max() < _ALIKE
        ]
        if near:
            gap = [abs(np.log(a.size[0] / length)) for a in near]
            close = [a for a, g in zip(near, gap, strict=True) if g < min(gap) + 0.1]
            pick = hashlib.blake2b(name.encode(), digest_size=8).digest()
            return close[int.from_bytes(pick, "little") % len(close)]
        key = (name, int(kind), tuple(float(x) for x in size))
        if key not in self._made:
            self._made[key] = make_actor(name, kind, size, self._seed)
        return self._made[key]

    def dress(self, agents: Agents, traversal: Traversal) -> list[Gaussians]:
        """Everyone's Gaussians, scene frame, in the light of a traversal; one set per agent."""
        out = []
        align = self._scene.alignment
        xy = align.to_scene(agents.state[:, : StateIndex.YAW])
        ground = self._scene.ground_at(xy)
        for i, name in enumerate(agents.ids):
            state, size = agents.state[i], np.maximum(agents.size[i], 0.05)
            actor = self.look(name, int(agents.kind[i]), size)
            speed = float(np.hypot(state[StateIndex.VX], state[StateIndex.VY]))
            walks = agents.kind[i] in (AgentKind.PEDESTRIAN, AgentKind.BICYCLE, AgentKind.VEHICLE)
            offset = int.from_bytes(
                hashlib.blake2b(name.encode(), digest_size=4).digest(), "little"
            )
            time = agents.time + (offset % 1000) / 500.0 if walks else 0.0
            posed = pose_actor(
                actor, xy[i], float(state[StateIndex.YAW]) - align.yaw, speed, time, size,
                float(ground[i]),
            )  # fmt: skip
            out.append(_lit(posed, actor, traversal))
        return out

    def hang(self, heads: Heads) -> list[Gaussians]:
        """The traffic lights' Gaussians, scene frame; they shine, whatever the light."""
        align = self._scene.alignment
        out = []
        for pose, state in zip(heads.pose, heads.state, strict=True):
            yaw = float(pose[2]) - align.yaw + np.pi
            place = align.to_scene(pose[:2])
            ground = float(self._scene.ground_at(place))
            head = make_signal(int(state))
            out.append(pose_actor(head, place, yaw, 0.0, 0.0, ground=ground))
        return out
