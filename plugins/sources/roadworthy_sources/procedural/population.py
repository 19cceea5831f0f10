"""Everyday life around the ego: traffic in the lanes, parked cars, people on the pavement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from roadworthy.routing import path_yaw
from roadworthy.scenario import AreaKind

from roadworthy_sources.procedural.roads import RoadBuilder, offset
from roadworthy_sources.procedural.scene import STEPS, Scene
from roadworthy_sources.procedural.traffic import speed_script

__all__ = [
    "PARKING_WIDTH",
    "fill_lane",
    "park_cars",
    "parking_strip",
    "place_bins",
    "walkers",
]

PARKING_WIDTH = 2.5
_KERB = 1.2
_FLEET = ("car", "van", "truck", "bus")
_SHARES = (0.78, 0.12, 0.07, 0.03)


def parking_strip(roads: RoadBuilder, edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pave a parking strip to the right of a road's edge [N, 2]; returns its middle line."""
    outer = offset(edge, -PARKING_WIDTH)
    roads.area(AreaKind.CARPARK, np.concatenate([edge, outer[::-1]]))
    return offset(edge, -0.5 * PARKING_WIDTH)


def park_cars(
    scene: Scene, line: NDArray[np.float64], share: float, keep_clear: Sequence[tuple[float, float]]
) -> None:
    """Park cars along a line, each place of 7 m taken with a probability.

    Args:
        scene: gets the cars.
        line: [N, 2] middle of the strip.
        share: probability that a place is taken.
        keep_clear: stretches of the line to leave empty [m].
    """
    yaw = path_yaw(line)
    length = len(line) - 1
    for at in np.arange(8.0, length - 8.0, 7.0):
        taken = scene.rng.random() < share
        shift, skew = scene.rng.uniform(-0.4, 0.4), scene.rng.normal(0.0, 0.015)
        if not taken or any(a - 4.0 < at < b + 4.0 for a, b in keep_clear):
            continue
        k = int(at + shift)
        what = "van" if scene.rng.random() < 0.15 else "car"
        scene.stand(what, line[k], float(yaw[k] + skew))


def fill_lane(
    scene: Scene,
    lanes: Sequence[str],
    speed: float,
    gap: float,
    *,
    first: float = 5.0,
    keep_clear: Sequence[tuple[float, float]] = (),
    at_most: int = 6,
    rank: int = 1,
) -> None:
    """Put reacting vehicles on a sequence of lanes, from its start on.

    Args:
        scene: gets the vehicles.
        lanes: names, driven in this order.
        speed: what they want, give or take 10 % [m/s].
        gap: mean distance from one to the next [m].
        first: no vehicle starts before this station [m].
        keep_clear: stretches in which nobody starts [m].
        at_most: number of vehicles.
        rank: right of way, see `Actor.rank`.
    """
    path = scene.path(lanes)
    at = first + scene.rng.uniform(0.0, gap)
    placed = 0
    while at < len(path) - 10.0 and placed < at_most:
        what = str(scene.rng.choice(_FLEET, p=_SHARES))
        wanted = speed * scene.rng.uniform(0.9, 1.08)
        if not any(a - 6.0 < at < b + 6.0 for a, b in keep_clear):
            scene.add(what, path, at, wanted, lanes=lanes, rank=rank)
            placed += 1
        at += 16.0 + scene.rng.exponential(max(gap - 16.0, 1.0))


def walkers(scene: Scene, edge: NDArray[np.float64], count: int) -> None:
    """Up to three people walking along the pavement to the right of a road's outer edge [N, 2],
    each on a line of their own."""
    for turn in range(count):
        line = offset(edge, -(_KERB + 0.3 + 0.9 * turn + scene.rng.uniform(0.0, 0.1)))
        if scene.rng.random() < 0.5:
            line = line[::-1]
        pace = scene.rng.uniform(0.8, 1.6)
        at = scene.rng.uniform(5.0, len(line) - 35.0)
        scene.add("pedestrian", line, script=speed_script(STEPS, at, [(0.0, pace)]))


def place_bins(scene: Scene, edge: NDArray[np.float64], count: int) -> None:
    """Things that stand on the pavement to the right of a road's outer edge [N, 2]."""
    for place, shift in enumerate(scene.rng.uniform(0.1, 0.9, count)):
        at = (place + shift) * len(edge) / count
        point = offset(edge, -(_KERB + 4.0))[int(at)]
        scene.stand("bin", point, float(scene.rng.uniform(-np.pi, np.pi)))
