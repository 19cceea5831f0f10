"""Rare events, timed against an ego that keeps its speed and does nothing about them.

`Approach` says where such an ego would be. Every event leaves a driver who watches the road
the time to brake; one that does not look is hit, or hits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.routing import path_yaw, resample
from roadworthy.scenario import DT, HISTORY
from roadworthy.vehicle import PACIFICA

from roadworthy_sources.procedural.scene import STEPS, Scene
from roadworthy_sources.procedural.traffic import Actor, speed_script

__all__ = ["Approach", "brake_hard", "cross_path", "cut_in", "side_step"]

_PRESENT = (HISTORY - 1) * DT


@dataclass(frozen=True)
class Approach:
    """An ego that drives at constant speed along its path.

    Attributes:
        path: [N, 2], about 1 m fine.
        station: of the rear axle at step 0 [m].
        speed: m/s.
    """

    path: NDArray[np.float64]
    station: float
    speed: float

    @classmethod
    def of(cls, ego: Actor) -> Approach:
        return cls(ego.path, ego.station, ego.speed)

    def front(self, time: float) -> float:
        """Station of the front bumper, `time` seconds after step 0 [m]."""
        return self.station + self.speed * time + PACIFICA.front

    def arrival(self, station: float) -> float:
        """Seconds after step 0 at which the front bumper is at a station."""
        return (station - PACIFICA.front - self.station) / self.speed


def side_step(
    before: NDArray[np.float64], after: NDArray[np.float64], start: float, length: float
) -> NDArray[np.float64]:
    """A path that leaves one lane's centreline for a parallel one.

    Args:
        before, after: [N, 2] centrelines.
        start: station on `before` where the change begins [m].
        length: how far it takes [m].

    Returns:
        [M, 2] path, its stations those of `before` up to the change.
    """
    old, new = resample(before, 1.0), resample(after, 1.0)
    first = int(start)
    last = min(first + int(length), len(old) - 1)
    span = np.arange(first, last + 1)
    nearest = np.argmin(((new[None] - old[span][:, None]) ** 2).sum(axis=2), axis=1)
    share = (span - first) / max(last - first, 1)
    smooth = (share**3 * (10.0 - 15.0 * share + 6.0 * share**2))[:, None]
    mixed = (1.0 - smooth) * old[span] + smooth * new[nearest]
    return np.concatenate([old[:first], mixed, new[nearest[-1] + 1 :]])


def cut_in(
    scene: Scene, ego: Approach, beside: NDArray[np.float64], own: NDArray[np.float64]
) -> Actor:
    """Someone slower pulls into the ego's lane close ahead of it.

    Args:
        scene: gets the actor.
        ego: the approach.
        beside: [N, 2] the neighbouring lane's path, stations as on `own`.
        own: [N, 2] the ego's lane.
    """
    slower = scene.rng.uniform(3.5, 5.0)
    pace = max(ego.speed - slower, 3.0)
    when = _PRESENT + scene.rng.uniform(3.0, 5.0)
    gap = scene.rng.uniform(9.0, 13.0)
    what = str(scene.rng.choice(["car", "van"]))
    actor_rear = ego.front(when) + gap
    start = actor_rear + 2.5
    path = side_step(beside, own, start, max(pace * scene.rng.uniform(2.0, 2.6), 12.0))
    script = speed_script(
        STEPS,
        start - pace * when,
        [(0.0, pace), (when + 4.0, pace), (when + 8.0, pace + 0.8 * slower)],
    )
    return scene.add(what, path, script=script)


def brake_hard(scene: Scene, ego: Approach, path: NDArray[np.float64]) -> Actor:
    """The one ahead brakes to a standstill, waits, and goes on."""
    pace = ego.speed
    when = _PRESENT + scene.rng.uniform(2.0, 5.0)
    gap = 3.0 + pace * scene.rng.uniform(1.5, 1.9)
    stop = pace / scene.rng.uniform(5.0, 6.5)
    go = when + stop + scene.rng.uniform(2.5, 4.0)
    script = speed_script(
        STEPS,
        ego.front(0.0) + gap + 2.3,
        [(when, pace), (when + stop, 0.0), (go, 0.0), (go + 6.0, pace)],
    )
    return scene.add("car", path, script=script)


def cross_path(
    scene: Scene, ego: Approach, station: float, what: str, pace: float, start: float, end: float
) -> Actor:
    """Someone crosses the ego's path, to be on it just when the ego would be there.

    Args:
        scene: gets the actor.
        ego: the approach.
        station: where on the ego's path [m].
        what: "pedestrian" or "cyclist".
        pace: its speed [m/s].
        start: metres to the right of the path (negative: left) where it comes from.
        end: metres to the left of where it started from that it walks to, past the path.

    Returns:
        The actor; it stands at `start` until its time has come.
    """
    k = int(station)
    yaw = float(path_yaw(ego.path)[k])
    left = np.array([-np.sin(yaw), np.cos(yaw)])
    side = 1.0 if start > 0.0 else -1.0
    line = np.stack([ego.path[k] - start * left, ego.path[k] + side * end * left])
    arrive = ego.arrival(station) + 0.15
    leave = max(arrive - abs(start) / pace - 0.25, 0.0)
    length = float(np.hypot(*(line[1] - line[0])))
    done = leave + 0.5 + length / pace
    script = speed_script(
        STEPS, 0.0, [(leave, 0.0), (leave + 0.5, pace), (done - 0.5, pace), (done, 0.0)]
    )
    return scene.add(what, line, script=np.minimum(script, length - 0.01))
