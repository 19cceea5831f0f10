"""Kernels of the search: contact, foresight, and manoeuvres rolled out along a path."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.geometry.boxes import boxes_intersect, segment_intersects_box
from roadworthy.geometry.polygons import PolygonIndex, entry_contains, grid_cell
from roadworthy.scenario import DT

__all__ = ["first_contact", "onset_of", "search", "seen"]

_BEHIND = math.cos(math.radians(150.0))
_QUINTIC = 5.7735
"""Largest second derivative of 10 u³ - 15 u⁴ + 6 u⁵ on [0, 1]."""
_STEEPEST = 0.5
_MIN_LENGTH = 3.75
"""Length of a swerve over its offset at which the steepest part is `_STEEPEST` (sine)."""


@njit(cache=True, nogil=True, error_model="numpy")
def _touches(
    ego: NDArray[np.float64],
    car: NDArray[np.float64],
    grow: float,
    other: NDArray[np.float64],
    half: NDArray[np.float64],
) -> bool:
    """Whether the ego's box, grown by `grow` on each side, meets another's."""
    c, s = math.cos(ego[2]), math.sin(ego[2])
    x, y = ego[0] + car[2] * c, ego[1] + car[2] * s
    reach = car[0] + car[1] + grow + half[0] + half[1]
    if abs(other[0] - x) > reach or abs(other[1] - y) > reach:
        return False
    met = boxes_intersect(
        x, y, c, s, car[0] + grow, car[1] + grow,
        other[0], other[1], math.cos(other[2]), math.sin(other[2]), half[0], half[1],
    )  # fmt: skip
    return bool(met)


@njit(cache=True, nogil=True, error_model="numpy")
def _behind(ego: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether a box's centre is seen at more than 150° from the ego's rear axle."""
    dx, dy = other[0] - ego[0], other[1] - ego[1]
    ahead = dx * math.cos(ego[2]) + dy * math.sin(ego[2])
    return bool(ahead < _BEHIND * math.sqrt(dx * dx + dy * dy))


@njit(cache=True, nogil=True, error_model="numpy")
def first_contact(
    drive: NDArray[np.float64],
    first: int,
    car: NDArray[np.float64],
    grow: float,
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half: NDArray[np.float64],
    reactive: NDArray[np.bool_],
    excused: NDArray[np.bool_],
) -> tuple[int, int]:
    """First step from `first` on at which a drive touches someone, and whom; (-1, -1) for never.

    A reactive agent whose first touch comes from behind is excused, then and later.

    Args:
        drive: [N, 4] x, y, yaw, speed of the rear axle.
        first: step.
        car: [3] half length, half width, rear axle to centre.
        grow: how much nearer than touching counts [m]; not for agents behind that may react.
        agents: [A, N, 5] `StateIndex`; valid: bool [A, N]; half: [A, 2]; reactive: bool [A].
        excused: bool [A], set for those excused.
    """
    for k in range(first, len(drive)):
        for a in range(len(agents)):
            if not valid[a, k] or excused[a]:
                continue
            if not _touches(drive[k], car, grow, agents[a, k], half[a]):
                continue
            if reactive[a] and _behind(drive[k], agents[a, k]):
                excused[a] = _touches(drive[k], car, 0.0, agents[a, k], half[a])
                continue
            return k, a
    return -1, -1


