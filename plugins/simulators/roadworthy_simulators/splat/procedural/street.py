"""Makes the splat scene of a scenario: equal arguments, equal Gaussians."""

from __future__ import annotations

import hashlib

import numpy as np
from roadworthy.routing import resample
from roadworthy.scenario import RoadMap, Scenario

from roadworthy_simulators.splat.procedural.assets import catalogue
from roadworthy_simulators.splat.procedural.paint import Paint
from roadworthy_simulators.splat.procedural.road import ground_of, paint_ground
from roadworthy_simulators.splat.procedural.surroundings import paint_surroundings, sky_of
from roadworthy_simulators.splat.scenes.light import Light
from roadworthy_simulators.splat.scenes.scene import Alignment, SplatScene, Traversal

__all__ = ["LIGHTS", "make_street"]

LIGHTS: dict[str, tuple[Light, float]] = {
    "noon": (
        Light((0.35, 0.45, 0.82), (0.50, 0.48, 0.44), (0.62, 0.65, 0.70),
              (0.80, 0.87, 0.95), (0.28, 0.50, 0.84)), 1.0,
    ),
    "evening": (
        Light((0.86, -0.42, 0.26), (0.85, 0.52, 0.26), (0.46, 0.42, 0.48),
              (0.97, 0.72, 0.48), (0.36, 0.42, 0.66)), 1.0,
    ),
    "overcast": (
        Light((-0.2, 0.3, 0.93), (0.10, 0.10, 0.10), (0.78, 0.81, 0.85),
              (0.80, 0.82, 0.84), (0.66, 0.69, 0.73)), 0.85,
    ),
}  # fmt: skip
"""Per traversal its light, and the gain of the camera."""

REACH = 90.0
"""How far from the path a street is painted [m]."""
_TRUSTED = 25.0
_LEAST_STEP = 1e-3


def make_street(
    scenario: Scenario, seed: int = 0, *, reach: float = REACH, with_actors: bool = False
) -> SplatScene:
    """A street along the scenario's map, near its logged drive and its route ahead.

    Args:
        scenario: gives the map and the path; its agents are not part of the scene.
        seed: of houses, trees and colours, together with the map's hash.
        reach: how far from the path to paint [m].
        with_actors: whether the scene brings a look for each class of agent, as one that is
            written to a folder should; without, every agent gets one of its exact size.
    """
    path = _path(scenario)
    shift = np.round(path.mean(axis=0), 1)
    rng = _generator(scenario.map, seed)
    ground = ground_of(scenario.map, path, shift, reach)
    paint = Paint(rng)
    paint_ground(paint, scenario.map, ground, shift, rng)
    paint_surroundings(paint, ground, rng)
    return SplatScene(
        name=f"street-{scenario.id}",
        background=paint.gaussians(),
        traversals=tuple(
            Traversal(
                name,
                light,
                sky_of(light, rng),
                exposure=np.hstack([gain * np.eye(3), np.zeros((3, 1))]),
                background=light.horizon,
            )
            for name, (light, gain) in LIGHTS.items()
        ),
        albedo=True,
        actors=catalogue(seed) if with_actors else (),
        alignment=Alignment(float(shift[0]), float(shift[1]), map_hash=scenario.map.hash),
        path=ground.path,
        reach=_TRUSTED,
    )


def _path(scenario: Scenario) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The logged drive, and up to 60 m of the route beyond its end: [P, 2] every 2 m."""
    driven = scenario.ego[:, :2]
    route = scenario.route.centreline[:, :2]
    nearest = int(np.argmin(((route - driven[-1]) ** 2).sum(axis=1)))
    ahead = route[nearest + 1 :]
    walked = np.cumsum(np.hypot(*np.diff(np.vstack([driven[-1], ahead]), axis=0).T))
    points = np.vstack([driven, ahead[walked < 60.0]])
    moved = np.r_[True, np.hypot(*np.diff(points, axis=0).T) > _LEAST_STEP]
    points = points[moved]
    if len(points) < 2:
        points = np.vstack([points[0] - (0.5, 0.0), points[0] + (0.5, 0.0)])
    return resample(points, 2.0)


def _generator(road_map: RoadMap, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"street/{seed}/{road_map.hash}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
