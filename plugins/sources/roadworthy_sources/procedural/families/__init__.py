"""Scene families: each a function that builds a scene, common or of a rare kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from roadworthy_sources.procedural.families import crosswalk, curve, four_way, merge, straight
from roadworthy_sources.procedural.scene import Scene

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """One kind of place.

    Attributes:
        build: makes a scene from random numbers and a rare kind ("" for a common scene).
        rare: the rare kinds that can happen there.
    """

    build: Callable[[np.random.Generator, str], Scene]
    rare: tuple[str, ...]


FAMILIES: Mapping[str, Family] = {
    "straight": Family(
        straight.build, ("cut_in", "pedestrian_cyclist", "hard_brake", "blocked_lane")
    ),
    "curve": Family(curve.build, ("hard_brake", "cut_in")),
    "merge": Family(merge.build, ("cut_in",)),
    "four_way": Family(four_way.build, ("intersection",)),
    "crosswalk": Family(crosswalk.build, ("pedestrian_cyclist",)),
}