@njit(cache=True, nogil=True, error_model="numpy")
def seen(
    drive: NDArray[np.float64],
    car: NDArray[np.float64],
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half: NDArray[np.float64],
    blocks: NDArray[np.bool_],
    agent: int,
) -> NDArray[np.bool_]:
    """At which steps an agent is in view: bool [N].

    There is a free line from the middle of the ego's box to the agent's centre or to one of its
    corners, past everyone else who blocks the view.

    Args:
        drive: [N, 4]; car: [3], as in `first_contact`.
        agents: [A, N, 5] `StateIndex`; valid: bool [A, N]; half: [A, 2].
        blocks: bool [A], who cannot be seen through or over.
        agent: who is looked for.
    """
    out = np.zeros(len(drive), np.bool_)
    for k in range(len(drive)):
        if not valid[agent, k]:
            continue
        px = drive[k, 0] + car[2] * math.cos(drive[k, 2])
        py = drive[k, 1] + car[2] * math.sin(drive[k, 2])
        c, s = math.cos(agents[agent, k, 2]), math.sin(agents[agent, k, 2])
        for corner in range(5):
            lon = 0.0 if corner == 4 else (1.0 if corner < 2 else -1.0) * half[agent, 0]
            lat = 0.0 if corner == 4 else (1.0 if corner % 2 else -1.0) * half[agent, 1]
            qx = agents[agent, k, 0] + lon * c - lat * s
            qy = agents[agent, k, 1] + lon * s + lat * c
            free = True
            for b in range(len(agents)):
                if b == agent or not blocks[b] or not valid[b, k]:
                    continue
                if segment_intersects_box(
                    px, py, qx, qy, agents[b, k, 0], agents[b, k, 1],
                    math.cos(agents[b, k, 2]), math.sin(agents[b, k, 2]), half[b, 0], half[b, 1],
                ):  # fmt: skip
                    free = False
                    break
            if free:
                out[k] = True
                break
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def onset_of(
    drive: NDArray[np.float64],
    contact: int,
    car: NDArray[np.float64],
    track: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half: NDArray[np.float64],
    visible: NDArray[np.bool_],
    reach: int,
) -> int:
    """First step of the unbroken run up to `contact` at which contact can be foreseen.

    Foreseen: the agent is in view and, going on from there at its velocity and heading, meets the
    drive within `reach` steps.

    Args:
        drive: [N, 4].
        contact: step of the contact.
        car: [3], as in `first_contact`.
        track: [N, 5] the agent's states; valid: bool [N]; half: [2].
        visible: bool [N], as `seen` says.
        reach: steps.
    """
    other = np.empty(5)
    for k in range(contact, -1, -1):
        met = False
        if valid[k] and (visible[k] or k == contact):
            other[:] = track[k]
            for j in range(k, min(k + reach + 1, len(drive))):
                other[0] = track[k, 0] + track[k, 3] * DT * (j - k)
                other[1] = track[k, 1] + track[k, 4] * DT * (j - k)
                if _touches(drive[j], car, 0.0, other, half):
                    met = True
                    break
        if not met:
            return k + 1
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def _swerve(u: float) -> tuple[float, float]:
    """Quintic step from 0 to 1 on [0, 1], and its derivative."""
    if u <= 0.0:
        return 0.0, 0.0
    if u >= 1.0:
        return 1.0, 0.0
    return u * u * u * (10.0 + u * (6.0 * u - 15.0)), 30.0 * u * u * (1.0 - u) * (1.0 - u)


