"""A signalled crossing of two roads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AreaKind, SignalState

from roadworthy_sources.procedural.hazards import Approach
from roadworthy_sources.procedural.population import fill_lane, walkers
from roadworthy_sources.procedural.roads import LANE_WIDTH, Road, RoadBuilder, offset, straight
from roadworthy_sources.procedural.scene import STEPS, Scene
from roadworthy_sources.procedural.traffic import speed_script

__all__ = ["build"]

_ARM = 150.0
_YELLOW_TIME = 3.0
_ALL_RED = 2.0
_MOVES = ("straight", "left", "right")


@dataclass
class _Crossing:
    """Arms 0..3 (west, south, east, north), each leading towards the middle."""

    roads: RoadBuilder
    arms: list[Road]
    lanes: int
    connectors: dict[tuple[int, str, int], str]


def build(rng: np.random.Generator, rare: str) -> Scene:
    """The ego comes from the west and goes left, on, or right.

    Common: it meets green or red. Rare: it has green, and someone runs the red from a side.
    """
    lanes = int(rng.integers(1, 3))
    limit = float(rng.choice([11.1, 13.9]))
    crossing = _roads(lanes, limit)
    scene = Scene.on(rng, crossing.roads)
    green_first = bool(rare) or rng.random() < 0.5
    _signals(scene, crossing, green_first, rare != "")
    move = "straight" if rare else str(rng.choice(_MOVES))
    lane = {"left": 0, "right": lanes - 1}.get(move, int(rng.integers(lanes)))
    names = _way(crossing, 0, move, lane)
    speed = limit * rng.uniform(0.88, 0.98)
    station = float(rng.uniform(32.0, 60.0)) if not rare else _ARM - speed * rng.uniform(4.5, 6.5)
    rank = 1 if move == "left" else 2
    ego = scene.place_ego(names, station, speed, rank=rank)
    blocked: set[tuple[int, int]] = set()
    if rare:
        blocked.add(_run_red(scene, crossing, Approach.of(ego)))
    for arm in range(4):
        for k in range(lanes):
            if (arm, k) in blocked:
                continue
            options = [m for m in _MOVES if (arm, m, k) in crossing.connectors]
            turn = str(rng.choice(options, p=_shares(options)))
            keep = []
            if arm == 0:
                keep = [(station - 14.0, 1e3)] if rare else [(station - 14.0, station + 22.0)]
                if k != lane:
                    keep = [] if not rare else [(station - 20.0, 1e3)]
            fill_lane(
                scene,
                _way(crossing, arm, turn, k),
                speed,
                30.0,
                first=20.0,
                keep_clear=[*keep, (_ARM - 12.0, 1e3)],
                at_most=3,
                rank=1 if turn == "left" else 2,
            )
    _people(scene, lanes)
    return scene


def _roads(lanes: int, limit: float) -> _Crossing:
    roads = RoadBuilder()
    mouth = lanes * LANE_WIDTH + 7.0
    arms = []
    for arm in range(4):
        yaw = 0.5 * np.pi * arm
        out = np.array([np.cos(yaw), np.sin(yaw)])
        begin = -(mouth + _ARM) * out
        curve = straight((float(begin[0]), float(begin[1])), yaw, _ARM)
        arms.append(roads.road(f"arm{arm}", curve, lanes, lanes, limit))
        for name in arms[-1].forward:
            roads.stop_line(name)
        ring = [
            -(mouth - depth) * out + side * (lanes * LANE_WIDTH) * np.array([-out[1], out[0]])
            for depth, side in ((0.5, -1.0), (4.0, -1.0), (4.0, 1.0), (0.5, 1.0))
        ]
        roads.area(AreaKind.CROSSWALK, np.array(ring))
    connectors: dict[tuple[int, str, int], str] = {}
    for arm in range(4):
        for k in range(lanes):
            moves = [("straight", (arm + 2) % 4, limit)]
            if k == 0:
                moves.append(("left", (arm + 3) % 4, 7.0))
            if k == lanes - 1:
                moves.append(("right", (arm + 1) % 4, 5.0))
            for move, to, pace in moves:
                name = f"x{arm}/{move}{k}"
                roads.link(name, arms[arm].forward[k], arms[to].backward[k], pace)
                connectors[arm, move, k] = name
    roads.junction(list(connectors.values()))
    return _Crossing(roads, arms, lanes, connectors)


def _way(crossing: _Crossing, arm: int, move: str, lane: int) -> list[str]:
    to = (arm + {"straight": 2, "left": 3, "right": 1}[move]) % 4
    return [
        crossing.arms[arm].forward[lane],
        crossing.connectors[arm, move, lane],
        crossing.arms[to].backward[lane],
    ]


def _shares(options: list[str]) -> list[float]:
    weight = {"straight": 0.7, "left": 0.15, "right": 0.15}
    total = sum(weight[o] for o in options)
    return [weight[o] / total for o in options]


def _signals(scene: Scene, crossing: _Crossing, green_first: bool, long: bool) -> None:
    """Two phases, west-east and south-north, with yellow and a time when all are red."""
    first = 20.0 if long else float(scene.rng.uniform(4.0, 9.0))
    if not green_first:
        first = float(scene.rng.uniform(3.0, 6.5))
    later = 20.0
    time = np.arange(STEPS, dtype=np.float64) * DT
    shift = first + _YELLOW_TIME + _ALL_RED
    going = _phase(time, -100.0, first)
    waiting = _phase(time, shift, shift + later)
    for (arm, _, _), name in crossing.connectors.items():
        mine = (arm % 2 == 0) == green_first
        scene.signals[name] = going if mine else waiting


def _phase(time: NDArray[np.float64], start: float, end: float) -> NDArray[np.int8]:
    state = np.full(len(time), SignalState.RED, np.int8)
    state[(time >= start) & (time < end)] = SignalState.GREEN
    state[(time >= end) & (time < end + _YELLOW_TIME)] = SignalState.YELLOW
    return state


def _run_red(scene: Scene, crossing: _Crossing, ego: Approach) -> tuple[int, int]:
    """Someone from the south or north runs the red; returns their arm and lane."""
    arm = 1 if scene.rng.random() < 0.5 else 3
    lane = int(scene.rng.integers(crossing.lanes))
    path = scene.path(_way(crossing, arm, "straight", lane))[:, :2]
    apart = np.hypot(*(path[:, None] - ego.path[None]).transpose(2, 0, 1))
    at, mine = np.unravel_index(int(np.argmin(apart)), apart.shape)
    pace = float(scene.rng.uniform(9.0, 13.0))
    when = ego.arrival(float(mine)) + scene.rng.uniform(0.0, 0.25)
    script = speed_script(STEPS, float(at) - pace * when, [(0.0, pace)])
    what = str(scene.rng.choice(["car", "van", "truck"], p=[0.7, 0.2, 0.1]))
    scene.add(what, path, script=script)
    return arm, lane


def _people(scene: Scene, lanes: int) -> None:
    """People on the pavements of the western and eastern arms."""
    half = lanes * LANE_WIDTH
    mouth = half + 7.0
    for start in (-(mouth + 90.0), mouth + 10.0):
        line = straight((start, 0.0), 0.0, 80.0)
        walkers(scene, offset(line, -half), int(scene.rng.integers(1, 3)))
        walkers(scene, offset(line, half)[::-1], int(scene.rng.integers(0, 3)))
