"""The car that recorded Argoverse 2."""

from __future__ import annotations

from roadworthy.vehicle import Vehicle

__all__ = ["FUSION"]

FUSION = Vehicle(width=2.0, front=3.864, rear=1.013, wheelbase=2.85, cog=1.54, height=1.473)
"""Ford Fusion Hybrid.

Length 4.877 m, width 2.0 m and height 1.473 m are those of the `EGO_VEHICLE` track in the
annotations of the scenario mining task. The wheelbase, 112.2 in, is the maker's figure; the
overhangs are taken as equal (1.013 m), and the centre of gravity as at 54 % of the wheelbase
before the rear axle, as in `roadworthy.vehicle.PACIFICA`.
"""
