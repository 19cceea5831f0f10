"""A moment of a scene as a network reads it: one token per agent, and the map around each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.scenario import (
    DT,
    AgentKind,
    AreaKind,
    LaneKind,
    RoadMap,
    Scenario,
    SignalState,
    StateIndex,
)
from roadworthy.vehicle import EgoIndex

from roadworthy_generators.behaviour.kinematics import limits_of

__all__ = [
    "FEATURES",
    "HISTORY_STEPS",
    "KIND_COLUMN",
    "MAX_TOKENS",
    "POLYLINES",
    "POLYLINE_FEATURES",
    "STILL_COLUMN",
    "Body",
    "Tokens",
    "as_tracks",
    "bodies_of",
    "ego_centre",
    "tokens_of",
]

Array = NDArray[np.float64]

MAX_TOKENS = 40
"""Agents of a scene that are modelled, the nearest to the ego; others do as logged."""
POLYLINES = 12
"""Pieces of the map that each agent sees."""
HISTORY_STEPS = (3, 6, 9, 12, 15)
"""Steps into the past at which a token knows where its agent was."""
FEATURES = 3 * len(HISTORY_STEPS) + 11
KIND_COLUMN = 3 * len(HISTORY_STEPS) + 5
"""Where in the features four columns say what kind of agent it is."""
STILL_COLUMN = FEATURES - 1
"""Where in the features one column says who never moves."""
POLYLINE_FEATURES = 25

_PIECE_M = 20.0
_POINTS = 5
_AHEAD_S = (0.0, 1.5, 3.5)
_OPPOSED_M = 8.0
_STILL_M = 0.5
_MAPS_KEPT = 32
_SIGNAL_STEPS = (0, 20, 40)
_pieces: dict[str, _Pieces] = {}


@dataclass(frozen=True, eq=False)
class _Pieces:
    """A map in pieces of at most 20 m: points [C, 5, 3] x, y, yaw; what each is [C, 4] (speed limit
    over 15 m/s, connector, cycle lane, crosswalk); the lane of each, -1 for a crosswalk."""

    points: Array
    words: Array
    lane: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Body:
    """Everyone at one moment, the ego first: A bodies with H = 16 steps of the past.

    Attributes:
        index: int64 [A], in the scenario's tracks, -1 for the ego.
        kind: int8 [A].
        size: [A, 2] length and width [m].
        past: [A, H, 4] x, y, yaw, speed of the box centres, the present last.
        seen: bool [A, H].
        still: bool [A], never moves: parked cars, cones.
    """

    index: NDArray[np.int64]
    kind: NDArray[np.int8]
    size: Array
    past: Array
    seen: NDArray[np.bool_]
    still: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A agents, the ego first; see `Body` for the first five.

    Attributes:
        pose: [A, 3], speed: [A] at the present.
        features: float32 [A, FEATURES]; polylines: float32 [A, POLYLINES, POLYLINE_FEATURES]:
            both in each agent's own frame.
        near: bool [A, POLYLINES], whether there is such a piece.
        limits: float32 [A, 5]; scales: float32 [A, 2], see `kinematics`.
    """

    index: NDArray[np.int64]
    kind: NDArray[np.int8]
    size: Array
    still: NDArray[np.bool_]
    pose: Array
    speed: Array
    features: NDArray[np.float32]
    polylines: NDArray[np.float32]
    near: NDArray[np.bool_]
    limits: NDArray[np.float32]
    scales: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)


def ego_centre(ego: Array, offset: float) -> Array:
    """Ego states [..., 11] as x, y, yaw, speed [..., 4] of the box centre, `offset` ahead."""
    out = np.array(ego[..., [EgoIndex.X, EgoIndex.Y, EgoIndex.YAW, EgoIndex.VX]])
    out[..., 0] += offset * np.cos(out[..., 2])
    out[..., 1] += offset * np.sin(out[..., 2])
    out[..., 3] = np.maximum(out[..., 3], 0.0)
    return out


def track_states(state: Array) -> Array:
    """Agent states [..., 5] as x, y, yaw, forward speed [..., 4], at least 0."""
    yaw = state[..., StateIndex.YAW]
    ahead = state[..., StateIndex.VX] * np.cos(yaw) + state[..., StateIndex.VY] * np.sin(yaw)
    return np.concatenate([state[..., :3], np.maximum(ahead, 0.0)[..., None]], -1)


def as_tracks(states: Array) -> Array:
    """x, y, yaw, speed [N, 4] as `StateIndex` [N, 5]."""
    yaw, speed = states[:, 2], states[:, 3]
    return np.column_stack([states[:, :3], speed * np.cos(yaw), speed * np.sin(yaw)])


