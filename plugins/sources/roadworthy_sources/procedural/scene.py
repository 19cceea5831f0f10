"""A scene under construction, and the scenario that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from roadworthy.routing import LaneGraph
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    StateIndex,
    Tracks,
)
from roadworthy.vehicle import PACIFICA

from roadworthy_sources.procedural.expert import ego_states, keeps_to_the_road, survives
from roadworthy_sources.procedural.roads import RoadBuilder
from roadworthy_sources.procedural.traffic import Actor, Flow, run_traffic

__all__ = ["SIZES", "STEPS", "Scene", "moved"]

STEPS = HISTORY + 150
"""1.5 s of history, the present, and 15 s to drive."""

SIZES: dict[str, tuple[AgentKind, tuple[float, float, float]]] = {
    "car": (AgentKind.VEHICLE, (4.6, 1.9, 1.6)),
    "van": (AgentKind.VEHICLE, (5.4, 2.0, 2.2)),
    "truck": (AgentKind.VEHICLE, (8.5, 2.4, 3.2)),
    "bus": (AgentKind.VEHICLE, (11.5, 2.5, 3.1)),
    "pedestrian": (AgentKind.PEDESTRIAN, (0.6, 0.6, 1.75)),
    "cyclist": (AgentKind.BICYCLE, (1.8, 0.65, 1.7)),
    "cone": (AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7)),
    "barrier": (AgentKind.BARRIER, (2.0, 0.5, 1.0)),
    "sign": (AgentKind.CZONE_SIGN, (0.3, 0.9, 1.6)),
    "bin": (AgentKind.GENERIC_OBJECT, (0.7, 0.7, 1.2)),
}
"""Kind and length, width, height [m] of what can be put into a scene."""

_ROUTE_BEHIND = 30.0


@dataclass
class Scene:
    """A map with actors on it. Families fill it in.

    Attributes:
        rng: the scene's own random numbers.
        map: the road map.
        graph: its lane graph.
        actors: everyone but the ego.
        ego: the ego, once placed.
        tags: the scenario's tags.
        signals: int8 [T] states by lane name.
    """

    rng: np.random.Generator
    map: RoadMap
    graph: LaneGraph
    actors: list[Actor] = field(default_factory=list)
    ego: Actor | None = None
    tags: list[str] = field(default_factory=list)
    signals: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    _chain: list[int] = field(default_factory=list)
    _centreline: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    @classmethod
    def on(cls, rng: np.random.Generator, roads: RoadBuilder) -> Scene:
        """An empty scene on finished roads."""
        road_map = roads.build()
        return cls(rng, road_map, LaneGraph(road_map))

    def path(
        self, lanes: Sequence[str], change_at: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Centreline [N, 3] along named lanes; `change_at` [2] is where a lane change happens."""
        chain = [self.map.lane_id.index(name) for name in lanes]
        changes = (
            {}
            if change_at is None
            else {
                at: change_at
                for at in range(1, len(chain))
                if chain[at] in self.graph.neighbours(chain[at - 1])
            }
        )
        return self.graph.centreline(chain, changes)

    def place_ego(
        self,
        lanes: Sequence[str],
        station: float,
        speed: float,
        *,
        desired: float | None = None,
        change_at: NDArray[np.float64] | None = None,
        rank: int = 1,
    ) -> Actor:
        """Put the ego on named lanes, its rear axle `station` metres along their centreline."""
        self._chain = [self.map.lane_id.index(name) for name in lanes]
        self._centreline = self.path(lanes, change_at)
        self.ego = Actor(
            name="ego",
            kind=AgentKind.VEHICLE,
            size=(PACIFICA.length, PACIFICA.width, PACIFICA.height),
            path=self._centreline[:, :2],
            station=station,
            speed=speed,
            desired=speed if desired is None else desired,
            headway=1.5,
            forward=PACIFICA.rear_axle_to_centre,
            rank=rank,
        )
        self.ego.stops = self._stops(lanes, self.ego.path)
        return self.ego

    def add(
        self,
        what: str,
        path: NDArray[np.float64],
        station: float = 0.0,
        speed: float = 0.0,
        *,
        script: NDArray[np.float64] | None = None,
        desired: float | None = None,
        lanes: Sequence[str] = (),
        rank: int = 1,
    ) -> Actor:
        """Add someone of `SIZES`, with a size of its own, on a path [N, >= 2].

        Naming the `lanes` of the path makes it stop at their red signals.
        """
        kind, size = SIZES[what]
        share = self.rng.uniform(0.94, 1.06, 3)
        actor = Actor(
            name=f"{what}-{len(self.actors)}",
            kind=kind,
            size=(size[0] * share[0], size[1] * share[1], size[2] * share[2]),
            path=path[:, :2],
            station=station,
            speed=speed,
            desired=speed if desired is None else desired,
            headway=float(self.rng.uniform(1.1, 1.7)),
            script=script,
            rank=rank,
        )
        actor.stops = self._stops(lanes, actor.path)
        self.actors.append(actor)
        return actor

    def stand(self, what: str, xy: NDArray[np.float64], yaw: float) -> Actor:
        """Add something that stands still at a point [2]."""
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        return self.add(what, np.stack([xy, xy + 2.0 * ahead]))

    def _stops(self, lanes: Sequence[str], path: NDArray[np.float64]) -> list[tuple[float, int]]:
        rows = list(self.signals)
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        out = []
        for name in lanes:
            if name in self.signals:
                start = self.map.lane_centreline[self.map.lane_id.index(name)][0, :2]
                at = float(arc[np.argmin(((path - start) ** 2).sum(axis=1))])
                out.append((at - 0.5, rows.index(name)))
        return out

    def realise(self, name: str) -> Scenario | None:
        """Drive the scene and keep it as a scenario, or None where the expert does not survive,
        someone else collides, or the driving is not fit to be an example.

        Raises:
            ValueError: no ego was placed.
        """
        if self.ego is None:
            raise ValueError(f"scene {name!r} has no ego")
        states = np.zeros((len(self.signals), STEPS), np.int8)
        for row, state in enumerate(self.signals.values()):
            states[row] = state
        everyone = [self.ego, *self.actors]
        flow = run_traffic(everyone, states, STEPS)
        ego = ego_states(flow, PACIFICA)
        strict = "common" in self.tags
        if not survives(flow, everyone, ego, strict) or not keeps_to_the_road(ego, self.map):
            return None
        lanes = np.array([self.map.lane_id.index(n) for n in self.signals], np.int64)
        start = max(0, int(self.ego.station - _ROUTE_BEHIND))
        return Scenario(
            id=name,
            source="procedural",
            map=self.map,
            ego=ego,
            agents=_tracks(self.actors, flow, adversarial="rare" in self.tags),
            route=Route(self.graph.expand(self._chain), self._centreline[start:]),
            signals=Signals(lanes, states),
            start=HISTORY - 1,
            vehicle=PACIFICA,
            tags=tuple(self.tags),
        )


