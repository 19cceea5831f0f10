r"""The intelligent driver model, and what vehicles want in the absence of others.

$$\dot v = a\left[1 - (v/v_0)^4 - (s^*/s)^2\right],\quad
s^* = s_0 + \max\left(0,\; vT + \frac{v\,\Delta v}{2\sqrt{ab}}\right)$$

M. Treiber, A. Hennecke and D. Helbing, "Congested traffic states in empirical observations and
microscopic simulations", Physical Review E 62 (2000) 1805. s is the gap bumper to bumper and
Delta v the approach rate.
"""

from __future__ import annotations

import math

from .kernel import kernel

__all__ = [
    "ACCELERATION",
    "DECELERATION",
    "EMERGENCY",
    "HEADWAY",
    "JAM_GAP",
    "advance",
    "equilibrium_gap",
    "free_acceleration",
    "idm_acceleration",
]

ACCELERATION = 1.5
"""a [m/s^2]."""
DECELERATION = 2.0
"""b, comfortable [m/s^2]."""
HEADWAY = 1.5
"""T [s]."""
JAM_GAP = 2.0
"""s_0 [m]."""
EMERGENCY = 8.0
"""Hardest braking [m/s^2]."""
_TOO_FAST = -3.0
_ROOT = 2.0 * math.sqrt(ACCELERATION * DECELERATION)


@kernel
def free_acceleration(speed: float, wish: float) -> float:
    """Acceleration on an empty road [m/s^2]; being too fast is corrected at 3 m/s^2 at most.

    Args:
        speed, wish: actual and desired speed [m/s].
    """
    ratio = speed / max(wish, 0.1)
    square = ratio * ratio
    return max(_TOO_FAST, ACCELERATION * (1.0 - square * square))


@kernel
def idm_acceleration(speed: float, wish: float, gap: float, leader_speed: float) -> float:
    """Acceleration behind a leader [m/s^2], never below `-EMERGENCY`.

    Args:
        speed, wish: actual and desired speed [m/s].
        gap: front bumper to the leader's rear [m]; none or negative brakes as hard as it can.
        leader_speed: along the lane [m/s].
    """
    free = free_acceleration(speed, wish)
    if gap <= 0.0:
        return -EMERGENCY
    want = JAM_GAP + max(0.0, speed * HEADWAY + speed * (speed - leader_speed) / _ROOT)
    ratio = want / gap
    return max(-EMERGENCY, free - ACCELERATION * ratio * ratio)


@kernel
def equilibrium_gap(speed: float, wish: float) -> float:
    """Gap [m] at which a vehicle follows at constant `speed`: s*(v, 0) / sqrt(1 - (v/v_0)^4)."""
    return (JAM_GAP + speed * HEADWAY) / math.sqrt(1.0 - (speed / wish) ** 4)


@kernel
def advance(speed: float, acceleration: float, dt: float) -> tuple[float, float]:
    """Distance travelled [m] and speed after `dt`: ballistic, standing still at zero speed.

    M. Treiber and A. Kesting, Traffic Flow Dynamics (2013), section 11.5 ("ballistic update").
    """
    after = speed + acceleration * dt
    if after <= 0.0:
        return (speed * speed / (-2.0 * acceleration) if acceleration < 0.0 else 0.0), 0.0
    return 0.5 * (speed + after) * dt, after
