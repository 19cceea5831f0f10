"""A street with an unsignalled crosswalk in mid-block."""

from __future__ import annotations

import numpy as np
from roadworthy.scenario import AreaKind

from roadworthy_sources.procedural.hazards import Approach, cross_path
from roadworthy_sources.procedural.population import (
    PARKING_WIDTH,
    fill_lane,
    park_cars,
    parking_strip,
    walkers,
)
from roadworthy_sources.procedural.roads import LANE_WIDTH, RoadBuilder, offset, straight
from roadworthy_sources.procedural.scene import STEPS, Scene
from roadworthy_sources.procedural.traffic import speed_script

__all__ = ["build"]

_LENGTH = 380.0
_WIDTH = 4.0


def build(rng: np.random.Generator, rare: str) -> Scene:
    """Common: people cross on the crosswalk, in time to be seen. Rare: someone comes out
    from behind a parked van, short of the crosswalk or far from it."""
    lanes = 1 if rng.random() < 0.6 else 2
    limit = float(rng.choice([8.3, 11.1]))
    roads = RoadBuilder()
    line = straight((0.0, 0.0), 0.0, _LENGTH)
    at = float(rng.uniform(120.0, 150.0))
    cut = int(at)
    parts = [
        roads.road("west", line[: cut + 1], lanes, lanes, limit),
        roads.road("east", line[cut:], lanes, lanes, limit),
    ]
    roads.chain(parts)
    half = lanes * LANE_WIDTH + PARKING_WIDTH
    roads.area(
        AreaKind.CROSSWALK,
        np.array([[at, -half], [at + _WIDTH, -half], [at + _WIDTH, half], [at, half]]),
    )
    right = offset(line, -lanes * LANE_WIDTH)
    left = offset(line, lanes * LANE_WIDTH)[::-1]
    right_strip, left_strip = parking_strip(roads, right), parking_strip(roads, left)
    scene = Scene.on(rng, roads)
    own = lanes - 1 if rare else int(rng.integers(lanes))
    ahead = [[p.forward[k] for p in parts] for k in range(lanes)]
    back = [[p.backward[k] for p in reversed(parts)] for k in range(lanes)]
    station = float(rng.uniform(32.0, 42.0))
    speed = limit * rng.uniform(0.92, 1.0)
    approach = Approach.of(scene.place_ego(ahead[own], station, speed))
    gaps = [(at - 12.0, at + _WIDTH + 8.0)]
    if rare:
        cyclist = rng.random() < 0.4
        where = min(station + speed * rng.uniform(5.0, 7.0) + 4.0, at - 6.0)
        reach = 0.5 * LANE_WIDTH + PARKING_WIDTH + 1.2
        cross_path(
            scene,
            approach,
            where,
            "cyclist" if cyclist else "pedestrian",
            rng.uniform(2.2, 2.8) if cyclist else rng.uniform(1.3, 1.7),
            reach,
            (own + 0.5 + lanes) * LANE_WIDTH + PARKING_WIDTH + 1.5,
        )
        scene.stand("van", right_strip[int(where) - 5], 0.0)
        gaps.append((where - 9.0, where + 4.0))
        fill_lane(scene, ahead[own], speed, 40.0, keep_clear=[(station - 14.0, 1e3)], at_most=1)
    else:
        _crossers(scene, at, half)
        for k, chain in enumerate(ahead):
            keep = [(station - 14.0, station + 20.0)] if k == own else []
            fill_lane(scene, chain, speed * rng.uniform(0.75, 1.0), 40.0, keep_clear=keep)
    for chain in back:
        fill_lane(scene, chain, speed, 45.0, at_most=4)
    park_cars(scene, right_strip[:220], 0.2, gaps)
    park_cars(
        scene, left_strip[120:], 0.16, [(_LENGTH - 120.0 - b, _LENGTH - 120.0 - a) for a, b in gaps]
    )
    walkers(scene, offset(right, -PARKING_WIDTH)[:240], int(rng.integers(1, 4)))
    walkers(scene, offset(left, -PARKING_WIDTH)[140:], int(rng.integers(1, 4)))
    return scene


def _crossers(scene: Scene, at: float, half: float) -> None:
    """One to three people on the crosswalk, a step away from the kerb when they start."""
    for turn in range(int(scene.rng.integers(1, 4))):
        x = at + 0.8 + 1.2 * turn
        side = 1.0 if scene.rng.random() < 0.5 else -1.0
        line = np.array([[x, -side * (half + 0.6)], [x, side * (half + 0.6)]])
        pace = scene.rng.uniform(1.1, 1.6)
        leave = scene.rng.uniform(2.0, 6.0)
        script = speed_script(STEPS, 0.0, [(leave, 0.0), (leave + 0.5, pace)])
        scene.add("pedestrian", line, script=np.minimum(script, 2.0 * half + 1.19))
