"""The source: one scenario per pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, track_velocities
from roadworthy.routing import LaneGraph
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    Rejected,
    RoadMap,
    Scenario,
    Signals,
    SignalState,
    StateIndex,
)
from roadworthy.vehicle import Vehicle

from roadworthy_sources.reading.cars import jumps, rear_axle_poses, vehicle_of_box
from roadworthy_sources.reading.files import each, find_files
from roadworthy_sources.reading.fitness import area_verdict, share_on_area
from roadworthy_sources.reading.tracks import Track, grid_of, never_there, on_grid, tracks_of
from roadworthy_sources.scenarionet.road_map import read_map
from roadworthy_sources.scenarionet.unpickle import read_pickle
from roadworthy_sources.scenarionet.values import entries, series

__all__ = ["ScenarioNet", "read_scenario", "scenario_of"]

MAX_STEPS = 20_000
MAX_TRACKS = 10_000
ZOE = Vehicle(width=1.73, front=3.427, rear=0.657, wheelbase=2.588, cog=1.40, height=1.562)
"""Renault Zoe, the car of nuScenes. Length, width and height are the file's; the maker gives
wheelbase and overhangs; the centre of gravity is taken as at 54 % of the wheelbase."""

_SIZES = ("length", "width", "height")
_KIND = {
    "VEHICLE": AgentKind.VEHICLE,
    "PEDESTRIAN": AgentKind.PEDESTRIAN,
    "CYCLIST": AgentKind.BICYCLE,
    "BICYCLE": AgentKind.BICYCLE,
    "MOTORCYCLIST": AgentKind.BICYCLE,
    "TRAFFIC_CONE": AgentKind.TRAFFIC_CONE,
    "TRAFFIC_BARRIER": AgentKind.BARRIER,
}
_OBJECTS = frozenset({"OTHER", "UNSET", "TRAFFIC_OBJECT"})
_USUAL = {
    AgentKind.VEHICLE: (4.6, 1.9, 1.6),
    AgentKind.PEDESTRIAN: (0.6, 0.6, 1.75),
    AgentKind.BICYCLE: (1.8, 0.6, 1.7),
    AgentKind.TRAFFIC_CONE: (0.4, 0.4, 0.8),
    AgentKind.BARRIER: (2.0, 0.5, 1.0),
    AgentKind.GENERIC_OBJECT: (1.0, 1.0, 1.0),
}
"""Length, width and height [m] of those whose track does not tell them (MetaDrive's exports)."""
_TAIL = 5
_JUMP = 0.12
_SUMMARIES = frozenset({"dataset_summary.pkl", "dataset_mapping.pkl"})


class ScenarioNet:
    """ScenarioNet pickles, in the order of their names. They are read, never run.

    Args:
        path: a `.pkl` file, or a folder of such at any depth.
        limit: read at most this many files.

    Raises:
        DataError: nothing of the kind at `path`.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        self._files = find_files(
            path, (".pkl",), "a ScenarioNet pickle (.pkl)", limit, _SUMMARIES.__contains__
        )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is a pickle and no summary; see `roadworthy.recognition`."""
        name = path.name.lower()
        return path.is_file() and name.endswith(".pkl") and name not in _SUMMARIES

    def __len__(self) -> int:
        return len(self._files)

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a file that cannot be read is a `Rejected`."""
        return each(self._files, "scenarionet", lambda path: [read_scenario(path)])


def read_scenario(path: Path) -> Scenario:
    """Read one file; see `scenario_of`.

    Raises:
        DataError: damaged, something else than ScenarioNet's, or too short.
    """
    return scenario_of(path, read_pickle(path), "scenarionet")


def scenario_of(path: Path, content: dict[Any, Any], source: str) -> Scenario:
    """The scenario that a `ScenarioDescription` dictionary holds.

    The ego is the track `sdc_id`, from its first to its last valid step. In nuScenes its
    position is that of the rear axle (in turns the point moves along the heading, which the
    middle of the car does not), elsewhere the middle of its box. Velocities are derived from
    positions: those in the files are differences over other intervals.

    Args:
        path: the file, for messages.
        content: the dictionary; nothing in it is trusted.
        source: name of the source.

    Raises:
        DataError: something else than ScenarioNet's, or too short.
    """
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        raise DataError(f"{path}: metadata is missing", hint="Is it a ScenarioNet scenario?")
    dataset = str(metadata.get("dataset", "")).lower()
    names = (content.get("id"), metadata.get("scenario_id"), path.stem)
    name = next(value for value in names if isinstance(value, str) and value)[:200]
    objects = entries(path, content.get("tracks"), "tracks", MAX_TRACKS)
    own = str(metadata.get("sdc_id", ""))
    if own not in objects:
        raise DataError(f"{path}: metadata.sdc_id is {own[:40]!r}", hint="No track has that name.")
    times = _times(path, metadata, content.get("length"))
    grid = grid_of(str(path), times, len(objects))
    tracks, notes = {}, []
    for key, value in objects.items():
        tracks[key] = _track(path, key, value, times, grid, own == key)
        if missing := [f for f in _SIZES if value["state"].get(f) is None]:
            notes.append(f"agents {key!r}: no {', '.join(missing)} in the file: taken as usual.")
        if value["type"] not in _KIND and value["type"] not in _OBJECTS:
            notes.append(f"agents {key!r}: unknown type {value['type'][:40]!r} read as an object.")
    ego = tracks.pop(own)
    seen = np.flatnonzero(ego.valid)
    span = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0)
    cut = _bad_tail(ego.state[span, :2])
    span = slice(span.start, span.stop - cut)
    steps = span.stop - span.start
    if cut:
        notes.append(f"ego: the last {cut} steps cut off, where the logged position jumps.")
    if steps < HISTORY + 1 or not ego.valid[span].all():
        raise DataError(
            f"{path}: the ego {own!r} is there for {len(seen)} of {len(ego.valid)} steps of 0.1 s",
            hint=f"It must be there for at least {HISTORY + 1} steps without a gap.",
        )
    vehicle, poses, words = _ego(path, dataset, ego, span)
    if found := jumps(poses):
        raise DataError(f"{path}: the ego {own!r} {found}", hint="Cut the log there.")
    road_map, tags, said = read_map(path, content.get("map_features"), dataset)
    route = LaneGraph(road_map).route(poses)
    if route is None:
        raise DataError(
            f"{path}: the ego drives near no lane",
            hint="Check that map and tracks belong together.",
        )
    states = ego_states_from_poses(poses, vehicle)
    if not tags:
        tags, sentences = area_verdict(share_on_area(road_map, states, vehicle))
        said += sentences
    others = [Track(t.id, t.kind, t.size, t.state[span], t.valid[span]) for t in tracks.values()]
    signals, dark = _signals(path, content.get("dynamic_map_states"), road_map, times, grid[span])
    if dark:
        said.append(f"signals: {dark} that govern no lane of the map, or have no state for each "
                    "step, left out.")  # fmt: skip
    notes += [*words, *said, *never_there(others)]
    return Scenario(
        id=name,
        source=source,
        map=road_map,
        ego=states,
        agents=tracks_of(str(path), others, steps),
        route=route,
        signals=signals,
        start=HISTORY - 1,
        vehicle=vehicle,
        tags=tuple(dict.fromkeys(("real", source, dataset or "unnamed", *tags))),
        repairs=tuple(notes),
    )


def _times(path: Path, metadata: dict[str, Any], length: Any) -> NDArray[np.float64]:
    """Time of each step [s]."""
    if type(length) is not int or not 1 < length <= MAX_STEPS:
        raise DataError(f"{path}: length is {str(length)[:40]}", hint=f"Wanted: 2 to {MAX_STEPS}.")
    stamps = metadata.get("ts")
    if stamps is None:
        raise DataError(f"{path}: metadata.ts is missing", hint="Times are needed to resample.")
    times = series(path, stamps, "metadata.ts", length, 1)[:, 0]
    step = np.diff(times) if (np.abs(times) < 1e12).all() else np.zeros(1)
    if not ((step > 0.0).all() and 0.01 <= np.median(step) <= 1.0):
        raise DataError(
            f"{path}: metadata.ts runs from {times[0]} to {times[-1]} in {length} steps",
            hint="Wanted: increasing seconds, 0.01 to 1 s apart.",
        )
    return times


def _track(
    path: Path,
    name: str,
    value: dict[str, Any],
    times: NDArray[np.float64],
    grid: NDArray[np.float64],
    ego: bool,
) -> Track:
    state = value.get("state")
    if not isinstance(state, dict):
        raise DataError(f"{path}: tracks[{name!r}].state is missing", hint="Is it ScenarioNet's?")
    steps = len(times)

    def read(field: str, width: int) -> NDArray[np.float64]:
        return series(path, state.get(field), f"tracks[{name!r}].state.{field}", steps, width)

    valid = read("valid", 1)[:, 0] > 0.5
    raw = np.zeros((steps, 5))
    raw[:, :2] = read("position", 2)
    raw[:, StateIndex.YAW] = read("heading", 1)[:, 0]
    valid &= (np.abs(raw) < 1e8).all(axis=1)
    raw[~valid] = 0.0
    kind = _KIND.get(value["type"], AgentKind.GENERIC_OBJECT)
    sizes = np.column_stack(
        [
            read(field, 1) if state.get(field) is not None else np.full((steps, 1), usual)
            for field, usual in zip(_SIZES, _USUAL[kind], strict=True)
        ]
    )
    sizes = sizes[valid & (sizes > 0.0).all(axis=1) & np.isfinite(sizes).all(axis=1)]
    size = np.median(sizes, axis=0) if len(sizes) else np.zeros(3)
    placed, held = on_grid(times, raw, valid, grid)
    if not ego and kind < AgentKind.TRAFFIC_CONE:
        placed[:, StateIndex.VX :] = track_velocities(placed[:, :2], held)
    return Track(name, kind, size, placed, held)


def _bad_tail(xy: NDArray[np.float64]) -> int:
    """How many of the last five positions [T, 2] to cut: from the first that jumps.

    nuScenes' last poses, as converted, may stop or go back; 0.12 m off a straight line at
    even speed is 12 m/s² and no car's doing.
    """
    if len(xy) < 3 * _TAIL:
        return 0
    jump = np.hypot(*np.diff(xy, n=2, axis=0).T)[-_TAIL:] > _JUMP
    return _TAIL - int(np.flatnonzero(jump)[0]) if jump.any() else 0


def _ego(
    path: Path, dataset: str, ego: Track, span: slice
) -> tuple[Vehicle, NDArray[np.float64], list[str]]:
    """The ego's vehicle, its rear axle's poses [T, 3], and notes."""
    poses = ego.state[span, : StateIndex.YAW + 1]
    length, width, height = (float(v) for v in ego.size)
    if dataset == "nuscenes":
        words = []
        if width > length:
            words.append("ego: length and width are swapped in the file; those of the car count.")
        return ZOE, poses, words
    try:
        vehicle = vehicle_of_box(max(length, width), min(length, width), height)
    except ValueError as error:
        raise DataError(
            f"{path}: the ego's size is {ego.size.tolist()} m", hint=str(error)
        ) from error
    return vehicle, rear_axle_poses(poses, vehicle), []


def _signals(
    path: Path,
    value: Any,
    road_map: RoadMap,
    times: NDArray[np.float64],
    grid: NDArray[np.float64],
) -> tuple[Signals, int]:
    """Signals at the scene's times, and how many were left out; each step has the state of the
    nearest time before."""
    index = {name: i for i, name in enumerate(road_map.lane_id)}
    rows: dict[int, NDArray[np.int8]] = {}
    lights = entries(path, {} if value is None else value, "dynamic_map_states", MAX_TRACKS)
    at = np.clip(np.searchsorted(times, grid + 1e-3, "right") - 1, 0, len(times) - 1)
    dark = 0
    for key, light in lights.items():
        state = light.get("state")
        words = state.get("object_state") if isinstance(state, dict) else None
        if isinstance(words, np.ndarray):
            words = words.reshape(-1).tolist()
        lane = index.get(str(light.get("lane", key)))
        if lane is None or not isinstance(words, list) or len(words) != len(times):
            dark += 1
            continue
        codes = np.array([_signal(word) for word in words], np.int8)
        rows.setdefault(lane, codes[at])
    if not rows:
        return Signals.none(len(grid)), dark
    lanes = sorted(rows)
    return Signals(np.array(lanes, np.int64), np.stack([rows[lane] for lane in lanes])), dark


def _signal(word: Any) -> SignalState:
    """MetaDrive's colours, and Waymo's words for them; flashing lights are unknown."""
    text = str(word)[:60].upper()
    if "FLASHING" in text:
        return SignalState.UNKNOWN
    for part, state in (
        ("GREEN", SignalState.GREEN),
        ("YELLOW", SignalState.YELLOW),
        ("RED", SignalState.RED),
        ("STOP", SignalState.RED),
        ("CAUTION", SignalState.YELLOW),
        ("GO", SignalState.GREEN),
    ):
        if part in text:
            return state
    return SignalState.UNKNOWN
