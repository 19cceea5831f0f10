"""Drives a camera through a procedural street in several lights: a recording whose truth is known.

What reconstruction is tried on: every picture is rendered from Gaussians that are at hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.rig import Pinhole, Rig
from roadworthy.scenario import DT, Scenario

from roadworthy_simulators.splat.camera_view import Stage
from roadworthy_simulators.splat.procedural.street import make_street
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.scenes.scene import SplatScene

__all__ = ["record_street"]

_LANE_WANDER = 0.5
"""How far a drive is off the logged one, at most [m]."""
_HEADING_WANDER = 0.05
_POINTS_REACH = 60.0


def record_street(
    scenario: Scenario,
    cameras: Rig | Pinhole,
    *,
    moments: int,
    length: float = 40.0,
    lights: tuple[str, ...] = ("noon",),
    points: int = 20_000,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[Recording, SplatScene]:
    """A recording of the street that a scenario's map makes, and the street itself.

    Nobody moves in it. Each drive (traversal) follows the logged one, off it by up to half a metre
    and turning to and fro by up to 3 degrees, in a light of its own.

    Args:
        scenario: its map and logged drive.
        cameras: all of one image size.
        moments: of each drive, evenly spaced; each gives one image per camera.
        length: of the drive from its start [m]; all of it where it is shorter.
        lights: names of the drives, of `street.LIGHTS`.
        points: at most, drawn from the street's surfels within 60 m of the drive: what a LiDAR
            would give; coloured as in the first light.
        seed: of the street, the wander and the points.
        threads: of the renderer.

    Returns:
        The recording, in the frame of the scene, and the scene.

    Raises:
        DataError: a light that there is not, or cameras of unequal size.
    """
    pinholes = (cameras,) if isinstance(cameras, Pinhole) else cameras.cameras
    sizes = {(p.width, p.height) for p in pinholes}
    if len(sizes) > 1:
        raise DataError(f"cameras: sizes are {sorted(sizes)}", hint="All must have one size.")
    street = make_street(scenario, seed)
    poses = _drive(scenario, length, moments)
    rng = np.random.default_rng((seed, 6))
    images, views, traversal, rig_index, frames, times = [], [], [], [], [], []
    for t, light in enumerate(lights):
        stage = Stage(street, light, Rig(cameras=pinholes), threads=threads)
        phase = rng.uniform(0.0, 2.0 * np.pi, 2)
        turn = np.linspace(0.0, 4.0 * np.pi, moments)
        drive = poses.copy()
        side = _LANE_WANDER * np.sin(turn + phase[0])
        drive[:, 0] -= side * np.sin(poses[:, 2])
        drive[:, 1] += side * np.cos(poses[:, 2])
        drive[:, 2] += _HEADING_WANDER * np.sin(2.0 * turn + phase[1])
        for m, pose in enumerate(drive):
            shot = stage.take(pose)
            for c, camera in enumerate(pinholes):
                rig_index.append(c)
                images.append(shot.images[camera.name])
                views.append(camera.from_vehicle @ _to_vehicle(street, pose))
                traversal.append(t)
                frames.append(f"{light}/{camera.name}/{m:04d}.png")
                times.append(m * DT)
    places, colours = _points(street, lights[0], points, rng)
    count = len(images)
    recording = Recording(
        name=street.name,
        images=np.stack(images),
        viewmats=np.stack(views),
        Ks=np.stack([p.intrinsics for p in pinholes] * (count // len(pinholes))),
        frames=tuple(frames),
        traversal=np.array(traversal),
        traversals=lights,
        times=np.array(times),
        test=np.zeros(count, np.bool_),
        points_world=places,
        point_colors=colours,
        camera=np.array(rig_index),
    )
    return recording, street


def _drive(scenario: Scenario, length: float, moments: int) -> NDArray[np.float64]:
    """[M, 3] poses along the logged drive, evenly spaced by way."""
    ego = scenario.ego[:, :3]
    way = np.r_[0.0, np.cumsum(np.hypot(*np.diff(ego[:, :2], axis=0).T))]
    at = np.linspace(0.0, min(length, way[-1]), moments)
    heading = np.unwrap(ego[:, 2])
    return np.stack([np.interp(at, way, c) for c in (ego[:, 0], ego[:, 1], heading)], axis=1)


def _to_vehicle(street: SplatScene, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    align = street.alignment
    place, yaw = align.to_scene(pose[:2]), pose[2] - align.yaw
    c, s = np.cos(yaw), np.sin(yaw)
    out = np.eye(4)
    out[:2, :2] = [[c, s], [-s, c]]
    out[:2, 3] = -out[:2, :2] @ place
    return out


def _points(
    street: SplatScene, light: str, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    lit = street.lit_background(street.traversal(light))
    gap = lit.means[:, None, :2] - street.path[None, ::5]
    near = np.flatnonzero((gap**2).sum(axis=2).min(axis=1) < _POINTS_REACH**2)
    pick = rng.permutation(near)[:count]
    colours = np.clip(0.5 + 0.28209479177387814 * lit.sh[pick, 0], 0.0, 1.0)
    return lit.means[pick].astype(np.float64), np.round(255.0 * colours).astype(np.uint8)