def _tracks(actors: Sequence[Actor], flow: Flow, adversarial: bool) -> Tracks:
    """Tracks of everyone but row 0, the ego; what is never there is left out.

    In an adversarial scene those with a script keep to it whatever the ego does.
    """
    valid = flow.valid[1:]
    keep = [int(i) for i in np.flatnonzero(valid.any(axis=1))]
    return Tracks(
        id=tuple(actors[i].name for i in keep),
        kind=np.array([actors[i].kind for i in keep], np.int8),
        size=np.array([actors[i].size for i in keep]).reshape(-1, 3),
        state=flow.centre[1:][keep],
        valid=valid[keep],
        reactive=np.array([not adversarial or actors[i].script is None for i in keep], np.bool_),
    )


def moved(scenario: Scenario, x: float, y: float, turn: float) -> Scenario:
    """The scenario turned about the origin [rad], then shifted [m]."""
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, sin], [-sin, cos]])
    shift = np.array([x, y])

    def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = values.copy()
        out[..., :2] = values[..., :2] @ rotation + shift
        if values.shape[-1] > 2:
            out[..., 2] += turn
        return out

    old = scenario.map
    state = at(scenario.agents.state)
    state[..., StateIndex.VX :] = scenario.agents.state[..., StateIndex.VX :] @ rotation
    return replace(
        scenario,
        map=replace(
            old,
            lane_centreline=Ragged(at(old.lane_centreline.values), old.lane_centreline.offsets),
            lane_polygon=Ragged(at(old.lane_polygon.values), old.lane_polygon.offsets),
            area_polygon=Ragged(at(old.area_polygon.values), old.area_polygon.offsets),
            stop_line=at(old.stop_line),
        ),
        ego=at(scenario.ego),
        agents=replace(scenario.agents, state=state),
        route=Route(scenario.route.lanes, at(scenario.route.centreline)),
    )
