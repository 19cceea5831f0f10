"""Which cases get a replay in the page, and the replays in few bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import RunError
from roadworthy.replay import Replay, load_map, load_replay, replay_path
from roadworthy.report.maps import MapCrop
from roadworthy.report.packing import Field, pack, quantise
from roadworthy.report.view import Case, View
from roadworthy.scenario import AgentKind, SignalState

__all__ = ["Replays", "encode_replay", "encode_replays"]

BUDGET = 11_500_000
"""Bytes of the page that replays may take; they end below 15 MB with everything else."""
MOST = 1000
"""Rollouts that are read at most."""

_NEAR = 70.0
_POSITION, _ANGLE, _SPEED = 0.02, 0.002, 0.05
_PLAN_SPACING = 0.4


@dataclass
class Replays:
    """Encoded replays.

    Attributes:
        blobs: base64 texts, see `packing`.
        by_case: case id -> {"map": blob, "runs": per entry [drive, agents, log] blobs or None}.
        shown, cases: cases with a replay in the page, and all cases.
        absent: cases of which no rollout was kept.
        problems: what could not be read, in sentences.
    """

    blobs: list[str] = field(default_factory=list)
    by_case: dict[str, Any] = field(default_factory=dict)
    shown: int = 0
    cases: int = 0
    absent: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> int:
        """Cases that have a rollout, but none in the page, to keep the page small."""
        return self.cases - self.shown - self.absent


def encode_replays(view: View, budget: int = BUDGET) -> Replays:
    """Replays of all cases, or, over the budget, of the worst and of a sample of the others."""
    out = Replays(cases=len(view.cases))
    places: dict[str, int] = {}
    crops: dict[str, MapCrop] = {}
    spent = read = 0
    full = False

    def place(blob: str) -> int:
        if blob not in places:
            places[blob] = len(out.blobs)
            out.blobs.append(blob)
        return places[blob]

    kept = [(e.run.path / "rollouts" / e.planner).is_dir() for e in view.entries]
    for case in _ordered(view):
        paths = [
            there and result is not None and replay_path(e.run.path, e.planner, case.key).is_file()
            for e, result, there in zip(view.entries, case.results, kept, strict=True)
        ]
        if not any(paths):
            out.absent += 1
            continue
        if full:
            continue
        packed, map_hash, size = _encode_case(view, case, paths, crops, out.problems)
        if not map_hash:
            out.absent += 1
            continue
        fresh = {b for blobs in packed if blobs for b in blobs} - places.keys()
        spent += size + sum(len(blob) for blob in fresh)
        read += sum(paths)
        full = spent > budget or read > MOST
        if full and out.shown:
            continue
        out.by_case[case.id] = {
            "map": map_hash,
            "runs": [None if blobs is None else [place(b) for b in blobs] for blobs in packed],
        }
        out.shown += 1
    used = {entry["map"] for entry in out.by_case.values()}
    maps = {key: place(crop.encode()) for key, crop in crops.items() if key in used}
    for entry in out.by_case.values():
        entry["map"] = maps[entry["map"]]
    return out


def _ordered(view: View) -> Iterator[Case]:
    """The worst cases, then the others in an order that samples them evenly."""
    rest = []
    for case in view.worst:
        if any(result is not None and result.reasons for result in case.results):
            yield case
        else:
            rest.append(case)
    yield from sorted(rest, key=lambda case: case.key)


def _encode_case(
    view: View, case: Case, paths: list[bool], crops: dict[str, MapCrop], problems: list[str]
) -> tuple[list[list[str] | None], str, int]:
    """Per entry its blobs, the map's hash ("" if nothing could be read), and bytes of new map."""
    packed: list[list[str] | None] = []
    map_hash, grown = "", 0
    for entry, result, there in zip(view.entries, case.results, paths, strict=True):
        if not there or result is None:
            packed.append(None)
            continue
        try:
            replay = load_replay(entry.run.path, entry.planner, case.key)
            if replay.map_hash not in crops:
                crops[replay.map_hash] = MapCrop(load_map(entry.run.path, replay.map_hash))
            events = [e for found in result.record.events.values() for e in found]
            named = {e["agent"] for e in events if isinstance(e.get("agent"), int)}
            crop = crops[replay.map_hash]
            packed.append(encode_replay(replay, crop, named))
            grown += crop.cover(replay.ego[:, :2])
            map_hash = replay.map_hash
        except (RunError, ValueError, IndexError) as error:
            problems.append(str(error))
            packed.append(None)
    return packed, map_hash, grown


