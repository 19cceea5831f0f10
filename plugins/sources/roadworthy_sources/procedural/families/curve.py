"""A road that bends, one or two lanes each way."""

from __future__ import annotations

import numpy as np

from roadworthy_sources.procedural.hazards import Approach, brake_hard, cut_in
from roadworthy_sources.procedural.population import fill_lane, place_bins, walkers
from roadworthy_sources.procedural.roads import LANE_WIDTH, RoadBuilder, arc, offset, straight
from roadworthy_sources.procedural.scene import Scene

__all__ = ["build"]


def build(rng: np.random.Generator, rare: str) -> Scene:
    """Straight, bend, straight. Speeds are what the bend allows at 1.8 m/s² sideways."""
    forward = 2 if rare == "cut_in" else int(rng.integers(1, 3))
    backward = int(rng.integers(1, 3))
    radius = float(rng.uniform(45.0, 110.0))
    turn = float(rng.uniform(0.7, 1.5))
    hand = 1.0 if rng.random() < 0.5 else -1.0
    inner = radius - (forward if hand < 0.0 else backward) * LANE_WIDTH
    limit = float(min(13.9, np.sqrt(1.8 * inner)))
    roads = RoadBuilder()
    entry = straight((0.0, 0.0), 0.0, 90.0)
    bend = arc((90.0, 0.0), 0.0, hand * radius, radius * turn)
    leave = straight((float(bend[-1, 0]), float(bend[-1, 1])), hand * turn, 240.0)
    sections = [
        roads.road(name, curve, forward, backward, limit)
        for name, curve in (("entry", entry), ("bend", bend), ("exit", leave))
    ]
    roads.chain(sections)
    scene = Scene.on(rng, roads)
    ahead = [[s.forward[k] for s in sections] for k in range(forward)]
    back = [[s.backward[k] for s in reversed(sections)] for k in range(backward)]
    own = int(rng.integers(forward))
    station = float(rng.uniform(32.0, 45.0))
    speed = 0.97 * limit
    approach = Approach.of(scene.place_ego(ahead[own], station, speed))
    clear = [(station - 14.0, station + 22.0)]
    if rare:
        clear = [(station - 14.0, 1e3)]
    if rare == "cut_in":
        cut_in(scene, approach, scene.path(ahead[1 - own])[:, :2], scene.path(ahead[own])[:, :2])
    elif rare == "hard_brake":
        brake_hard(scene, approach, scene.path(ahead[own])[:, :2])
    for k, chain in enumerate(ahead):
        keep = clear if k == own or rare == "cut_in" else []
        fill_lane(scene, chain, speed * rng.uniform(0.7, 1.0), 35.0, keep_clear=keep)
    for chain in back:
        fill_lane(scene, chain, speed, 35.0)
    whole = np.concatenate([entry, bend[1:], leave[1:]])
    right = offset(whole, -forward * LANE_WIDTH)
    walkers(scene, right[:220], int(rng.integers(1, 4)))
    place_bins(scene, right[:200], int(rng.integers(1, 4)))
    return scene
