"""Logs of the Argoverse 2 sensor dataset: 3D boxes at 10 Hz, ego poses at some 170 Hz.

Boxes are in the ego frame of their own timestamp, whose origin is the middle of the rear
axle, x forward, y left, z up. `city_SE3_egovehicle` takes the ego frame to the city frame,
that of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, fill_gaps, track_velocities
from roadworthy.routing import LaneGraph
from roadworthy.scenario import HISTORY, AgentKind, Scenario, Signals, StateIndex, Tracks

from roadworthy_sources.argoverse2.categories import EGO_CATEGORY, RIDDEN, RIDERS, SENSOR_KIND
from roadworthy_sources.argoverse2.files import check_finite, read_table
from roadworthy_sources.argoverse2.road_map import read_map
from roadworthy_sources.argoverse2.vehicle import FUSION

__all__ = ["annotation_file", "read_sensor_log"]

MAX_FRAMES = 10_000
MAX_TRACKS = 10_000
_STEP_NS = 100_000_000
_LONGEST_POSE_GAP_NS = 200_000_000
_LONGEST_GAP = 3
_SAME_OBJECT = 1.0
_QUATERNION = ("qw", "qx", "qy", "qz")
_TRANSLATION = ("tx_m", "ty_m", "tz_m")
_SIZE = ("length_m", "width_m", "height_m")


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Annotations, row by row, on the 10 Hz grid and in the city frame."""

    step: NDArray[np.int64]
    track: NDArray[Any]
    category: NDArray[Any]
    size: NDArray[np.float64]
    pose: NDArray[np.float64]


def annotation_file(folder: Path) -> Path | None:
    """The annotations of a sensor log, with or without the ego's own track, or None."""
    found = sorted(folder.glob("annotations*.feather"))
    return found[0] if found else None


def read_sensor_log(folder: Path) -> Scenario:
    """Read one log.

    The grid has a step every 0.1 s from the first annotated sweep to the last. The ego's
    poses are interpolated to the sweeps' own timestamps. Agents' gaps of up to three sweeps
    are bridged. An object ridden by someone is one agent: the rider's track is left out where
    it goes with a bicycle's, and that one's box grows to the larger width and height.

    Raises:
        DataError: a file is missing or damaged; the message names file, field and value.
    """
    annotations = annotation_file(folder)
    if annotations is None:
        raise DataError(f"{folder}: no annotations*.feather", hint="Download the log again.")
    maps = sorted((folder / "map").glob("log_map_archive_*.json"))
    if not maps:
        raise DataError(
            f"{folder}: no map/log_map_archive_*.json", hint="Download the log's map folder."
        )
    stamps, poses, rotations = _read_poses(folder / "city_SE3_egovehicle.feather")
    kinds = dict.fromkeys(("timestamp_ns",), "int") | dict.fromkeys(
        (*_SIZE, *_QUATERNION, *_TRANSLATION), "float"
    )
    table = read_table(
        annotations,
        kinds | dict.fromkeys(("track_uuid", "category"), "text"),  # type: ignore[arg-type]
    )
    check_finite(annotations, table, (*_SIZE, *_QUATERNION, *_TRANSLATION))
    frames = np.unique(table["timestamp_ns"])
    grid = _grid(annotations, frames)
    at_frames = _at(folder / "city_SE3_egovehicle.feather", stamps, poses, frames)
    boxes = _in_city(annotations, table, frames, grid, stamps, poses, rotations)
    steps = int(grid[-1]) + 1
    when = np.interp(np.arange(steps), grid, frames.astype(np.float64) - float(frames[0]))
    ego_poses = _at(
        folder / "city_SE3_egovehicle.feather",
        stamps,
        poses,
        frames[0] + np.round(when).astype(np.int64),
    )
    ego_poses[grid] = at_frames
    ego = ego_states_from_poses(ego_poses, FUSION)
    agents, notes = _tracks(boxes, steps)
    road_map = read_map(maps[0], notes)
    route = LaneGraph(road_map).route(ego_poses)
    if route is None:
        raise DataError(
            f"{folder}: the ego drives near no lane of {maps[0].name}",
            hint="Check that map and poses are of one log.",
        )
    return Scenario(
        id=folder.name,
        source="argoverse2",
        map=road_map,
        ego=ego,
        agents=agents,
        route=route,
        signals=Signals.none(steps),
        start=HISTORY - 1,
        vehicle=FUSION,
        tags=("real", "argoverse2", "sensor"),
        repairs=tuple(notes),
    )


