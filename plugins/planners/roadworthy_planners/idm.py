r"""The intelligent driver model along the route's centreline.

The acceleration of Treiber, Hennecke and Helbing, *Congested traffic states in empirical
observations and microscopic simulations*, Physical Review E 62 (2000) 1805:

.. math::
    \dot v = a \left[1 - (v / v_0)^4 - (s^* / s)^2\right], \qquad
    s^* = s_0 + \max\left(0, v T + \frac{v \, \Delta v}{2 \sqrt{a b}}\right)

with the parameters of nuPlan's `IDMPlanner` (Caesar et al. 2021), and as there: the leader
is the nearest object that overlaps the ego's corridor ahead, a red light or the route's end
stands like a leader, and the gap is taken as at least `s_0`. Beyond nuPlan's planner, the
leader is predicted at constant speed over the horizon, and lower limits and curves ahead are
met by braking at b / 2 in time, for the model's own free term would overshoot them by far. An
ego beside the centreline comes back to it as `merging` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy import Brief, EgoIndex, ObservationBatch, SignalState, StateIndex, TrajectoryBatch
from roadworthy.geometry.polylines import (
    Polyline,
    build_polyline,
    interpolate_path,
    interpolate_segment,
    project,
    wrap_angle,
)

from .merging import STEEPEST, merge_length, offset_and_slope

__all__ = ["IDM"]

POSES = 40
DT = 0.1

_RUN = 16  # segments per bounding box of a Polyline
_LOOKAHEAD = 100.0  # [m]
_HARDEST_BRAKING = 8.0  # [m/s2], what tyres give
_ON_PATH = 1.5  # [m], a lane whose start and middle are as near as this lies on the route's path
_CURVATURE_WINDOW = 2.5  # [m] to either side
_SLOWEST = 2.0  # [m/s], so that a kink in the map does not stop the ego
_RED = int(SignalState.RED)

_offset_and_slope = njit(cache=True, nogil=True, error_model="numpy")(offset_and_slope)


class IDM:
    """Follows the route at the intelligent driver model's speed. See the module's docstring.

    Args:
        target_speed: where the map gives no speed limit [m/s].
        min_gap: bumper to bumper at standstill, s_0 [m].
        headway: time gap to the leader, T [s].
        max_accel: a [m/s2].
        max_decel: comfortable deceleration, b [m/s2].
        max_lateral_accel: for the speed in curves [m/s2]; infinity to ignore curves. At 3 the
            tracker, which steers for where it will be in a second, strays by 0.9 m in sharp
            turns; at the default by half of that.

    Raises:
        ValueError: for a parameter that is not positive.
    """

    def __init__(
        self,
        *,
        target_speed: float = 10.0,
        min_gap: float = 1.0,
        headway: float = 1.5,
        max_accel: float = 1.0,
        max_decel: float = 3.0,
        max_lateral_accel: float = 1.5,
    ) -> None:
        self._parameters = _Parameters(
            target_speed, min_gap, headway, max_accel, max_decel, max_lateral_accel
        )
        for name, value in zip(_Parameters._fields, self._parameters, strict=True):
            if not value > 0.0:
                raise ValueError(f"{name} = {value!r} must be positive")
        self._routes = _pack([], self._parameters)

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """Prepares every route: its arc lengths, target speeds and signals."""
        self._routes = _pack(briefs, self._parameters)

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """Poses [S, 40, 3] at 0.1 s, on the centreline or on the way back to it."""
        poses = np.empty((len(observations), POSES, 3))
        ego = np.ascontiguousarray(observations.ego_state[:, -1])
        _plan(
            np.ascontiguousarray(observations.rows, np.int64),
            ego,
            merge_length(ego[:, EgoIndex.VX]),
            np.ascontiguousarray(observations.agents_state[:, :, -1]),
            np.ascontiguousarray(observations.agents_valid[:, :, -1]),
            np.ascontiguousarray(observations.agents_size),
            np.ascontiguousarray(observations.signal_state),
            self._routes,
            self._parameters,
            poses,
        )
        return TrajectoryBatch(poses, DT)


class _Parameters(NamedTuple):
    target_speed: float
    min_gap: float
    headway: float
    max_accel: float
    max_decel: float
    max_lateral_accel: float


class _Routes(NamedTuple):
    """The routes of S briefs, end to end.

    Attributes:
        begin: int64 [S + 1], first point of each route.
        begin_run: int64 [S + 1], first bounding box of each.
        poses: [N, 3] x, y, unwrapped yaw.
        points: [N, 2] the same without yaw.
        arc: [N], from 0 at each route's start [m].
        bounds: [*, 4], as in `Polyline`.
        limit: [N] target speed, v_0 [m/s].
        cap: [N] the speed from which curves and lower limits ahead are still met [m/s].
        signal_arc: [S, G] where the ego must stand when the signal is red, NaN where it does
            not govern the path.
        half_width, front, middle: [S] of the vehicle, the last two from the rear axle [m].
    """

    begin: NDArray[np.int64]
    begin_run: NDArray[np.int64]
    poses: NDArray[np.float64]
    points: NDArray[np.float64]
    arc: NDArray[np.float64]
    bounds: NDArray[np.float64]
    limit: NDArray[np.float64]
    cap: NDArray[np.float64]
    signal_arc: NDArray[np.float64]
    half_width: NDArray[np.float64]
    front: NDArray[np.float64]
    middle: NDArray[np.float64]


def _pack(briefs: Sequence[Brief], parameters: _Parameters) -> _Routes:
    poses = [np.ascontiguousarray(b.route.centreline, np.float64) for b in briefs]
    lines = [build_polyline(p) for p in poses]
    signals = max([len(b.signal_lane) for b in briefs], default=0)
    signal_arc = np.full((len(briefs), signals), np.nan)
    limit = [np.empty(len(p)) for p in poses]
    cap = [np.empty(len(p)) for p in poses]
    for i, b in enumerate(briefs):
        lanes = b.map.lane_centreline
        args = (lanes.values, lanes.offsets)
        _target_speeds(
            lines[i], poses[i][:, 2].copy(), *args, b.map.lane_speed_limit,
            np.asarray(b.route.lanes, np.int64), parameters, limit[i], cap[i],
        )  # fmt: skip
        _signal_arcs(lines[i], *args, np.asarray(b.signal_lane, np.int64), signal_arc[i])

    def flat(rows: list[NDArray[np.float64]], *width: int) -> NDArray[np.float64]:
        return np.concatenate([np.empty((0, *width)), *rows])

    return _Routes(
        begin=np.cumsum([0, *(len(p) for p in poses)]),
        begin_run=np.cumsum([0, *(len(line.bounds) for line in lines)]),
        poses=flat(poses, 3),
        points=flat([line.points for line in lines], 2),
        arc=flat([line.arc for line in lines]),
        bounds=flat([line.bounds for line in lines], 4),
        limit=flat(limit),
        cap=flat(cap),
        signal_arc=signal_arc,
        half_width=np.array([0.5 * b.vehicle.width for b in briefs]),
        front=np.array([b.vehicle.front for b in briefs]),
        middle=np.array([b.vehicle.rear_axle_to_centre for b in briefs]),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _lane_on_line(
    line: Polyline, lanes: NDArray[np.float64], first: int, end: int
) -> tuple[float, float, float]:
    """Arc lengths of a lane's first and last point on the path, and how far it lies off [m]."""
    begin_arc, begin_off, run = project(line, lanes[first, 0], lanes[first, 1], 0)
    middle = (first + end) // 2
    _, middle_off, run = project(line, lanes[middle, 0], lanes[middle, 1], run)
    end_arc, end_off, run = project(line, lanes[end - 1, 0], lanes[end - 1, 1], run)
    # The path may begin or end inside a lane: one end may lie beyond it, the middle may not.
    return begin_arc, end_arc, max(min(begin_off, end_off), middle_off)


