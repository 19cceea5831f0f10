"""Hand-made rollouts with known answers: a straight road along +x, and boxes that go straight.

The drivable area is 400 m x 30 m around the origin, two lanes of 3.5 m side by side (the ego's
has its centreline on y = 0), the route runs along y = 0. `turned` moves and turns a whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from roadworthy.rollout import Case, Plans, RolloutBatch
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    AreaKind,
    LaneKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    Tracks,
)
from roadworthy.vehicle import EGO_STATE_SIZE

NOW = HISTORY - 1
CAR = (4.6, 1.9, 1.6)
NOSE = 4.049
"""Rear axle to front bumper of the default vehicle [m]."""


@dataclass(frozen=True)
class Box:
    """An agent that goes straight: its centre at step 0, heading, speed along it, and size."""

    x: float
    y: float
    yaw: float = 0.0
    speed: float = 0.0
    size: tuple[float, float, float] = CAR
    kind: AgentKind = AgentKind.VEHICLE
    first: int = -NOW
    last: int = 10_000


def straight_ego(
    speed: float, steps: int, x: float = 0.0, y: float = 0.0, yaw: float = 0.0
) -> NDArray[np.float64]:
    """Constant velocity, history included: [NOW + steps + 1, 11]."""
    t = 0.1 * (np.arange(NOW + steps + 1) - NOW)
    ego = np.zeros((len(t), EGO_STATE_SIZE))
    ego[:, 0], ego[:, 1] = x + speed * t * np.cos(yaw), y + speed * t * np.sin(yaw)
    ego[:, 2], ego[:, 3] = yaw, speed
    return ego


def road() -> RoadMap:
    """Two parallel lanes on a wide drivable area."""
    lane = [[-200.0, -1.75], [200.0, -1.75], [200.0, 1.75], [-200.0, 1.75]]
    left = [[x, y + 3.5] for x, y in lane]
    area = [[-200.0, -15.0], [200.0, -15.0], [200.0, 15.0], [-200.0, 15.0]]
    lines = [[[-200.0, y, 0.0], [200.0, y, 0.0]] for y in (0.0, 3.5)]
    return RoadMap(
        lane_id=("right", "left"),
        lane_kind=np.array([LaneKind.LANE, LaneKind.LANE], np.int8),
        lane_centreline=Ragged.of(lines, 3),
        lane_polygon=Ragged.of([lane, left], 2),
        lane_speed_limit=np.array([15.0, 15.0]),
        lane_successors=Ragged.of([[], []], None, np.int64),
        lane_left=np.array([1, -1]),
        lane_right=np.array([-1, 0]),
        area_kind=np.array([AreaKind.DRIVABLE], np.int8),
        area_polygon=Ragged.of([area], 2),
    )


def rollout(
    ego: NDArray[np.float64],
    boxes: tuple[Box, ...] = (),
    tags: tuple[str, ...] = ("common",),
    log: NDArray[np.float64] | None = None,
    plans: Plans | None = None,
    spare_agents: int = 0,
    spare_steps: int = 0,
) -> RolloutBatch:
    """A batch of one. `spare_*` adds padding; padding is filled with numbers that would matter."""
    rows = len(ego)
    t = 0.1 * (np.arange(rows) - NOW)
    state = np.zeros((len(boxes), rows, 5))
    valid = np.zeros((len(boxes), rows), bool)
    for row, there, box in zip(state, valid, boxes, strict=True):
        c, s = np.cos(box.yaw), np.sin(box.yaw)
        row[:, 0], row[:, 1] = box.x + box.speed * t * c, box.y + box.speed * t * s
        row[:, 2], row[:, 3], row[:, 4] = box.yaw, box.speed * c, box.speed * s
        steps = np.arange(rows) - NOW
        there[:] = (steps >= box.first) & (steps <= box.last)
    tracks = Tracks(
        id=tuple(f"agent-{i}" for i in range(len(boxes))),
        kind=np.array([b.kind for b in boxes], np.int8),
        size=np.array([b.size for b in boxes], np.float64).reshape(-1, 3),
        state=state,
        valid=valid,
    )
    scenario = Scenario(
        id="hand-made",
        source="test",
        map=road(),
        ego=ego if log is None else log,
        agents=tracks,
        route=Route(np.array([0, 1]), np.array([[-200.0, 0.0, 0.0], [200.0, 0.0, 0.0]])),
        signals=Signals.none(rows),
        start=NOW,
        tags=tags,
    )
    nothing = Plans(np.zeros(0, np.int64), np.zeros((0, 8, 3)), 0.5)
    wide = ((0, spare_agents), (0, spare_steps))
    return RolloutBatch(
        cases=(Case(scenario, 0, 1),),
        errors=(None,),
        length=np.array([rows - 1 - NOW]),
        ego=np.pad(ego, ((0, spare_steps), (0, 0)), mode="edge")[None],
        agents=np.pad(state, (*wide, (0, 0)))[None],
        agents_valid=np.pad(valid, wide)[None],
        signals=np.zeros((1, 0, rows + spare_steps), np.int8),
        plans=(plans or nothing,),
    )


def turned(batch: RolloutBatch, angle: float, dx: float, dy: float) -> RolloutBatch:
    """The same batch, rotated about the origin by `angle` and then shifted by (dx, dy)."""
    c, s = np.cos(angle), np.sin(angle)
    spin = np.array([[c, s], [-s, c]])
    shift = np.array([dx, dy])

    def poses(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = values.copy()
        out[..., :2] = values[..., :2] @ spin + shift
        out[..., 2] += angle
        return out

    def tracks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = poses(values)
        out[..., 3:5] = values[..., 3:5] @ spin
        return out

    cases = []
    for case in batch.cases:
        old = case.scenario
        lines, rings = old.map.lane_centreline, (old.map.lane_polygon, old.map.area_polygon)
        lanes, areas = (Ragged(r.values @ spin + shift, r.offsets) for r in rings)
        new = replace(
            old,
            map=replace(
                old.map,
                lane_centreline=Ragged(poses(lines.values), lines.offsets),
                lane_polygon=lanes,
                area_polygon=areas,
            ),
            ego=poses(old.ego),
            agents=replace(old.agents, state=tracks(old.agents.state)),
            route=replace(old.route, centreline=poses(old.route.centreline)),
        )
        cases.append(replace(case, scenario=new))
    return replace(batch, cases=tuple(cases), ego=poses(batch.ego), agents=tracks(batch.agents))
