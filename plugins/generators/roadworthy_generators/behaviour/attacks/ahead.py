"""The attack from ahead: a leader that brakes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind

from roadworthy_generators.behaviour.attacks.stage import (
    CAR,
    PAST,
    TIMES,
    Attack,
    Stage,
    timed,
)
from roadworthy_generators.behaviour.kinematics import STEPS

__all__ = ["hard_brake"]

Array = NDArray[np.float64]

_SLOWEST_EGO = 4.0


def hard_brake(stage: Stage) -> Iterator[Attack]:
    """The one ahead, or one put in close ahead, brakes to a stand for nothing."""
    path, along = stage.ego_frame()
    v = float(stage.drive[0, 3])
    if v < _SLOWEST_EGO:
        return
    body = stage.body
    station, left, yaw = path.locate(body.past[:, -1, :2])
    gap = station - along[0] - stage.front - 0.5 * body.size[:, 0]
    ahead = (body.kind == AgentKind.VEHICLE) & ~body.still & (np.abs(left) < 1.2) & (gap > 1.0)
    ahead &= (
        (body.past[:, -1, 3] > 1.0) & (gap < 2.5 * v) & (np.cos(body.past[:, -1, 2] - yaw) > 0.9)
    )
    begin = stage.uniform(0.3, 2.0)
    brake = 3.0 + stage.uniform(0.5, 1.0) * 4.0 * stage.severity
    t = np.arange(STEPS + 1) * DT
    if ahead.any():
        a = int(np.flatnonzero(ahead)[gap[ahead].argmin()])
        brake = _bearable(brake, v, float(body.past[a, -1, 3]), float(gap[a]))
        told = {"begin_s": begin, "brake_mps2": brake}
        pace, first, aside = float(body.past[a, -1, 3]), float(station[a]), float(left[a])
        after = np.maximum(t - begin, 0.0)
        stop = pace / brake
        k = np.minimum(after, stop)
        along_it = first + pace * np.minimum(t, begin) + pace * k - 0.5 * brake * k**2
        states = timed(path, along_it, aside)
        states[0] = body.past[a, -1]
        states[1:, 3] = np.clip(pace - brake * after[1:], 0.0, None)
        yield Attack("hard_brake", a, (), states, _meets(stage, states), pace, 0.2, told)
        return
    pace = v * stage.uniform(0.9, 1.05)
    room = stage.uniform(0.8, 1.2) * v + 1.0
    begin = stage.uniform(0.8, 2.0)
    brake = _bearable(brake, v, pace, room)
    told = {"begin_s": begin, "brake_mps2": brake}
    after = np.maximum(TIMES - begin, 0.0)
    k = np.minimum(after, pace / brake)
    first = along[0] + stage.front + 0.5 * CAR[0] + room
    station_of = first + pace * np.minimum(TIMES, begin) + pace * k - 0.5 * brake * k**2
    states = timed(path, station_of)
    states[:, 3] = np.clip(pace - brake * after, 0.0, None)
    yield from stage.put_in("hard_brake", states, _meets(stage, states[PAST:]), pace, told)


def _bearable(brake: float, speed: float, leader: float, gap: float) -> float:
    """At most so hard that who is `gap` behind at `speed` and brakes a second later can stop."""
    needs = 2.0 * speed + speed**2 / 13.0 - gap
    return max(1.0, min(brake, leader**2 / (2.0 * needs))) if needs > 0.0 else brake


def _meets(stage: Stage, states: Array) -> int:
    far = np.hypot(*(states[:, :2] - stage.drive[:, :2]).T) - stage.front - 0.5 * CAR[0]
    near = np.flatnonzero(far < 0.5)
    return int(near[0]) if len(near) else int(far.argmin())
