"""Drives on maps that come without any: one car alone, along a lane.

The expert follows the centreline at the speed limit (50 km/h where the map gives none),
slower in bends (1.5 m/s² sideways), and speeds up and brakes at 1.5 m/s².
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, smooth_derivative
from roadworthy.routing import LaneGraph, path_yaw, resample
from roadworthy.scenario import DT, HISTORY, LaneKind, RoadMap, Route, Scenario, Signals

from roadworthy_sources.reading.cars import vehicle_of_box
from roadworthy_sources.reading.fitness import area_verdict, share_on_area
from roadworthy_sources.reading.tracks import tracks_of

__all__ = ["map_scenarios"]

CAR = vehicle_of_box(4.4, 1.8, 1.5)
"""What the expert drives: a compact car, for maps of narrow streets."""

_SECONDS = 15.0
_SHORTEST = 40.0
_LONGEST = 300.0
_FEWEST = HISTORY + 10
_SPEED = 50.0 / 3.6
_SIDEWAYS = 1.5
_ALONG = 1.5
_SLOWEST = 2.0
_SMOOTH = 9
_MARGIN = 5.0
_AHEAD = 3.5
_AHEAD_TIME = 0.5
_STEER_STEP = 0.5 * DT
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
        DataError: no lane sequence of the map is 40 m long and takes 2.6 s to drive.
    """
    graph = LaneGraph(road_map)
    drives = _drives(graph, count)
    if not drives:
        raise DataError(
            f"{where}: no sequence of lanes for cars is {_SHORTEST:.0f} m long "
            f"and takes {_FEWEST * DT:.1f} s to drive",
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
            vehicle=CAR,
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

    The longest sequences come first, and before them those on which the expert cuts no corner.
    No drive begins on a lane of one before.
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
            if len(poses) < _FEWEST:
                continue
            states = ego_states_from_poses(poses, CAR)
            drives.append((chain, line, states, share_on_area(road_map, states, CAR)))
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
    """Rear-axle poses [T, 3] of the expert along a line [N, 2].

    Pure pursuit (Coulter, CMU-RI-TR-92-01, 1992) with a kinematic bicycle whose steering turns
    by 0.5 rad/s at most, so that the drive can be driven again.
    """
    yaw = path_yaw(xy)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    bend = np.abs(np.gradient(smooth_derivative(yaw, 0, _SMOOTH), arc))
    speed = np.interp(arc, np.linspace(0.0, arc[-1], len(limit)), limit)
    speed = np.minimum(speed, np.sqrt(_SIDEWAYS / np.maximum(bend, 1e-4)))
    speed = np.maximum(speed, _SLOWEST)
    for i in range(len(arc) - 2, -1, -1):
        room = arc[i + 1] - arc[i]
        speed[i] = min(speed[i], np.sqrt(speed[i + 1] ** 2 + 2.0 * _ALONG * room))
    at, pace, steer = min(_MARGIN, 0.1 * arc[-1]), float(speed[0]), 0.0
    pose = np.array([np.interp(at, arc, v) for v in (xy[:, 0], xy[:, 1], yaw)])
    poses = []
    while at < arc[-1] - CAR.front and len(poses) < _SECONDS / DT + HISTORY:
        poses.append(pose)
        pace = min(float(np.interp(at, arc, speed)), pace + _ALONG * DT)
        goal = at + max(_AHEAD, _AHEAD_TIME * pace)
        apart = np.array([np.interp(goal, arc, xy[:, k]) for k in (0, 1)]) - pose[:2]
        angle = np.arctan2(apart[1], apart[0]) - pose[2]
        wanted = np.arctan(2.0 * CAR.wheelbase * np.sin(angle) / np.hypot(*apart))
        steer += float(np.clip(wanted - steer, -_STEER_STEP, _STEER_STEP))
        turn = pace * DT * np.tan(steer) / CAR.wheelbase
        heading = pose[2] + 0.5 * turn
        moved = pace * DT * np.array([np.cos(heading), np.sin(heading)])
        pose = pose + np.append(moved, turn)
        near = slice(*np.searchsorted(arc, [at, at + 4.0 * pace * DT + 1.0]))
        step = ((xy[near] - pose[:2]) ** 2).sum(axis=1)
        at = max(at + 0.5 * pace * DT, float(arc[near][step.argmin()])) if len(step) else arc[-1]
    return np.array(poses)
