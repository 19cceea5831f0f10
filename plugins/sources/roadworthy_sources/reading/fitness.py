"""What a scene may be scored on: the logged ego is asked first.

A map is fit for drivable-area scores only if the car that was really there, or the expert
that drove it, stays on the map's drivable area. Where it does not, the scene is tagged
`no_drivable_area`, and says why in its repairs.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.rings import polygon_of
from roadworthy.scenario import NO_DRIVABLE_AREA, AreaKind, RoadMap
from roadworthy.vehicle import EgoIndex, Vehicle

__all__ = ["area_verdict", "share_on_area"]

_MIN_SHARE = 0.98
_AREAS = (AreaKind.DRIVABLE, AreaKind.INTERSECTION, AreaKind.CARPARK)


def share_on_area(road_map: RoadMap, ego: NDArray[np.float64], vehicle: Vehicle) -> float:
    """Share of steps at which every corner of the ego's box lies in a drivable polygon.

    Drivable are lanes, and areas that are drivable, intersections or car parks.

    Args:
        road_map: the map.
        ego: [T, 11] `EgoIndex`.
        vehicle: the box.
    """
    polygons = [polygon_of(ring) for ring in road_map.lane_polygon]
    polygons += [
        polygon_of(ring)
        for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True)
        if kind in _AREAS
    ]
    cos, sin = np.cos(ego[:, EgoIndex.YAW]), np.sin(ego[:, EgoIndex.YAW])
    half = 0.5 * vehicle.width
    held = np.ones(len(ego), bool)
    tree = shapely.STRtree(polygons)
    for along, across in (
        (vehicle.front, half), (vehicle.front, -half), (-vehicle.rear, half), (-vehicle.rear, -half)
    ):  # fmt: skip
        corners = shapely.points(
            ego[:, EgoIndex.X] + along * cos - across * sin,
            ego[:, EgoIndex.Y] + along * sin + across * cos,
        )
        inside = np.zeros(len(ego), bool)
        inside[tree.query(corners, "intersects")[0]] = True
        held &= inside
    return float(held.mean())


def area_verdict(share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tags and sentences to add to a scene, from `share_on_area`."""
    if share >= _MIN_SHARE:
        return (), ()
    return (NO_DRIVABLE_AREA,), (
        f"map: the ego's box, as driven in the log, is wholly on the drivable area at only "
        f"{share:.0%} of the steps: not to be scored for drivable area (tag {NO_DRIVABLE_AREA}).",
    )
