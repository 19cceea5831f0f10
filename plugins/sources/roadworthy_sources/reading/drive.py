"""Drives on maps that come without any: one car alone, along a lane.

The expert follows the centreline at the speed limit (50 km/h where the map gives none),
slower in bends (2 m/s² sideways), and speeds up and brakes at 1.5 m/s².
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, smooth_derivative
from roadworthy.routing import LaneGraph, path_yaw, resample
from roadworthy.scenario import DT, HISTORY, LaneKind, RoadMap, Route, Scenario, Signals
from roadworthy.vehicle import PACIFICA

from roadworthy_sources.reading.fitness import area_verdict, share_on_area
from roadworthy_sources.reading.tracks import tracks_of

__all__ = ["map_scenarios"]

_SECONDS = 15.0
_SHORTEST = 40.0
_LONGEST = 300.0
_SPEED = 50.0 / 3.6
_SIDEWAYS = 2.0
_ALONG = 1.5
_SLOWEST = 2.0
_SMOOTH = 9
_MARGIN = 5.0
_TRIES = 4


def map_scenarios(
    where: str,
    name: str,
    source: str,
    road_map: RoadMap,
    count: int,
    notes: list[str],
    tags: tuple[str, ...] = (),
) -> Iterator[Scenario]:
    """Up to `count` scenarios of an expert alone on different lanes of a map.

    Args:
        where: the file, for messages.
        name: the map's name; scenarios are called `name-0`, `name-1` and so on.
        source: the source's name.
        road_map: the map; all scenarios share it.
        count: most scenarios wanted.
        notes: sentences for `repairs`.
        tags: further tags.

    Raises:
        DataError: no lane sequence of the map is 40 m long.
    """
    graph = LaneGraph(road_map)
    drives = _drives(graph, count)
    if not drives:
        raise DataError(
            f"{where}: no sequence of lanes for cars is {_SHORTEST:.0f} m long",
            hint="The map was read, but is too small to drive on.",
        )
    for k, (chain, line, states, share) in enumerate(drives):
        found, sentences = area_verdict(share)
        yield Scenario(
            id=f"{name}-{k}",
            source=source,
            map=road_map,
            ego=states,
            agents=tracks_of(where, [], len(states)),
            route=Route(graph.expand(chain), line),
            signals=Signals.none(len(states)),
            start=HISTORY - 1,
            vehicle=PACIFICA,
            tags=("map_only", source, "expert_drive", *tags, *found),
            repairs=(
                *notes,
                "ego: the map comes without traffic: a simple expert drives alone.",
                *sentences,
            ),
        )


_Drive = tuple[list[int], NDArray[np.float64], NDArray[np.float64], float]


def _drives(graph: LaneGraph, count: int) -> list[_Drive]:
    """Lane sequence, centreline, ego states and share of steps on the drivable area.

    The longest sequences come first, those before all on which the expert, whose car is large,
    cuts no corner. No drive begins on a lane of one before.
    """
    road_map = graph.map
    found: list[tuple[float, str, list[int]]] = []
    for lane in np.flatnonzero(road_map.lane_kind == LaneKind.LANE).tolist():
        chain = graph.extend([lane], _LONGEST, 0.0)
        length = min(float(graph.length[chain].sum()), _LONGEST)
        if length >= _SHORTEST:
            found.append((-round(length), road_map.lane_id[lane], chain))
    drives: list[_Drive] = []
    used: set[int] = set()
    for _, _, chain in sorted(found):
        if chain[0] not in used and len(drives) < _TRIES * count:
            used.update(chain)
            line = graph.centreline(chain)
            poses = _drive(_smoothed(line[:, :2]), _limits(graph, chain, line))
            states = ego_states_from_poses(poses, PACIFICA)
            drives.append((chain, line, states, share_on_area(road_map, states, PACIFICA)))
    return sorted(drives, key=lambda drive: drive[3] < 1.0)[:count]


def _smoothed(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line [N, 2] with its kinks rounded, about 1 m apart."""
    return resample(smooth_derivative(xy, 0, _SMOOTH), 1.0)


def _limits(graph: LaneGraph, chain: list[int], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Speed limit at each point of a centreline [C]."""
    ends = np.cumsum(graph.length[chain])
    limit = graph.map.lane_speed_limit[chain]
    limit = np.where(np.isnan(limit), _SPEED, np.maximum(limit, _SLOWEST))
    arc = np.linspace(0.0, ends[-1], len(line))
    return limit[np.minimum(np.searchsorted(ends, arc), len(chain) - 1)]


def _drive(xy: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rear-axle poses [T, 3] of the expert along a line [N, 2]."""
    yaw = path_yaw(xy)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    bend = np.abs(np.gradient(smooth_derivative(yaw, 0, _SMOOTH), arc))
    speed = np.interp(arc, np.linspace(0.0, arc[-1], len(limit)), limit)
    speed = np.minimum(speed, np.sqrt(_SIDEWAYS / np.maximum(bend, 1e-4)))
    speed = np.maximum(speed, _SLOWEST)
    for i in range(len(arc) - 2, -1, -1):
        room = arc[i + 1] - arc[i]
        speed[i] = min(speed[i], np.sqrt(speed[i + 1] ** 2 + 2.0 * _ALONG * room))
    at, pace = min(_MARGIN, 0.1 * arc[-1]), float(speed[0])
    stations = []
    while at < arc[-1] - PACIFICA.front and len(stations) < _SECONDS / DT + HISTORY:
        stations.append(at)
        wanted = float(np.interp(at, arc, speed))
        pace = min(wanted, pace + _ALONG * DT)
        at += pace * DT
    return np.column_stack([np.interp(stations, arc, v) for v in (xy[:, 0], xy[:, 1], yaw)])
