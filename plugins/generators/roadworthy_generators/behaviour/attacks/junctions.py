"""The attack where lanes meet: someone who ought to have waited crosses the ego's way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from roadworthy.scenario import DT, AgentKind, SignalState

from roadworthy_generators.behaviour.attacks.stage import (
    CAR,
    PAST,
    Attack,
    Stage,
    timed,
)
from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import Path

__all__ = ["crossing"]

_AGAIN = 4
_LATERAL = 2.5
_FASTEST = 13.0


def crossing(stage: Stage) -> Iterator[Attack]:
    """Someone crosses the ego's way in a junction."""
    moments = set(stage.moments().tolist())
    found = [c for c in stage.roads.crossings(stage.drive) if c.step in moments]
    stage.rng.shuffle(found)  # type: ignore[arg-type]
    for one in found:
        way = stage.roads.way(one.lane, 90.0, 60.0, stage.pick)
        line = stage.roads.map.lane_centreline[one.lane]
        point = float(way.locate(line[one.point, None, :2])[0][0])
        # Its nose is a little inside the ego's way as the ego's front gets there.
        early = (stage.front + 0.5 * CAR[1]) / max(stage.drive[one.step, 3], 1.0)
        inside = 0.5 * CAR[0] + 0.5 * stage.scenario.vehicle.width - 0.8
        after = one.step * DT + stage.miss() - early
        fastest = _fastest(way, point)
        told = {"lane": stage.roads.map.lane_id[one.lane], "after_s": after}
        kind = "red_light" if _red(stage, one.lane, after) else "crossing"
        yield from _along(stage, way, point - inside, after, one.step, fastest, kind, told)


def _fastest(way: Path, point: float) -> float:
    """How fast one may drive around a station of a way."""
    span = (way.arc > point - 25.0) & (way.arc < point + 10.0)
    return min(_FASTEST, float(np.sqrt(_LATERAL / max(way.bend()[span].max(), 1e-3))))


def _along(
    stage: Stage, way: Path, meets: float, after: float, step: int, fastest: float, kind: str,
    told: dict[str, Any],
) -> Iterator[Attack]:  # fmt: skip
    """Those on a way, there already or put in, who are at a station of it after some time."""
    if after < 1.2:
        return
    yield from _by_those_there(stage, way, meets, after, step, fastest, kind, told)
    for _ in range(_AGAIN):
        wish = stage.uniform(0.55, 1.0) * fastest
        station = meets + stage.paced(wish, after, 1.0, 1.3 * fastest)
        if station[PAST] > meets - 6.0 or station[0] < 0.0 or station[-1] > way.length:
            continue
        made = list(
            stage.put_in(
                kind, timed(way, station), step, wish, told | {"speed_mps": wish}, freedom=0.25
            )
        )
        yield from made
        if made:
            return


def _by_those_there(
    stage: Stage, way: Path, meets: float, after: float, step: int, fastest: float, kind: str,
    told: dict[str, Any],
) -> Iterator[Attack]:  # fmt: skip
    body = stage.body
    here = body.past[:, -1]
    station, left, yaw = way.locate(here[:, :2])
    turned = np.cos(here[:, 2] - yaw)
    fits = (body.kind == AgentKind.VEHICLE) & ~body.still & (body.index >= 0)
    fits &= (np.abs(left) < 1.0) & (turned > 0.85) & (station < meets - 6.0) & (station > 0.0)
    for a in np.flatnonzero(fits):
        v, gap = float(here[a, 3]), meets - float(station[a])
        push = 2.0 * (gap - v * after) / after**2
        end = v + push * after
        if not (-3.0 < push < 2.5 and 1.0 < end < 1.25 * fastest):
            continue
        t = np.arange(STEPS + 1) * DT
        k = np.minimum(t, after)
        along = station[a] + v * k + 0.5 * push * k**2 + end * (t - k)
        aside = left[a] * np.clip(1.0 - t / 2.5, 0.0, 1.0)
        path = timed(way, along, aside)
        path[0] = here[a]
        yield Attack(kind, int(a), (), path, step, end, 0.35, told | {"push_mps2": push})


def _red(stage: Stage, lane: int, after: float) -> bool:
    signals = stage.scenario.signals
    rows = np.flatnonzero(signals.lane == lane)
    step = min(stage.now + max(0, int((after - 1.0) / DT)), stage.scenario.steps - 1)
    return bool(len(rows)) and bool(signals.state[rows[0], step] == SignalState.RED)
