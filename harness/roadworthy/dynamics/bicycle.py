"""The kinematic bicycle with first-order actuator lag (specification, section 2c; nuPlan)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.geometry.polylines import wrap_angle

__all__ = ["bicycle_step"]

_ACCEL_TIME_CONSTANT = 0.2
_STEER_TIME_CONSTANT = 0.05
_MAX_STEER = math.pi / 3.0


@njit(cache=True, nogil=True, error_model="numpy")
def bicycle_step(
    state: NDArray[np.float64],
    accel: float,
    steer_rate: float,
    wheelbase: float,
    dt: float,
    out: NDArray[np.float64],
) -> None:
    """Advance one step by explicit Euler.

    Args:
        state: float64 [11], ego state (`EgoIndex`), world pose of the rear axle.
        accel: commanded acceleration [m/s^2].
        steer_rate: commanded steering rate [rad/s].
        wheelbase: [m].
        dt: step [s].
        out: float64 [11], overwritten; may be `state` itself.
    """
    x, y, yaw, vx, steer, yaw_rate = state[0], state[1], state[2], state[3], state[7], state[9]
    ax = state[5] + dt / (dt + _ACCEL_TIME_CONSTANT) * (accel - state[5])
    rate = dt / (dt + _STEER_TIME_CONSTANT) * (dt * steer_rate) / dt
    out[0] = x + vx * math.cos(yaw) * dt
    out[1] = y + vx * math.sin(yaw) * dt
    out[2] = wrap_angle(yaw + vx * math.tan(steer) / wheelbase * dt)
    vx += ax * dt
    steer = min(max(steer + rate * dt, -_MAX_STEER), _MAX_STEER)
    out[3] = vx
    out[4] = 0.0
    out[5] = ax
    out[6] = 0.0
    out[7] = steer
    out[8] = rate
    out[9] = vx * math.tan(steer) / wheelbase
    out[10] = (out[9] - yaw_rate) / dt
