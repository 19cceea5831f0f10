"""Rollouts and maps on disk, for replays, mining and verification.

NPZ files without pickles: `maps/<map hash>.npz` once per map, and per case
`rollouts/<planner>/<key>.npz`.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import RunError
from roadworthy.plainfile import read_plain
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import AgentKind, Ragged, RoadMap
from roadworthy.store import write_file

__all__ = ["Replay", "load_map", "load_replay", "replay_path", "save_map", "save_replay"]

_RAGGED = ("lane_centreline", "lane_polygon", "lane_successors", "area_polygon")
_PLAIN = (
    "lane_kind lane_speed_limit lane_left lane_right area_kind stop_line stop_line_lane".split()
)


_MOST_BYTES = 1 << 30
_DAMAGE = (OSError, ValueError, KeyError, TypeError, MemoryError, EOFError, RuntimeError,
           BadZipFile, zlib.error, SyntaxError)  # fmt: skip
"""What zipfile and numpy raise for files that are not what they seem."""


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
    """Where the replay of a case is kept; inside of the run, whatever a stranger calls a case."""
    return run / "rollouts" / planner / f"{key.replace('/', '_')}.npz"


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
        replay = Replay(**parts)
        _check(replay)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
    return replay


def _check(replay: Replay) -> None:
    """Shapes, types and numbers as the class says; a stranger may have written the file.

    Raises:
        ValueError: naming what is not.
    """
    if not re.fullmatch("[0-9a-f]{32}", replay.map_hash):
        raise ValueError(f"map_hash is {replay.map_hash[:40]!r}")
    steps, agents = len(replay.ego), len(replay.agents_kind)
    plans = replay.plan_poses.shape[1] if replay.plan_poses.ndim == 3 else 0
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        "vehicle": ("f", (6,)),
        "route": ("f", (len(replay.route), 3)),
        "ego": ("f", (steps, 11)),
        "ego_log": ("f", (steps, 11)),
        "agents": ("f", (agents, steps, 5)),
        "agents_valid": ("b", (agents, steps)),
        "agents_kind": ("i", (agents,)),
        "agents_size": ("f", (agents, 3)),
        "signal_lane": ("i", (len(replay.signal_lane),)),
        "signals": ("i", (len(replay.signal_lane), steps)),
        "plan_step": ("i", (len(replay.plan_step),)),
        "plan_poses": ("f", (len(replay.plan_step), plans, 3)),
    }
    for name, (kind, shape) in wanted.items():
        array = getattr(replay, name)
        if array.dtype.kind != kind or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype}{array.shape}, wanted {kind}{shape}")
        if kind == "f" and name != "plan_poses" and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    if steps == 0 or not 0.0 <= np.nan_to_num(replay.plan_dt) < 100.0:
        raise ValueError(f"{steps} steps, plans every {replay.plan_dt} s")
    if not np.isin(replay.agents_kind, [kind.value for kind in AgentKind]).all():
        raise ValueError(f"agents_kind has {int(replay.agents_kind.max())}")
    if len(replay.signal_lane) and replay.signal_lane.min() < 0:
        raise ValueError("signal_lane is negative")


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
    path = run / "maps" / f"{Path(map_hash).name}.npz"
    data = _read(path)
    try:
        parts: dict[str, Any] = {name: data[name] for name in _PLAIN}
        for name in _RAGGED:
            parts[name] = Ragged(data[f"{name}.values"], data[f"{name}.offsets"])
        road_map = RoadMap(lane_id=tuple(str(i) for i in data["lane_id"]), **parts)
        _check_map(road_map)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{path}: is damaged: {error}") from error
    if road_map.hash != map_hash:
        raise RunError(f"{path}: holds map {road_map.hash}", hint="The file was changed.")
    return road_map


def _check_map(road_map: RoadMap) -> None:
    """That nothing in it points outside of it.

    Raises:
        ValueError: naming what does.
    """
    lanes, areas = len(road_map.lane_id), len(road_map.area_kind)
    for name, rows, width in (
        ("lane_centreline", lanes, 3),
        ("lane_polygon", lanes, 2),
        ("lane_successors", lanes, None),
        ("area_polygon", areas, 2),
    ):
        ragged: Ragged = getattr(road_map, name)
        ends, values = ragged.offsets, ragged.values
        if ends.dtype.kind != "i" or ends.ndim != 1 or len(ends) != rows + 1:
            raise ValueError(f"{name}.offsets is {ends.dtype}{ends.shape}, for {rows} rows")
        if ends[0] != 0 or ends[-1] != len(values) or (np.diff(ends) < 0).any():
            raise ValueError(f"{name}.offsets do not divide {len(values)} values")
        kind = "i" if width is None else "f"
        if values.dtype.kind != kind or values.shape[1:] != (() if width is None else (width,)):
            raise ValueError(f"{name}.values is {values.dtype}{values.shape}")
        if kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite")
    for name, kind, shape in (
        ("lane_kind", "i", (lanes,)),
        ("lane_speed_limit", "f", (lanes,)),
        ("lane_left", "i", (lanes,)),
        ("lane_right", "i", (lanes,)),
        ("area_kind", "i", (areas,)),
        ("stop_line", "f", (len(road_map.stop_line_lane), 2, 2)),
        ("stop_line_lane", "i", (len(road_map.stop_line_lane),)),
    ):
        array = getattr(road_map, name)
        if array.dtype.kind != kind or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype}{array.shape}, wanted {kind}{shape}")
    if not np.isfinite(road_map.stop_line).all():
        raise ValueError("stop_line is not finite")


def _write(path: Path, **arrays: Any) -> None:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    write_file(path, out.getvalue())


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        packed = read_plain(path, _MOST_BYTES)
        with ZipFile(io.BytesIO(packed)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MOST_BYTES:
            raise ValueError(f"it unpacks to {unpacked} bytes, at most {_MOST_BYTES} are read")
        with np.load(io.BytesIO(packed), allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise RunError(f"{path}: is absent", hint="Run with run.save_rollouts = true.") from None
    except _DAMAGE as error:
        raise RunError(f"{path}: is damaged: {error}") from error
