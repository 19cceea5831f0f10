"""A scenario: a map, what everyone did, and where the ego wants to go.

Units are SI, angles radians, frames right-handed with headings counter-clockwise from
world x. All positions are in one world frame per scenario. Everything runs at 10 Hz
(`DT`); sources resample on the way in. Arrays are float64 and read-only once admitted.

The reference point of an agent is the centre of its box, of the ego its rear axle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import IntEnum
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from roadworthy.vehicle import EGO_STATE_SIZE, PACIFICA, Vehicle

__all__ = [
    "DT",
    "HISTORY",
    "NO_DRIVABLE_AREA",
    "RATE_HZ",
    "STATE_SIZE",
    "AgentKind",
    "AreaKind",
    "LaneKind",
    "Lineage",
    "Ragged",
    "Rejected",
    "RoadMap",
    "Route",
    "Scenario",
    "SignalState",
    "Signals",
    "StateIndex",
    "Tracks",
    "content_hash",
]

RATE_HZ = 10
DT = 1.0 / RATE_HZ
HISTORY = 16
"""Steps of the past that a planner sees, the present included (1.5 s)."""

NO_DRIVABLE_AREA = "no_drivable_area"
"""Tag of scenes whose map does not say where one may drive: metrics must not judge by it."""


class StateIndex(IntEnum):
    """Columns of an agent's state: box centre and velocity, world frame."""

    X = 0
    Y = 1
    YAW = 2
    VX = 3
    VY = 4


STATE_SIZE = 5


class AgentKind(IntEnum):
    """What an agent is. From `TRAFFIC_CONE` on, it is a static object (NAVSIM's split)."""

    VEHICLE = 0
    PEDESTRIAN = 1
    BICYCLE = 2
    TRAFFIC_CONE = 3
    BARRIER = 4
    CZONE_SIGN = 5
    GENERIC_OBJECT = 6


class LaneKind(IntEnum):
    """`CONNECTOR` lanes lie inside an intersection, `BIKE` lanes are not for cars."""

    LANE = 0
    CONNECTOR = 1
    BIKE = 2


class AreaKind(IntEnum):
    """Polygons of the map besides lanes."""

    DRIVABLE = 0
    INTERSECTION = 1
    CARPARK = 2
    CROSSWALK = 3


class SignalState(IntEnum):
    """State of a traffic signal at one step."""

    UNKNOWN = 0
    GREEN = 1
    YELLOW = 2
    RED = 3


