"""Plans through the tracker and the bicycle: whole plans, or one step at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.vehicle import EGO_STATE_SIZE, Vehicle

from .bicycle import bicycle_step
from .tracker import DT, control_step, interpolate_plan, plan_profile, velocity_operator

__all__ = [
    "PlanProfile",
    "make_profile",
    "sample_plans",
    "simulate_plans",
    "simulate_references",
    "track_step",
]


class PlanProfile(NamedTuple):
    """What the tracker follows. Build with `make_profile`, once per plan.

    Attributes:
        reference: float64 [T, 3], world poses every 0.1 s, the first one now.
        speed: float64 [T - 1] [m/s].
        curvature: float64 [T - 1] [1/m].
    """

    reference: NDArray[np.float64]
    speed: NDArray[np.float64]
    curvature: NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def make_profile(reference: NDArray[np.float64], operator: NDArray[np.float64]) -> PlanProfile:
    """Profiles of a sampled plan; callable from Python and from kernels.

    Args:
        reference: float64 [T, 3], world poses every 0.1 s, T >= 2.
        operator: `velocity_operator(T - 1)`.
    """
    m = reference.shape[0] - 1
    speed, curvature = np.empty(m), np.empty(m)
    plan_profile(reference, operator, speed, curvature)
    return PlanProfile(reference, speed, curvature)


@njit(cache=True, nogil=True, error_model="numpy")
def track_step(
    state: NDArray[np.float64],
    profile: PlanProfile,
    step: int,
    vehicle: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Drive the ego 0.1 s along a plan; callable from Python and from kernels.

    Args:
        state: float64 [11], ego state (`EgoIndex`) in the world frame.
        profile: of the plan in force.
        step: steps since the plan's first pose. Beyond the plan its last pose and profile
            values hold.
        vehicle: `Vehicle.as_array()`.
        out: float64 [11], overwritten with the next state; may be `state` itself.
    """
    target = profile.reference[min(step, profile.reference.shape[0] - 1)]
    accel, rate = control_step(state, target, profile.speed, profile.curvature, step, vehicle[3])
    bicycle_step(state, accel, rate, vehicle[3], DT, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _simulate(
    initial: NDArray[np.float64],
    references: NDArray[np.float64],
    operator: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for p in range(references.shape[0]):
        profile = make_profile(references[p], operator)
        out[p, 0] = initial
        for t in range(references.shape[1] - 1):
            track_step(out[p, t], profile, t, vehicle, out[p, t + 1])


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(
    origin: NDArray[np.float64],
    plans: NDArray[np.float64],
    interval: float,
    out: NDArray[np.float64],
) -> None:
    for p in range(plans.shape[0]):
        interpolate_plan(origin, plans[p], interval, out[p])


def sample_plans(
    origin: NDArray[np.float64], plans: NDArray[np.float64], interval: float, steps: int = 40
) -> NDArray[np.float64]:
    """Sample P plans every 0.1 s in the world frame (specification, section 1).

    Args:
        origin: [>=3], rear axle pose (x, y, yaw) now, world frame; an ego state will do.
        plans: [P, N, 3], rear-axle poses (x, y, yaw) in the ego frame at interval, 2 interval...
        interval: spacing of the poses [s].
        steps: samples after the first.

    Returns:
        float64 [P, steps + 1, 3]; the first pose is the origin.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    plans = np.require(plans, np.float64, ["C", "W"])
    origin = np.array(np.asarray(origin, np.float64)[:3])
    if plans.ndim != 3 or plans.shape[1] < 1 or plans.shape[2] != 3:
        raise ValueError(f"plans must have shape [P, N, 3], got {plans.shape}")
    if not (np.isfinite(plans).all() and np.isfinite(origin).all()):
        raise ValueError("plans and their origin must be finite")
    if not (np.isfinite(interval) and interval > 0.0):
        raise ValueError(f"interval must be positive, got {interval!r}")
    out = np.empty((len(plans), steps + 1, 3))
    _sample(origin, plans, float(interval), out)
    return out


def simulate_references(
    initial: NDArray[np.float64], references: NDArray[np.float64], vehicle: Vehicle
) -> NDArray[np.float64]:
    """Drive P sampled plans from one initial state (specification, section 2).

    Args:
        initial: [11], ego state (`EgoIndex`), world frame.
        references: [P, T, 3], world poses every 0.1 s, T >= 2.
        vehicle: the ego.

    Returns:
        float64 [P, T, 11], simulated states; state 0 is `initial`.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    references = np.require(references, np.float64, ["C", "W"])
    initial = np.require(initial, np.float64, ["C", "W"])
    if references.ndim != 3 or references.shape[1] < 2 or references.shape[2] != 3:
        raise ValueError(f"references must have shape [P, T >= 2, 3], got {references.shape}")
    if initial.shape != (EGO_STATE_SIZE,):
        raise ValueError(f"initial must have shape [{EGO_STATE_SIZE}], got {initial.shape}")
    if not (np.isfinite(references).all() and np.isfinite(initial).all()):
        raise ValueError("references and the initial state must be finite")
    out = np.empty((*references.shape[:2], EGO_STATE_SIZE))
    operator = velocity_operator(references.shape[1] - 1)
    _simulate(initial, references, operator, vehicle.as_array(), out)
    return out


def simulate_plans(
    initial: NDArray[np.float64],
    plans: NDArray[np.float64],
    interval: float,
    vehicle: Vehicle,
    steps: int = 40,
) -> NDArray[np.float64]:
    """`sample_plans`, then `simulate_references`: float64 [P, steps + 1, 11]."""
    return simulate_references(initial, sample_plans(initial, plans, interval, steps), vehicle)
