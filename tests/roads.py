"""Roads and scenarios for tests and benchmarks, small and made to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from roadworthy.host import PlannerHost
from roadworthy.observation import Brief, Observation, ObservationBatch
from roadworthy.rollout import Case
from roadworthy.scenario import (
    DT,
    HISTORY,
    AgentKind,
    LaneKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    Tracks,
)
from roadworthy.trajectory import Trajectory, TrajectoryBatch
from roadworthy.vehicle import EgoIndex

CAR = (4.8, 1.9, 1.6)
PERSON = (0.6, 0.6, 1.7)


@dataclass
class Lane:
    """One lane by its centreline [N, 2]; neighbours and successors by name."""

    xy: np.ndarray
    width: float = 3.5
    limit: float = 15.0
    kind: LaneKind = LaneKind.LANE
    next: tuple[str, ...] = ()
    left: str = ""
    right: str = ""


def yaw_of(xy: np.ndarray) -> np.ndarray:
    step = np.gradient(xy, axis=0)
    return np.unwrap(np.arctan2(step[:, 1], step[:, 0]))


def make_map(lanes: Mapping[str, Lane], stop_lines: Mapping[str, np.ndarray] = {}) -> RoadMap:
    """A `RoadMap` of named lanes; `stop_lines` gives lines [2, 2] by lane."""
    at = {name: i for i, name in enumerate(lanes)}
    centre, polygons = [], []
    for lane in lanes.values():
        yaw = yaw_of(lane.xy)
        normal = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1) * 0.5 * lane.width
        centre.append(np.column_stack([lane.xy, yaw]))
        polygons.append(np.concatenate([lane.xy + normal, (lane.xy - normal)[::-1]]))
    return RoadMap(
        lane_id=tuple(lanes),
        lane_kind=np.array([v.kind for v in lanes.values()], np.int8),
        lane_centreline=Ragged.of(centre, 3),
        lane_polygon=Ragged.of(polygons, 2),
        lane_speed_limit=np.array([v.limit for v in lanes.values()]),
        lane_successors=Ragged.of(
            [[at[n] for n in v.next] for v in lanes.values()], dtype=np.int64
        ),
        lane_left=np.array([at.get(v.left, -1) for v in lanes.values()], np.int64),
        lane_right=np.array([at.get(v.right, -1) for v in lanes.values()], np.int64),
        area_kind=np.zeros(len(polygons), np.int8),
        area_polygon=Ragged.of(polygons, 2),
        stop_line=np.array([stop_lines[n] for n in stop_lines]).reshape(-1, 2, 2),
        stop_line_lane=np.array([at[n] for n in stop_lines], np.int64),
    )


def straight_road(lanes: int = 1, length: float = 1000.0, limit: float = 15.0) -> RoadMap:
    """Parallel lanes along +x from x = 0, lane 0 (`l0`) the rightmost, at y = 0, 3.5, ..."""
    x = np.arange(0.0, length + 1.0, 10.0)
    return make_map(
        {
            f"l{i}": Lane(
                np.column_stack([x, np.full(len(x), 3.5 * i)]),
                limit=limit,
                left=f"l{i + 1}",
                right=f"l{i - 1}",
            )
            for i in range(lanes)
        }
    )


def ring_road(
    lanes: int = 3, radius: float = 160.0, limit: float = 15.0, pieces: int = 8
) -> RoadMap:
    """A ring of `pieces` counter-clockwise lanes per track, track 0 the outermost (right)."""
    parts = {}
    for i in range(lanes):
        for p in range(pieces):
            angle = np.linspace(p, p + 1, 41) * 2.0 * np.pi / pieces
            r = radius - 3.5 * i
            parts[f"{i}.{p}"] = Lane(
                np.column_stack([r * np.cos(angle), r * np.sin(angle)]),
                limit=limit,
                next=(f"{i}.{(p + 1) % pieces}",),
                left=f"{i + 1}.{p}",
                right=f"{i - 1}.{p}",
            )
    return make_map(parts)


def crossing(arm: float = 150.0, limit: float = 13.0) -> RoadMap:
    """A four-way intersection of one lane per direction: `in.E`, `out.E`, .. and connectors
    `E.straight`, `E.left`, `E.right`, named by the side they come from."""
    half, lane = 12.0, 1.75
    sides = {"E": 0.0, "N": 0.5 * np.pi, "W": np.pi, "S": 1.5 * np.pi}
    names = list(sides)

    def turned(xy: np.ndarray, angle: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return xy @ np.array([[c, s], [-s, c]])

    parts: dict[str, Lane] = {}
    for k, (name, angle) in enumerate(sides.items()):
        x = np.linspace(half + arm, half, 40)
        inward = np.column_stack([x, np.full(40, lane)])
        outward = np.column_stack([x[::-1], np.full(40, -lane)])
        parts[f"in.{name}"] = Lane(
            turned(inward, angle), limit=limit,
            next=(f"{name}.straight", f"{name}.left", f"{name}.right"),
        )  # fmt: skip
        parts[f"out.{name}"] = Lane(turned(outward, angle), limit=limit)
        for turn, exit_name, radius in (
            ("straight", names[(k + 2) % 4], 0.0),
            ("left", names[(k + 3) % 4], half + lane),
            ("right", names[(k + 1) % 4], half - lane),
        ):
            if turn == "straight":
                xy = np.column_stack([np.linspace(half, -half, 25), np.full(25, lane)])
            else:
                t = np.linspace(0.0, 0.5 * np.pi, 25)
                side = -1.0 if turn == "left" else 1.0
                xy = np.column_stack(
                    [half - radius * np.sin(t), lane + side * radius * (1.0 - np.cos(t))]
                )
            parts[f"{name}.{turn}"] = Lane(
                turned(xy, angle), limit=limit, kind=LaneKind.CONNECTOR, next=(f"out.{exit_name}",)
            )
    return make_map(parts)


@dataclass
class Agent:
    """One agent by its logged poses [T, 3], or by a start, a heading and a constant speed."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    kind: AgentKind = AgentKind.VEHICLE
    size: tuple[float, float, float] = CAR
    poses: np.ndarray | None = None
    first: int = 0
    last: int = 10**9


