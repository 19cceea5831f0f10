"""What the network reads, as arrays: the ego, agents, route, lanes and anchors of each moment.

Logs, variants, rollouts and the closed loop all come through `encode`: one moment, one row. Places
are told along and beside the route (s ahead of the ego, d to its left), so that a bend is no harder
than a straight; lanes and the route's own shape are in the ego's frame. Values are scaled to
about 1. Nothing here knows what happens next.

Objects are told as vehicles that stand. Logs hardly ever hold one in the way, so a network that
could tell cones and crates from cars learned of them that they are nothing to mind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.polylines import project, wrap_angle
from roadworthy.observation import ObservationBatch
from roadworthy.scenario import DT, AgentKind

from roadworthy_planners.merging import STEEPEST

from .route_table import CELL, DRIVABLE, ON_ROUTE, SIDES, RouteTable
from .vocabulary import COMFORTABLE, KNOTS, Vocabulary

__all__ = ["FEATURES", "POSES", "encode"]

AGENTS, ROUTE, LANES = 24, 16, 12
"""Most agents and lane pieces (the nearest), and stretches of the route ahead, of a moment."""
FEATURES = {
    "ego": (10,),
    "agents": (AGENTS, 17),
    "agents_mask": (AGENTS,),
    "route": (ROUTE, 25),
    "lanes": (LANES, 13),
    "lanes_mask": (LANES,),
}
"""Shape of each array of a moment; `anchors` [K, 27] comes with them."""
ANCHOR_FEATURES = 27
EGO_MOTION = (1, 2, 3, 9)
"""Columns of `ego` that tell how it was moved, not where and how fast it is."""
POSES = 40
"""Poses of a plan, 0.1 s apart."""

_STRETCH = 5.0  # [m] of the route in one row
_AHEAD = 1.0  # [s], where agents and lanes are ranked from
_STANDS = 0.1  # [m/s], below which an agent counts as standing
_SINCE = 0.5  # [s], over which a change of speed is told
_LOWEST, _ASIDE, _SIDES = float(SIDES[0]), float(SIDES[1] - SIDES[0]), len(SIDES)
_PER_KNOT = POSES // KNOTS
_SECOND = 10  # poses in each second
_LOOK = 2  # poses from one look at the gaps to the next, in which a car moves less than its length
_GAP, _EDGE, _OFF_ROUTE, _RED = 2 * KNOTS, 2 * KNOTS + 8, 2 * KNOTS + 9, 2 * KNOTS + 10
_ON_FOOT = 4  # from the gaps to everyone else to those to people on foot or on a bicycle
Array = NDArray[np.float64]


def encode(
    vocabulary: Vocabulary, routes: Sequence[RouteTable], observations: ObservationBatch
) -> tuple[dict[str, NDArray[np.float32]], Array]:
    """Read S moments.

    Args:
        vocabulary: K anchors.
        routes: one per row of `observations`.
        observations: S moments.

    Returns:
        The arrays [S, ...] of `FEATURES` and `anchors`, float32, and the anchors as plans:
        float64 [S, K, 40, 3], poses in the ego frame every 0.1 s.
    """
    count, many = len(observations), len(vocabulary)
    out = {name: np.zeros((count, *shape), np.float32) for name, shape in FEATURES.items()}
    out["anchors"] = np.zeros((count, many, ANCHOR_FEATURES), np.float32)
    plans = np.empty((count, many, POSES, 3))
    o = observations
    for i, table in enumerate(routes):
        _encode(
            table, vocabulary.profiles, vocabulary.targets, o.ego_state[i],
            o.agents_state[i], o.agents_valid[i], o.agents_kind[i], o.agents_size[i],
            o.signal_state[i],
            out["ego"][i], out["agents"][i], out["agents_mask"][i], out["route"][i],
            out["lanes"][i], out["lanes_mask"][i], out["anchors"][i], plans[i],
        )  # fmt: skip
    return out, plans


@njit(cache=True, nogil=True, error_model="numpy")
def _at(table: RouteTable, s: float) -> tuple[float, float, float]:
    """x, y and unwrapped yaw at an arc length; straight on beyond either end."""
    arc, poses = table.line.arc, table.poses
    k = min(max(np.searchsorted(arc, s, side="right") - 1, 0), len(arc) - 2)
    length = arc[k + 1] - arc[k]
    beyond = s < 0.0 or s > arc[-1]
    f = (s - arc[k]) / length if length > 0.0 else 0.0
    if beyond:
        end = 0 if s < 0.0 else len(arc) - 1
        yaw, ahead = poses[end, 2], s - arc[end]
        return poses[end, 0] + ahead * np.cos(yaw), poses[end, 1] + ahead * np.sin(yaw), yaw
    return (
        poses[k, 0] + f * (poses[k + 1, 0] - poses[k, 0]),
        poses[k, 1] + f * (poses[k + 1, 1] - poses[k, 1]),
        poses[k, 2] + f * (poses[k + 1, 2] - poses[k, 2]),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _locate(table: RouteTable, x: float, y: float) -> tuple[float, float, float]:
    """Arc, offset to the left and the route's yaw there; ends go on straight."""
    s, _, _ = project(table.line, x, y, 0)
    px, py, yaw = _at(table, s)
    dx, dy = x - px, y - py
    ahead = np.cos(yaw) * dx + np.sin(yaw) * dy
    if s <= 0.0 or s >= table.line.arc[-1]:
        s += ahead
    return s, np.cos(yaw) * dy - np.sin(yaw) * dx, yaw


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(distance: Array, most: float, chosen: NDArray[np.int64]) -> int:
    """The indices of the smallest distances below `most`, ascending; returns how many."""
    order = np.argsort(distance, kind="mergesort")
    count = min(len(order), len(chosen))
    for n in range(count):
        if distance[order[n]] >= most:
            return n
        chosen[n] = order[n]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _encode(
    table: RouteTable,
    profiles: Array,
    targets: Array,
    ego: Array,
    state: Array,
    valid: NDArray[np.bool_],
    kind: NDArray[np.int8],
    size: Array,
    signal: NDArray[np.int8],
    out_ego: NDArray[np.float32],
    out_agents: NDArray[np.float32],
    out_agents_mask: NDArray[np.float32],
    out_route: NDArray[np.float32],
    out_lanes: NDArray[np.float32],
    out_lanes_mask: NDArray[np.float32],
    out_anchors: NDArray[np.float32],
    plans: Array,
) -> None:
    now = ego[-1]
    x0, y0, yaw0, v0 = now[0], now[1], now[2], now[3]
    cos0, sin0 = np.cos(yaw0), np.sin(yaw0)
    s0, d0, along = _locate(table, x0, y0)
    off = wrap_angle(yaw0 - along)
    rows = table.ground.shape[0]
    g0 = min(max(int(s0 / CELL), 0), rows - 1)
    red_at = 1e9
    for k in range(len(table.signal_at)):
        at = table.signal_at[k] - s0 - table.car[0] - table.car[1]
        if table.signal_at[k] >= 0.0 and at > -4.0 and signal[k] == 3:
            red_at = min(red_at, at)
    out_ego[0] = v0 / 10.0
    out_ego[1] = now[5] / 3.0
    out_ego[2] = now[9] * 2.0
    out_ego[3] = now[7] * 4.0
    out_ego[4] = d0
    out_ego[5] = np.cos(off)
    out_ego[6] = np.sin(off)
    out_ego[7] = table.limit[g0] / 10.0
    out_ego[8] = min(red_at, 80.0) / 20.0
    out_ego[9] = (v0 - ego[-6, 3]) / 2.0

    # Agents: the nearest to where the ego is in a moment.
    total = state.shape[0]
    distance = np.full(total, np.inf)
    ahead_x, ahead_y = x0 + _AHEAD * v0 * cos0, y0 + _AHEAD * v0 * sin0
    for a in range(total):
        if valid[a, -1]:
            distance[a] = np.hypot(state[a, -1, 0] - ahead_x, state[a, -1, 1] - ahead_y)
    chosen = np.empty(out_agents.shape[0], np.int64)
    count = _nearest(distance, 80.0, chosen)
    extent = np.empty((count, 2))  # half extents along and across the route
    predicted = np.empty((count, POSES // _LOOK, 2))  # s, d at each look
    on_foot = np.empty(count, np.bool_)
    for n in range(count):
        a = chosen[n]
        px, py, yaw, vx, vy = state[a, -1]
        s, d, road = _locate(table, px, py)
        turn = wrap_angle(yaw - road)
        vs, vd = np.cos(road) * vx + np.sin(road) * vy, np.cos(road) * vy - np.sin(road) * vx
        half_l, half_w = 0.5 * size[a, 0], 0.5 * size[a, 1]
        c, w = abs(np.cos(turn)), abs(np.sin(turn))
        extent[n, 0], extent[n, 1] = half_l * c + half_w * w, half_l * w + half_w * c
        on_foot[n] = kind[a] == AgentKind.PEDESTRIAN or kind[a] == AgentKind.BICYCLE
        f = out_agents[n]
        f[0], f[1] = (s - s0) / 20.0, d / 5.0
        f[2], f[3] = vs / 10.0, vd / 5.0
        f[4], f[5] = np.cos(turn), np.sin(turn)
        f[6], f[7] = half_l / 2.0, half_w
        speed, brake = np.hypot(vx, vy), 0.0
        if valid[a, -6]:
            then = state[a, -6]
            f[8] = speed - np.hypot(then[3], then[4])
            brake = max(0.0, -f[8] / _SINCE)
            f[9] = wrap_angle(yaw - then[2]) * 4.0
            f[10] = 1.0
        f[11 + (int(kind[a]) if on_foot[n] else 0)] = 1.0
        f[14] = 1.0 if speed < _STANDS else 0.0
        f[15] = (cos0 * (px - x0) + sin0 * (py - y0)) / 20.0
        f[16] = (cos0 * (py - y0) - sin0 * (px - x0)) / 20.0
        out_agents_mask[n] = 1.0
        for look in range(POSES // _LOOK):
            time = DT * _LOOK * (look + 1)
            if brake > 0.0:
                stands = speed / brake
                time = min(time, stands)
                time -= 0.5 * time * time / max(stands, 1e-3)
            predicted[n, look, 0] = s - s0 + vs * time
            predicted[n, look, 1] = d + vd * time

    # The route ahead, in stretches of 5 m.
    for r in range(out_route.shape[0]):
        at = _STRETCH * (r + 0.5)
        s = s0 + at
        x, y, yaw = _at(table, s)
        _, _, further = _at(table, s + _STRETCH)
        f = out_route[r]
        f[0] = (cos0 * (x - x0) + sin0 * (y - y0)) / 40.0
        f[1] = (cos0 * (y - y0) - sin0 * (x - x0)) / 40.0
        f[2], f[3] = np.cos(yaw - yaw0), np.sin(yaw - yaw0)
        f[4] = (further - yaw) * 4.0
        f[5] = at / 80.0
        if s <= table.line.arc[-1]:
            g = min(max(int(s / CELL), 0), rows - 1)
            f[6] = 1.0
            f[7] = table.limit[g] / 10.0
            for side in range(_SIDES):
                f[8 + side] = 1.0 if table.ground[g, side] & DRIVABLE else 0.0
                f[15 + side] = 1.0 if table.ground[g, side] & ON_ROUTE else 0.0
        for k in range(len(table.signal_at)):
            ahead = (table.signal_at[k] - s0) / _STRETCH
            if table.signal_at[k] >= 0.0 and r <= ahead < r + 1 and signal[k] > 0:
                f[21 + signal[k]] = 1.0

    # Lanes around.
    pieces = table.pieces
    far = np.empty(len(pieces.lane))
    for p in range(len(far)):
        far[p] = np.hypot(
            0.5 * (pieces.points[p, 1, 0] + pieces.points[p, 2, 0]) - ahead_x,
            0.5 * (pieces.points[p, 1, 1] + pieces.points[p, 2, 1]) - ahead_y,
        )
    near = np.empty(out_lanes.shape[0], np.int64)
    for n in range(_nearest(far, 60.0, near)):
        p = near[n]
        f = out_lanes[n]
        for k in range(4):
            dx, dy = pieces.points[p, k, 0] - x0, pieces.points[p, k, 1] - y0
            f[2 * k] = (cos0 * dx + sin0 * dy) / 20.0
            f[2 * k + 1] = (cos0 * dy - sin0 * dx) / 20.0
        f[8] = 1.0 if table.piece_on_route[p] else 0.0
        f[9] = 1.0 if pieces.connector[p] else 0.0
        held = table.piece_signal[p]
        if held >= 0 and signal[held] > 0:
            f[9 + signal[held]] = 1.0
        out_lanes_mask[n] = 1.0

    _place_anchors(
        table, profiles, targets, now, s0, d0, off, red_at, predicted, extent, on_foot,
        out_anchors, plans,
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _place_anchors(
    table: RouteTable,
    profiles: Array,
    targets: Array,
    now: Array,
    s0: float,
    d0: float,
    off: float,
    red_at: float,
    predicted: Array,
    extent: Array,
    on_foot: NDArray[np.bool_],
    out: NDArray[np.float32],
    plans: Array,
) -> None:
    """Each anchor's places at the knots, what a glance tells of it, and its poses.

    A glance: the gaps to the nearest agent and to the nearest on foot or on a bicycle, did everyone
    keep their velocity (or go on braking), in each second; the shares of knots off the drivable
    area and off the route's lanes; and a red light crossed.
    """
    x0, y0, yaw0, v0 = now[0], now[1], now[2], now[3]
    cos0, sin0 = np.cos(yaw0), np.sin(yaw0)
    slope0 = np.tan(min(max(off, -STEEPEST), STEEPEST))
    to_centre, half_length, half_width = table.car[0], table.car[1], table.car[2]
    rows = table.ground.shape[0]
    driven = np.empty(POSES)
    for l in range(len(profiles)):
        s, speed = 0.0, max(v0, 0.0)
        for t in range(POSES):
            knot, f = t // _PER_KNOT, (t % _PER_KNOT + 1) / _PER_KNOT
            base = 0.0 if knot == 0 else profiles[l, knot - 1]
            new = max(0.0, v0 + base + f * (profiles[l, knot] - base))
            s += 0.05 * (speed + new)
            speed = new
            driven[t] = s
        for m in range(len(targets)):
            k = l * len(targets) + m
            aside = d0 - targets[m]
            length = max(3.0, 0.5 * v0, v0 * np.sqrt(abs(aside) / COMFORTABLE))
            rate = slope0 + aside / length
            f = out[k]
            f[_GAP:_EDGE] = 6.0
            f[_EDGE:] = 0.0
            for t in range(POSES):
                u = driven[t]
                decay = np.exp(-u / length)
                spring = aside + rate * u
                d = targets[m] + spring * decay
                slope = (rate - spring / length) * decay
                px, py, yaw = _at(table, s0 + u)
                dx = px - d * np.sin(yaw) - x0
                dy = py + d * np.cos(yaw) - y0
                plans[k, t, 0] = cos0 * dx + sin0 * dy
                plans[k, t, 1] = cos0 * dy - sin0 * dx
                turn = yaw + np.arctan(slope) - yaw0
                plans[k, t, 2] = turn
                if (t + 1) % _LOOK == 0:
                    look = t // _LOOK
                    for a in range(len(predicted)):
                        gap_s = abs(predicted[a, look, 0] - u - to_centre) - extent[a, 0]
                        gap_d = abs(predicted[a, look, 1] - d) - extent[a, 1]
                        gap = max(gap_s - half_length, gap_d - half_width)
                        column = _GAP + t // _SECOND + (_ON_FOOT if on_foot[a] else 0)
                        f[column] = min(f[column], gap)
                if (t + 1) % _PER_KNOT != 0:
                    continue
                knot = t // _PER_KNOT
                f[2 * knot], f[2 * knot + 1] = u / 20.0, d
                at = s0 + u + to_centre
                if at <= table.line.arc[-1]:
                    g = min(max(int(at / CELL), 0), rows - 1)
                    for edge in (-half_width, half_width):
                        side = min(max(int((d + edge - _LOWEST) / _ASIDE + 0.5), 0), _SIDES - 1)
                        if table.ground[g, side] & DRIVABLE == 0:
                            f[_EDGE] += 0.5 / KNOTS
                    side = min(max(int((d - _LOWEST) / _ASIDE + 0.5), 0), _SIDES - 1)
                    if table.ground[g, side] & ON_ROUTE == 0:
                        f[_OFF_ROUTE] += 1.0 / KNOTS
                if u > red_at + 0.5:
                    f[_RED] = 1.0
            first = 2.0 * np.pi * np.round(plans[k, 0, 2] / (2.0 * np.pi))
            for t in range(POSES):
                plans[k, t, 2] -= first
            for c in range(_GAP, _EDGE):
                f[c] = max(f[c], -2.0) / 3.0