def bodies_of(scenario: Scenario, now: int, most: int = MAX_TOKENS) -> Body:
    """The ego and the agents nearest to it at a step, at most `most` together.

    Raises:
        DataError: the step has no 1.5 s of past.
    """
    span = max(HISTORY_STEPS)
    if not span <= now < scenario.steps:
        raise DataError(f"{scenario.id}: step {now} has no past of {span} steps")
    tracks = scenario.agents
    rows = slice(now - span, now + 1)
    ego = ego_centre(scenario.ego[rows], scenario.vehicle.rear_axle_to_centre)
    here = np.flatnonzero(tracks.valid[:, now])
    gap = np.hypot(*(tracks.state[here, now, :2] - ego[-1, :2]).T)
    chosen = np.sort(here[np.argsort(gap, kind="stable")[: most - 1]])
    moved = np.zeros(len(chosen), np.bool_)
    for k, a in enumerate(chosen):
        track = tracks.state[a, tracks.valid[a], :2]
        moved[k] = np.hypot(*(track - track[0]).T).max() > _STILL_M
    car = scenario.vehicle
    return Body(
        index=np.concatenate([[-1], chosen]).astype(np.int64),
        kind=np.concatenate([[AgentKind.VEHICLE], tracks.kind[chosen]]).astype(np.int8),
        size=np.concatenate([[[car.length, car.width]], tracks.size[chosen, :2]]),
        past=np.concatenate([ego[None], track_states(tracks.state[chosen, rows])]),
        seen=np.concatenate([np.ones((1, span + 1), np.bool_), tracks.valid[chosen, rows]]),
        still=np.concatenate([[False], ~moved | (tracks.kind[chosen] >= AgentKind.TRAFFIC_CONE)]),
    )


def tokens_of(scenario: Scenario, body: Body, now: int) -> Tokens:
    """What a network is told of bodies at a step.

    Raises:
        DataError: the map has no lanes.
    """
    if not len(scenario.map.lane_id):
        raise DataError(
            f"{scenario.source}/{scenario.id}: its map has no lanes",
            hint="A behaviour model needs lanes; vary the scene with 'perturb'.",
        )
    pose, speed = body.past[:, -1, :3].copy(), body.past[:, -1, 3].copy()
    pose[:, 2] = np.angle(np.exp(1j * pose[:, 2]))
    limits, scales = limits_of(body.kind)
    polylines, near = _around(scenario, pose, speed, body.kind, now)
    return Tokens(
        body.index, body.kind, body.size, body.still, pose, speed, _features(body), polylines, near,
        limits, scales,
    )  # fmt: skip


def _local(points: Array, pose: Array) -> Array:
    """World x, y [A, ..., 2] in the frames of poses [A, 3]."""
    shape = (len(pose),) + (1,) * (points.ndim - 2)
    cos, sin = np.cos(pose[:, 2]).reshape(shape), np.sin(pose[:, 2]).reshape(shape)
    dx, dy = points[..., 0] - pose[:, 0].reshape(shape), points[..., 1] - pose[:, 1].reshape(shape)
    return np.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1)


def _features(body: Body) -> NDArray[np.float32]:
    pose, speed = body.past[:, -1, :3], body.past[:, -1, 3]
    back = [-1 - k for k in HISTORY_STEPS]
    seen = body.seen[:, back]
    was = np.where(seen[..., None], _local(body.past[:, back, :2], pose), 0.0) / 10.0
    turned = np.angle(np.exp(1j * (pose[:, 2] - body.past[:, back[0], 2])))
    rate = np.where(seen[:, 0], turned, 0.0) / (HISTORY_STEPS[0] * DT)
    push = np.where(seen[:, 0], speed - body.past[:, back[0], 3], 0.0) / (HISTORY_STEPS[0] * DT)
    kind = np.minimum(body.kind, AgentKind.TRAFFIC_CONE)
    columns = [
        was.reshape(len(pose), -1), seen, speed[:, None] / 10.0, rate[:, None], push[:, None] / 3.0,
        body.size / [5.0, 2.0], np.eye(4)[kind], (body.index == -1)[:, None], body.still[:, None],
    ]  # fmt: skip
    out: Array = np.nan_to_num(np.concatenate(columns, 1))
    return out.clip(-20.0, 20.0).astype(np.float32)


