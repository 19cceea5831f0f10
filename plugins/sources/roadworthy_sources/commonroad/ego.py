"""Which of the recorded cars drives as the ego."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses
from roadworthy.routing import LaneGraph
from roadworthy.scenario import HISTORY, AgentKind, RoadMap, Route, StateIndex
from roadworthy.vehicle import EgoIndex, Vehicle

from roadworthy_sources.commonroad.document import Document
from roadworthy_sources.reading.cars import is_car, jumps, rear_axle_poses, vehicle_of_box
from roadworthy_sources.reading.tracks import Track

__all__ = ["MIN_HORIZON", "Ego", "choose_ego"]

MIN_HORIZON = 10
"""Fewest steps to drive after the present (1 s)."""

_MIN_STEPS = HISTORY + MIN_HORIZON
_NEARLY = 0.9
_MOVED = 2.0
_HARDEST = 8.0
_FARTHEST_SLIP = 0.5
_MOST_TURN = 1.0
_TRIES = 16


@dataclass(frozen=True, eq=False)
class Ego:
    """The car chosen, and its drive from step `first` up to `last` (not included)."""

    track: Track
    first: int
    last: int
    vehicle: Vehicle
    states: NDArray[np.float64]
    route: Route
    touching: int


def choose_ego(document: Document, tracks: list[Track], road_map: RoadMap) -> Ego:
    """The recorded car that becomes the ego.

    Among the cars that are seen for at least 90 % of the longest time, those that move come
    first, then those that begin nearest to the planning problem's start. The first of them
    is taken that drives on lanes, never accelerates by more than 8 m/s² and overlaps nobody;
    if there is none, the one that is implausible or overlapping at the fewest steps.

    Raises:
        DataError: no car is seen long enough, or none of them drives on a lane.
    """
    runs = _runs(tracks)
    longest = max((b - a for a, b in runs.values()), default=0)
    if longest < _MIN_STEPS:
        raise DataError(
            f"{document.path}: no car is seen for {0.1 * (_MIN_STEPS - 1):.1f} s (the longest for "
            f"{0.1 * max(longest - 1, 0):.1f} s, of {len(tracks)} road users)",
            hint=f"The ego needs {0.1 * (HISTORY - 1):.1f} s of history and "
            f"{0.1 * MIN_HORIZON:.0f} s to drive.",
        )
    enough = max(_MIN_STEPS, _NEARLY * longest)

    def rank(track: Track) -> tuple[bool, float, str]:
        a, b = runs[track.id]
        here = track.state[a:b, :2]
        start = document.start
        apart = 0.0 if start is None else float(np.hypot(*(here[0] - start)))
        return bool(np.hypot(*(here[-1] - here[0])) < _MOVED), apart, track.id

    fit = [t for t in tracks if t.id in runs and runs[t.id][1] - runs[t.id][0] >= enough]
    graph = LaneGraph(road_map)
    found: list[tuple[int, Ego]] = []
    why = ""
    for track in sorted(fit, key=rank)[:_TRIES]:
        a, b = runs[track.id]
        vehicle = vehicle_of_box(float(track.size[0]), float(track.size[1]))
        poses = rear_axle_poses(track.state[a:b, : StateIndex.YAW + 1], vehicle)
        turn = np.abs(np.diff(np.unwrap(poses[:, 2])))
        if turn.max() > _MOST_TURN:
            why = f"; the car {track.id!r} turns by {turn.max():.2f} rad in one step"
            continue
        if leap := jumps(poses):
            why = f"; the car {track.id!r} {leap}"
            continue
        route = graph.route(poses)
        if route is None:
            continue
        states = ego_states_from_poses(poses, vehicle)
        touching = _touching(track, tracks, a, b)
        faults = touching + _implausible(states)
        found.append((faults, Ego(track, a, b, vehicle, states, route, touching)))
        if faults == 0:
            break
    if not found:
        raise DataError(
            f"{document.path}: none of the {min(len(fit), _TRIES)} cars that could be the ego "
            f"drives on a lane like a car{why}",
            hint="Check that lanelets and obstacles are of one place and in one frame.",
        )
    return min(found, key=lambda item: item[0])[1]


def _runs(tracks: list[Track]) -> dict[str, tuple[int, int]]:
    """First valid step and the one after the last, of cars seen without a gap."""
    runs = {}
    for track in tracks:
        seen = np.flatnonzero(track.valid)
        if (
            track.kind == AgentKind.VEHICLE
            and is_car(*track.size[:2])
            and len(seen)
            and track.valid[seen[0] : seen[-1] + 1].all()
        ):
            runs[track.id] = (int(seen[0]), int(seen[-1]) + 1)
    return runs


def _implausible(states: NDArray[np.float64]) -> int:
    """Steps at which a drive [T, 11] accelerates too hard, or jumps."""
    hard = np.hypot(states[:, EgoIndex.AX], states[:, EgoIndex.AY]) > _HARDEST
    yaw = states[:, EgoIndex.YAW]
    along, across = states[:, EgoIndex.VX], states[:, EgoIndex.VY]
    velocity = np.stack(
        [np.cos(yaw) * along - np.sin(yaw) * across, np.sin(yaw) * along + np.cos(yaw) * across],
        axis=1,
    )
    slip = np.diff(states[:, :2], axis=0) - 0.05 * (velocity[1:] + velocity[:-1])
    hard[1:] |= np.hypot(slip[:, 0], slip[:, 1]) > _FARTHEST_SLIP
    return int(hard.sum())


def _boxes(track: Track, steps: NDArray[np.int64]) -> NDArray[np.object_]:
    """Polygons of a track's box at some steps."""
    state = track.state[steps]
    cos, sin = np.cos(state[:, StateIndex.YAW]), np.sin(state[:, StateIndex.YAW])
    half_l, half_w = 0.5 * track.size[:2]
    along = np.array([half_l, -half_l, -half_l, half_l])
    across = np.array([half_w, half_w, -half_w, -half_w])
    x = state[:, :1] + cos[:, None] * along - sin[:, None] * across
    y = state[:, 1:2] + sin[:, None] * along + cos[:, None] * across
    return np.asarray(shapely.polygons(np.stack([x, y], axis=-1)), object)


def _touching(own: Track, tracks: list[Track], a: int, b: int) -> int:
    """Steps in [a, b) at which a track's box overlaps anyone else's."""
    hit = np.zeros(len(own.valid), bool)
    for other in tracks:
        if other is own:
            continue
        apart = np.hypot(*(other.state[:, :2] - own.state[:, :2]).T)
        reach = 0.5 * (np.hypot(*own.size[:2]) + np.hypot(*other.size[:2]))
        near = np.flatnonzero(other.valid & own.valid & (apart < reach))
        near = near[(near >= a) & (near < b)]
        if len(near):
            hit[near] |= shapely.intersects(_boxes(own, near), _boxes(other, near))
    return int(hit.sum())
