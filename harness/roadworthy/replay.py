"""Rollouts and maps on disk, for replays, mining and verification.

NPZ files without pickles: `maps/<map hash>.npz` once per map, and per case
`rollouts/<planner>/<key>.npz`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import RunError
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import Ragged, RoadMap
from roadworthy.store import write_file

__all__ = ["Replay", "load_map", "load_replay", "replay_path", "save_map", "save_replay"]

_RAGGED = ("lane_centreline", "lane_polygon", "lane_successors", "area_polygon")
_PLAIN = (
    "lane_kind lane_speed_limit lane_left lane_right area_kind stop_line stop_line_lane".split()
)


@dataclass(frozen=True, eq=False)
class Replay:
    """What happened in one case. T + 1 states, row 0 is the start; world frame.

    Attributes:
        map_hash: which map.
        vehicle: [6] `VehicleIndex`.
        route: [C, 3] the route's centreline.
        ego: [T + 1, 11] `EgoIndex`.
        ego_log: [T + 1, 11] what the logged ego did.
        agents: float32 [A, T + 1, 5] `StateIndex`.
        agents_valid: bool [A, T + 1].
        agents_kind: int8 [A].
        agents_size: [A, 3].
        signal_lane: int64 [G].
        signals: int8 [G, T + 1].
        plan_step: int64 [R].
        plan_poses: [R, N, 3] in the ego frame of `plan_step`.
        plan_dt: seconds between poses.
    """

    map_hash: str
    vehicle: NDArray[np.float64]
    route: NDArray[np.float64]
    ego: NDArray[np.float64]
    ego_log: NDArray[np.float64]
    agents: NDArray[np.float32]
    agents_valid: NDArray[np.bool_]
    agents_kind: NDArray[np.int8]
    agents_size: NDArray[np.float64]
    signal_lane: NDArray[np.int64]
    signals: NDArray[np.int8]
    plan_step: NDArray[np.int64]
    plan_poses: NDArray[np.float64]
    plan_dt: float


def replay_path(run: Path, planner: str, key: str) -> Path:
    """Where the replay of a case is kept."""
    return run / "rollouts" / planner / f"{key}.npz"


def save_replay(run: Path, planner: str, rollouts: RolloutBatch, row: int) -> None:
    """Keep one rollout, and its map if it is not kept yet."""
    case = rollouts.cases[row]
    scenario = case.scenario
    save_map(run, scenario.map)
    end = rollouts.now + int(rollouts.length[row]) + 1
    time = slice(rollouts.now, end)
    agents, signals = len(scenario.agents), len(scenario.signals.lane)
    valid = rollouts.agents_valid[row, :agents, time]
    states = np.where(valid[..., None], rollouts.agents[row, :agents, time], 0.0)
    plans = rollouts.plans[row]
    steps = int(rollouts.length[row]) + 1
    path = replay_path(run, planner, case.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(
        path,
        map_hash=np.array(scenario.map.hash),
        vehicle=scenario.vehicle.as_array(),
        route=scenario.route.centreline,
        ego=rollouts.ego[row, time],
        ego_log=scenario.ego[scenario.start : scenario.start + steps],
        agents=states.astype(np.float32),
        agents_valid=valid,
        agents_kind=scenario.agents.kind,
        agents_size=scenario.agents.size,
        signal_lane=scenario.signals.lane,
        signals=rollouts.signals[row, :signals, time],
        plan_step=plans.step,
        plan_poses=plans.poses,
        plan_dt=np.array(plans.dt),
    )


def load_replay(run: Path, planner: str, key: str) -> Replay:
    """Read one rollout back.

    Raises:
        RunError: if it is absent or damaged.
    """
    path = replay_path(run, planner, key)
    data = _read(path)
    try:
        parts: dict[str, Any] = {name: data[name] for name in Replay.__dataclass_fields__}
        parts |= {"map_hash": str(parts["map_hash"]), "plan_dt": float(parts["plan_dt"])}
        return Replay(**parts)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error


def save_map(run: Path, road_map: RoadMap) -> None:
    """Keep a map under its hash, once."""
    path = run / "maps" / f"{road_map.hash}.npz"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: getattr(road_map, name) for name in _PLAIN}
    for name in _RAGGED:
        rows: Ragged = getattr(road_map, name)
        arrays[f"{name}.values"] = rows.values
        arrays[f"{name}.offsets"] = rows.offsets
    _write(path, lane_id=np.array(road_map.lane_id, dtype=np.str_), **arrays)


def load_map(run: Path, map_hash: str) -> RoadMap:
    """Read a map back.

    Raises:
        RunError: if it is absent, damaged, or not the map that its name says.
    """
    path = run / "maps" / f"{map_hash}.npz"
    data = _read(path)
    try:
        parts: dict[str, Any] = {name: data[name] for name in _PLAIN}
        for name in _RAGGED:
            parts[name] = Ragged(data[f"{name}.values"], data[f"{name}.offsets"])
        road_map = RoadMap(lane_id=tuple(str(i) for i in data["lane_id"]), **parts)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
    if road_map.hash != map_hash:
        raise RunError(f"{path}: holds map {road_map.hash}", hint="The file was changed.")
    return road_map


def _write(path: Path, **arrays: Any) -> None:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    write_file(path, out.getvalue())


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise RunError(f"{path}: is absent", hint="Run with run.save_rollouts = true.") from None
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
