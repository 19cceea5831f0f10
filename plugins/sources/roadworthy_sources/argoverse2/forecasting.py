"""Scenarios of the Argoverse 2 motion forecasting dataset: 11 s of tracks at 10 Hz.

Step 49 is the present (5 s of history), 60 steps follow. The recording car is the track
named "AV". Objects have no sizes; see `categories.FORECASTING_SIZE`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, fill_gaps
from roadworthy.routing import LaneGraph
from roadworthy.scenario import AgentKind, Scenario, Signals, StateIndex, Tracks

from roadworthy_sources.argoverse2.categories import FORECASTING_KIND, FORECASTING_SIZE
from roadworthy_sources.argoverse2.files import check_finite, read_table
from roadworthy_sources.argoverse2.road_map import read_map
from roadworthy_sources.argoverse2.vehicle import FUSION

__all__ = ["forecasting_file", "read_forecasting"]

STEPS = 110
PRESENT = 49
MAX_TRACKS = 10_000
_AV = "AV"
_LONGEST_GAP = 3
_VALUES = ("position_x", "position_y", "heading", "velocity_x", "velocity_y")


def forecasting_file(folder: Path) -> Path | None:
    """The tracks of a motion forecasting scenario, or None."""
    found = sorted(folder.glob("scenario_*.parquet"))
    return found[0] if found else None


def read_forecasting(folder: Path) -> Scenario:
    """Read one scenario.

    The positions of "AV" are those of the ego frame's origin, the rear axle: in turns they
    move along its heading, which the middle of the car does not. Velocities are taken from
    the file: the positions are smoothed, and near both ends of the 11 s no longer agree with
    the speed (by up to 4 m/s).

    Raises:
        DataError: a file is missing or damaged; the message names file, field and value.
    """
    path = forecasting_file(folder)
    if path is None:
        raise DataError(f"{folder}: no scenario_*.parquet", hint="Download the scenario again.")
    maps = sorted(folder.glob("log_map_archive_*.json"))
    if not maps:
        raise DataError(f"{folder}: no log_map_archive_*.json", hint="Download the scenario again.")
    table = read_table(
        path,
        {"timestep": "int", "track_id": "text", "object_type": "text"}
        | dict.fromkeys(_VALUES, "float"),  # type: ignore[arg-type]
    )
    check_finite(path, table, _VALUES)
    step = table["timestep"]
    if ((step < 0) | (step >= STEPS)).any():
        at = int(np.flatnonzero((step < 0) | (step >= STEPS))[0])
        raise DataError(
            f"{path}: column 'timestep', row {at} is {step[at]}",
            hint=f"Steps are 0 to {STEPS - 1}.",
        )
    values = np.stack([table[name] for name in _VALUES], axis=1)
    own = table["track_id"] == _AV
    if not np.array_equal(np.sort(step[own]), np.arange(STEPS)):
        raise DataError(
            f"{path}: track 'AV' has {int(own.sum())} rows",
            hint=f"The ego needs one row for each of {STEPS} steps.",
        )
    own_values = values[own][np.argsort(step[own])]
    poses = own_values[:, :3]
    names = np.unique(table["track_id"][~own])
    if len(names) > MAX_TRACKS:
        raise DataError(f"{path}: {len(names)} tracks", hint=f"At most {MAX_TRACKS} are read.")
    notes: list[str] = []
    kind = np.zeros(len(names), np.int8)
    size = np.zeros((len(names), 3))
    state = np.zeros((len(names), STEPS, 5))
    valid = np.zeros((len(names), STEPS), bool)
    for a, name in enumerate(names):
        rows = np.flatnonzero(table["track_id"] == name)
        word = str(table["object_type"][rows[0]])
        if word not in FORECASTING_KIND:
            notes.append(f"agents {name!r}: unknown type {word!r} read as a generic object.")
        kind[a] = FORECASTING_KIND.get(word, AgentKind.GENERIC_OBJECT)
        size[a] = FORECASTING_SIZE.get(word, FORECASTING_SIZE["unknown"])
        state[a, step[rows]] = values[rows]
        valid[a, step[rows]] = True
        state[a], valid[a] = fill_gaps(state[a], valid[a], _LONGEST_GAP)
        if kind[a] >= AgentKind.TRAFFIC_CONE:
            state[a, :, StateIndex.VX :] = 0.0
    road_map = read_map(maps[0], notes)
    route = LaneGraph(road_map).route(poses)
    if route is None:
        raise DataError(
            f"{folder}: the ego drives near no lane of {maps[0].name}",
            hint="Check that map and tracks are of one scenario.",
        )
    return Scenario(
        id=path.stem.removeprefix("scenario_"),
        source="argoverse2",
        map=road_map,
        ego=ego_states_from_poses(poses, FUSION, velocity=own_values[:, 3:]),
        agents=Tracks(tuple(names.tolist()), kind, size, state, valid),
        route=route,
        signals=Signals.none(STEPS),
        start=PRESENT,
        vehicle=FUSION,
        tags=("real", "argoverse2", "forecasting"),
        repairs=tuple(notes),
    )
