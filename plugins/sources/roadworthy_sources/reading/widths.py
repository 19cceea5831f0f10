"""How wide lanes are, for formats that want a number."""

from __future__ import annotations

import numpy as np
from roadworthy.scenario import RoadMap

__all__ = ["half_width"]

_HALF_LANE = 1.75


def half_width(road_map: RoadMap, lane: int) -> float:
    """Half the area of a lane's polygon over its length [m]."""
    ring, line = road_map.lane_polygon[lane], road_map.lane_centreline[lane]
    length = float(np.hypot(*np.diff(line[:, :2], axis=0).T).sum())
    if len(ring) < 3 or length < 1.0:
        return _HALF_LANE
    x, y = ring.T
    area = 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
    return float(np.clip(0.5 * area / length, 0.5, 4.0))
