"""Attacks by those on foot and on bicycles, who cross the road where the ego comes along."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind

from roadworthy_generators.behaviour.attacks.stage import (
    PAST,
    TIMES,
    Attack,
    Newcomer,
    Stage,
    eased,
    needed_s,
)

__all__ = ["cyclist", "jaywalker", "occluded_pedestrian"]

Array = NDArray[np.float64]

_VAN = (5.4, 2.0, 2.2)
_WALKER = (0.6, 0.6, 1.75)
_RIDER = (1.8, 0.65, 1.7)
_AGAIN = 4
_STARTS = 0.4
_START_S = 1.6


def jaywalker(stage: Stage) -> Iterator[Attack]:
    """Someone walks across the road where the ego comes along."""
    yield from _turning_off(stage)
    yield from _over_the_road(stage, "jaywalker")


def cyclist(stage: Stage) -> Iterator[Attack]:
    """Someone rides across the road where the ego comes along."""
    yield from _over_the_road(stage, "cyclist")


def _turning_off(stage: Stage) -> Iterator[Attack]:
    """Those who walk along the road already, and step onto it."""
    moments = stage.moments()
    path, along = stage.ego_frame()
    body = stage.body
    here = body.past[:, -1]
    _, left, _ = path.locate(here[:, :2])
    walks = (body.kind == AgentKind.PEDESTRIAN) & ~body.still & (body.index >= 0)
    walks &= np.abs(left) > 2.0
    for a in stage.rng.permutation(np.flatnonzero(walks)):
        for at in stage.rng.permutation(moments)[:3]:
            target = path.at(np.array(along[at] + stage.front))[:2]
            after = at * DT + stage.miss() + stage.uniform(0.1, 0.4)
            seen = float(needed_s(max(stage.drive[at, 3], stage.drive[0, 3])))
            wait = max(0.0, after - seen - 1.0)
            if after < seen:
                continue
            states = _turned_to(here[a], target, after, stage.uniform(0.0, wait))
            pace = float(states[-1, 3])
            if 0.7 < pace < 2.0:
                told = {"pace_mps": pace, "after_s": after, "cover": "none"}
                yield Attack("jaywalker", int(a), (), states, int(at), pace, 0.06, told)
                break


def _turned_to(here: Array, target: Array, after: float, begins: float) -> Array:
    """Walking on, and from a time on to a point, to be there after some time: [STEPS + 1, 4]."""
    t = TIMES[PAST:]
    share = eased((t - begins) / 1.0)
    aim = target
    for _ in range(5):
        line = aim - here[:2]
        turn = np.angle(np.exp(1j * (np.arctan2(line[1], line[0]) - here[2])))
        yaw = here[2] + share * turn
        unit = np.column_stack([np.cos(yaw), np.sin(yaw)])
        old, new = (_walked(unit * w[:, None]) for w in (1.0 - share, share))
        end_old, end_new = (
            np.array([np.interp(after, t, walk[:, k]) for k in (0, 1)]) for walk in (old, new)
        )
        wanted = target - here[:2] - here[3] * end_old
        pace = float(wanted @ end_new / max(end_new @ end_new, 1e-6))
        aim = aim + (target - here[:2] - here[3] * end_old - pace * end_new)
    xy = here[:2] + here[3] * old + pace * new
    return np.column_stack([xy, yaw, here[3] * (1.0 - share) + pace * share])


def _walked(velocity: Array) -> Array:
    steps = 0.5 * DT * (velocity[1:] + velocity[:-1])
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])


def _over_the_road(stage: Stage, kind: str) -> Iterator[Attack]:
    moments = stage.moments()
    if not len(moments):
        return
    path, along = stage.ego_frame()
    for _ in range(6):
        at = int(moments[stage.pick(len(moments))])
        pose = path.at(np.array(along[at] + stage.front))
        side = -1.0 if stage.rng.random() < 0.7 else 1.0
        room = stage.roads.kerb(pose, side)
        if room < 9.0:
            yield from _walk(stage, pose, side, room + stage.uniform(0.4, 1.2), at, kind, ())


def occluded_pedestrian(stage: Stage) -> Iterator[Attack]:
    """Someone walks out of the cover of a parked vehicle that the ego is going to pass, or of one
    put at the roadside."""
    moments = stage.moments()
    if not len(moments):
        return
    path, along = stage.ego_frame()
    body = stage.body
    station, left, _ = path.locate(body.past[:, -1, :2])
    half = 0.5 * body.size[:, 0]
    cover = body.still & (body.kind == AgentKind.VEHICLE) & (np.abs(left) > 2.2)
    cover &= (np.abs(left) < 7.0) & (body.index >= 0)
    for a in stage.rng.permutation(np.flatnonzero(cover)):
        end, aside = float(station[a] + half[a]), abs(float(left[a]))
        corner = aside - 0.5 * float(body.size[a, 1])
        found = _out_of_cover(stage, along, end, corner)
        if found is not None:
            at, line, pace = found
            pose = path.at(np.array(line))
            yield from _walk(
                stage, pose, float(np.sign(left[a])), aside, at, "occluded_pedestrian", (), pace
            )
    for _ in range(2 * _AGAIN):
        at = int(moments[stage.pick(len(moments))])
        pose = path.at(np.array(along[at] + stage.front))
        room = stage.roads.kerb(pose, -1.0)
        if not 4.0 < room < 9.0:
            continue
        aside = min(room - 1.2, 3.6)
        if aside < 2.75:
            continue
        end = float(along[at] + stage.front - stage.uniform(1.0, 3.0))
        found = _out_of_cover(stage, along, end, aside - 0.5 * _VAN[1])
        if found is None:
            continue
        at, line, pace = found
        back = path.at(np.array(end - 0.5 * _VAN[0]), -aside)
        states = np.column_stack([np.tile(back, (len(TIMES), 1)), np.zeros(len(TIMES))])
        if not stage.fits(states, AgentKind.VEHICLE, _VAN):
            continue
        van = Newcomer(AgentKind.VEHICLE, _VAN, states, still=True)
        pose = path.at(np.array(line))
        yield from _walk(stage, pose, -1.0, aside, at, "occluded_pedestrian", (van,), pace)


def _out_of_cover(
    stage: Stage, along: Array, end: float, corner: float
) -> tuple[int, float, float] | None:
    """Where and how fast to walk out of the cover of a box, to be in view just long enough.

    Args:
        along: stations of the ego's drive.
        end: station of the far end of the box; corner: how far its near side is from the drive.

    Returns:
        The step at which the ego's front is there, the station of the walk, and the pace, or None.
    """
    back = np.linspace(0.1, 5.0, 50)
    moments = set(stage.moments().tolist())
    pace = stage.uniform(0.9, 1.4)
    for gap in (0.8, 1.6, 2.4, 3.2, 4.0, 5.0, 6.0):
        line = end + gap
        at = int(np.searchsorted(along + stage.front, line))
        if at not in moments:
            return None
        speed = float(stage.drive[at, 3])
        far = speed * back + stage.front
        seen = 0.7 + pace * back < corner * far / np.maximum(far - gap, 0.1)
        in_view = back[-1] if seen.all() else back[int(seen.argmin())]
        if in_view > needed_s(speed):
            return at, line, pace
    return None


def _walk(
    stage: Stage, pose: Array, side: float, begin: float, at: int, kind: str,
    with_them: tuple[Newcomer, ...], pace: float | None = None,
) -> Iterator[Attack]:  # fmt: skip
    """Across the road from `begin` to the side, to be in the ego's way at a step."""
    rides = kind == "cyclist"
    if pace is None:
        pace = stage.uniform(1.4, 2.0) if rides else stage.uniform(0.9, 1.6)
    # It has just stepped into the ego's way as the ego's front gets there.
    after = at * DT + stage.miss() + stage.uniform(0.1, 0.6) / pace
    # In the open long enough for a driver who reacts after a second to come to a stand; most have
    # been on their way for longer, as walkers seldom start.
    seen = 0.9 + float(needed_s(max(stage.drive[at, 3], stage.drive[0, 3])))
    begin = max(begin, pace * seen)
    if stage.rng.random() > _STARTS:
        begin = max(begin, pace * (after + 0.5 * _START_S))
    # Speeds up as a raised cosine.
    t = np.maximum(TIMES - (after - begin / pace - 0.5 * _START_S), 0.0)
    speed = 0.5 * pace * (1.0 - np.cos(np.pi * np.minimum(t / _START_S, 1.0)))
    gone = np.concatenate([[0.0], np.cumsum(0.5 * DT * (speed[1:] + speed[:-1]))])
    gone += begin - np.interp(after, TIMES, gone)
    yaw = pose[2] - side * 0.5 * np.pi + stage.uniform(-0.2, 0.2)
    start = pose[:2] + side * begin * np.array([-np.sin(pose[2]), np.cos(pose[2])])
    xy = start + gone[:, None] * [np.cos(yaw), np.sin(yaw)]
    states = np.column_stack([xy, np.full(len(xy), yaw), speed])
    yield from stage.put_in(
        kind, states, at, pace,
        {"pace_mps": pace, "after_s": after, "cover": "put in" if with_them else kind},
        who=AgentKind.BICYCLE if rides else AgentKind.PEDESTRIAN,
        size=_RIDER if rides else _WALKER, freedom=0.06, with_them=with_them,
    )  # fmt: skip
