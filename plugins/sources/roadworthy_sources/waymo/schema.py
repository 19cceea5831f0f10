"""`Scenario` messages as `ScenarioDescription` dictionaries, of which ScenarioNet's reader
makes scenarios. Field numbers are those of `scenario.proto` and `map.proto`."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy_sources.waymo.wire import (
    Wire,
    WireError,
    doubles,
    fields,
    number,
    signed,
    varints,
)

__all__ = ["description_of"]

MAX_STEPS = 2_000
MAX_TRACKS = 10_000
MAX_FEATURES = 100_000
MAX_POINTS = 100_000

_TRACK_TYPE = {1: "VEHICLE", 2: "PEDESTRIAN", 3: "CYCLIST", 4: "OTHER"}
_LANE_TYPE = {1: "LANE_FREEWAY", 2: "LANE_SURFACE_STREET", 3: "LANE_BIKE_LANE"}
_SIGNAL = ("UNKNOWN", "STOP", "CAUTION", "GO", "STOP", "CAUTION", "GO", "FLASHING", "FLASHING")
_UNREAD = {7: "STOP_SIGN", 9: "SPEED_BUMP", 10: "DRIVEWAY"}
_SOLID = frozenset({2, 3, 6, 7})
_POINT = struct.Struct("<BdBdBd")
_STATE = {2: 0, 3: 1, 8: 2, 9: 3, 10: 4, 5: 5, 6: 6, 7: 7}
"""Field of `ObjectState` -> column: x, y, heading, vx, vy, length, width, height."""


def description_of(data: bytes) -> dict[str, Any]:
    """The dictionary that one serialized `Scenario` describes.

    Raises:
        WireError: not such a message, or larger than the limits of this module.
    """
    name, stamps, own = "", list[float](), -1
    tracks: list[tuple[int, int, NDArray[np.float64], NDArray[np.bool_]]] = []
    signals: list[dict[int, str]] = []
    features: dict[str, dict[str, Any]] = {}
    for field, value in fields(data):
        if field == 5:
            name = _bytes(value).decode("utf-8", "replace")[:200]
        elif field == 1:
            stamps += doubles(value)
        elif field == 6:
            own = signed(value)
        elif field == 2:
            tracks.append(_track(_bytes(value)))
        elif field == 7:
            signals.append(_signals(_bytes(value)))
        elif field == 8:
            _feature(_bytes(value), features)
        if max(len(stamps), len(signals)) > MAX_STEPS or len(tracks) > MAX_TRACKS:
            raise WireError(f"more than {MAX_STEPS} steps or {MAX_TRACKS} tracks")
        if len(features) > MAX_FEATURES:
            raise WireError(f"more than {MAX_FEATURES} map features")
    if not 0 <= own < len(tracks):
        raise WireError(f"sdc_track_index is {own} of {len(tracks)} tracks")
    objects: dict[str, dict[str, Any]] = {}
    for track, (key, kind, state, valid) in enumerate(tracks):
        if str(key) in objects:
            raise WireError(f"two tracks have the id {key}")
        if len(state) != len(stamps):
            raise WireError(f"track {track} has {len(state)} states for {len(stamps)} timestamps")
        objects[str(key)] = _object(kind, state, valid)
    return {
        "id": name or "unnamed",
        "length": len(stamps),
        "metadata": {
            "dataset": "waymo",
            "sdc_id": str(tracks[own][0]),
            "ts": np.array(stamps),
        },
        "tracks": objects,
        "map_features": features,
        "dynamic_map_states": _lights(signals, len(stamps)),
    }


def _bytes(value: Wire) -> bytes:
    if isinstance(value, int):
        raise WireError("a number where a message was wanted")
    return value


def _track(data: bytes) -> tuple[int, int, NDArray[np.float64], NDArray[np.bool_]]:
    """Id, type, states [T, 8] in `_STATE` order, and validity [T]."""
    key = kind = 0
    rows: list[list[float]] = []
    valid: list[bool] = []
    for field, value in fields(data):
        if field == 1:
            key = signed(value)
        elif field == 2:
            kind = signed(value)
        elif field == 3:
            row, held = [0.0] * len(_STATE), False
            for inner, item in fields(_bytes(value)):
                if inner in _STATE:
                    row[_STATE[inner]] = number(item)
                elif inner == 11:
                    held = bool(signed(item))
            rows.append(row)
            valid.append(held)
            if len(rows) > MAX_STEPS:
                raise WireError(f"more than {MAX_STEPS} states in a track")
    return key, kind, np.array(rows, np.float64).reshape(-1, len(_STATE)), np.array(valid, bool)


def _object(kind: int, state: NDArray[np.float64], valid: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "type": _TRACK_TYPE.get(kind, "OTHER"),
        "state": {
            "position": state[:, :2],
            "heading": state[:, 2],
            "velocity": state[:, 3:5],
            "length": state[:, 5],
            "width": state[:, 6],
            "height": state[:, 7],
            "valid": valid,
        },
    }


def _signals(data: bytes) -> dict[int, str]:
    """Lane -> state at one step."""
    found = {}
    for field, value in fields(data):
        if field == 1:
            lane = state = 0
            for inner, item in fields(_bytes(value)):
                if inner == 1:
                    lane = signed(item)
                elif inner == 2:
                    state = signed(item)
            found[lane] = _SIGNAL[state] if 0 <= state < len(_SIGNAL) else "UNKNOWN"
    return found


def _lights(signals: list[dict[int, str]], steps: int) -> dict[str, dict[str, Any]]:
    """Signals in ScenarioNet's form; steps without a state for a lane are unknown."""
    rows: dict[int, list[str]] = {}
    for step, states in enumerate(signals[:steps]):
        for lane, state in states.items():
            if len(rows) > MAX_TRACKS:
                raise WireError(f"more than {MAX_TRACKS} signals")
            rows.setdefault(lane, ["UNKNOWN"] * steps)[step] = state
    return {str(lane): {"lane": str(lane), "state": {"object_state": row}}
            for lane, row in rows.items()}  # fmt: skip


