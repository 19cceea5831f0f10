"""Checks of the logged ego: it must move like a vehicle, and on the map."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from roadworthy.admission.checks import FARTHEST, Report
from roadworthy.admission.road_map import AdmittedMap
from roadworthy.scenario import DT
from roadworthy.vehicle import EgoIndex

__all__ = ["MAX_SPEED", "check_ego", "check_on_map"]

MAX_SPEED = 70.0
"""Faster than this is a fault of the log [m/s]."""

_MAX_SLIP = 1.0
_MAX_TURN = 1.0


def check_ego(ego: NDArray[np.float64], report: Report) -> None:
    """Raise where the ego's states are not finite, teleport, or contradict their velocity.

    Args:
        ego: [T, 11] `EgoIndex`.
        report: words the errors.

    Raises:
        ScenarioError: at the first step that is wrong.
    """
    if _moves_well(ego):
        return
    report.check_finite(ego, "ego")
    moved = np.diff(ego[:, :2], axis=0)
    speed = np.hypot(moved[:, 0], moved[:, 1]) / DT
    fast = np.flatnonzero(speed > MAX_SPEED)
    if len(fast):
        raise report.error(
            "ego",
            int(fast[0]) + 1,
            f"{speed[fast[0]] * DT:.2f} m from the step before ({speed[fast[0]]:.0f} m/s)",
            f"The ego teleports (limit {MAX_SPEED:.0f} m/s): cut the log there or mend the poses.",
        )
    yaw = ego[:, EgoIndex.YAW]
    velocity = np.stack(
        [
            np.cos(yaw) * ego[:, EgoIndex.VX] - np.sin(yaw) * ego[:, EgoIndex.VY],
            np.sin(yaw) * ego[:, EgoIndex.VX] + np.cos(yaw) * ego[:, EgoIndex.VY],
        ],
        axis=1,
    )
    slip = moved - 0.5 * DT * (velocity[1:] + velocity[:-1])
    apart = np.hypot(slip[:, 0], slip[:, 1])
    wrong = np.flatnonzero(apart > _MAX_SLIP)
    if len(wrong):
        raise report.error(
            "ego",
            int(wrong[0]) + 1,
            f"{apart[wrong[0]]:.2f} m from where its velocity leads",
            "Positions and velocities disagree: VX and VY are in the vehicle frame, in m/s, and "
            "steps are 0.1 s apart.",
        )
    turn = np.abs((np.diff(yaw) + np.pi) % (2.0 * np.pi) - np.pi)
    spun = np.flatnonzero(turn > _MAX_TURN)
    if len(spun):
        raise report.error(
            "ego",
            [int(spun[0]) + 1, int(EgoIndex.YAW)],
            f"turned by {turn[spun[0]]:.2f} rad in one step",
            f"A vehicle turns by less than {_MAX_TURN:.0f} rad in 0.1 s: mend the headings.",
        )


@njit(cache=True, nogil=True, error_model="numpy")
def _moves_well(ego: NDArray[np.float64]) -> bool:
    """Whether the ego surely passes `check_ego`, by a margin wider than rounding.

    Args:
        ego: [T, 11] `EgoIndex`.
    """
    sure = 1.0 - 1e-9
    fastest, slip, turn = MAX_SPEED * DT * sure, _MAX_SLIP * sure, _MAX_TURN * sure
    u = v = 0.0
    for t in range(len(ego)):
        for k in range(ego.shape[1]):
            if not abs(ego[t, k]) < FARTHEST:
                return False
        yaw, along, across = ego[t, EgoIndex.YAW], ego[t, EgoIndex.VX], ego[t, EgoIndex.VY]
        cos, sin = math.cos(yaw), math.sin(yaw)
        now_u, now_v = cos * along - sin * across, sin * along + cos * across
        if t:
            dx, dy = ego[t, 0] - ego[t - 1, 0], ego[t, 1] - ego[t - 1, 1]
            ex, ey = dx - 0.5 * DT * (now_u + u), dy - 0.5 * DT * (now_v + v)
            turned = (yaw - ego[t - 1, EgoIndex.YAW] + math.pi) % (2.0 * math.pi) - math.pi
            if dx * dx + dy * dy > fastest * fastest or ex * ex + ey * ey > slip * slip:
                return False
            if abs(turned) > turn:
                return False
        u, v = now_u, now_v
    return True


def check_on_map(ego: NDArray[np.float64], admitted: AdmittedMap, report: Report) -> None:
    """Raise where the ego's rear axle is in no lane and no drivable area at any step.

    Raises:
        ScenarioError: the ego is never on the map.
    """
    surface = admitted.surface
    # The first point mostly is on the map, and then the others need not be looked up.
    if not (
        surface.query(shapely.points(ego[0, :2]), "intersects").size
        or surface.query(shapely.points(ego[:, :2]), "intersects").size
    ):
        raise report.error(
            "ego",
            0,
            f"at ({ego[0, 0]:.1f}, {ego[0, 1]:.1f}), and never on the map",
            "No lane or drivable area holds the ego at any step: check that log and map are of "
            "one place and in one frame.",
        )
