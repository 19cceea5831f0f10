"""Simple rings out of any polygon: no crossings, no holes.

A ring is a float64 [N, 2] array, open (the first point is not repeated), N >= 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

__all__ = ["polygon_of", "ring_of", "rings_of", "union_rings"]

_MIN_AREA = 0.01
_GRID = 1e-3
"""Corners of unions lie on a grid of 1 mm."""


def polygon_of(ring: NDArray[np.float64]) -> BaseGeometry:
    """The valid geometry of a ring that may cross itself."""
    polygon: BaseGeometry = shapely.polygons(ring)
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def rings_of(geometry: BaseGeometry) -> list[NDArray[np.float64]]:
    """Every polygon in a geometry as simple rings; polygons with holes are cut through them.

    Parts of less than 0.01 m² are left out. The order is that of the geometry, cut pieces
    by their lowest x, then y.
    """
    rings: list[NDArray[np.float64]] = []
    for part in shapely.get_parts(geometry, return_index=False):
        if part.geom_type in ("MultiPolygon", "GeometryCollection"):
            rings.extend(rings_of(part))
        elif part.geom_type == "Polygon" and part.area >= _MIN_AREA:
            rings.extend(ring_of(piece) for piece in _without_holes(part))
    return rings


def union_rings(polygons: list[NDArray[np.float64]], seam: float) -> list[NDArray[np.float64]]:
    """Union of rings as simple rings.

    Args:
        polygons: rings.
        seam: gaps of up to twice this width between neighbours are closed [m].
    """
    if not polygons:
        return []
    merged = shapely.union_all(
        [polygon_of(p).buffer(seam, join_style="mitre", quad_segs=1) for p in polygons]
    )
    merged = merged.buffer(-seam, join_style="mitre", quad_segs=1)
    # Simplified outlines may touch themselves; on a grid they are mended, and cannot fail later.
    return rings_of(shapely.set_precision(merged.simplify(0.01), _GRID))


def ring_of(polygon: Any) -> NDArray[np.float64]:
    """Exterior of a polygon as an open ring."""
    return np.ascontiguousarray(shapely.get_coordinates(polygon.exterior)[:-1])


def _without_holes(polygon: Any) -> list[Any]:
    """Cut a polygon by upright lines through its holes until none is left."""
    holes = sorted(
        0.5 * (hole.bounds[0] + hole.bounds[2])
        for hole in polygon.interiors
        if shapely.Polygon(hole).area >= _MIN_AREA
    )
    if not holes:
        return [shapely.Polygon(polygon.exterior)]
    x0, y0, x1, y1 = polygon.bounds
    at = holes[len(holes) // 2]
    halves = [
        polygon.intersection(shapely.box(x0 - 1.0, y0 - 1.0, at, y1 + 1.0)),
        polygon.intersection(shapely.box(at, y0 - 1.0, x1 + 1.0, y1 + 1.0)),
    ]
    pieces = [
        piece
        for half in halves
        for part in shapely.get_parts(half)
        if part.geom_type == "Polygon" and part.area >= _MIN_AREA
        for piece in _without_holes(part)
    ]
    return sorted(pieces, key=lambda p: p.bounds[:2])
