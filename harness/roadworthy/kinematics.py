"""Velocities and ego states from logged positions.

Logs often hold poses alone. Derivatives come from a quadratic fitted by least squares to a
window of poses around each step (Savitzky and Golay, Analytical Chemistry 36 (1964) 1627);
near the ends of a track the window stays whole and the fit is evaluated off its middle.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from roadworthy.scenario import DT, STATE_SIZE, StateIndex
from roadworthy.vehicle import EGO_STATE_SIZE, EgoIndex, Vehicle

__all__ = [
    "MAX_STEER",
    "ego_states_from_poses",
    "fill_gaps",
    "smooth_derivative",
    "track_velocities",
]

MAX_STEER = np.pi / 3
"""Bound on the steering angle [rad], that of the bicycle model in the PDM Score."""

_WINDOW = 7
_CRAWL = 0.5
_PARKED_RADIUS = 0.3
_STANDSTILL = 0.05


@lru_cache(maxsize=256)
def _fit_matrix(window: int, order: int, derivative: int, dt: float) -> NDArray[np.float64]:
    """[window, window]: row i gives the derivative at sample i from the window's samples."""
    steps = np.arange(window, dtype=np.float64)
    rows = np.empty((window, window))
    for at in range(window):
        powers = np.vander((steps - at) * dt, order + 1, increasing=True)
        factor = float(np.prod(np.arange(1, derivative + 1)))
        rows[at] = np.linalg.pinv(powers)[derivative] * factor
    return rows


def smooth_derivative(
    values: NDArray[np.float64], derivative: int = 1, window: int = _WINDOW, dt: float = DT
) -> NDArray[np.float64]:
    """Derivative of a series by a local quadratic fit.

    Args:
        values: [T, ...], evenly spaced in time, finite.
        derivative: 0 smooths, 1 and 2 differentiate.
        window: samples in the fit, odd; shortened to fit a short series.
        dt: seconds between samples.

    Returns:
        [T, ...]; zeros where the series is too short for the derivative asked for.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    size = min(window, n)
    if size <= derivative:
        return values.copy() if derivative == 0 else np.zeros_like(values)
    rows = _fit_matrix(size, min(2, size - 1), derivative, dt)
    flat = values.reshape(n, -1)
    origin = flat[:1]
    windows = np.lib.stride_tricks.sliding_window_view(flat - origin, size, axis=0)
    half = size // 2
    out = np.empty_like(flat)
    out[half : half + len(windows)] = windows @ rows[half]
    out[:half] = rows[:half] @ windows[0].T
    out[half + len(windows) :] = rows[half + 1 :] @ windows[-1].T
    if derivative == 0:
        out += origin
    return out.reshape(values.shape)


def ego_states_from_poses(
    poses: NDArray[np.float64],
    vehicle: Vehicle,
    dt: float = DT,
    velocity: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Full ego states from rear-axle poses.

    Positions and headings are kept as logged. Velocity is the world velocity turned into the
    vehicle's frame; acceleration is what an accelerometer at the rear axle would read in the
    plane (so AY contains the centripetal part). Steering is that of a kinematic bicycle,
    atan(wheelbase * yaw rate / VX); below 0.5 m/s it is not observable and is interpolated
    between the neighbouring times at which it is.

    Args:
        poses: [T, 3] x, y, yaw, world frame, rear axle.
        vehicle: gives the wheelbase.
        dt: seconds between poses.
        velocity: [T, 2] world velocity, for logs that measured it; by default it is derived
            from the positions.

    Returns:
        [T, 11] `EgoIndex`; the heading is continuous (unwrapped).
    """
    poses = np.asarray(poses, np.float64)
    out = np.zeros((len(poses), EGO_STATE_SIZE))
    yaw = np.unwrap(poses[:, 2])
    if velocity is None:
        velocity = smooth_derivative(poses[:, :2], 1, dt=dt)
        acceleration = smooth_derivative(poses[:, :2], 2, dt=dt)
    else:
        acceleration = smooth_derivative(velocity, 1, dt=dt)
    cos, sin = np.cos(yaw), np.sin(yaw)
    out[:, EgoIndex.X : EgoIndex.Y + 1] = poses[:, :2]
    out[:, EgoIndex.YAW] = yaw
    out[:, EgoIndex.VX] = vx = cos * velocity[:, 0] + sin * velocity[:, 1]
    out[:, EgoIndex.VY] = cos * velocity[:, 1] - sin * velocity[:, 0]
    out[:, EgoIndex.AX] = cos * acceleration[:, 0] + sin * acceleration[:, 1]
    out[:, EgoIndex.AY] = cos * acceleration[:, 1] - sin * acceleration[:, 0]
    out[:, EgoIndex.YAW_RATE] = rate = smooth_derivative(yaw, 1, dt=dt)
    out[:, EgoIndex.YAW_ACCEL] = smooth_derivative(yaw, 2, dt=dt)
    seen = np.flatnonzero(np.abs(vx) > _CRAWL)
    if len(seen):
        angle = np.clip(np.arctan(vehicle.wheelbase * rate[seen] / vx[seen]), -MAX_STEER, MAX_STEER)
        steer = np.interp(np.arange(len(poses)), seen, angle)
        out[:, EgoIndex.STEER] = steer
        out[:, EgoIndex.STEER_RATE] = smooth_derivative(steer, 1, dt=dt)
    return out


