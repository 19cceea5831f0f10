"""Attacks from beside: someone gets into the ego's lane from the next one, from the kerb, or from
the other side of the road."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind

from roadworthy_generators.behaviour.attacks.stage import (
    CAR,
    TIMES,
    Attack,
    Stage,
    eased,
    timed,
)
from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import Path, Roads

__all__ = ["cut_in", "oncoming", "pull_out"]

Array = NDArray[np.float64]

_AGAIN = 4
_MOMENTS = 3
_CLOSES_MPS = 2.0
_FREEDOM, _LEAST_FREEDOM = 0.1, 0.05
"""More would bring them back to where one ought to drive, and who is parked stays."""
_AHEAD = TIMES[-STEPS - 1 :]


def cut_in(stage: Stage) -> Iterator[Attack]:
    """Someone beside the ego drifts into its lane, ahead and much slower."""
    path, along = stage.ego_frame()
    body, road_map = stage.body, stage.roads.map
    here = body.past[:, -1]
    station, left, yaw = path.locate(here[:, :2])
    beside = (body.kind == AgentKind.VEHICLE) & ~body.still & (body.index >= 0)
    beside &= (np.abs(left) > 2.2) & (np.abs(left) < 5.0) & (np.cos(here[:, 2] - yaw) > 0.9)
    for at in stage.rng.permutation(stage.moments())[:_MOMENTS]:
        pose = stage.drive[at]
        after = at * DT
        # It is half way in for `closes` seconds as the ego's front touches its rear.
        takes = stage.uniform(2.6, 3.6)
        closes = stage.uniform(0.3, 0.8) + 1.5 * (1.0 - stage.severity)
        changes = after - closes - 0.5 * takes
        told = {"changes_s": changes, "takes_s": takes}
        ego_speed = float(stage.drive[max(0, int(at) - 15), 3])
        for a in np.flatnonzero(beside):
            v = float(here[a, 3])
            gap = along[at] + stage.front + 0.5 * body.size[a, 0] - station[a]
            push = 2.0 * (gap - v * after) / after**2
            end = v + push * after
            if not (-3.0 < push < 2.0 and 1.0 < end < ego_speed - 2.0 and changes > 0.2):
                continue
            k = np.minimum(_AHEAD, after)
            reached = station[a] + v * k + 0.5 * push * k**2 + end * (_AHEAD - k)
            aside = left[a] * (1.0 - eased((_AHEAD - changes) / takes))
            states = timed(path, reached, aside)
            states[0] = here[a]
            yield Attack("cut_in", int(a), (), states, int(at), end, _FREEDOM, told)
        lane = _lane_under(stage.roads, pose)
        if lane < 0:
            continue
        for other, side in ((road_map.lane_left[lane], 1.0), (road_map.lane_right[lane], -1.0)):
            if other < 0:
                continue
            line = Path.of(road_map.lane_centreline[int(other)][:, :2])
            width = abs(float(line.locate(pose[None, :2])[1][0]))
            if not 2.4 < width < 5.0:
                continue
            slower = stage.uniform(3.0, 5.0) + 2.5 * stage.severity
            pace = max(1.5, ego_speed - slower)
            reached = along[at] + stage.front + 0.5 * CAR[0]
            reached = reached + stage.paced(pace, after, 1.0, ego_speed)
            aside = side * width * (1.0 - eased((TIMES - changes) / takes))
            if changes > -0.5 and reached[0] > 0.0:
                yield from stage.put_in(
                    "cut_in", timed(path, reached, aside), int(at), pace,
                    told | {"slower_mps": slower}, freedom=_FREEDOM,
                )  # fmt: skip


def pull_out(stage: Stage) -> Iterator[Attack]:
    """Someone who stands at the kerb, parked there or put in, drives off into the ego's lane."""
    moments = stage.moments()
    if not len(moments):
        return
    path, along = stage.ego_frame()
    body = stage.body
    here = body.past[:, -1]
    station, left, yaw = path.locate(here[:, :2])
    parked = (body.kind == AgentKind.VEHICLE) & body.still & (body.index >= 0)
    parked &= (np.abs(left) > 1.8) & (np.abs(left) < 5.0) & (np.cos(here[:, 2] - yaw) > 0.9)
    for a in stage.rng.permutation(np.flatnonzero(parked)):
        half = 0.5 * float(body.size[a, 0])
        needs, push, pace = _driving_off(stage)
        # Where its rear is once it is as far in as it takes to be met.
        touches = float(station[a]) + 0.6 * needs - half - stage.front
        at = int(np.searchsorted(along, touches))
        if at not in moments:
            continue
        begins = at * DT - _until(0.6 * needs, push, pace) + stage.miss()
        if begins < 0.2 or stage.drive[at, 3] < pace + _CLOSES_MPS:
            continue
        gone = _driven_off(_AHEAD - begins, push, pace)
        aside = float(left[a]) * (1.0 - eased(gone / needs))
        states = timed(path, station[a] + gone, aside)
        states[:, 3] = np.gradient(gone, DT)
        turn = np.angle(np.exp(1j * (here[a, 2] - states[0, 2])))
        states[:, 2] += turn * (1.0 - eased(gone / 2.0))
        states[0] = here[a]
        told = {"begin_s": begins, "push_mps2": push}
        yield Attack("pull_out", int(a), (), states, at, pace, _LEAST_FREEDOM, told)
    for _ in range(_AGAIN):
        at = int(moments[stage.pick(len(moments))])
        room = stage.roads.kerb(path.at(np.array(along[at] + stage.front)), -1.0)
        off = min(room - 1.2, 3.4)
        if off < 2.2:
            continue
        needs, push, pace = _driving_off(stage)
        begins = at * DT - _until(0.6 * needs, push, pace) + stage.miss()
        gone = _driven_off(TIMES - begins, push, pace)
        begin = float(along[at]) + stage.front + 0.5 * CAR[0] - 0.6 * needs
        states = timed(path, begin + gone, -off * (1.0 - eased(gone / needs)))
        told = {"begin_s": begins, "push_mps2": push}
        if begins > 0.2 and stage.drive[at, 3] > pace + _CLOSES_MPS:
            yield from stage.put_in("pull_out", states, at, pace, told, freedom=_LEAST_FREEDOM)


