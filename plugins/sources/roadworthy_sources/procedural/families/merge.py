"""A two-lane carriageway with an on-ramp that joins its right lane."""

from __future__ import annotations

import numpy as np
from roadworthy.routing import resample

from roadworthy_sources.procedural.hazards import Approach
from roadworthy_sources.procedural.population import fill_lane
from roadworthy_sources.procedural.roads import RoadBuilder, connector, straight
from roadworthy_sources.procedural.scene import STEPS, Scene
from roadworthy_sources.procedural.traffic import speed_script

__all__ = ["build"]

_JOIN = 150.0
_END = 460.0


def build(rng: np.random.Generator, rare: str) -> Scene:
    """The ramp's end and the right lane lead to the same lane.

    In the common scene the ego is on the ramp or on the carriageway; in the rare one, on the
    right lane, and someone forces in from the ramp.
    """
    limit = float(rng.uniform(13.0, 17.0))
    roads = RoadBuilder()
    before = roads.road("before", straight((0.0, 0.0), 0.0, _JOIN), 2, 0, limit)
    after = roads.road("after", straight((_JOIN, 0.0), 0.0, _END - _JOIN), 2, 0, limit)
    roads.chain([before, after])
    joined = roads.curve(after.forward[1])
    steep = float(rng.uniform(0.2, 0.3))
    far = joined[0] - np.array([70.0, 16.0])
    entry = straight((far[0] - 75.0 * np.cos(steep), far[1] - 75.0 * np.sin(steep)), steep, 75.0)
    ramp = roads.lane("ramp", entry, limit)
    taper = roads.lane("taper", connector(entry, joined), limit)
    roads.join(ramp, taper)
    roads.join(taper, after.forward[1])
    scene = Scene.on(rng, roads)
    right = [before.forward[1], after.forward[1]]
    left = [before.forward[0], after.forward[0]]
    side = [ramp, taper, after.forward[1]]
    speed = limit * rng.uniform(0.88, 0.98)
    if not rare and rng.random() < 0.5:
        station = float(rng.uniform(30.0, 45.0))
        scene.place_ego(side, station, 0.8 * speed, desired=speed, rank=0)
        fill_lane(scene, right, speed, 55.0, at_most=5, rank=2)
        fill_lane(scene, left, speed, 35.0, at_most=9)
        return scene
    station = float(rng.uniform(32.0, 45.0))
    ego = scene.place_ego(right, station, speed, rank=2)
    clear = [(station - 14.0, station + 24.0)]
    if rare:
        clear = [(station - 14.0, 1e3)]
        _force_in(scene, Approach.of(ego), scene.path(side)[:, :2], scene.path(right)[:, :2])
    else:
        fill_lane(scene, side, 0.85 * speed, 40.0, at_most=2, rank=0,
                  keep_clear=[(100.0, 1e3)])  # fmt: skip
    fill_lane(scene, right, speed * rng.uniform(0.8, 1.0), 35.0, keep_clear=clear, rank=2)
    fill_lane(scene, left, speed, 35.0, at_most=9)
    return scene


def _force_in(scene: Scene, ego: Approach, ramp: np.ndarray, own: np.ndarray) -> None:
    """A vehicle comes off the ramp close ahead of the ego, slower than it."""
    fine = resample(ramp, 1.0)
    apart = np.abs(fine[:, 1] - own[0, 1])
    meet = int(np.flatnonzero(apart < 2.6)[0])
    where = float(np.argmin(np.hypot(*(own - fine[meet]).T)))
    slower = scene.rng.uniform(4.0, 5.5)
    pace = ego.speed - slower
    when = ego.arrival(where - scene.rng.uniform(10.0, 14.0) - 2.3)

    script = speed_script(
        STEPS,
        meet - pace * when,
        [(0.0, pace), (when + 4.0, pace), (when + 8.0, pace + 0.9 * slower)],
    )
    scene.add("van" if scene.rng.random() < 0.3 else "car", ramp, script=script)
