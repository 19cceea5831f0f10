"""What speaks against a variant: checks before it is asked whether it can be survived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.rings import polygon_of
from roadworthy.scenario import DT, AgentKind, Scenario, StateIndex
from roadworthy.solvability.search import road_rings
from roadworthy.vehicle import EgoIndex

__all__ = ["BOUNDS", "Bounds", "changed_agents", "check_variant"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a kind of agent can do: acceleration along and across its heading [m/s²], yaw rate
    [rad/s], and how far a step may differ from its velocity [m]."""

    along: float
    across: float
    yaw_rate: float
    drift: float = 0.15


BOUNDS: dict[AgentKind, Bounds] = {
    AgentKind.VEHICLE: Bounds(8.5, 6.0, 1.2),
    AgentKind.BICYCLE: Bounds(6.0, 5.0, 2.5),
    AgentKind.PEDESTRIAN: Bounds(8.0, 8.0, 8.0),
}
"""By kind. Friction on a dry road for vehicles; static objects are not bounded. What a parent's
track exceeds by itself (noise of the log) its variants may exceed as far, and no farther."""

_KERB = 0.3


def check_variant(parent: Scenario, variant: Scenario) -> tuple[str, ...]:
    """What speaks against a variant, one word each; nothing if it is fit to be certified.

    Args:
        parent: what it was made from.
        variant: an admitted scene.

    Returns:
        Of `map` (not the parent's), `lineage` (not the parent's), `overlap` (of two boxes at the
        present), `collision` (of two agents later), `motion` (beyond `BOUNDS`), `off_road` (a
        vehicle's centre, where the parent's was on the road).
    """
    found = []
    if variant.map.hash != parent.map.hash:
        found.append("map")
    if variant.lineage is None or variant.lineage.parent != parent.hash:
        found.append("lineage")
    changed = changed_agents(parent, variant)
    if _overlap_now(variant, changed):
        found.append("overlap")
    elif _collides(parent, variant, changed):
        found.append("collision")
    before = {name: i for i, name in enumerate(parent.agents.id)}
    for a in changed:
        if _beyond_bounds(parent, before.get(variant.agents.id[a]), variant, a):
            found.append("motion")
            break
    if _leaves_road(parent, before, variant, changed):
        found.append("off_road")
    return tuple(found)


def changed_agents(parent: Scenario, variant: Scenario) -> list[int]:
    """Agents of a variant that are not, in every respect, as in its parent, as far as both last."""
    before = {name: i for i, name in enumerate(parent.agents.id)}
    old, new = parent.agents, variant.agents
    both = slice(0, min(parent.steps, variant.steps))
    found = []
    for a, name in enumerate(new.id):
        b = before.get(name)
        same = (
            b is not None
            and old.kind[b] == new.kind[a]
            and np.array_equal(old.size[b], new.size[a])
            and np.array_equal(old.valid[b, both], new.valid[a, both])
            and np.array_equal(
                old.state[b, both][old.valid[b, both]], new.state[a, both][new.valid[a, both]]
            )
        )
        if not same:
            found.append(a)
    return found


def _polygons(poses: Array, half_length: Array, half_width: Array) -> NDArray[np.object_]:
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    rings = np.empty((len(poses), 4, 2))
    for k, (lon, lat) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        rings[:, k, 0] = poses[:, 0] + lon * half_length * cos - lat * half_width * sin
        rings[:, k, 1] = poses[:, 1] + lon * half_length * sin + lat * half_width * cos
    return np.asarray(shapely.polygons(rings))


def _ego_box(scenario: Scenario, step: int) -> NDArray[np.object_]:
    car, pose = scenario.vehicle, scenario.ego[step, : EgoIndex.YAW + 1].copy()
    ahead = np.array([np.cos(pose[2]), np.sin(pose[2])])
    pose[:2] += car.rear_axle_to_centre * ahead
    return _polygons(pose[None], np.array([0.5 * car.length]), np.array([0.5 * car.width]))