@njit(cache=True, nogil=True, error_model="numpy")
def _target_speeds(
    line: Polyline,
    yaw: NDArray[np.float64],
    lanes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lane_limit: NDArray[np.float64],
    on_route: NDArray[np.int64],
    p: _Parameters,
    limit: NDArray[np.float64],
    cap: NDArray[np.float64],
) -> None:
    """Fills `limit` and `cap` [N] for one path, as in `_Routes`.

    A point has the limit of the on-route lane that runs nearest beside it.
    """
    n = len(line.arc)
    nearest = np.full(n, np.inf)
    limit[:] = p.target_speed
    for lane in on_route:
        begin, end, off = _lane_on_line(line, lanes, offsets[lane], offsets[lane + 1])
        for k in range(np.searchsorted(line.arc, begin), n):
            if line.arc[k] > end:
                break
            if off < nearest[k]:
                nearest[k] = off
                given = lane_limit[lane]
                limit[k] = given if given > 0.0 else p.target_speed
    behind, ahead = 0, 0
    for k in range(n):
        while line.arc[k] - line.arc[behind] > _CURVATURE_WINDOW:
            behind += 1
        while ahead < n - 1 and line.arc[ahead] - line.arc[k] < _CURVATURE_WINDOW:
            ahead += 1
        length = max(line.arc[ahead] - line.arc[behind], _CURVATURE_WINDOW)
        curvature = abs(yaw[ahead] - yaw[behind]) / length
        cap[k] = limit[k]
        if curvature > 1e-6:
            cap[k] = min(cap[k], math.sqrt(p.max_lateral_accel / curvature))
        cap[k] = max(cap[k], min(limit[k], _SLOWEST))
    for k in range(n - 2, -1, -1):
        step = line.arc[k + 1] - line.arc[k]
        cap[k] = min(cap[k], math.sqrt(cap[k + 1] ** 2 + p.max_decel * step))