def _around(
    scenario: Scenario, pose: Array, speed: Array, kind: NDArray[np.int8], now: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The nearest pieces of the map, to where each agent is and to where it is heading."""
    pieces = _pieces_of(scenario.map)
    ahead = np.array(_AHEAD_S)[None, :, None] * speed[:, None, None]
    heading = np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], -1)
    anchors = pose[:, None, :2] + ahead * heading[:, None]
    middle = pieces.points[:, ::2, :2].reshape(1, 1, -1, 2)
    gap = (anchors[:, :, None, 0] - middle[..., 0]) ** 2
    gap += (anchors[:, :, None, 1] - middle[..., 1]) ** 2
    far = np.sqrt(gap.reshape(len(pose), len(_AHEAD_S), len(pieces.points), -1).min(-1))
    far = (far + 0.1 * np.arange(len(_AHEAD_S))[None, :, None]).min(1)
    drives = kind == AgentKind.VEHICLE
    against = np.cos(pieces.points[None, :, 2, 2] - pose[:, None, 2]) < -0.5
    far = far + _OPPOSED_M * (against & drives[:, None] & (pieces.lane >= 0))
    count = min(POLYLINES, far.shape[1])
    best = np.argpartition(far, count - 1, axis=1)[:, :count]
    best = np.take_along_axis(best, np.argsort(np.take_along_axis(far, best, 1), 1), 1)
    points = pieces.points[best]
    local = _local(points[..., :2], pose) / 20.0
    turn = points[..., [0, -1], 2] - pose[:, None, None, 2]
    columns = [
        local.reshape(*best.shape, -1), np.cos(turn), np.sin(turn), pieces.words[best],
        _signals_at(scenario, now)[pieces.lane[best]],
    ]  # fmt: skip
    out = np.zeros((len(pose), POLYLINES, POLYLINE_FEATURES), np.float32)
    made = np.concatenate(columns, -1).clip(-20.0, 20.0)
    out[:, :count, : made.shape[-1]] = made
    near = np.zeros((len(pose), POLYLINES), np.bool_)
    near[:, :count] = True
    return out, near


def _signals_at(scenario: Scenario, now: int) -> Array:
    """Per lane, none in the last row, [L + 1, 7]: the state now, of four; red at 0, 2, 4 s."""
    out = np.zeros((len(scenario.map.lane_id) + 1, 7))
    out[:, 0] = 1.0
    signals = scenario.signals
    if len(signals.lane):
        steps = np.minimum(now + np.array(_SIGNAL_STEPS), scenario.steps - 1)
        state = signals.state[:, steps]
        out[signals.lane, :4] = np.eye(4)[state[:, 0]]
        out[signals.lane, 4:] = state == SignalState.RED
    return out


def _pieces_of(road_map: RoadMap) -> _Pieces:
    found = _pieces.pop(road_map.hash, None)
    if found is None:
        found = _cut(road_map)
    _pieces[road_map.hash] = found
    while len(_pieces) > _MAPS_KEPT:
        _pieces.pop(next(iter(_pieces)))
    return found


def _cut(road_map: RoadMap) -> _Pieces:
    points: list[Array] = []
    words: list[Sequence[float]] = []
    lanes: list[int] = []
    for lane, line in enumerate(road_map.lane_centreline):
        hop = np.hypot(*np.diff(line[:, :2], axis=0).T)
        arc = np.concatenate([[0.0], np.cumsum(hop)])
        count = max(1, int(np.ceil(arc[-1] / _PIECE_M)))
        limit = road_map.lane_speed_limit[lane]
        kind = road_map.lane_kind[lane]
        yaw = np.unwrap(line[:, 2])
        for k in range(count):
            at = arc[-1] * (k + np.linspace(0.0, 1.0, _POINTS)) / count
            columns = (line[:, 0], line[:, 1], yaw)
            points.append(np.stack([np.interp(at, arc, column) for column in columns], -1))
            words.append((
                0.0 if np.isnan(limit) else limit / 15.0,
                kind == LaneKind.CONNECTOR, kind == LaneKind.BIKE, 0.0,
            ))  # fmt: skip
            lanes.append(lane)
    for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True):
        if kind != AreaKind.CROSSWALK or len(ring) < 4:
            continue
        side = np.hypot(*np.diff(ring[[0, 1, 2]], axis=0).T)
        ends = (ring[[0, 1]].mean(0), ring[[2, 3]].mean(0))
        if side[0] > side[1]:
            ends = (ring[[1, 2]].mean(0), ring[[3, 0]].mean(0))
        share = np.linspace(0.0, 1.0, _POINTS)[:, None]
        line = ends[0] + share * (ends[1] - ends[0])
        yaw = np.full((_POINTS, 1), np.arctan2(*(ends[1] - ends[0])[::-1]))
        points.append(np.concatenate([line, yaw], 1))
        words.append((0.0, 0.0, 0.0, 1.0))
        lanes.append(-1)
    return _Pieces(np.stack(points), np.array(words, np.float64), np.array(lanes, np.int64))