def track_velocities(
    position: NDArray[np.float64], valid: NDArray[np.bool_], dt: float = DT
) -> NDArray[np.float64]:
    """Velocity of one track, run of valid steps by run.

    A track that never leaves a circle of 0.3 m around its median is standing: what moves is
    the annotation, and its velocity is zero. Speeds below 0.05 m/s are zero too.

    Args:
        position: [T, 2] world positions, read where valid.
        valid: bool [T].

    Returns:
        [T, 2] world velocity [m/s]; zeros where not valid.
    """
    out = np.zeros((len(position), 2))
    here = position[valid]
    if len(here) == 0 or np.hypot(*(here - np.median(here, axis=0)).T).max() < _PARKED_RADIUS:
        return out
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    for begin, end in edges.reshape(-1, 2):
        if end - begin > 1:
            out[begin:end] = smooth_derivative(position[begin:end], 1, dt=dt)
        else:
            out[begin] = _lone_velocity(position, valid, begin, dt)
    out[np.hypot(out[:, 0], out[:, 1]) < _STANDSTILL] = 0.0
    return out


def _lone_velocity(
    position: NDArray[np.float64], valid: NDArray[np.bool_], step: int, dt: float
) -> NDArray[np.float64]:
    """Velocity of a step with no valid neighbour, from the nearest valid one."""
    others = np.flatnonzero(valid)
    others = others[others != step]
    if len(others) == 0:
        return np.zeros(2)
    other = others[np.argmin(np.abs(others - step))]
    return np.asarray((position[other] - position[step]) / ((other - step) * dt))


def fill_gaps(
    state: NDArray[np.float64], valid: NDArray[np.bool_], longest: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Bridge short gaps of one track by straight lines.

    Args:
        state: [T, 5] `StateIndex`, read where valid.
        valid: bool [T].
        longest: gaps of up to this many steps are filled.

    Returns:
        State and validity with the gaps filled; headings there turn the short way.
    """
    state, valid = state.copy(), valid.copy()
    steps = np.flatnonzero(valid)
    for before, after in itertools.pairwise(steps):
        if not 1 < after - before <= longest + 1:
            continue
        share = (np.arange(before + 1, after) - before)[:, None] / (after - before)
        change = state[after] - state[before]
        turn = change[StateIndex.YAW]
        change[StateIndex.YAW] = np.arctan2(np.sin(turn), np.cos(turn))
        state[before + 1 : after] = state[before] + share * change.reshape(1, STATE_SIZE)
        valid[before + 1 : after] = True
    return state, valid
