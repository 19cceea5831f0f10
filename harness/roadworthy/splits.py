"""Keeps sets of scenes apart that must not know of each other.

Two scenes are *related* if any of these holds:

- they are one scene, or one was generated from the other, or both from a third;
- they were cut from one log (the same source and an equal tag `log:...`);
- they lie on one map, or their maps have a lane in common (the same name in the same place).

Sets are disjoint if no scene of the one is related to a scene of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roadworthy.comparison.casetable import GROUP_TAG
from roadworthy.errors import RoadworthyError
from roadworthy.scenario import RoadMap, Scenario
from roadworthy.seeding import derive_seed

__all__ = [
    "LeakError",
    "Origin",
    "Overlap",
    "find_overlaps",
    "origin_of",
    "partition",
    "require_disjoint",
    "root_of",
]

_MAPS_KEPT = 256
_GRID = 0.1
_lanes: dict[str, frozenset[str]] = {}


class LeakError(RoadworthyError):
    """Scenes of one set are related to scenes of another that must not know of them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a scene comes from, as far as relations go.

    Attributes:
        name: `source/id`, for messages.
        keys: two scenes are related if they share one of these. Each is `kind:...`, the kind
            one of `lineage`, `log`, `map`, `area`.
    """

    name: str
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A related pair: by what kind of key, and the names of both."""

    kind: str
    first: str
    second: str


def root_of(scenario: Scenario) -> str:
    """Content hash of the scene that a scene was varied from in the end; its own if of none."""
    lineage = scenario.lineage
    if lineage is None or not lineage.parent:
        return scenario.hash
    root = lineage.parameters.get("root")
    return root if isinstance(root, str) and root else lineage.parent


def origin_of(scenario: Scenario) -> Origin:
    """Everything that may relate a scene to another."""
    keys = {f"lineage:{scenario.hash}", f"lineage:{root_of(scenario)}"}
    if scenario.lineage is not None and scenario.lineage.parent:
        keys.add(f"lineage:{scenario.lineage.parent}")
    keys |= {f"log:{scenario.source}/{tag}" for tag in scenario.tags if tag.startswith(GROUP_TAG)}
    keys.add(f"map:{scenario.map.hash}")
    keys |= _lane_keys(scenario.map)
    return Origin(f"{scenario.source}/{scenario.id}", frozenset(keys))


def find_overlaps(first: Iterable[Origin], second: Iterable[Origin]) -> list[Overlap]:
    """Related pairs: for each scene of `first`, the first relation to one of `second` by the
    order of kinds lineage, log, map, area."""
    holder: dict[str, str] = {}
    for origin in second:
        for key in origin.keys:
            holder.setdefault(key, origin.name)
    found = []
    for origin in first:
        shared = origin.keys & holder.keys()
        if shared:
            key = min(shared, key=lambda k: (_ORDER.index(k.partition(":")[0]), k))
            found.append(Overlap(key.partition(":")[0], origin.name, holder[key]))
    return found


def require_disjoint(
    first: Iterable[Scenario | Origin],
    second: Iterable[Scenario | Origin],
    first_name: str,
    second_name: str,
) -> None:
    """Refuse two sets of which one could leak into the other.

    Args:
        first, second: the scenes, or their origins where these are known already.
        first_name, second_name: what to call the sets.

    Raises:
        LeakError: naming three related pairs and how they are related.
    """
    ours = [_as_origin(scene) for scene in first]
    found = find_overlaps(ours, [_as_origin(scene) for scene in second])
    if found:
        pairs = "; ".join(
            f"{o.first} and {o.second} share their {_WORDS[o.kind]}" for o in found[:3]
        )
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise LeakError(
            f"{first_name} would leak into {second_name}: {len(found)} of {len(ours)} scenes are "
            f"related to it: {pairs}{more}",
            hint="Take scenes of other logs and map areas, such as another split of the source.",
        )


def partition(
    origins: Sequence[Origin], shares: Mapping[str, float], seed: int
) -> dict[str, list[int]]:
    """Share scenes out so that no two parts are related.

    Related scenes, directly or through others, go together. Where a group goes depends on the
    seed and on the group alone.

    Args:
        origins: of the scenes.
        shares: name of each part -> its share of the groups; they add up to 1.
        seed: of the draw.

    Returns:
        Indices into `origins` per part, ascending; a part may be empty.

    Raises:
        ValueError: the shares do not add up to 1, or one is negative.
    """
    values = list(shares.values())
    if not values or min(values) < 0.0 or abs(sum(values) - 1.0) > 1e-9:
        raise ValueError(f"shares are {dict(shares)}: they must add up to 1")
    group = list(range(len(origins)))

    def find(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    holder: dict[str, int] = {}
    for i, origin in enumerate(origins):
        for key in sorted(origin.keys):
            j = holder.setdefault(key, i)
            a, b = find(i), find(j)
            group[max(a, b)] = min(a, b)
    named: dict[int, str] = {}
    for i, origin in enumerate(origins):
        top = find(i)
        named[top] = min(named.get(top, origin.name), origin.name)
    bounds = np.cumsum(values)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    names = list(shares)
    for i in range(len(origins)):
        draw = derive_seed(seed, "split", named[find(i)]) / 2**63
        parts[names[min(int(np.searchsorted(bounds, draw, "right")), len(names) - 1)]].append(i)
    return parts


def _as_origin(scene: Scenario | Origin) -> Origin:
    return scene if isinstance(scene, Origin) else origin_of(scene)


_ORDER = ("lineage", "log", "map", "area")
_WORDS = {"lineage": "lineage", "log": "log", "map": "map", "area": "part of the map"}


def _lane_keys(road_map: RoadMap) -> frozenset[str]:
    """A key per lane, of its name and its place to 0.1 m; the last maps are kept."""
    known = _lanes.pop(road_map.hash, None)
    if known is None:
        keys = set()
        for name, line in zip(road_map.lane_id, road_map.lane_centreline, strict=True):
            x0, y0, x1, y1 = np.round(line[[0, -1], :2].ravel() / _GRID).astype(np.int64).tolist()
            keys.add(f"area:{name}@{x0},{y0},{x1},{y1}")
        known = frozenset(keys)
    _lanes[road_map.hash] = known
    while len(_lanes) > _MAPS_KEPT:
        _lanes.pop(next(iter(_lanes)))
    return known
