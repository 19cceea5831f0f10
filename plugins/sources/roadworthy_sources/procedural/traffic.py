"""Traffic: everyone on a path of their own, most reacting to the others, some to a script.

Reacting actors follow the Intelligent Driver Model (Treiber, Hennecke, Helbing, Physical
Review E 62 (2000) 1805) along a fixed path. What is ahead of them is whatever box lies in
the corridor that they will sweep, now or, for those to whom they yield, as predicted over
the next 4 s at constant speed along the other's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from roadworthy.routing import path_yaw, resample
from roadworthy.scenario import DT, AgentKind, StateIndex

from roadworthy_sources.procedural.following import overlaps, simulate

__all__ = ["Actor", "Flow", "first_overlap", "run_traffic", "speed_script"]

MAX_LATERAL = 2.0
"""Speeds are chosen so that curves stay below this lateral acceleration [m/s²]."""

_SLOWING = 1.2
_SPACING = 1.0


@dataclass
class Actor:
    """Someone or something in the scene.

    Attributes:
        name: unique in its scene.
        kind: what it is.
        size: length, width, height [m].
        path: [N, 2]; a standing object needs two points that give its heading.
        station: where on the path it is at step 0 [m].
        speed: its speed at step 0 [m/s].
        desired: the speed it wants [m/s].
        headway: time gap kept to whoever is ahead [s].
        forward: from the path's point to the centre of the box [m]; the ego's path is that
            of its rear axle.
        script: [T] stations over time: the actor reacts to nobody.
        rank: those of lower rank yield to it, those of equal or higher rank do not.
        stops: (station, signal row) pairs, where its front stops on red.
    """

    name: str
    kind: AgentKind
    size: tuple[float, float, float]
    path: NDArray[np.float64]
    station: float = 0.0
    speed: float = 0.0
    desired: float = 0.0
    headway: float = 1.4
    forward: float = 0.0
    script: NDArray[np.float64] | None = None
    rank: int = 1
    stops: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Flow:
    """What N actors did over T steps.

    Attributes:
        pose: [N, T, 3] the path point of each, world.
        speed, accel: [N, T] along the path.
        station: [N, T] along the path.
        centre: [N, T, 5] `StateIndex` of the boxes' centres.
        valid: bool [N, T]; from the step at which an actor reaches the end of its path on, it
            is gone.
    """

    pose: NDArray[np.float64]
    speed: NDArray[np.float64]
    accel: NDArray[np.float64]
    station: NDArray[np.float64]
    centre: NDArray[np.float64]
    valid: NDArray[np.bool_]


def speed_script(
    steps: int, station: float, knots: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Stations over time for a speed that is piecewise linear in time.

    Args:
        steps: T.
        station: where it starts [m].
        knots: (time [s], speed [m/s]) pairs, times increasing; constant outside.
    """
    fine = 10
    time = np.arange((steps - 1) * fine + 1) * (DT / fine)
    speed = np.interp(time, [t for t, _ in knots], [v for _, v in knots])
    moved = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1])) * (DT / fine)])
    return np.asarray(station + moved[::fine])


def run_traffic(actors: Sequence[Actor], signals: NDArray[np.int8], steps: int) -> Flow:
    """Simulate all actors together.

    Args:
        actors: N actors.
        signals: int8 [G, T] `SignalState`.
        steps: T.
    """
    count = len(actors)
    lines, limits, offsets = [], [], [0]
    for actor in actors:
        xy = resample(actor.path, _SPACING)
        yaw = path_yaw(xy)
        step = float(np.hypot(*(xy[1] - xy[0])))
        lines.append(np.column_stack([xy, yaw]))
        limits.append(_curve_speeds(yaw, step))
        offsets.append(offsets[-1] + len(xy))
    spacing = np.array([np.hypot(*(line[1, :2] - line[0, :2])) for line in lines])
    table = np.array(
        [
            [0.5 * a.size[0], 0.5 * a.size[1], a.station, a.speed, a.desired, a.headway, a.forward]
            for a in actors
        ]
    )
    scripted = np.array([a.script is not None for a in actors])
    script = np.array([np.zeros(steps) if a.script is None else a.script for a in actors])
    rank = np.array([a.rank for a in actors])
    vulnerable = np.isin([a.kind for a in actors], (AgentKind.PEDESTRIAN, AgentKind.BICYCLE))
    yields = (scripted | vulnerable)[None, :] | (rank[None, :] > rank[:, None])
    stops = np.array(
        [(i, station, row) for i, a in enumerate(actors) for station, row in a.stops]
    ).reshape(-1, 3)
    pose, speed, accel, station, valid = simulate(
        np.concatenate(lines),
        np.concatenate(limits),
        np.array(offsets),
        spacing,
        table,
        scripted,
        script,
        yields,
        stops,
        np.ascontiguousarray(signals, np.int8).reshape(-1, steps),
        steps,
    )
    centre = np.zeros((count, steps, 5))
    ahead = table[:, 6:7]
    cos, sin = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    centre[..., StateIndex.X] = pose[..., 0] + ahead * cos
    centre[..., StateIndex.Y] = pose[..., 1] + ahead * sin
    centre[..., StateIndex.YAW] = pose[..., 2]
    centre[..., StateIndex.VX] = speed * cos
    centre[..., StateIndex.VY] = speed * sin
    return Flow(pose, speed, accel, station, centre, valid)


def _curve_speeds(yaw: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Speed along a path that its curves allow, slowing down for them in time: [N]."""
    bend = np.abs(np.gradient(yaw, spacing))
    if len(bend) > 4:
        bend = np.convolve(np.pad(bend, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    speed = np.sqrt(MAX_LATERAL / np.maximum(bend, 1e-4))
    square = speed**2
    for k in range(len(square) - 2, -1, -1):
        square[k] = min(square[k], square[k + 1] + 2.0 * _SLOWING * spacing)
    return np.asarray(np.sqrt(square))


def first_overlap(
    flow: Flow, actors: Sequence[Actor], margin: float
) -> tuple[int, int, int] | None:
    """The first step at which two boxes come closer than a margin, and whose: (t, i, j).

    Args:
        flow: the motion.
        actors: for their sizes.
        margin: every box is grown by half of this on each side [m].
    """
    half = np.array([[0.5 * (a.size[0] + margin), 0.5 * (a.size[1] + margin)] for a in actors])
    t, i, j = overlaps(flow.centre, flow.valid, half)
    return None if t < 0 else (t, i, j)