@njit(cache=True, nogil=True, error_model="numpy")
def _signal_arcs(
    line: Polyline,
    lanes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    signal_lane: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Where the path enters each governed lane [m]; stays as it is for lanes off the path."""
    for g in range(len(signal_lane)):
        lane = signal_lane[g]
        begin, end, off = _lane_on_line(line, lanes, offsets[lane], offsets[lane + 1])
        if off <= _ON_PATH and end > begin:
            out[g] = begin


@njit(cache=True, nogil=True, error_model="numpy")
def _lead_object(
    line: Polyline,
    poses: NDArray[np.float64],
    ego_arc: float,
    half_width: float,
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    size: NDArray[np.float64],
) -> tuple[float, float]:
    """Nearest object ahead in the corridor.

    Args:
        line, poses: the part of the path ahead.
        ego_arc: of the ego's middle [m].
        half_width: of the corridor [m].
        agents, valid, size: [A, ...] now, world frame.

    Returns:
        Arc length at its near end, infinity if there is none, and its speed along the path.
    """
    near, speed = np.inf, 0.0
    last = line.arc[-1]
    pose = np.empty(3)
    for a in range(len(agents)):
        if not valid[a]:
            continue
        x, y, yaw = agents[a, StateIndex.X], agents[a, StateIndex.Y], agents[a, StateIndex.YAW]
        hl, hw = 0.5 * size[a, 0], 0.5 * size[a, 1]
        reach = half_width + math.sqrt(hl * hl + hw * hw)
        run = -1
        for k in range(len(line.bounds)):
            if (
                line.bounds[k, 0] - reach <= x <= line.bounds[k, 2] + reach
                and line.bounds[k, 1] - reach <= y <= line.bounds[k, 3] + reach
            ):
                run = k
                break
        if run < 0:
            continue
        arc, off, run = project(line, x, y, run)
        if off > reach or arc <= ego_arc or arc >= last:
            continue
        c, s = math.cos(yaw), math.sin(yaw)
        low, high, first = np.inf, -np.inf, arc
        for corner in range(4):
            u = hl if corner < 2 else -hl
            v = hw if corner % 2 else -hw
            px, py = x + u * c - v * s, y + u * s + v * c
            corner_arc, _, run = project(line, px, py, run)
            interpolate_path(line.arc, poses, corner_arc, pose)
            side = (py - pose[1]) * math.cos(pose[2]) - (px - pose[0]) * math.sin(pose[2])
            low, high = min(low, side), max(high, side)
            first = min(first, corner_arc)
        if low > half_width or high < -half_width or first >= near:
            continue
        near = first
        interpolate_path(line.arc, poses, arc, pose)
        speed = agents[a, StateIndex.VX] * math.cos(pose[2])
        speed += agents[a, StateIndex.VY] * math.sin(pose[2])
    return near, speed


@njit(cache=True, nogil=True, error_model="numpy")
def _plan(
    rows: NDArray[np.int64],
    ego: NDArray[np.float64],
    merge: NDArray[np.float64],
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    size: NDArray[np.float64],
    signals: NDArray[np.int8],
    routes: _Routes,
    p: _Parameters,
    out: NDArray[np.float64],
) -> None:
    """Plans for every row.

    Args:
        rows: [S], index of each row's route.
        ego: [S, 11] now.
        merge: [S], from `merge_length`.
        agents, valid, size, signals: [S, A, 5], [S, A], [S, A, 3], [S, G], now.
        routes, p: as packed.
        out: [S, POSES, 3], ego frame, overwritten.
    """
    pose = np.empty(3)
    comfort = 2.0 * math.sqrt(p.max_accel * p.max_decel)
    for i in range(len(rows)):
        r = rows[i]
        a, b = routes.begin[r], routes.begin[r + 1]
        c, d = routes.begin_run[r], routes.begin_run[r + 1]
        arc, poses = routes.arc[a:b], routes.poses[a:b]
        limit, cap = routes.limit[a:b], routes.cap[a:b]
        x, y, yaw = ego[i, EgoIndex.X], ego[i, EgoIndex.Y], ego[i, EgoIndex.YAW]
        whole = Polyline(routes.points[a:b], arc, routes.bounds[c:d])
        s, _, run = project(whole, x, y, 0)
        v = max(0.0, ego[i, EgoIndex.VX])

        last = min(int(np.searchsorted(arc, s + _LOOKAHEAD)), b - a - 1)
        last_run = min(d - c, last // _RUN + 1)
        first, stop = run * _RUN, min(b - a, last_run * _RUN + 1)
        ahead = Polyline(whole.points[first:stop], arc[first:stop], whole.bounds[run:last_run])
        lead, lead_speed = _lead_object(
            ahead, poses[first:stop], s + routes.middle[r], routes.half_width[r],
            agents[i], valid[i], size[i],
        )  # fmt: skip
        front = s + routes.front[r]
        # At the route's end the rear axle, not the bumper, comes to stand.
        end = arc[-1] + routes.front[r] + p.min_gap
        if end < lead:
            lead, lead_speed = end, 0.0
        for g in range(routes.signal_arc.shape[1]):
            line_arc = routes.signal_arc[r, g]
            if signals[i, g] == _RED and front <= line_arc < lead:
                lead, lead_speed = line_arc, 0.0

        interpolate_path(arc, poses, s, pose)
        offset = (y - pose[1]) * math.cos(pose[2]) - (x - pose[0]) * math.sin(pose[2])
        slope = math.tan(min(max(wrap_angle(yaw - pose[2]), -STEEPEST), STEEPEST))

        k, begin = 0, s
        cos, sin = math.cos(yaw), math.sin(yaw)
        path_yaw, path_cos, path_sin = np.nan, 0.0, 0.0
        while k < b - a - 2 and arc[k + 1] <= s:
            k += 1
        for t in range(POSES):
            free = max(1.0 - (v / limit[k]) ** 4, -p.max_decel / p.max_accel)
            gap = max(lead + t * DT * lead_speed - s - routes.front[r], p.min_gap)
            wish = p.min_gap + max(0.0, v * p.headway + v * (v - lead_speed) / comfort)
            accel = max(p.max_accel * (free - (wish / gap) ** 2), -_HARDEST_BRAKING)
            m = k
            while m < b - a - 2 and arc[m + 1] <= s + v * DT:
                m += 1
            if cap[m + 1] < limit[k]:  # something ahead asks for less than the limit here
                f = min(1.0, (s + v * DT - arc[m]) / max(arc[m + 1] - arc[m], 1e-9))
                met = cap[m] + f * (cap[m + 1] - cap[m])
                accel = min(accel, max((met - v) / DT, -p.max_decel))
            faster = max(0.0, v + accel * DT)
            s += 0.5 * (v + faster) * DT
            v = faster
            while k < b - a - 2 and arc[k + 1] <= s:
                k += 1
            interpolate_segment(arc, poses, s, k, pose)
            if pose[2] != path_yaw:  # on a straight path they are known
                path_yaw, path_cos, path_sin = pose[2], math.cos(pose[2]), math.sin(pose[2])
            left, rise = _offset_and_slope(offset, slope, merge[i], s - begin)
            dx = pose[0] - left * path_sin - x
            dy = pose[1] + left * path_cos - y
            out[i, t, 0] = cos * dx + sin * dy
            out[i, t, 1] = cos * dy - sin * dx
            out[i, t, 2] = wrap_angle(pose[2] + math.atan(rise) - yaw)