def _driving_off(stage: Stage) -> tuple[float, float, float]:
    """How far someone comes before it is in the lane, how it speeds up, and to what speed."""
    return stage.uniform(6.5, 8.5), stage.uniform(1.2, 2.2), stage.uniform(2.5, 4.5)


def _driven_off(t: Array, push: float, pace: float) -> Array:
    """How far someone has come who stood until 0 [m]."""
    t = np.maximum(t, 0.0)
    return np.where(t < pace / push, 0.5 * push * t**2, pace * t - 0.5 * pace**2 / push)


def _until(far: float, push: float, pace: float) -> float:
    """When that is so far [s]."""
    if far < 0.5 * pace**2 / push:
        return float(np.sqrt(2.0 * far / push))
    return (far + 0.5 * pace**2 / push) / pace


def oncoming(stage: Stage) -> Iterator[Attack]:
    """Someone who comes towards the ego strays, or overtakes, on its side of the road, and gets
    back late."""
    moments = stage.moments()
    path, along = stage.ego_frame()
    yield from _straying(stage, path, along)
    points = stage.roads.map.lane_centreline.values
    for at in stage.rng.permutation(moments)[:_MOMENTS]:
        pose = stage.drive[at]
        gap = points[:, :2] - pose[:2]
        ahead = gap[:, 0] * np.cos(pose[2]) + gap[:, 1] * np.sin(pose[2])
        left = gap[:, 1] * np.cos(pose[2]) - gap[:, 0] * np.sin(pose[2])
        fits = (np.cos(points[:, 2] - pose[2]) < -0.95) & (np.abs(ahead) < 3.0)
        fits &= (np.abs(left) > 2.4) & (np.abs(left) < 5.5)
        if not fits.any():
            continue
        width = float(left[fits][np.abs(left[fits]).argmin()])
        pace = stage.uniform(3.0, 9.0)
        station = along[at] + stage.front + 0.5 * CAR[0]
        station = station - stage.paced(pace, at * DT, 1.5, 12.0)
        share, told = _out_and_back(stage, int(at), TIMES)
        if station.max() > path.length - 2.0 or told["out_s"] < -0.5:
            continue
        depth = stage.uniform(0.5, 0.8)
        states = timed(path, station, width * (1.0 - depth * share))
        yield from stage.put_in(
            "oncoming", states, int(at), pace, told | {"depth": depth}, freedom=_FREEDOM
        )


def _straying(stage: Stage, path: Path, along: Array) -> Iterator[Attack]:
    """Those who come towards the ego already."""
    body = stage.body
    moments = set(stage.moments().tolist())
    here = body.past[:, -1]
    _, _, yaw = path.locate(here[:, :2])
    comes = (body.kind == AgentKind.VEHICLE) & ~body.still & (body.index >= 0)
    comes &= (np.cos(here[:, 2] - yaw) < -0.9) & (here[:, 3] > 2.0)
    for a in stage.rng.permutation(np.flatnonzero(comes)):
        way = stage.future[a]
        station, left, yaw = path.locate(way[:, :2])
        met = station - along < stage.front + 0.5 * body.size[a, 0]
        at = int(met.argmax())
        if at not in moments or not 2.0 < left[at] < 6.0:
            continue
        share, told = _out_and_back(stage, at, _AHEAD)
        if told["out_s"] < 0.0:
            continue
        depth = stage.uniform(0.5, 0.8)
        shift = -depth * left[at] * share
        yaw = path.at(station)[:, 2]
        xy = way[:, :2] + shift[:, None] * np.column_stack([-np.sin(yaw), np.cos(yaw)])
        hop = np.gradient(xy, axis=0)
        speed = np.hypot(hop[:, 0], hop[:, 1]) / DT
        heading = np.where(speed > 0.3, np.arctan2(hop[:, 1], hop[:, 0]), way[:, 2])
        states = np.column_stack([xy, np.unwrap(heading), speed])
        states[0] = here[a]
        pace = float(here[a, 3])
        yield Attack("oncoming", int(a), (), states, at, pace, _FREEDOM, told | {"depth": depth})


def _out_and_back(stage: Stage, at: int, t: Array) -> tuple[Array, dict[str, float]]:
    """How far out of its lane someone is at times, and when it gets out and back."""
    out = at * DT - stage.uniform(2.6, 3.4)
    back = at * DT - 0.2 - 1.6 * (1.0 - stage.severity) + stage.uniform(-0.2, 0.2)
    return eased((t - out) / 1.6) - eased((t - back) / 1.6), {"out_s": out, "back_s": back}


def _lane_under(roads: Roads, pose: Array) -> int:
    points = roads.map.lane_centreline.values
    far = (points[:, 0] - pose[0]) ** 2 + (points[:, 1] - pose[1]) ** 2
    far = np.where(np.cos(points[:, 2] - pose[2]) > 0.9, far, np.inf)
    k = int(far.argmin())
    return int(roads.lane_of[k]) if far[k] < 2.0**2 else -1