def encode_replay(replay: Replay, crop: MapCrop, named: set[int]) -> list[str]:
    """The blobs of one drive: the ego's, the others', and the log's.

    Args:
        replay: what happened.
        crop: its map, which gives the page's origin.
        named: agents to keep even if they stay far away.
    """
    origin = crop.origin
    drive = _poses("ego", replay.ego, origin, _POSITION)
    drive["speed"] = quantise(replay.ego[:, 3], _SPEED, 1)
    drive["vehicle"] = quantise(replay.vehicle, 0.001, 0)
    drive |= _plans(replay) | _signals(replay, crop)
    log = _poses("log", replay.ego_log, origin, 0.05)
    log["route"] = quantise(crop.simplified(replay.route[:, :2] - origin).T, 0.1, 2)
    return [pack(drive), pack(_agents(replay, origin, named)), pack(log)]


def _poses(
    name: str, states: NDArray[Any], origin: NDArray[np.float64], step: float
) -> dict[str, Field]:
    yaw = np.unwrap(np.nan_to_num(states[:, 2]))
    return {
        f"{name}_x": quantise(states[:, 0] - origin[0], step, 2),
        f"{name}_y": quantise(states[:, 1] - origin[1], step, 2),
        f"{name}_yaw": quantise(yaw, _ANGLE, 1),
    }


def _agents(replay: Replay, origin: NDArray[np.float64], named: set[int]) -> dict[str, Field]:
    """The agents that come near the ego, and those that an event names."""
    valid = replay.agents_valid
    offset = replay.agents[..., :2] - replay.ego[None, :, :2]
    near = (np.hypot(offset[..., 0], offset[..., 1]) < _NEAR) & valid
    kept = np.asarray(near.any(axis=1), np.bool_)
    for index in named:
        if 0 <= index < len(kept):
            kept[index] = valid[index].any()
    rows = np.flatnonzero(kept)
    state = _held(replay.agents[rows].astype(np.float64), valid[rows])
    yaw = np.unwrap(state[..., 2], axis=-1) if state.size else state[..., 2]
    still = replay.agents_kind[rows] >= AgentKind.TRAFFIC_CONE
    yaw[still] = yaw[still, :1]
    return {
        "agent_x": quantise(state[..., 0] - origin[0], 0.04, 2),
        "agent_y": quantise(state[..., 1] - origin[1], 0.04, 2),
        "agent_yaw": quantise(yaw, 0.01, 1),
        "agent_valid": (valid[rows].astype(np.int64), 1, 1.0),
        "agent_kind": (replay.agents_kind[rows].astype(np.int64), 0, 1.0),
        "agent_size": quantise(replay.agents_size[rows, :2], 0.05, 0),
        "agent_row": (rows.astype(np.int64), 1, 1.0),
    }


def _held(state: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """States with the last valid one (or the first to come) where there is none."""
    steps = np.arange(valid.shape[1])
    last = np.maximum.accumulate(np.where(valid, steps, -1), axis=1)
    index = np.where(last >= 0, last, np.argmax(valid, axis=1)[:, None])
    held: NDArray[np.float64] = np.take_along_axis(state, index[..., None], axis=1)
    return held


def _plans(replay: Replay) -> dict[str, Field]:
    stride = max(1, round(_PLAN_SPACING / replay.plan_dt)) if replay.plan_dt > 0 else 1
    poses = np.ascontiguousarray(replay.plan_poses[:, stride - 1 :: stride, :2].transpose(0, 2, 1))
    return {
        "plan_step": (replay.plan_step.astype(np.int64), 1, 1.0),
        "plan_xy": quantise(poses, 0.05, 2),
    }


def _signals(replay: Replay, crop: MapCrop) -> dict[str, Field]:
    """Signals that are near and ever known: a line across the lane's beginning, and states."""
    lines = crop.entries(replay.signal_lane)
    path = replay.ego[:, :2] - crop.origin
    gap = np.linalg.norm(lines[:, None, :2] - path[None], axis=-1)
    near = (gap < _NEAR).any(axis=1) & (replay.signals != SignalState.UNKNOWN).any(axis=1)
    return {
        "signal_line": quantise(lines[near].T, 0.05, 0),
        "signal_state": (replay.signals[near].astype(np.int64), 1, 1.0),
    }
