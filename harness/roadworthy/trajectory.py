"""What a planner returns: poses in the ego frame at even time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import PlannerOutputError

__all__ = [
    "MAX_POSES",
    "MAX_YAW",
    "Trajectory",
    "TrajectoryBatch",
    "check_trajectory",
    "reach",
    "real_array",
]

MAX_POSES = 200
MAX_YAW = 1e4
"""Of a plan [rad], unwrapped or not: beyond this an angle has lost digits that matter."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A plan.

    Attributes:
        poses: [N, 3] x, y, yaw of the rear axle at `dt, 2 dt, .. N dt`, in the ego frame of
            the moment of planning (x forward, y left; the present pose is the origin and is
            not repeated).
        dt: seconds between poses.
    """

    poses: NDArray[np.float64]
    dt: float


@dataclass(frozen=True, eq=False)
class TrajectoryBatch:
    """Plans for a batch of S scenarios: `poses` [S, N, 3], one `dt` for all."""

    poses: NDArray[np.float64]
    dt: float

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> Trajectory:
        return Trajectory(self.poses[index], self.dt)


def check_trajectory(plan: object) -> tuple[NDArray[np.float64], float]:
    """Poses as float64 [N, 3], and dt.

    Raises:
        PlannerOutputError: naming what is wrong with the plan and what was wanted.
    """
    if not isinstance(plan, Trajectory):
        raise PlannerOutputError(
            f"plan() returned {_describe(plan)}", hint="Return a roadworthy.Trajectory(poses, dt)."
        )
    dt = check_dt(plan.dt)
    poses = real_array(plan.poses, "Trajectory.poses")
    if poses.ndim != 2 or poses.shape[1] != 3 or not 1 <= len(poses) <= MAX_POSES:
        raise PlannerOutputError(
            f"Trajectory.poses has shape {poses.shape}",
            hint=f"Give [N, 3] with x, y, yaw in the ego frame and 1 <= N <= {MAX_POSES}.",
        )
    poses = poses.astype(np.float64)
    if not np.isfinite(poses).all():
        step = int(np.argwhere(~np.isfinite(poses).all(axis=1))[0, 0])
        raise PlannerOutputError(
            f"Trajectory.poses[{step}] is {poses[step].tolist()}", hint="Every pose must be finite."
        )
    furthest = float(np.abs(poses[:, :2]).max())
    if furthest > reach(dt, len(poses)):
        raise PlannerOutputError(
            f"Trajectory.poses reaches {furthest:.0f} m in {dt * len(poses):.1f} s",
            hint="Poses are metres in the ego frame; world coordinates were perhaps returned.",
        )
    turned = float(np.abs(poses[:, 2]).max())
    if turned > MAX_YAW:
        raise PlannerOutputError(
            f"Trajectory.poses has a yaw of {turned:.4g} rad",
            hint=f"Give yaw in radians, within {MAX_YAW:g} of 0.",
        )
    return poses, dt


def check_dt(dt: object) -> float:
    """The seconds between poses.

    Raises:
        PlannerOutputError: it is no number of 0.01 to 5.
    """
    number = isinstance(dt, (int, float, np.integer, np.floating)) and not isinstance(dt, bool)
    seconds = float(dt) if number else np.nan  # type: ignore[arg-type]
    if not 0.01 <= seconds <= 5.0:
        raise PlannerOutputError(
            f"Trajectory.dt is {dt!r}", hint="Give the seconds between poses, 0.01 to 5."
        )
    return seconds


def real_array(values: object, name: str) -> NDArray[Any]:
    """An array of real numbers, as it is.

    Args:
        values: what a planner gave.
        name: of it, for the message.

    Raises:
        PlannerOutputError: it is of something else, or partly masked.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise PlannerOutputError(
            f"{name} is not numeric: {error}", hint="Give a float array."
        ) from error
    if array.dtype.kind not in "fiu" or isinstance(values, np.ma.MaskedArray):
        kind = "masked" if isinstance(values, np.ma.MaskedArray) else array.dtype
        raise PlannerOutputError(f"{name} is not numeric: it is {kind}", hint="Give a float array.")
    return array


def reach(dt: float, poses: int) -> float:
    """How far [m] along one axis a plan may go before it is taken for a mistake of frames."""
    return 100.0 * float(dt) * poses + 10.0


def _describe(value: object) -> str:
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