@dataclass(frozen=True, eq=False)
class Ragged:
    """K rows of unequal length, stored end to end.

    Attributes:
        values: [N, D], the rows concatenated.
        offsets: int64 [K + 1]; row i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Any], width: int | None = None, dtype: Any = np.float64) -> Ragged:
        """Concatenate rows of shape [n_i, width] (or [n_i] where `width` is None)."""
        shape = (0,) if width is None else (0, width)
        arrays = [np.asarray(r, dtype).reshape((-1, *shape[1:])) for r in rows]
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        values = np.concatenate(arrays) if arrays else np.zeros(shape, dtype)
        return cls(np.ascontiguousarray(values), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, eq=False)
class RoadMap:
    """The static map around a scenario. L lanes, K areas.

    Polygons are open rings (the first point is not repeated) without holes; a source cuts
    up polygons that have any. Neighbours are lanes of the same direction into which a
    lane change is legal. Scenarios of one place share one `RoadMap` object.

    Attributes:
        lane_id: L names, unique, as the source has them.
        lane_kind: int8 [L], `LaneKind`.
        lane_centreline: L rows [*, 3] of x, y, yaw, in driving direction, at least 2 points.
        lane_polygon: L rows [*, 2].
        lane_speed_limit: [L] m/s, NaN where the map gives none.
        lane_successors: L rows [*] of lane indices, int64.
        lane_left, lane_right: int64 [L], neighbour lane index, -1 for none.
        area_kind: int8 [K], `AreaKind`.
        area_polygon: K rows [*, 2].
        stop_line: rows [2, 2] (start, end), one per entry of `stop_line_lane`.
        stop_line_lane: int64 [*], the lane that ends at (or holds) each stop line.
    """

    lane_id: tuple[str, ...]
    lane_kind: NDArray[np.int8]
    lane_centreline: Ragged
    lane_polygon: Ragged
    lane_speed_limit: NDArray[np.float64]
    lane_successors: Ragged
    lane_left: NDArray[np.int64]
    lane_right: NDArray[np.int64]
    area_kind: NDArray[np.int8]
    area_polygon: Ragged
    stop_line: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2, 2)))
    stop_line_lane: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def hash(self) -> str:
        """Content hash of geometry and topology: equal maps, equal hash."""
        return content_hash(self)


@dataclass(frozen=True, eq=False)
class Tracks:
    """What A agents (never the ego) did over T steps.

    Attributes:
        id: A names, unique, as the source has them.
        kind: int8 [A], `AgentKind`.
        size: [A, 3] length, width, height [m].
        state: [A, T, 5], `StateIndex`; undefined (but finite) where not valid.
        valid: bool [A, T].
        reactive: bool [A], whether the agent may deviate from its log where the simulator lets
            traffic react; an adversary of a hard case may not. Everyone may, unless given.
    """

    id: tuple[str, ...]
    kind: NDArray[np.int8]
    size: NDArray[np.float64]
    state: NDArray[np.float64]
    valid: NDArray[np.bool_]
    reactive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        if len(self.reactive) == 0 and len(self.id):
            object.__setattr__(self, "reactive", np.ones(len(self.id), np.bool_))

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, eq=False)
class Route:
    """Where the ego wants to go.

    Attributes:
        lanes: int64 [R], indices of all on-route lanes; parallel lanes of the same road included.
        centreline: [C, 3] x, y, yaw (unwrapped) of one path from behind the start to the goal.
    """

    lanes: NDArray[np.int64]
    centreline: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Signals:
    """States of G traffic signals over T steps, each governing one lane.

    Attributes:
        lane: int64 [G], index of the (connector) lane that may not be entered on red.
        state: int8 [G, T], `SignalState`.
    """

    lane: NDArray[np.int64]
    state: NDArray[np.int8]

    @classmethod
    def none(cls, steps: int) -> Signals:
        """No signals, for `steps` steps."""
        return cls(np.zeros(0, np.int64), np.zeros((0, steps), np.int8))


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a generated scenario came from."""

    parent: str
    generator: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scenario:
    """One scene to drive. T steps at 10 Hz, of which `start` is the first one driven.

    Attributes:
        id: unique name within its source.
        source: name of the source plugin.
        map: the road map.
        ego: [T, 11] logged ego states (`EgoIndex`), rear axle, valid at every step.
        vehicle: the ego's dimensions.
        agents: everyone else.
        route: the ego's route.
        signals: traffic signals over time.
        start: index of the present; `start >= HISTORY - 1`, and `start < T - 1`.
        tags: free words; `common`/`rare` and the rare family are read by the safety metrics.
        lineage: set where a generator made this scenario.
        repairs: what admission changed or dropped, in sentences. Not part of the hash.
    """

    id: str
    source: str
    map: RoadMap
    ego: NDArray[np.float64]
    agents: Tracks
    route: Route
    signals: Signals
    start: int
    vehicle: Vehicle = PACIFICA
    tags: tuple[str, ...] = ()
    lineage: Lineage | None = None
    repairs: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """T, the logged length in steps, history included."""
        return len(self.ego)

    @property
    def horizon(self) -> int:
        """Steps that can be driven after the present."""
        return self.steps - 1 - self.start

    @cached_property
    def hash(self) -> str:
        """Content hash of everything that can change a result (not of `repairs`)."""
        return content_hash(self, skip=("repairs",))

    def __post_init__(self) -> None:
        if self.ego.ndim != 2 or self.ego.shape[1] != EGO_STATE_SIZE:
            raise ValueError(f"Scenario.ego has shape {self.ego.shape}, wanted [T, 11]")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A scene that was found but is not fit to be driven.

    Attributes:
        id: the scene's name, as far as it could be read.
        source: name of the source plugin.
        error: class name of the error.
        reason: the file, the field, the value, and what to do.
    """

    id: str
    source: str
    error: str
    reason: str


def content_hash(value: Any, skip: tuple[str, ...] = ()) -> str:
    """BLAKE2b (128 bit, hex) of nested dataclasses, arrays and plain values.

    Arrays are hashed with dtype (little endian) and shape, so equal content on any machine
    gives an equal hash. Fields named in `skip` are left out at the top level.

    Raises:
        TypeError: for a value that is neither a dataclass, an array, nor JSON-like.
    """
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value, skip)
    return digest.hexdigest()


_encode_text = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(sort_keys=True).encode


@cache
def _names(kind: Any) -> tuple[tuple[str, bytes], ...] | None:
    """The fields of a dataclass, each with what is hashed before it; None for another type."""
    if not is_dataclass(kind):
        return None
    return tuple((f.name, f"f{f.name}".encode()) for f in fields(kind))


@cache
def _little(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], str]:
    """A type with little-endian bytes, and its name."""
    little = dtype.newbyteorder("<")
    return little, little.str


def _feed(digest: Any, value: Any, skip: tuple[str, ...] = ()) -> None:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        little, name = _little(array.dtype)
        array = array.astype(little, copy=False)
        digest.update(f"a{name}{array.shape}".encode())
        if array.size:
            digest.update(array.reshape(-1).view(np.uint8))
    elif names := _names(cast(Any, type(value))):
        digest.update(f"d{type(value).__name__}".encode())
        for name, word in names:
            if name not in skip:
                part = getattr(value, name)
                digest.update(word)
                _feed(digest, part.hash if isinstance(part, RoadMap) else part)
    elif isinstance(value, (tuple, list)):
        digest.update(f"t{len(value)}".encode())
        if set(map(type, value)) == {str}:
            digest.update(("j" + "j".join(map(_encode_text, value))).encode())
            return
        for item in value:
            _feed(digest, item)
    elif type(value) is str:
        digest.update(f"j{_encode_text(value)}".encode())
    elif type(value) is int:
        digest.update(f"j{value}".encode())
    else:
        digest.update(f"j{_encode(value)}".encode())
