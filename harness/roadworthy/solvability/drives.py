"""What the ego does until it reacts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy.scenario import DT, Scenario
from roadworthy.vehicle import EgoIndex

__all__ = ["drive_of", "steady_drive"]

Array = NDArray[np.float64]

_SPACING = 1.0
_BLEND_M = 30.0
_STRAIGHT_M = 400.0
_CURVE = 2.5
_SLOWING = 2.0
_STANDING = 1.0


def drive_of(ego: Array) -> Array:
    """Ego states [N, 11] as a drive [N, 4]: x, y, unwrapped yaw, speed forward (at least 0)."""
    columns = [EgoIndex.X, EgoIndex.Y, EgoIndex.YAW, EgoIndex.VX]
    out = np.ascontiguousarray(ego[:, columns], np.float64)
    out[:, 2] = np.unwrap(out[:, 2])
    out[:, 3] = np.maximum(out[:, 3], 0.0)
    return out


def steady_drive(scenario: Scenario) -> Array:
    """The drive of someone who minds the road and nobody on it: [horizon + 1, 4].

    The ego goes on at its present speed along the log's path and, where that ends, along its
    route; for curves it slows down to a lateral acceleration of 2.5 m/s², at 2 m/s². Unlike the
    logged drive it knows nothing of what others are going to do. An ego that stands (below
    1 m/s) drives as logged. Rounded to a micrometre, so that it is the same when read back.
    """
    logged = drive_of(scenario.ego[scenario.start :])
    speed = float(logged[0, 3])
    if speed < _STANDING:
        return np.round(logged, 6)
    path = _path(scenario, logged, speed * DT * len(logged))
    station = path[:, 0]
    bend = np.abs(np.gradient(path[:, 3], station))
    bend = np.convolve(np.pad(bend, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    limit = np.minimum(np.sqrt(_CURVE / np.maximum(bend, 1e-6)), speed)
    for k in range(len(limit) - 2, -1, -1):
        gap = station[k + 1] - station[k]
        limit[k] = min(limit[k], np.sqrt(limit[k + 1] ** 2 + 2.0 * _SLOWING * gap))
    at, now = 0.0, speed
    stations, speeds = np.zeros(len(logged)), np.full(len(logged), speed)
    for k in range(1, len(logged)):
        least = max(0.0, now - 2.0 * _SLOWING * DT)
        after = float(np.clip(np.interp(at + now * DT, station, limit), least, now + _SLOWING * DT))
        at += 0.5 * (now + after) * DT
        now = after
        stations[k], speeds[k] = at, now
    columns = [np.interp(stations, station, path[:, k]) for k in (1, 2, 3)]
    return np.round(np.column_stack([*columns, speeds]), 6)


def _path(scenario: Scenario, logged: Array, reach: float) -> Array:
    """Log, then route, then straight on: [P, 4] station, x, y, yaw; at least `reach` long."""
    keep = [0]
    for k in range(1, len(logged)):
        if np.hypot(*(logged[k, :2] - logged[keep[-1], :2])) >= _SPACING:
            keep.append(k)
    points = logged[keep, :3]
    gone = np.hypot(*np.diff(points[:, :2], axis=0).T).sum()
    if gone < reach:
        points = np.concatenate([points, _beyond(scenario.route.centreline, points[-1])])
    end = points[-1]
    ahead = np.arange(1.0, max(reach, _STRAIGHT_M) + 1.0)[:, None]
    straight = end[:2] + ahead * [np.cos(end[2]), np.sin(end[2])]
    points = np.concatenate([points, np.column_stack([straight, np.full(len(straight), end[2])])])
    points[:, 2] = np.unwrap(points[:, 2])
    station = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points[:, :2], axis=0).T))])
    return np.column_stack([station, points])


def _beyond(route: Array, end: Array) -> Array:
    """The route from beside a pose on, reached from it over 30 m: [Q, 3], without the pose."""
    line = route[np.concatenate([[True], np.hypot(*np.diff(route[:, :2], axis=0).T) > 1e-6])]
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])
    fine = np.arange(0.0, arc[-1], _SPACING)
    xy = np.column_stack([np.interp(fine, arc, line[:, k]) for k in (0, 1)])
    nearest = int(np.hypot(*(xy - end[:2]).T).argmin())
    xy = xy[nearest:]
    if len(xy) < 3:
        return np.zeros((0, 3))
    yaw = np.unwrap(np.arctan2(*np.gradient(xy, axis=0).T[::-1]))
    left = np.column_stack([-np.sin(yaw), np.cos(yaw)])
    aside = float((end[:2] - xy[0]) @ left[0])
    turned = float(np.angle(np.exp(1j * (end[2] - yaw[0]))))
    share = np.clip(np.arange(len(xy)) * _SPACING / _BLEND_M, 0.0, 1.0)
    # A cubic that leaves the pose in its own direction and meets the route in the route's.
    offset = aside * (1.0 - 3.0 * share**2 + 2.0 * share**3)
    offset += np.tan(np.clip(turned, -1.0, 1.0)) * _BLEND_M * share * (1.0 - share) ** 2
    moved = xy + offset[:, None] * left
    heading = np.unwrap(np.arctan2(*np.gradient(moved, axis=0).T[::-1]))
    ahead = (moved - end[:2]) @ np.array([np.cos(end[2]), np.sin(end[2])])
    first = int(np.argmax(ahead > 0.5 * _SPACING))
    return np.column_stack([moved, heading])[first:] if ahead[first] > 0.0 else np.zeros((0, 3))