def _read_poses(
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Timestamps [N], poses [N, 3] (x, y, unwrapped yaw), rotation matrices [N, 3, 3]."""
    names = (*_QUATERNION, *_TRANSLATION)
    table = read_table(path, {"timestamp_ns": "int"} | dict.fromkeys(names, "float"))  # type: ignore[arg-type]
    check_finite(path, table, names)
    stamps = table["timestamp_ns"]
    wrong = np.flatnonzero(np.diff(stamps) <= 0)
    if len(wrong):
        raise DataError(
            f"{path}: column 'timestamp_ns', row {wrong[0] + 1} is {stamps[wrong[0] + 1]}, not "
            "after the row before",
            hint="Timestamps must increase.",
        )
    rotations = _rotations(path, table)
    yaw = np.unwrap(np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]))
    return stamps, np.column_stack([table["tx_m"], table["ty_m"], yaw]), rotations


def _rotations(path: Path, table: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    q = np.stack([table[name] for name in _QUATERNION], axis=1)
    norm = np.linalg.norm(q, axis=1)
    wrong = np.flatnonzero(np.abs(norm - 1.0) > 1e-3)
    if len(wrong):
        raise DataError(
            f"{path}: row {wrong[0]}, quaternion (qw, qx, qy, qz) = {q[wrong[0]].tolist()} has "
            f"norm {norm[wrong[0]]:.4f}",
            hint="Quaternions must have norm 1.",
        )
    w, x, y, z = (q / norm[:, None]).T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=1,
    )


def _grid(path: Path, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Step of each sweep on the 10 Hz grid."""
    grid = np.round((frames - frames[0]) / _STEP_NS).astype(np.int64)
    if (np.diff(grid) < 1).any():
        at = int(np.flatnonzero(np.diff(grid) < 1)[0]) + 1
        raise DataError(
            f"{path}: column 'timestamp_ns': {frames[at]} follows {frames[at - 1]} too soon",
            hint="Annotated sweeps must be 0.1 s apart.",
        )
    if not HISTORY + 1 <= grid[-1] + 1 <= MAX_FRAMES:
        raise DataError(
            f"{path}: spans {grid[-1] + 1} steps of 0.1 s",
            hint=f"{HISTORY + 1} to {MAX_FRAMES} are read.",
        )
    return np.asarray(grid)


def _at(
    path: Path, stamps: NDArray[np.int64], poses: NDArray[np.float64], when: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Poses at times [ns], interpolated linearly between neighbours 0.2 s apart at most."""
    after = np.searchsorted(stamps, when)
    inside = (when >= stamps[0]) & (when <= stamps[-1])
    low = np.clip(after - 1, 0, len(stamps) - 1)
    high = np.clip(after, 0, len(stamps) - 1)
    near = inside & (stamps[high] - stamps[low] <= _LONGEST_POSE_GAP_NS)
    near |= inside & (stamps[high] == when)
    if not near.all():
        raise DataError(
            f"{path}: no ego pose near timestamp {when[np.flatnonzero(~near)[0]]}",
            hint="Poses must cover every annotated sweep, at most 0.2 s apart.",
        )
    time, base = (when - stamps[0]).astype(np.float64), (stamps - stamps[0]).astype(np.float64)
    return np.stack([np.interp(time, base, poses[:, k]) for k in range(3)], axis=1)


def _in_city(
    path: Path,
    table: dict[str, NDArray[Any]],
    frames: NDArray[np.int64],
    grid: NDArray[np.int64],
    stamps: NDArray[np.int64],
    poses: NDArray[np.float64],
    rotations: NDArray[np.float64],
) -> _Boxes:
    """Boxes from the ego frame of their timestamp to the city frame.

    Between pose samples the rotation of the nearest one is used for roll and pitch (6 ms off
    at most at 170 Hz); position and heading are interpolated.
    """
    stamp = table["timestamp_ns"]
    row = np.clip(np.searchsorted(stamps, stamp), 0, len(stamps) - 1)
    before = np.clip(row - 1, 0, None)
    row = np.where(np.abs(stamps[before] - stamp) < np.abs(stamps[row] - stamp), before, row)
    here = _at(path, stamps, poses, frames)[np.searchsorted(frames, stamp)]
    turn = here[:, 2] - poses[row, 2]
    local = np.stack([table[name] for name in _TRANSLATION], axis=1)
    turned = np.einsum("nij,nj->ni", rotations[row], local)
    cos, sin = np.cos(turn), np.sin(turn)
    x = here[:, 0] + cos * turned[:, 0] - sin * turned[:, 1]
    y = here[:, 1] + sin * turned[:, 0] + cos * turned[:, 1]
    facing = np.einsum("nij,nj->ni", rotations[row], _rotations(path, table)[:, :, 0])
    yaw = np.arctan2(facing[:, 1], facing[:, 0]) + turn
    return _Boxes(
        step=grid[np.searchsorted(frames, stamp)],
        track=table["track_uuid"],
        category=table["category"],
        size=np.stack([table[name] for name in _SIZE], axis=1),
        pose=np.column_stack([x, y, yaw]),
    )


def _tracks(boxes: _Boxes, steps: int) -> tuple[Tracks, list[str]]:
    """Tracks in the order of their ids, the ego's own left out, and notes for `repairs`."""
    notes: list[str] = []
    names = np.unique(boxes.track[boxes.category != EGO_CATEGORY])
    if len(names) > MAX_TRACKS:
        raise DataError(f"{len(names)} annotated tracks", hint=f"At most {MAX_TRACKS} are read.")
    order = np.argsort(boxes.track.astype(str), kind="stable")
    sorted_names = boxes.track[order].astype(str)
    kind = np.zeros(len(names), np.int8)
    size = np.zeros((len(names), 3))
    state = np.zeros((len(names), steps, 5))
    valid = np.zeros((len(names), steps), bool)
    category = []
    for a, name in enumerate(names):
        rows = order[
            np.searchsorted(sorted_names, name) : np.searchsorted(sorted_names, name, "right")
        ]
        category.append(str(boxes.category[rows[0]]))
        if category[a] not in SENSOR_KIND:
            notes.append(
                f"agents {name!r}: unknown category {category[a]!r} read as a generic object."
            )
        kind[a] = SENSOR_KIND.get(category[a], AgentKind.GENERIC_OBJECT)
        size[a] = np.median(boxes.size[rows], axis=0)
        at = boxes.step[rows]
        if len(np.unique(at)) != len(at):
            notes.append(f"agents {name!r}: annotated twice at one step, the last one counts.")
        state[a, at, : StateIndex.YAW + 1] = boxes.pose[rows]
        valid[a, at] = True
        state[a], valid[a] = fill_gaps(state[a], valid[a], _LONGEST_GAP)
        state[a, :, StateIndex.VX :] = track_velocities(state[a, :, :2], valid[a])
    keep = _without_riders(names, category, size, state, valid, notes)
    return (
        Tracks(tuple(names[keep].tolist()), kind[keep], size[keep], state[keep], valid[keep]),
        notes,
    )


def _without_riders(
    names: NDArray[Any],
    category: list[str],
    size: NDArray[np.float64],
    state: NDArray[np.float64],
    valid: NDArray[np.bool_],
    notes: list[str],
) -> NDArray[np.int64]:
    """Rows to keep: riders whose bicycle has a track of its own are left out."""
    drop = set()
    ridden = [i for i, name in enumerate(category) if name in RIDDEN]
    for a in (i for i, name in enumerate(category) if name in RIDERS):
        for b in ridden:
            both = valid[a] & valid[b]
            if both.sum() < 0.5 * valid[a].sum():
                continue
            apart = np.hypot(*(state[a, both, :2] - state[b, both, :2]).T)
            if np.median(apart) < _SAME_OBJECT:
                size[b] = np.maximum(size[b], [0.0, *size[a, 1:]])
                notes.append(f"agents {names[a]!r}: rides {names[b]!r}, counted as one.")
                drop.add(a)
                break
    return np.array([i for i in range(len(names)) if i not in drop], np.int64)
