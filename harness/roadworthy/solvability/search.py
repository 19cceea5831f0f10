"""The search for an evasive drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadworthy.geometry.polygons import PolygonIndex, build_polygon_index
from roadworthy.scenario import DT, AgentKind, AreaKind, LaneKind, Ragged, RoadMap, Scenario, Tracks
from roadworthy.solvability.certificate import Certificate, Evasion, Manoeuvre
from roadworthy.solvability.drives import drive_of
from roadworthy.solvability.kernels import first_contact, onset_of, search, seen
from roadworthy.solvability.limits import Limits
from roadworthy.solvability.manoeuvres import levels, table

__all__ = ["FORESIGHT_S", "MARGIN", "REACTION_S", "road_rings", "solvable", "solve"]

REACTION_S = 1.0
"""Reaction time unless another is asked for [s]."""
FORESIGHT_S = 4.0
"""A hazard can be foreseen if going on as now leads to contact within this time."""
MARGIN = 0.1
"""How far the search keeps from everyone [m], so that a certificate does not hang by a hair."""

_TALL_M = 1.4
_SPACING = 0.5
_BEYOND = 60.0
_STRIDE = 3
_ROADS_KEPT = 16
_roads: dict[str, PolygonIndex] = {}


def road_rings(road_map: RoadMap) -> list[NDArray[np.float64]]:
    """What may be driven on: drivable areas, intersections and car parks, or, of a map that has
    none of these, the lanes for cars."""
    kinds = (AreaKind.DRIVABLE, AreaKind.INTERSECTION, AreaKind.CARPARK)
    rings = [
        ring
        for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True)
        if kind in kinds
    ]
    return rings or [
        ring
        for kind, ring in zip(road_map.lane_kind, road_map.lane_polygon, strict=True)
        if kind != LaneKind.BIKE
    ]


def blocks_view(tracks: Tracks) -> NDArray[np.bool_]:
    """Who cannot be seen through or over: vehicles of 1.4 m and more. Bool [A]."""
    blocks: NDArray[np.bool_] = (tracks.kind == AgentKind.VEHICLE) & (tracks.size[:, 2] >= _TALL_M)
    return blocks


def solve(
    scenario: Scenario,
    reaction_s: float = REACTION_S,
    *,
    limits: Limits | None = None,
    base: NDArray[np.float64] | None = None,
) -> Certificate:
    """Look for the weakest manoeuvre that survives, and for the latest moment to act.

    Args:
        scenario: an admitted scene; everyone but the ego keeps to the log.
        reaction_s: seconds from the hazard's onset to the begin of the manoeuvre.
        limits: of friction.
        base: [horizon + 1, 4] what the ego does until it reacts, such as `steady_drive`; the
            logged drive unless given.

    Raises:
        ValueError: a base drive of another shape, or a negative reaction time.
    """
    _require(reaction_s)
    scene = _Scene.of(scenario, limits or Limits(), base)
    contact, agent, onset, excused = scene.hazard()
    weakest: Evasion | None
    latest: Evasion | None = None
    if contact < 0:
        weakest = Evasion(
            manoeuvre=Manoeuvre.KEEP,
            begin=len(scene.base) - 1,
            reaction_s=0.0,
            excused=tuple(np.flatnonzero(excused).tolist()),
        )
    else:
        weakest = scene.weakest(contact, onset, reaction_s)
        latest = _latest(scene, contact, onset, weakest)
    return Certificate(
        scenario=scenario.hash,
        reaction_s=reaction_s,
        contact=contact,
        contact_agent=agent,
        onset=onset,
        tried=len(table()),
        margin=MARGIN,
        lateral=scene.limits.lateral,
        combined=scene.limits.combined,
        base=() if base is None else tuple(map(tuple, scene.base.tolist())),
        weakest=weakest,
        latest=latest,
    )


def solvable(
    scenario: Scenario,
    reaction_s: float = REACTION_S,
    *,
    limits: Limits | None = None,
    base: NDArray[np.float64] | None = None,
) -> bool:
    """Whether `solve` would find a drive; cheaper, as the latest is not looked for.

    Raises:
        ValueError: as `solve` does.
    """
    _require(reaction_s)
    scene = _Scene.of(scenario, limits or Limits(), base)
    contact, _, onset, _ = scene.hazard()
    return contact < 0 or scene.weakest(contact, onset, reaction_s) is not None


def _require(reaction_s: float) -> None:
    if not 0.0 <= reaction_s <= 60.0:
        raise ValueError(f"reaction_s = {reaction_s!r}: give 0 to 60 s")


def _latest(scene: _Scene, contact: int, onset: int, weakest: Evasion | None) -> Evasion | None:
    """The drive that begins latest, of those beginning every third step before the contact and,
    next to the best of those, at every step."""
    first = 0 if weakest is None else weakest.begin
    best = weakest
    for begin in range(contact - 1, first, -_STRIDE):
        found = scene.evade(begin, onset)
        if found is not None:
            best = found
            break
    else:
        if best is None:
            best = scene.evade(0, onset)
    if best is not None:
        for begin in range(best.begin + 1, min(best.begin + _STRIDE, contact)):
            best = scene.evade(begin, onset) or best
    return best


@dataclass(frozen=True, eq=False)
class _Scene:
    """A scenario as the kernels read it; N steps from the present on."""

    base: NDArray[np.float64]
    agents: NDArray[np.float64]
    valid: NDArray[np.bool_]
    half: NDArray[np.float64]
    reactive: NDArray[np.bool_]
    blocks: NDArray[np.bool_]
    car: NDArray[np.float64]
    road: PolygonIndex
    limits: Limits

    @classmethod
    def of(cls, scenario: Scenario, limits: Limits, base: NDArray[np.float64] | None) -> _Scene:
        now = slice(scenario.start, scenario.steps)
        logged = drive_of(scenario.ego[now])
        if base is None:
            base = logged
        elif base.shape != logged.shape:
            raise ValueError(f"base has shape {base.shape}, wanted {logged.shape}")
        car, tracks = scenario.vehicle, scenario.agents
        return cls(
            base=np.ascontiguousarray(base, np.float64),
            agents=np.ascontiguousarray(tracks.state[:, now]),
            valid=np.ascontiguousarray(tracks.valid[:, now]),
            half=np.ascontiguousarray(0.5 * tracks.size[:, :2]),
            reactive=np.ascontiguousarray(tracks.reactive),
            blocks=blocks_view(tracks),
            car=np.array([0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre]),
            road=_road(scenario.map),
            limits=limits,
        )

    @property
    def traffic(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
        return self.agents, self.valid, self.half, self.reactive

    def hazard(self) -> tuple[int, int, int, NDArray[np.bool_]]:
        """The step of the base drive's contact and whom it meets, -1 and -1 for nobody; the onset,
        -1 if there is none; who is excused, bool [A]."""
        excused = np.zeros(len(self.agents), np.bool_)
        contact, agent = first_contact(self.base, 0, self.car, 0.0, *self.traffic, excused)
        if contact < 0:
            return contact, agent, -1, excused
        visible = seen(self.base, self.car, self.agents, self.valid, self.half, self.blocks, agent)
        onset = onset_of(
            self.base, contact, self.car, self.agents[agent], self.valid[agent],
            self.half[agent], visible, round(FORESIGHT_S / DT),
        )  # fmt: skip
        return contact, agent, onset, excused

    def weakest(self, contact: int, onset: int, reaction_s: float) -> Evasion | None:
        """The weakest manoeuvre that survives if it begins a reaction time after the onset."""
        begin = onset + round(reaction_s / DT)
        return self.evade(begin, onset) if begin < contact else None

    def evade(self, begin: int, onset: int) -> Evasion | None:
        """The weakest manoeuvre that survives if it begins at that step."""
        out = self.base.copy()
        limits = self.limits
        bounds = np.array([limits.lateral, limits.combined, limits.jerk, limits.curvature])
        behind = np.zeros(len(self.agents), np.bool_)
        first_contact(self.base[: begin + 1], 0, self.car, 0.0, *self.traffic, behind)
        excused = np.zeros(len(self.agents), np.bool_)
        row = search(
            _path(self.base, begin), table(), bounds, begin, self.car, MARGIN, *self.traffic,
            behind, self.road, out, excused,
        )  # fmt: skip
        if row < 0:
            return None
        return Evasion(
            manoeuvre=levels()[row],
            begin=begin,
            reaction_s=round((begin - onset) * DT, 9),
            parameters=tuple(table()[row].tolist()),
            states=tuple((x, y, yaw, v) for x, y, yaw, v in out[begin:].tolist()),
            excused=tuple(np.flatnonzero(excused).tolist()),
        )


def _path(base: NDArray[np.float64], begin: int) -> NDArray[np.float64]:
    """The base drive from a step on as a path [P, 5]: station, x, y, yaw, speed.

    Points are at least 0.5 m apart; beyond the end the path goes straight on.
    """
    rows = [begin]
    for k in range(begin + 1, len(base)):
        last = base[rows[-1]]
        if np.hypot(base[k, 0] - last[0], base[k, 1] - last[1]) >= _SPACING:
            rows.append(k)
    points = base[rows].copy()
    end = base[-1]
    points[-1, 3] = min(points[-1, 3], end[3]) if len(rows) > 1 else end[3]
    ahead = np.array([np.cos(points[-1, 2]), np.sin(points[-1, 2])])
    beyond = points[-1].copy()
    beyond[:2] += _BEYOND * ahead
    points = np.concatenate([points, beyond[None]])
    station = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points[:, :2], axis=0).T))])
    return np.column_stack([station, points])


def _road(road_map: RoadMap) -> PolygonIndex:
    """The map's index of what may be driven on; the last few are kept."""
    found = _roads.pop(road_map.hash, None)
    if found is None:
        rings = Ragged.of(road_rings(road_map), 2)
        found = build_polygon_index(rings.values, rings.offsets)
    _roads[road_map.hash] = found
    while len(_roads) > _ROADS_KEPT:
        _roads.pop(next(iter(_roads)))
    return found
