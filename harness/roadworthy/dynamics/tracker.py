"""From a plan to controls: interpolation, reference profiles, one LQR step.

The tracker of nuPlan's closed loop (Karnchanachari et al. 2024) as NAVSIM batches it (Dauner et
al. 2024). A plan is sampled every DT, its speed and curvature profiles are found by regularised
least squares once, and at each step a ten-step look-ahead gives one acceleration and one
steering rate.

Speed profile of M displacements. The model is displacement_i = (cos h_i, sin h_i) dt v_i with
v_i = v_0 + dt sum_{j<i} a_j. Since cos^2 + sin^2 = 1 its normal matrix does not depend on the
plan, so the profile is one constant [M, M] operator on the displacements projected on the
headings. The penalty is 1e-4 (a_0^2 + ... + a_{M-4}^2 + (a_{M-2} - a_{M-3})^2), as NAVSIM's
implementation has it.

Curvature profile. The model is dpsi_i = v_i dt kappa_i, penalty 1e-2 sum ((kappa_{i+1} -
kappa_i)/dt)^2 + 1e-10 kappa_0^2: tridiagonal in kappa, an M-matrix, and eliminated without any
subtraction, so each pivot is accurate to a few units in the last place.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.geometry.polylines import wrap_angle

__all__ = [
    "DT",
    "LOOKAHEAD",
    "control_step",
    "interpolate_plan",
    "plan_profile",
    "velocity_operator",
    "wrap_open",
]

DT = 0.1
"""Control and simulation step [s]."""
LOOKAHEAD = 10
"""Steps that the tracker looks ahead."""

_ACCEL_PENALTY = 1e-4
_CURVATURE_RATE_PENALTY = 1e-2
_CURVATURE_PENALTY = 1e-10
_STOPPING_SPEED = 0.2
_STOPPING_GAIN = 0.5
_SPEED_GAIN = 10.0 / 11.0  # one-step LQR: q = 10, r = 1, B = LOOKAHEAD * DT = 1 s


@lru_cache(maxsize=64)
def velocity_operator(displacements: int) -> NDArray[np.float64]:
    """The operator from heading-projected displacements to speeds.

    Args:
        displacements: M >= 1, the plan's poses less one.

    Returns:
        float64 [M, M], shared (do not write to it) and transposed for `plan_profile`:
        v = along @ operator [m/s], along_i = dx_i cos h_i + dy_i sin h_i [m].
    """
    m = displacements
    if m < 1:
        raise ValueError(f"a plan needs at least one displacement, got {m}")
    to_speed = np.zeros((m, m))
    to_speed[:, 0] = 1.0
    for j in range(m - 1):
        to_speed[j + 1 :, 1 + j] = DT
    penalty = np.zeros((m, m))
    for j in range(m - 3):
        penalty[1 + j, 1 + j] += 1.0
    if m >= 3:
        last = np.zeros(m)
        last[m - 1], last[m - 2] = 1.0, -1.0
        penalty += np.outer(last, last)
    normal = DT * DT * to_speed.T @ to_speed + _ACCEL_PENALTY * penalty
    operator = to_speed @ np.linalg.pinv(normal) @ (DT * to_speed.T)
    return np.ascontiguousarray(operator.T)


@njit(cache=True, nogil=True, error_model="numpy")
def wrap_open(angle: float) -> float:
    """The same angle in (-pi, pi] [rad]."""
    return -wrap_angle(-angle)


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate_plan(
    origin: NDArray[np.float64],
    plan: NDArray[np.float64],
    interval: float,
    out: NDArray[np.float64],
) -> None:
    """Sample a plan every DT in the world frame (specification, section 1).

    Args:
        origin: float64 [>=3], rear axle pose (x, y, yaw) in the world frame; the plan's origin.
        plan: float64 [N, 3], rear-axle poses in the ego frame at interval, 2 interval, ...
        interval: spacing of the poses [s].
        out: float64 [T, 3], overwritten with world poses at 0, DT, 2 DT, ...; x, y and the
            unwrapped heading are linear between poses, held after the last pose, and the
            resulting heading is wrapped to [-pi, pi).
    """
    n = plan.shape[0]
    c0, s0 = math.cos(origin[2]), math.sin(origin[2])
    ax, ay, ah = origin[0], origin[1], origin[2]
    bx, by, bh = ax, ay, ah
    segment = -1
    for t in range(out.shape[0]):
        u = t * DT / interval
        if abs(u - round(u)) < 1e-9:
            u = float(round(u))
        u = min(u, float(n))
        want = min(math.floor(u), n - 1)
        while segment < want:
            segment += 1
            ax, ay, ah = bx, by, bh
            px, py = plan[segment, 0], plan[segment, 1]
            bx = origin[0] + c0 * px - s0 * py
            by = origin[1] + s0 * px + c0 * py
            heading = origin[2] + plan[segment, 2]
            heading = math.atan2(math.sin(heading), math.cos(heading))
            bh = ah + wrap_angle(heading - ah)
        f = u - segment
        out[t, 0] = ax + f * (bx - ax)
        out[t, 1] = ay + f * (by - ay)
        out[t, 2] = wrap_angle(ah + f * (bh - ah))


@njit(cache=True, nogil=True, error_model="numpy")
def plan_profile(
    reference: NDArray[np.float64],
    operator: NDArray[np.float64],
    speed: NDArray[np.float64],
    curvature: NDArray[np.float64],
) -> None:
    """Speed and curvature profiles of a sampled plan (specification, section 2a).

    Args:
        reference: float64 [M + 1, 3], world poses every DT.
        operator: `velocity_operator(M)`.
        speed: float64 [M], overwritten [m/s].
        curvature: float64 [M], overwritten [1/m].
    """
    m = reference.shape[0] - 1
    speed[:] = 0.0
    for i in range(m):
        along = (reference[i + 1, 0] - reference[i, 0]) * math.cos(reference[i, 2]) + (
            reference[i + 1, 1] - reference[i, 1]
        ) * math.sin(reference[i, 2])
        for k in range(m):
            speed[k] += operator[i, k] * along
    link = _CURVATURE_RATE_PENALTY / (DT * DT)
    # Forward elimination. Pivot i is link + excess_i, excess_i > 0 (the last has no link).
    # `curvature` holds the right-hand side, `pivots` link / pivot.
    pivots = np.empty(m)
    excess, carried = _CURVATURE_PENALTY, 0.0
    for i in range(m):
        w = speed[i] * DT
        right = w * wrap_open(reference[i + 1, 2] - reference[i, 2]) + carried
        excess += w * w
        pivot = link + excess if i + 1 < m else excess
        pivots[i] = link / pivot
        curvature[i] = right / pivot
        excess *= pivots[i]
        carried = right * pivots[i]
    for i in range(m - 2, -1, -1):
        curvature[i] += pivots[i] * curvature[i + 1]


@njit(cache=True, nogil=True, error_model="numpy")
def control_step(
    state: NDArray[np.float64],
    target: NDArray[np.float64],
    speed: NDArray[np.float64],
    curvature: NDArray[np.float64],
    step: int,
    wheelbase: float,
) -> tuple[float, float]:
    """One LQR step (specification, section 2b).

    Args:
        state: float64 [11], ego state (`EgoIndex`).
        target: float64 [3], the plan's world pose at this step.
        speed, curvature: float64 [M] each, from `plan_profile`.
        step: steps since the plan's first pose; beyond the profile its last values hold.
        wheelbase: [m].

    Returns:
        Acceleration [m/s^2] and steering rate [rad/s], both unlimited.
    """
    last = speed.shape[0] - 1
    vx = state[3]
    v_ref = speed[min(step + LOOKAHEAD, last)]
    if v_ref <= _STOPPING_SPEED and vx <= _STOPPING_SPEED:
        return -_STOPPING_GAIN * (vx - v_ref), 0.0
    accel = -_SPEED_GAIN * (vx - v_ref)
    e = (state[1] - target[1]) * math.cos(target[2]) - (state[0] - target[0]) * math.sin(target[2])
    psi = wrap_angle(state[2] - target[2])
    delta = state[7]
    b_e, b_psi, b_delta = 0.0, 0.0, 0.0
    for j in range(LOOKAHEAD):
        along = (vx + j * DT * accel) * DT
        turn = along / wheelbase
        e += along * psi
        psi += turn * delta - along * curvature[min(step + j, last)]
        b_e += along * b_psi
        b_psi += turn * b_delta
        b_delta += DT
    psi = wrap_open(psi)
    return accel, -(b_e * e + 10.0 * b_psi * psi) / (b_e * b_e + 10.0 * b_psi * b_psi + 1.0)
