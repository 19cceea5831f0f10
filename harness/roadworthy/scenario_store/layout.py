"""Which arrays a stored map and a stored scene consist of, in which order and types.

The layout is fixed: a file says how many of everything there are (`MapRecord`,
`SceneRecord`), and types, shapes and places follow from that. Every array begins at a
multiple of 8 bytes; what lies between two is zero. All numbers are little endian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.scenario import STATE_SIZE
from roadworthy.scenario_store.records import MapRecord, SceneRecord
from roadworthy.vehicle import EGO_STATE_SIZE

__all__ = ["ALIGNMENT", "RAGGED", "TRACKS", "Slot", "map_slots", "padded", "scene_slots"]

ALIGNMENT = 8

RAGGED = ("lane_centreline", "lane_polygon", "lane_successors", "area_polygon")
"""The fields of a map that are `Ragged`: `<name>.values` and `<name>.offsets` in the layout."""

TRACKS = ("kind", "size", "state", "valid", "reactive")
"""The arrays of `Tracks`, in the order of its fields after the names."""

_F8, _I8, _I1, _B1, _U1 = (np.dtype(t) for t in ("<f8", "<i8", "<i1", "?", "u1"))


@dataclass(frozen=True, slots=True)
class Slot:
    """One array of a block: its name, type and shape."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Length without padding; a Python integer, so it cannot overflow."""
        return math.prod(self.shape) * self.dtype.itemsize

    def fits(self, array: NDArray[np.generic]) -> bool:
        """Whether an array is exactly of this type and shape."""
        return array.dtype == self.dtype and array.shape == self.shape


def padded(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def map_slots(r: MapRecord) -> tuple[Slot, ...]:
    """The arrays of a map."""
    rows = (r.lanes + 1,)
    return (
        Slot("lane_id", _U1, (r.id_bytes,)),
        Slot("lane_kind", _I1, (r.lanes,)),
        Slot("lane_centreline.values", _F8, (r.centreline_points, 3)),
        Slot("lane_centreline.offsets", _I8, rows),
        Slot("lane_polygon.values", _F8, (r.polygon_points, 2)),
        Slot("lane_polygon.offsets", _I8, rows),
        Slot("lane_speed_limit", _F8, (r.lanes,)),
        Slot("lane_successors.values", _I8, (r.successors,)),
        Slot("lane_successors.offsets", _I8, rows),
        Slot("lane_left", _I8, (r.lanes,)),
        Slot("lane_right", _I8, (r.lanes,)),
        Slot("area_kind", _I1, (r.areas,)),
        Slot("area_polygon.values", _F8, (r.area_points, 2)),
        Slot("area_polygon.offsets", _I8, (r.areas + 1,)),
        Slot("stop_line", _F8, (r.stop_lines, 2, 2)),
        Slot("stop_line_lane", _I8, (r.stop_lines,)),
    )


def scene_slots(r: SceneRecord) -> tuple[Slot, ...]:
    """The arrays of a scene, its map apart."""
    return (
        Slot("ego", _F8, (r.steps, EGO_STATE_SIZE)),
        Slot("agents.id", _U1, (r.id_bytes,)),
        Slot("agents.kind", _I1, (r.agents,)),
        Slot("agents.size", _F8, (r.agents, 3)),
        Slot("agents.state", _F8, (r.agents, r.steps, STATE_SIZE)),
        Slot("agents.valid", _B1, (r.agents, r.steps)),
        Slot("agents.reactive", _B1, (r.agents,)),
        Slot("route.lanes", _I8, (r.route_lanes,)),
        Slot("route.centreline", _F8, (r.route_points, 3)),
        Slot("signals.lane", _I8, (r.signals,)),
        Slot("signals.state", _I1, (r.signals, r.steps)),
    )
