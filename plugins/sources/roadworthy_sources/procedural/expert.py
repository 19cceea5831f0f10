"""The logged ego of a procedural scene: its states, and whether it drove well enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.kinematics import smooth_derivative
from roadworthy.scenario import AreaKind, RoadMap
from roadworthy.vehicle import EGO_STATE_SIZE, PACIFICA, EgoIndex, Vehicle

from roadworthy_sources.procedural.traffic import Actor, Flow, first_overlap

__all__ = ["ego_states", "keeps_to_the_road", "survives"]

_EGO_MARGIN = 0.4
_MARGIN = 0.1
_COMMON_BRAKE = 3.8
_RARE_BRAKE = 7.5
_LEAST_PROGRESS = 15.0


def ego_states(flow: Flow, vehicle: Vehicle) -> NDArray[np.float64]:
    """States [T, 11] of row 0 of a flow: it moves along its path without slip.

    The yaw rate is speed times the path's curvature, smoothed over 0.7 s; AY is the
    centripetal acceleration, the steering angle that of a kinematic bicycle.
    """
    pose, speed = flow.pose[0], flow.speed[0]
    yaw = np.unwrap(pose[:, 2])
    out = np.zeros((len(pose), EGO_STATE_SIZE))
    out[:, EgoIndex.X : EgoIndex.YAW + 1] = np.column_stack([pose[:, :2], yaw])
    out[:, EgoIndex.VX] = speed
    out[:, EgoIndex.AX] = flow.accel[0]
    rate = np.where(speed > 0.0, smooth_derivative(yaw, 1), 0.0)
    steer = np.arctan(vehicle.wheelbase * rate / np.maximum(speed, 1.0))
    out[:, EgoIndex.AY] = speed * rate
    out[:, EgoIndex.STEER] = steer
    out[:, EgoIndex.STEER_RATE] = smooth_derivative(steer, 1)
    out[:, EgoIndex.YAW_RATE] = rate
    out[:, EgoIndex.YAW_ACCEL] = smooth_derivative(rate, 1)
    return out


def survives(
    flow: Flow, actors: Sequence[Actor], ego: NDArray[np.float64], comfortable: bool
) -> bool:
    """Whether nobody comes too close to anybody, and the ego (row 0) drove acceptably.

    Args:
        flow: motion of everyone.
        actors: the same, for their sizes; row 0 is the ego.
        ego: [T, 11] its states.
        comfortable: hold the ego to 3.8 m/s² of braking rather than 7.5.
    """
    if not flow.valid[0].all() or first_overlap(flow, actors, _MARGIN) is not None:
        return False
    if _clearance_lost(flow, actors):
        return False
    brake = -ego[:, EgoIndex.AX].min()
    if brake > (_COMMON_BRAKE if comfortable else _RARE_BRAKE):
        return False
    return bool(flow.station[0, -1] - flow.station[0, 0] > _LEAST_PROGRESS)


def _clearance_lost(flow: Flow, actors: Sequence[Actor]) -> bool:
    """Whether anyone comes closer than 0.4 m to the ego."""
    near = np.hypot(*(flow.centre[:, :, :2] - flow.centre[:1, :, :2]).transpose(2, 0, 1))
    close = np.flatnonzero((np.where(flow.valid, near, np.inf) < 15.0).any(axis=1))
    for i in close[close > 0]:
        pair = Flow(
            flow.pose[[0, i]],
            flow.speed[[0, i]],
            flow.accel[[0, i]],
            flow.station[[0, i]],
            flow.centre[[0, i]],
            flow.valid[[0, i]],
        )
        if first_overlap(pair, [actors[0], actors[i]], _EGO_MARGIN) is not None:
            return True
    return False


def keeps_to_the_road(ego: NDArray[np.float64], road_map: RoadMap) -> bool:
    """Whether all four corners of the ego stay inside the drivable areas at every step."""
    rings = [
        shapely.polygons(ring)
        for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True)
        if kind == AreaKind.DRIVABLE
    ]
    surface = shapely.union_all(rings)
    shapely.prepare(surface)
    cos, sin = np.cos(ego[:, EgoIndex.YAW]), np.sin(ego[:, EgoIndex.YAW])
    half = 0.5 * PACIFICA.width
    for ahead in (PACIFICA.front, -PACIFICA.rear):
        for left in (half, -half):
            x = ego[:, EgoIndex.X] + ahead * cos - left * sin
            y = ego[:, EgoIndex.Y] + ahead * sin + left * cos
            if not shapely.contains_xy(surface, x, y).all():
                return False
    return True