def make_scenario(
    road_map: RoadMap,
    agents: Sequence[Agent] = (),
    *,
    ego: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    seconds: float = 15.0,
    signals: Mapping[str, np.ndarray | int] = {},
    name: str = "scene",
    route: np.ndarray | None = None,
    ego_poses: np.ndarray | None = None,
    tags: tuple[str, ...] = (),
) -> Scenario:
    """A scenario whose agents and ego (x, y, yaw, speed) go straight on, unless given poses.

    x and y are those at step 0; the log reaches back `HISTORY - 1` steps. `signals` gives one
    state, or one per step of the whole log, by lane.
    """
    steps = HISTORY + round(seconds / DT)
    time = (np.arange(steps) - (HISTORY - 1)) * DT
    state = np.zeros((len(agents), steps, 5))
    valid = np.zeros((len(agents), steps), np.bool_)
    for i, agent in enumerate(agents):
        poses = agent.poses
        if poses is None:
            poses = straight_poses(agent.x, agent.y, agent.yaw, agent.speed, time)
        state[i, :, :3] = poses
        state[i, :, 3:] = np.gradient(poses[:, :2], DT, axis=0)
        valid[i, HISTORY - 1 + agent.first if agent.first else 0 : HISTORY + agent.last] = True
    ego_state = np.zeros((steps, 11))
    poses = straight_poses(*ego, time) if ego_poses is None else ego_poses
    ego_state[:, :3] = poses
    ego_state[:, EgoIndex.VX] = np.hypot(*np.gradient(poses[:, :2], DT, axis=0).T)
    at = {lane: i for i, lane in enumerate(road_map.lane_id)}
    line = poses if route is None else route
    return Scenario(
        id=name,
        source="test",
        map=road_map,
        ego=ego_state,
        agents=Tracks(
            tuple(f"a{i}" for i in range(len(agents))),
            np.array([a.kind for a in agents], np.int8),
            np.array([a.size for a in agents], np.float64).reshape(-1, 3),
            state,
            valid,
        ),
        route=Route(np.arange(len(road_map.lane_id)), np.ascontiguousarray(line)),
        signals=Signals(
            np.array([at[n] for n in signals], np.int64),
            np.array([np.broadcast_to(v, steps) for v in signals.values()], np.int8).reshape(
                -1, steps
            ),
        ),
        start=HISTORY - 1,
        tags=tags,
    )


def straight_poses(x: float, y: float, yaw: float, speed: float, time: np.ndarray) -> np.ndarray:
    return np.column_stack(
        [x + speed * time * np.cos(yaw), y + speed * time * np.sin(yaw), np.full(len(time), yaw)]
    )


def ring_scenario(
    road_map: RoadMap, agents: int, seed: int, *, lanes: int = 3, radius: float = 160.0,
    seconds: float = 15.0, logged: bool = True,
) -> Scenario:  # fmt: skip
    """Agents spread over a `ring_road` at random, the ego among them on track 0.

    Their logs end at step 0 unless `logged`: then they must drive by themselves.
    """
    rng = np.random.default_rng(seed)
    time = (np.arange(HISTORY + round(seconds / DT)) - (HISTORY - 1)) * DT

    def around(track: int, angle: float, speed: float) -> np.ndarray:
        r = radius - 3.5 * track
        t = angle + speed * time / r
        return np.column_stack([r * np.cos(t), r * np.sin(t), t + 0.5 * np.pi])

    slots = max(1, -(-(agents + 1) // lanes))
    chosen = []
    for i in range(1, agents + 1):
        angle = 2.0 * np.pi * (i // lanes + rng.uniform(-0.15, 0.15)) / slots
        poses = around(i % lanes, angle, rng.uniform(7.0, 13.0))
        chosen.append(Agent(poses=poses, last=10**9 if logged else 0))
    return make_scenario(
        road_map, chosen, seconds=seconds, ego_poses=around(0, 0.0, 10.0), name=f"ring{seed}"
    )


@dataclass
class ConstantVelocity:
    """Plans straight on at the present speed."""

    seconds: float = 4.0
    briefs: Sequence[Brief] = field(default_factory=list)

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        self.briefs = briefs

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        n = round(self.seconds / 0.5)
        poses = np.zeros((len(observations), n, 3))
        speed = observations.ego_state[:, -1, EgoIndex.VX]
        poses[:, :, 0] = speed[:, None] * 0.5 * np.arange(1, n + 1)
        return TrajectoryBatch(poses, 0.5)


class FromFunction:
    """A planner that plans one case at a time with a function of its observation."""

    def __init__(self, function: Callable[[Observation], Trajectory]) -> None:
        self._function = function

    def reset(self, brief: Brief) -> None:
        pass

    def plan(self, observation: Observation) -> Trajectory:
        return self._function(observation)


def standing(observation: Observation) -> Trajectory:
    """Stay where you are."""
    return Trajectory(np.zeros((8, 3)), 0.5)


def host_of(function: Callable[[Observation], Trajectory]) -> PlannerHost:
    return PlannerHost(lambda: FromFunction(function))


def cases_of(scenarios: Sequence[Scenario]) -> list[Case]:
    return [Case(scenario, 0, 1000 + i) for i, scenario in enumerate(scenarios)]