def _pairs(scenario: Scenario, only: Sequence[int], steps: slice) -> set[tuple[str, str]]:
    """Names of agents that overlap at one of some steps, of pairs with one of `only`."""
    tracks = scenario.agents
    state, valid = tracks.state[:, steps], tracks.valid[:, steps]
    reach = 0.5 * np.hypot(tracks.size[:, 0], tracks.size[:, 1])
    found: set[tuple[str, str]] = set()
    for a in only:
        gap = np.hypot(*np.moveaxis(state[:, :, :2] - state[a, None, :, :2], 2, 0))
        close = valid & valid[a] & (gap <= (reach + reach[a])[:, None])
        close[a] = False
        others, at = np.nonzero(close)
        if not len(others):
            continue
        half = 0.5 * tracks.size[:, :2]
        own = np.full(len(at), a)
        mine = _polygons(state[a, at, :3], half[own, 0], half[own, 1])
        theirs = _polygons(state[others, at, :3], half[others, 0], half[others, 1])
        for other in np.unique(others[shapely.intersects(mine, theirs)]):
            first, second = sorted((tracks.id[a], tracks.id[int(other)]))
            found.add((first, second))
    return found


def _overlap_now(variant: Scenario, changed: Sequence[int]) -> bool:
    """Whether the ego overlaps anyone at the present, or someone changed overlaps another."""
    now, tracks = variant.start, variant.agents
    here = np.flatnonzero(tracks.valid[:, now])
    half = 0.5 * tracks.size[here, :2]
    boxes = _polygons(tracks.state[here, now, :3], half[:, 0], half[:, 1])
    if len(boxes) and shapely.intersects(boxes, _ego_box(variant, now)[0]).any():
        return True
    return bool(_pairs(variant, changed, slice(now, now + 1)))


def _collides(parent: Scenario, variant: Scenario, changed: Sequence[int]) -> bool:
    """Whether someone changed meets another agent after the present, and not so in the parent."""
    met = _pairs(variant, changed, slice(variant.start + 1, variant.steps))
    if not met:
        return False
    names = {variant.agents.id[a] for a in changed}
    same = [i for i, name in enumerate(parent.agents.id) if name in names]
    return bool(met - _pairs(parent, same, slice(parent.start, parent.steps)))


def _motion(state: Array, valid: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Largest acceleration along and across, yaw rate, and difference of step and velocity."""
    both = valid[1:] & valid[:-1]
    if not both.any():
        return 0.0, 0.0, 0.0, 0.0
    yaw = state[:, StateIndex.YAW]
    ahead = np.column_stack([np.cos(yaw), np.sin(yaw)])
    velocity = state[:, StateIndex.VX : StateIndex.VY + 1]
    speed = (velocity * ahead).sum(axis=1)
    turn = np.angle(np.exp(1j * np.diff(yaw)))
    along = np.abs(np.diff(speed)) / DT
    rate = np.abs(turn) / DT
    across = np.abs(0.5 * (speed[1:] + speed[:-1])) * rate
    mean = 0.5 * (velocity[1:] + velocity[:-1])
    drift = np.hypot(*(np.diff(state[:, :2], axis=0) - DT * mean).T)
    return tuple(float(value[both].max()) for value in (along, across, rate, drift))  # type: ignore[return-value]


def _beyond_bounds(parent: Scenario, before: int | None, variant: Scenario, agent: int) -> bool:
    bounds = BOUNDS.get(AgentKind(int(variant.agents.kind[agent])))
    if bounds is None:
        return False
    new = _motion(variant.agents.state[agent], variant.agents.valid[agent])
    most = (bounds.along, bounds.across, bounds.yaw_rate, bounds.drift)
    if before is not None:
        old = _motion(parent.agents.state[before], parent.agents.valid[before])
        most = (
            max(most[0], old[0]), max(most[1], old[1]), max(most[2], old[2]), max(most[3], old[3]),
        )  # fmt: skip
    return any(value > bound + 1e-6 for value, bound in zip(new, most, strict=True))


def _leaves_road(
    parent: Scenario, before: Mapping[str, int], variant: Scenario, changed: Sequence[int]
) -> bool:
    """Whether a changed vehicle is off the road more often than the parent had it."""
    movers = [a for a in changed if variant.agents.kind[a] == AgentKind.VEHICLE]
    if not movers:
        return False
    tree = shapely.STRtree([polygon_of(ring) for ring in road_rings(variant.map)])
    for a in movers:
        off = _off_road(tree, variant.agents.state[a], variant.agents.valid[a])
        b = before.get(variant.agents.id[a])
        if off and (
            b is None or not _off_road(tree, parent.agents.state[b], parent.agents.valid[b])
        ):
            return True
    return False


def _off_road(tree: shapely.STRtree, state: Array, valid: NDArray[np.bool_]) -> bool:
    points = shapely.points(state[valid, :2])
    return len(np.unique(tree.query(points, predicate="dwithin", distance=_KERB)[0])) < len(points)