def _feature(data: bytes, features: dict[str, dict[str, Any]]) -> None:
    key, found = None, None
    for field, value in fields(data):
        if field == 1:
            key = signed(value)
        elif field == 3:
            found = _lane(_bytes(value))
        elif field == 4:
            found = _line(_bytes(value), 2, "ROAD_LINE_SOLID", "ROAD_LINE_BROKEN")
        elif field == 5:
            found = _line(_bytes(value), 2, "ROAD_EDGE", "ROAD_EDGE")
        elif field == 8:
            found = {"type": "CROSSWALK", "polygon": _points(_bytes(value), 1)}
        elif field in _UNREAD:
            found = {"type": _UNREAD[field]}
    if key is not None and found is not None:
        if str(key) in features:
            raise WireError(f"two map features have the id {key}")
        features[str(key)] = found


def _lane(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "LANE_UNKNOWN", "exit_lanes": []}
    beside: dict[int, list[tuple[int, int]]] = {11: [], 12: []}
    for field, value in fields(data):
        if field == 1:
            found["speed_limit_mph"] = number(value)
        elif field == 2:
            found["type"] = _LANE_TYPE.get(signed(value), "LANE_UNKNOWN")
        elif field == 3:
            found["interpolating"] = bool(signed(value))
        elif field == 10:
            found["exit_lanes"] += varints(value)
        elif field in beside:
            parts = {k: signed(v) for k, v in fields(_bytes(value)) if isinstance(v, int)}
            beside[field].append((parts.get(3, 0) - parts.get(2, 0), parts.get(1, -1)))
    found["polyline"] = _points(data, 8)
    for side, field in (("left_neighbor", 11), ("right_neighbor", 12)):
        found[side] = [key for _, key in sorted(beside[field], reverse=True)[:1]]
    return found


def _line(data: bytes, points: int, solid: str, broken: str) -> dict[str, Any]:
    kind = next((signed(value) for field, value in fields(data) if field == 1), 0)
    solid_kind = kind in _SOLID or solid == broken
    return {"type": solid if solid_kind else broken, "polyline": _points(data, points)}


def _points(data: bytes, wanted: int) -> NDArray[np.float64]:
    """x and y [N, 2] of a repeated `MapPoint` field."""
    rows = []
    for field, value in fields(data):
        if field != wanted:
            continue
        raw = _bytes(value)
        if len(raw) == _POINT.size and raw[0] == 9 and raw[9] == 17 and raw[18] == 25:
            _, x, _, y, _, _ = _POINT.unpack(raw)
        else:
            parts = {k: number(v) for k, v in fields(raw)}
            x, y = parts.get(1, 0.0), parts.get(2, 0.0)
        rows.append((x, y))
        if len(rows) > MAX_POINTS:
            raise WireError(f"a line of more than {MAX_POINTS} points")
    return np.array(rows, np.float64).reshape(-1, 2)