@njit(cache=True, nogil=True, error_model="numpy")
def _roll(
    path: NDArray[np.float64],
    row: NDArray[np.float64],
    limits: NDArray[np.float64],
    begin: int,
    out: NDArray[np.float64],
) -> bool:
    """Roll one manoeuvre out from `out[begin]`; whether it keeps within the limits.

    Along the path the ego never drives faster than the base drive did there, so that it slows
    down for what the base drive slowed down for.

    Args:
        path: [P, 5] station, x, y, yaw, speed of the base drive; station 0 is `out[begin]`.
        row: a manoeuvre, `manoeuvres.Column`.
        limits: [4] lateral, combined, jerk, curvature.
        begin: step.
        out: [N, 4]; rows after `begin` are written.
    """
    first = out[begin, 3]
    least, offset = row[1] * first, row[2]
    length = 1.0
    if offset != 0.0:
        if first < 1.0:
            return False
        length = first * math.sqrt(_QUINTIC * abs(offset) / row[3])
        tight = math.sqrt(_QUINTIC * abs(offset) / limits[3])
        length = max(length, _MIN_LENGTH * abs(offset), tight)
    back = length + row[4] * first if row[4] >= 0.0 else math.inf
    station, travelled, speed, brake, at = 0.0, 0.0, first, 0.0, 0
    for k in range(begin + 1, len(out)):
        brake = min(row[0], brake + limits[2] * DT)
        wanted = speed
        if speed > least:
            wanted = max(least, speed - brake * DT)
        # Where the base drive is at this station decides how fast the ego may be.
        share = (station - path[at, 0]) / (path[at + 1, 0] - path[at, 0])
        cap = path[at, 4] + share * (path[at + 1, 4] - path[at, 4])
        after = max(0.0, min(wanted, max(cap, speed - limits[1] * DT)))
        moved = 0.5 * (speed + after) * DT
        mid = travelled + 0.5 * moved
        side, slope = _swerve(mid / length)
        side_back, slope_back = _swerve((mid - back) / length)
        d = offset * (side - side_back)
        sine = offset * (slope - slope_back) / length
        if abs(sine) > _STEEPEST + 1e-9:
            return False
        bend = (path[at + 1, 3] - path[at, 3]) / (path[at + 1, 0] - path[at, 0])
        room = 1.0 - bend * d
        if room < 0.2:
            return False
        station += moved * math.sqrt(1.0 - sine * sine) / room
        travelled += moved
        while at + 2 < len(path) and station >= path[at + 1, 0]:
            at += 1
        if station > path[at + 1, 0]:
            return False
        share = (station - path[at, 0]) / (path[at + 1, 0] - path[at, 0])
        side, slope = _swerve(travelled / length)
        side_back, slope_back = _swerve((travelled - back) / length)
        d = offset * (side - side_back)
        sine = min(max(offset * (slope - slope_back) / length, -1.0), 1.0)
        yaw = path[at, 3] + share * (path[at + 1, 3] - path[at, 3])
        out[k, 0] = path[at, 1] + share * (path[at + 1, 1] - path[at, 1]) - d * math.sin(yaw)
        out[k, 1] = path[at, 2] + share * (path[at + 1, 2] - path[at, 2]) + d * math.cos(yaw)
        out[k, 2] = yaw + math.asin(sine)
        out[k, 3] = after
        lon = (after - speed) / DT
        turn = out[k, 2] - out[k - 1, 2]
        lat = 0.5 * (speed + after) * turn / DT
        if abs(lat) > limits[0] or lon * lon + lat * lat > limits[1] * limits[1]:
            return False
        if abs(turn) > limits[3] * moved + 1e-3:
            return False
        speed = after
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _on_road(
    drive: NDArray[np.float64],
    first: int,
    car: NDArray[np.float64],
    road: PolygonIndex,
) -> bool:
    """Whether all corners lie on the road at every step from `first` on."""
    for k in range(first, len(drive)):
        c, s = math.cos(drive[k, 2]), math.sin(drive[k, 2])
        x, y = drive[k, 0] + car[2] * c, drive[k, 1] + car[2] * s
        for q in range(4):
            lon = car[0] if q < 2 else -car[0]
            lat = car[1] if q % 2 else -car[1]
            px, py = x + lon * c - lat * s, y + lon * s + lat * c
            cell = grid_cell(road, px, py)
            found = False
            if cell >= 0:
                for e in range(road.start[cell], road.start[cell + 1]):
                    if entry_contains(road, e, px, py):
                        found = True
                        break
            if not found:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def search(
    path: NDArray[np.float64],
    rows: NDArray[np.float64],
    limits: NDArray[np.float64],
    begin: int,
    car: NDArray[np.float64],
    grow: float,
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half: NDArray[np.float64],
    reactive: NDArray[np.bool_],
    behind: NDArray[np.bool_],
    road: PolygonIndex,
    out: NDArray[np.float64],
    excused: NDArray[np.bool_],
) -> int:
    """The first manoeuvre that survives, -1 if none does.

    Args:
        path, limits, begin: as in `_roll`.
        rows: [M, 5] manoeuvres.
        car, grow, agents, valid, half, reactive: as in `first_contact`.
        behind: bool [A], who was excused before `begin`.
        road: polygons of what is drivable; asked of swerves alone.
        out: [N, 4], the base drive up to `begin`; rows after it are overwritten.
        excused: bool [A], overwritten with who is excused.
    """
    for m in range(len(rows)):
        if not _roll(path, rows[m], limits, begin, out):
            continue
        excused[:] = behind
        if first_contact(out, begin + 1, car, grow, agents, valid, half, reactive, excused)[0] >= 0:
            continue
        if rows[m, 2] == 0.0 or _on_road(out, begin + 1, car, road):
            return m
    return -1
