"""A straight street: lanes both ways, parked cars, people on the pavement."""

from __future__ import annotations

import numpy as np

from roadworthy_sources.procedural.hazards import Approach, brake_hard, cross_path, cut_in
from roadworthy_sources.procedural.population import (
    PARKING_WIDTH,
    fill_lane,
    park_cars,
    parking_strip,
    place_bins,
    walkers,
)
from roadworthy_sources.procedural.roads import LANE_WIDTH, RoadBuilder, offset, straight
from roadworthy_sources.procedural.scene import Scene

__all__ = ["build"]

_SECTIONS = (130.0, 150.0, 140.0)


def build(rng: np.random.Generator, rare: str) -> Scene:
    """A street of 420 m; the ego drives along it, in any lane that the event allows."""
    many = rare in ("cut_in", "blocked_lane")
    forward = int(rng.integers(2, 4)) if many else int(rng.integers(1, 4))
    backward = int(rng.integers(1, 3))
    limit = float(rng.choice([8.3, 11.1, 13.9]))
    if rare == "pedestrian_cyclist":
        limit = min(limit, 11.1)
    roads = RoadBuilder()
    line = straight((0.0, 0.0), 0.0, sum(_SECTIONS))
    cuts = np.concatenate([[0], np.cumsum(_SECTIONS)]).astype(int)
    sections = [
        roads.road(f"s{k}", line[cuts[k] : cuts[k + 1] + 1], forward, backward, limit)
        for k in range(len(_SECTIONS))
    ]
    roads.chain(sections)
    right_edge = offset(line, -forward * LANE_WIDTH)
    left_edge = offset(line, backward * LANE_WIDTH)[::-1]
    right_strip = parking_strip(roads, right_edge)
    left_strip = parking_strip(roads, left_edge)
    scene = Scene.on(rng, roads)

    ahead = [[s.forward[k] for s in sections] for k in range(forward)]
    back = [[s.backward[k] for s in reversed(sections)] for k in range(backward)]
    speed = limit * rng.uniform(0.9, 1.0)
    own = forward - 1 if rare == "pedestrian_cyclist" else int(rng.integers(forward))
    station = float(rng.uniform(32.0, 45.0))
    hidden = 0.0
    lanes = ahead[own]
    change_at = None
    if rare == "blocked_lane":
        beside = own - 1 if own > 0 else own + 1
        block = station + rng.uniform(95.0, 125.0)
        lanes, change_at = _around(scene, ahead[own], ahead[beside], block)
    ego = scene.place_ego(lanes, station, speed, change_at=change_at)
    approach = Approach.of(ego)
    mine = scene.path(ahead[own])[:, :2]
    clear = [(station - 14.0, station + 22.0)]
    if rare == "cut_in":
        side = own - 1 if own == forward - 1 else own + 1
        cut_in(scene, approach, scene.path(ahead[side])[:, :2], mine)
        clear = [(station - 14.0, 400.0)]
    elif rare == "hard_brake":
        brake_hard(scene, approach, mine)
        clear = [(station - 14.0, 400.0)]
    elif rare == "pedestrian_cyclist":
        cyclist = rng.random() < 0.35
        at = station + speed * rng.uniform(5.0, 7.0) + 4.0
        pace = rng.uniform(2.2, 2.8) if cyclist else rng.uniform(1.3, 1.7)
        reach = 0.5 * LANE_WIDTH + PARKING_WIDTH + 1.2
        end = (own + 0.5 + backward) * LANE_WIDTH + PARKING_WIDTH + 1.5
        cross_path(scene, approach, at, "cyclist" if cyclist else "pedestrian", pace, reach, end)
        hidden = at
        clear = [(station - 14.0, 400.0)]
        scene.stand("van", right_strip[int(at) - 5], 0.0)
    elif rare == "blocked_lane":
        _works(scene, mine, block)
        clear = [(station - 14.0, 400.0)]
    for k, chain in enumerate(ahead):
        keep = clear if k == own or rare in ("cut_in", "blocked_lane") else []
        fill_lane(scene, chain, speed * rng.uniform(0.75, 1.05), 40.0, keep_clear=keep, at_most=5)
    for chain in back:
        fill_lane(scene, chain, speed, 50.0, at_most=4)
    gap = [(hidden - 9.0, hidden + 3.0)] if hidden else []
    park_cars(scene, right_strip[:240], 0.16, gap)
    park_cars(scene, left_strip[180:], 0.14, [(420 - 180 - hidden - 8, 420 - 180 - hidden + 8)])
    outer = offset(right_edge, -PARKING_WIDTH)
    walkers(scene, outer[:220], int(rng.integers(1, 4)))
    walkers(scene, offset(left_edge, -PARKING_WIDTH)[180:], int(rng.integers(1, 4)))
    place_bins(scene, outer[:220], 2)
    return scene


def _around(
    scene: Scene, own: list[str], beside: list[str], block: float
) -> tuple[list[str], np.ndarray]:
    """Lanes that leave `own` for `beside` well before a block, and the point of the change."""
    ends = np.cumsum([scene.graph.length[scene.map.lane_id.index(name)] for name in own])
    at = int(np.argmax(ends > block - 40.0))
    point = scene.path(own)[int(block - 42.0), :2]
    return [*own[: at + 1], *beside[at:]], point


def _works(scene: Scene, lane: np.ndarray, block: float) -> None:
    """Road works: cones, a sign, barriers and a standing truck in a lane."""
    k = int(block)
    for step, left in ((0, -1.2), (3, -0.5), (6, 0.2)):
        scene.stand("cone", lane[k + step] + np.array([0.0, left]), 0.0)
    scene.stand("sign", lane[k + 8] + np.array([0.0, -0.6]), 0.0)
    scene.stand("barrier", lane[k + 10], 0.5 * np.pi)
    scene.stand("truck", lane[k + 18], 0.0)
