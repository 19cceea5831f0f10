"""Small scenes made in code, that need no plugin and no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.admission import admit
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.rollout import Case, CaseError, Plans, RolloutBatch
from roadworthy.scenario import (
    DT,
    HISTORY,
    STATE_SIZE,
    AgentKind,
    AreaKind,
    LaneKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    SignalState,
    StateIndex,
    Tracks,
)
from roadworthy.vehicle import EGO_STATE_SIZE, PACIFICA, EgoIndex

__all__ = ["brief_of", "logged_rollouts", "moved", "observe", "straight_road_scenario"]

LANE_WIDTH = 3.5
BEHIND = 60.0
BEFORE_JUNCTION = 60.0
JUNCTION = 20.0


def straight_road_scenario(
    *,
    lanes: int = 2,
    speed: float = 8.0,
    agents: int = 6,
    signal: SignalState | None = None,
    seconds: float = 6.0,
    length: float = 300.0,
    origin: tuple[float, float, float] = (500.0, -200.0, 0.6),
    seed: int = 0,
) -> Scenario:
    """A straight one-way road with one junction, 60 m ahead of the ego.

    The ego drives the rightmost lane at a constant speed. The first agent leads it by 25 m at
    the same speed; the others drive in the lanes to its left or stand beside the road, of all
    kinds in turn, and nobody comes in the logged ego's way.

    Args:
        lanes: number of parallel lanes.
        speed: of the ego and of the traffic [m/s]; 0 for a standing ego.
        agents: how many.
        signal: state of the signals at the junction throughout; None for a road without.
        seconds: how long the log goes on after the present.
        length: from 60 m behind the ego to the end of the road [m].
        origin: x, y [m] and heading [rad] of the ego at the present, world frame. The default
            is neither at the world's origin nor aligned with it, which shows mistakes of frame.
        seed: of the agents' places.

    Raises:
        ValueError: if the road would end within the junction.

    Returns:
        An admitted scenario with `HISTORY` steps up to the present and `seconds` after it.
    """
    if not length > BEHIND + BEFORE_JUNCTION + JUNCTION:
        raise ValueError(f"length = {length!r}: the junction alone ends 140 m along the road")
    future = round(seconds / DT)
    time = DT * np.arange(1 - HISTORY, future + 1, dtype=np.float64)
    ego = np.zeros((len(time), EGO_STATE_SIZE))
    ego[:, EgoIndex.X] = speed * time
    ego[:, EgoIndex.VX] = speed
    scenario = Scenario(
        id=f"straight-road-{lanes}-{agents}-{seed}",
        source="roadworthy.testing",
        map=_road(lanes, length),
        ego=ego,
        agents=_traffic(lanes, speed, agents, time, np.random.default_rng(seed)),
        route=Route(np.arange(3 * lanes), _line(-BEHIND, length - BEHIND, 0.0)),
        signals=_signals(lanes, signal, len(time)),
        start=HISTORY - 1,
        tags=("common",),
    )
    return admit(moved(scenario, *origin))


def moved(scenario: Scenario, x: float, y: float, yaw: float) -> Scenario:
    """The same scene elsewhere: turned by `yaw` about the origin, then shifted by (x, y)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, sin], [-sin, cos]])

    def points(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = values.copy()
        out[..., :2] = values[..., :2] @ turn + (x, y)
        return out

    def poses(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = points(values)
        out[..., 2] += yaw
        return out

    roads = scenario.map
    state = poses(scenario.agents.state)
    velocity = slice(StateIndex.VX, StateIndex.VY + 1)
    state[..., velocity] = scenario.agents.state[..., velocity] @ turn
    return replace(
        scenario,
        ego=_frozen(poses(scenario.ego)),
        agents=replace(scenario.agents, state=_frozen(state)),
        route=replace(scenario.route, centreline=_frozen(poses(scenario.route.centreline))),
        map=replace(
            roads,
            lane_centreline=Ragged(
                _frozen(poses(roads.lane_centreline.values)), roads.lane_centreline.offsets
            ),
            lane_polygon=Ragged(
                _frozen(points(roads.lane_polygon.values)), roads.lane_polygon.offsets
            ),
            area_polygon=Ragged(
                _frozen(points(roads.area_polygon.values)), roads.area_polygon.offsets
            ),
            stop_line=_frozen(points(roads.stop_line)),
        ),
    )


def brief_of(scenario: Scenario, seed: int = 1, needs_log: bool = False) -> Brief:
    """What a planner is told of a scenario."""
    return Brief(
        map=scenario.map,
        route=scenario.route,
        vehicle=scenario.vehicle,
        signal_lane=scenario.signals.lane,
        seed=seed,
        log=scenario if needs_log else None,
    )


def observe(
    scenarios: Sequence[Scenario],
    step: int,
    briefs: Sequence[Brief],
    rows: Sequence[int] | None = None,
) -> ObservationBatch:
    """What planners see at a step of the log, with everyone where the log has them.

    Args:
        scenarios: all S of a batch.
        step: steps after the present.
        briefs: theirs, as given to `reset_batch`.
        rows: which of the batch are still driven; all by default.
    """
    rows = range(len(scenarios)) if rows is None else rows
    driven = [scenarios[r] for r in rows]
    most = max((len(s.agents) for s in driven), default=0)
    signals = max((len(s.signals.lane) for s in driven), default=0)
    n = len(driven)
    batch = ObservationBatch(
        briefs=tuple(briefs[r] for r in rows),
        rows=np.array(list(rows), np.int64),
        step=step,
        ego_state=np.zeros((n, HISTORY, EGO_STATE_SIZE)),
        agents_state=np.zeros((n, most, HISTORY, STATE_SIZE)),
        agents_valid=np.zeros((n, most, HISTORY), np.bool_),
        agents_kind=np.zeros((n, most), np.int8),
        agents_size=np.zeros((n, most, 3)),
        signal_state=np.full((n, signals), SignalState.UNKNOWN, np.int8),
        agents_count=np.array([len(s.agents) for s in driven], np.int64),
        signal_count=np.array([len(s.signals.lane) for s in driven], np.int64),
    )
    for i, s in enumerate(driven):
        now = s.start + step
        past, count = slice(now + 1 - HISTORY, now + 1), len(s.agents)
        batch.ego_state[i] = s.ego[past]
        batch.agents_state[i, :count] = s.agents.state[:, past]
        batch.agents_valid[i, :count] = s.agents.valid[:, past]
        batch.agents_kind[i, :count] = s.agents.kind
        batch.agents_size[i, :count] = s.agents.size
        batch.signal_state[i, : len(s.signals.lane)] = s.signals.state[:, now]
    return batch


def logged_rollouts(
    scenarios: Sequence[Scenario],
    errors: Sequence[CaseError | None] | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> RolloutBatch:
    """Rollouts in which everyone, the ego included, did what the log has.

    Each holds one plan, made at step 0: the log's next 4 s at 0.1 s, or as much as there is.
    """
    longest = HISTORY + max(s.horizon for s in scenarios)
    most = max(len(s.agents) for s in scenarios)
    signals = max(len(s.signals.lane) for s in scenarios)
    n = len(scenarios)
    ego = np.zeros((n, longest, EGO_STATE_SIZE))
    agents = np.zeros((n, most, longest, STATE_SIZE))
    valid = np.zeros((n, most, longest), np.bool_)
    states = np.full((n, signals, longest), SignalState.UNKNOWN, np.int8)
    plans = []
    for i, s in enumerate(scenarios):
        begin = s.start + 1 - HISTORY
        rows, count = s.steps - begin, len(s.agents)
        ego[i, :rows] = s.ego[begin:]
        agents[i, :count, :rows] = s.agents.state[:, begin:]
        valid[i, :count, :rows] = s.agents.valid[:, begin:]
        states[i, : len(s.signals.lane), :rows] = s.signals.state[:, begin:]
        plans.append(_logged_plan(s))
    return RolloutBatch(
        cases=tuple(Case(s, 0, 1, dict(protocol or {"name": "log"})) for s in scenarios),
        errors=tuple(errors or [None] * n),
        length=np.array([s.horizon for s in scenarios], np.int64),
        ego=ego,
        agents=agents,
        agents_valid=valid,
        signals=states,
        plans=tuple(plans),
    )


def _logged_plan(scenario: Scenario) -> Plans:
    now = scenario.ego[scenario.start]
    poses = scenario.ego[scenario.start + 1 :][: round(4.0 / DT), : EgoIndex.YAW + 1] - now[:3]
    cos, sin = np.cos(now[EgoIndex.YAW]), np.sin(now[EgoIndex.YAW])
    poses[:, :2] = poses[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    return Plans(np.zeros(1, np.int64), poses[None], DT)


def _line(begin: float, end: float, y: float) -> NDArray[np.float64]:
    """Poses every 2 m along x: [N, 3]."""
    x = np.linspace(begin, end, max(2, round((end - begin) / 2.0) + 1))
    return np.stack([x, np.full_like(x, y), np.zeros_like(x)], -1)


def _box(x0: float, x1: float, y0: float, y1: float) -> NDArray[np.float64]:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _road(lanes: int, length: float) -> RoadMap:
    """Lane `i` is made of the pieces 3 i (before the junction), 3 i + 1 (in it), 3 i + 2."""
    cuts = (-BEHIND, BEFORE_JUNCTION, BEFORE_JUNCTION + JUNCTION, length - BEHIND)
    half = 0.5 * LANE_WIDTH
    centre = [(i * LANE_WIDTH, k) for i in range(lanes) for k in range(3)]
    last = 3 * lanes
    index = np.arange(last)
    top = lanes * LANE_WIDTH - half
    return RoadMap(
        lane_id=tuple(f"lane-{i}-{k}" for i in range(lanes) for k in range(3)),
        lane_kind=np.tile(
            np.array([LaneKind.LANE, LaneKind.CONNECTOR, LaneKind.LANE], np.int8), lanes
        ),
        lane_centreline=Ragged.of([_line(cuts[k], cuts[k + 1], y) for y, k in centre], 3),
        lane_polygon=Ragged.of(
            [_box(cuts[k], cuts[k + 1], y - half, y + half) for y, k in centre], 2
        ),
        lane_speed_limit=np.tile(np.array([13.9, np.nan, 13.9]), lanes),
        lane_successors=Ragged.of([[i + 1] if i % 3 < 2 else [] for i in index], dtype=np.int64),
        lane_left=np.where((index % 3 != 1) & (index + 3 < last), index + 3, -1),
        lane_right=np.where((index % 3 != 1) & (index >= 3), index - 3, -1),
        area_kind=np.array([AreaKind.DRIVABLE, AreaKind.INTERSECTION], np.int8),
        area_polygon=Ragged.of(
            [_box(cuts[0], cuts[3], -half, top), _box(cuts[1], cuts[2], -half, top)], 2
        ),
        stop_line=np.array(
            [
                [[cuts[1], i * LANE_WIDTH - half], [cuts[1], i * LANE_WIDTH + half]]
                for i in range(lanes)
            ]
        ),
        stop_line_lane=np.arange(0, last, 3),
    )


def _traffic(
    lanes: int, speed: float, count: int, time: NDArray[np.float64], rng: np.random.Generator
) -> Tracks:
    kind = np.arange(count) % len(AgentKind)
    size = np.array(
        [
            [4.6, 1.9, 1.6],
            [0.6, 0.6, 1.7],
            [1.8, 0.7, 1.7],
            [0.4, 0.4, 0.8],
            [2.0, 0.5, 1.0],
            [0.6, 0.4, 1.5],
            [1.0, 1.0, 1.0],
        ]
    )
    state = np.zeros((count, len(time), STATE_SIZE))
    for a in range(count):
        moving = kind[a] == AgentKind.VEHICLE and (a == 0 or lanes > 1)
        if a == 0:
            x, y = PACIFICA.front + 25.0, 0.0
        elif moving:
            x, y = rng.uniform(-50.0, 150.0), LANE_WIDTH * rng.integers(1, lanes)
        else:
            x, y = rng.uniform(-50.0, 150.0), -LANE_WIDTH - rng.uniform(1.0, 20.0)
        velocity = speed if moving else 0.0
        state[a, :, StateIndex.X] = x + velocity * time
        state[a, :, StateIndex.Y] = y
        state[a, :, StateIndex.VX] = velocity
    return Tracks(
        id=tuple(f"agent-{a}" for a in range(count)),
        kind=kind.astype(np.int8),
        size=size[kind],
        state=state,
        valid=np.ones((count, len(time)), np.bool_),
    )


def _signals(lanes: int, state: SignalState | None, steps: int) -> Signals:
    if state is None:
        return Signals.none(steps)
    return Signals(np.arange(1, 3 * lanes, 3), np.full((lanes, steps), state, np.int8))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
