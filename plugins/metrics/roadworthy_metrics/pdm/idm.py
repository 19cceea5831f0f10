"""PDM-Closed's proposals: the intelligent driver model along offset paths (section 8)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import (
    box_distance,
    box_in_ring,
    point_segment_squared,
    ring_distance_to_box,
    segment_box_distance,
)
from roadworthy.geometry.polylines import Polyline, interpolate_path, project

from .scene import FAR, Agents, Lights

__all__ = ["blocking_lights", "drive_path", "drive_paths"]

_DT = 0.1
_ACCEL = 1.5
_DECEL = 3.0
_GAP = 1.0
_HEADWAY = 1.5
_CORRIDOR_SECONDS = 5.0
_UPDATE_EVERY = 2
_RUN = 8
_SURE = 1e-6


@njit(cache=True, nogil=True, error_model="numpy")
def blocking_lights(lights: Lights, corners: NDArray[np.float64], out: NDArray[np.bool_]) -> None:
    """Which connectors are red at frame 0 and do not wholly hold the ego's box.

    Args:
        lights: the connectors on the route.
        corners: float64 [4, 2], of the ego's box.
        out: bool [L], overwritten.
    """
    for k in range(lights.red.shape[1]):
        ring = lights.vertices[lights.offsets[k] : lights.offsets[k + 1]]
        out[k] = lights.red[0, k] and not box_in_ring(corners, ring)


@njit(cache=True, nogil=True, error_model="numpy")
def _corridor(line: Polyline, start: float, end: float) -> NDArray[np.float64]:
    """The samples of a path between two arc lengths, without repeats: float64 [M, 2].

    The ends are not interpolated: NAVSIM's corridor ends at its last sample.
    """
    n = line.arc.shape[0]
    out = np.empty((n, 2))
    count = 0
    for k in range(n):
        if start <= line.arc[k] <= end and (
            count == 0
            or line.points[k, 0] != out[count - 1, 0]
            or line.points[k, 1] != out[count - 1, 1]
        ):
            out[count] = line.points[k]
            count += 1
    return out[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _bounds(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low x, low y, high x, high y of each run of `_RUN` segments of a path, and of all of it:
    float64 [R + 1, 4]."""
    segments = path.shape[0] - 1
    out = np.empty(((segments + _RUN - 1) // _RUN + 1, 4))
    runs = out.shape[0] - 1
    for r in range(runs):
        points = path[r * _RUN : min(segments, (r + 1) * _RUN) + 1]
        out[r, 0], out[r, 1] = points[:, 0].min(), points[:, 1].min()
        out[r, 2], out[r, 3] = points[:, 0].max(), points[:, 1].max()
    out[runs, 0], out[runs, 1] = out[:runs, 0].min(), out[:runs, 1].min()
    out[runs, 2], out[runs, 3] = out[:runs, 2].max(), out[:runs, 3].max()
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _box_in_corridor(
    box: NDArray[np.float64],
    path: NDArray[np.float64],
    bounds: NDArray[np.float64],
    caps: NDArray[np.float64],
    half: float,
) -> bool:
    """Whether a box meets the path widened by `half` on either side, with square caps."""
    reach = half + math.sqrt(box[4] * box[4] + box[5] * box[5])
    near = (1.0 + 1e-9) * reach * reach
    around = 1.01 * (reach + half)
    x, y, close = box[0], box[1], False
    last = bounds.shape[0] - 1
    dx = max(bounds[last, 0] - x, 0.0, x - bounds[last, 2])
    dy = max(bounds[last, 1] - y, 0.0, y - bounds[last, 3])
    if dx * dx + dy * dy > around * around:
        return False
    for r in range(last):
        dx = max(bounds[r, 0] - x, 0.0, x - bounds[r, 2])
        dy = max(bounds[r, 1] - y, 0.0, y - bounds[r, 3])
        if dx * dx + dy * dy > around * around:
            continue
        close = True
        for k in range(r * _RUN, min(path.shape[0] - 1, (r + 1) * _RUN)):
            ax, ay, bx, by = path[k, 0], path[k, 1], path[k + 1, 0], path[k + 1, 1]
            if (
                point_segment_squared(x, y, ax, ay, bx, by) <= near
                and segment_box_distance(ax, ay, bx, by, box) <= half
            ):
                return True
    # A cap reaches no farther than 0.71 of the width beyond an end of the path.
    return close and (box_distance(box, caps[0]) == 0.0 or box_distance(box, caps[1]) == 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_in_corridor(
    ring: NDArray[np.float64], path: NDArray[np.float64], caps: NDArray[np.float64], half: float
) -> bool:
    """As `_box_in_corridor`, for a polygon: segment by segment as thin boxes."""
    box = np.empty(6)
    for k in range(path.shape[0] - 1):
        dx, dy = path[k + 1, 0] - path[k, 0], path[k + 1, 1] - path[k, 1]
        length = math.sqrt(dx * dx + dy * dy)
        box[0], box[1] = path[k, 0] + 0.5 * dx, path[k, 1] + 0.5 * dy
        box[2], box[3], box[4], box[5] = dx / length, dy / length, 0.5 * length, 0.0
        if ring_distance_to_box(box, ring) <= half:
            return True
    return ring_distance_to_box(caps[0], ring) == 0.0 or ring_distance_to_box(caps[1], ring) == 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _caps(path: NDArray[np.float64], half: float, out: NDArray[np.float64]) -> None:
    """The square caps of a corridor as boxes, float64 [2, 6]."""
    m = path.shape[0]
    for k in range(2):
        i, j = (0, 1) if k == 0 else (m - 1, m - 2)
        dx, dy = path[i, 0] - path[j, 0], path[i, 1] - path[j, 1]
        length = math.sqrt(dx * dx + dy * dy)
        c, s = dx / length, dy / length
        out[k, 0], out[k, 1] = path[i, 0] + 0.5 * half * c, path[i, 1] + 0.5 * half * s
        out[k, 2], out[k, 3], out[k, 4], out[k, 5] = c, s, 0.5 * half, half


@njit(cache=True, nogil=True, error_model="numpy")
def drive_path(
    line: Polyline,
    poses: NDArray[np.float64],
    ego: NDArray[np.float64],
    targets: NDArray[np.float64],
    agents: Agents,
    rank: NDArray[np.int64],
    lights: Lights,
    blocking: NDArray[np.bool_],
    centroids: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    out: NDArray[np.float64],
    ties: NDArray[np.int64],
) -> None:
    """Drive one path with the IDM at several target speeds.

    v' = 1.5 (1 - (v / v_target)^10 - (s* / s)^2), clipped to [-3, 1.5], with
    s* = 1 + 1.5 v + v (v - v_lead) / (2 sqrt(4.5)) and s = max(x_lead - x - l_rear, 1),
    by explicit Euler. The leader is looked for at every second step among the objects that meet
    the corridor ahead; before the first look its record is zero, and a field that is not set for
    one target speed keeps the value of the one before (as NAVSIM's implementation does).

    Args:
        line: the path.
        poses: float64 [N, 3], its points with unwrapped headings.
        ego: float64 [11], state now.
        targets: float64 [V], target speeds [m/s], positive.
        agents: the forecast.
        rank: int64 [T, A + L], order in which objects at equal distance are preferred.
        lights: connectors with lights.
        blocking: bool [L], from `blocking_lights`.
        centroids: float64 [L, 2], of the connectors [m].
        vehicle: `Vehicle.as_array()`.
        out: float64 [V, T, 3], overwritten with world poses every 0.1 s.
        ties: int64 [1], incremented where several objects are at distance 0 and the choice
            among them matters.
    """
    steps = out.shape[1]
    count, light_count = agents.radius.shape[0], lights.red.shape[1]
    start, _, _ = project(line, ego[0], ego[1], 0)
    length = line.arc[line.arc.shape[0] - 1]
    end = min(length, start + _CORRIDOR_SECONDS * targets.max())
    half = 0.5 * vehicle[0]
    to_centre, half_length = 0.5 * (vehicle[1] - vehicle[2]), 0.5 * (vehicle[1] + vehicle[2])
    path = _corridor(line, start, end)
    caps = np.empty((2, 6))
    bounds = np.empty((0, 4))
    if path.shape[0] > 1:
        _caps(path, half, caps)
        bounds = _bounds(path)
    x, v = np.full(targets.shape[0], start), np.full(targets.shape[0], ego[3])
    lead = np.zeros((targets.shape[0], 3))
    ahead = np.full(count + light_count, -np.inf)
    light_ahead = np.full(light_count, -np.inf)
    turned, cos, sin = np.full(count, np.nan), np.empty(count), np.empty(count)
    box, mine, pose = np.empty(6), np.empty(6), np.empty(3)
    mine[4], mine[5] = half_length, half
    around = math.sqrt(half_length * half_length + half * half)
    for k in range(light_count):
        ring = lights.vertices[lights.offsets[k] : lights.offsets[k + 1]]
        if blocking[k] and path.shape[0] > 1 and _ring_in_corridor(ring, path, caps, half):
            light_ahead[k], _, _ = project(line, centroids[k, 0], centroids[k, 1], 0)
    for i in range(targets.shape[0]):
        interpolate_path(line.arc, poses, x[i], out[i, 0])
    for t in range(1, steps):
        if t % _UPDATE_EVERY == 0:
            for a in range(count):
                if (
                    t > _UPDATE_EVERY
                    and agents.x[t, a] == agents.x[t - _UPDATE_EVERY, a]
                    and agents.y[t, a] == agents.y[t - _UPDATE_EVERY, a]
                    and agents.yaw[t, a] == agents.yaw[t - _UPDATE_EVERY, a]
                ):
                    continue
                ahead[a] = -np.inf
                if agents.x[t, a] >= FAR or path.shape[0] < 2:
                    continue
                box[0], box[1] = agents.x[t, a], agents.y[t, a]
                if agents.yaw[t, a] != turned[a]:
                    turned[a] = agents.yaw[t, a]
                    cos[a], sin[a] = math.cos(turned[a]), math.sin(turned[a])
                box[2], box[3] = cos[a], sin[a]
                box[4], box[5] = agents.half_length[a], agents.half_width[a]
                if _box_in_corridor(box, path, bounds, caps, half):
                    ahead[a], _, _ = project(line, box[0], box[1], 0)
            ahead[count:] = light_ahead
            x_lead, v_lead, l_rear = 0.0, 0.0, 0.0
            for i in range(targets.shape[0]):
                pose[:] = out[i, t - 1]
                mine[2], mine[3] = math.cos(pose[2]), math.sin(pose[2])
                mine[0] = pose[0] + to_centre * mine[2]
                mine[1] = pose[1] + to_centre * mine[3]
                nearest, who, contacts = np.inf, -1, 0
                for a in range(count + light_count):
                    if ahead[a] <= x[i]:
                        continue
                    if a < count:
                        box[0], box[1] = agents.x[t, a], agents.y[t, a]
                        dx, dy = box[0] - mine[0], box[1] - mine[1]
                        least = math.sqrt(dx * dx + dy * dy) - agents.radius[a] - around
                        if least > nearest + _SURE and least > _SURE:
                            continue
                        box[2], box[3] = cos[a], sin[a]
                        box[4], box[5] = agents.half_length[a], agents.half_width[a]
                        gap = box_distance(mine, box)
                    else:
                        k = a - count
                        gap = ring_distance_to_box(
                            mine, lights.vertices[lights.offsets[k] : lights.offsets[k + 1]]
                        )
                    contacts += gap == 0.0
                    if gap < nearest or (gap == nearest and rank[t, a] < rank[t, who]):
                        nearest, who = gap, a
                if contacts > 1:
                    ties[0] += 1
                if who < 0:
                    x_lead, l_rear = length, half_length
                else:
                    x_lead = x[i] + nearest
                    if who < count:
                        v_lead = 0.0
                        if not agents.static[who]:
                            v_lead = agents.speed[t, who] * math.cos(agents.yaw[t, who] - pose[2])
                lead[i, 0], lead[i, 1], lead[i, 2] = x_lead, v_lead, l_rear
        for i in range(targets.shape[0]):
            wanted = _GAP + _HEADWAY * v[i]
            wanted += v[i] * (v[i] - lead[i, 1]) / (2.0 * math.sqrt(_ACCEL * _DECEL))
            gap = max(lead[i, 0] - x[i] - lead[i, 2], 1.0)
            accel = _ACCEL * (1.0 - (v[i] / targets[i]) ** 10 - (wanted / gap) ** 2)
            x[i] += v[i] * _DT
            v[i] += min(max(accel, -_DECEL), _ACCEL) * _DT
            interpolate_path(line.arc, poses, x[i], out[i, t])


@njit(cache=True, nogil=True, error_model="numpy")
def drive_paths(
    paths: tuple[tuple[Polyline, NDArray[np.float64]], ...],
    ego: NDArray[np.float64],
    targets: NDArray[np.float64],
    agents: Agents,
    rank: NDArray[np.int64],
    lights: Lights,
    blocking: NDArray[np.bool_],
    centroids: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    out: NDArray[np.float64],
    ties: NDArray[np.int64],
) -> None:
    """`drive_path` for several paths, in one call: `out` is float64 [K, V, T, 3]."""
    for k in range(len(paths)):
        line, poses = paths[k]
        drive_path(
            line, poses, ego, targets, agents, rank, lights, blocking, centroids, vehicle, out[k],
            ties,
        )  # fmt: skip
