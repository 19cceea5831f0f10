"""Official PDMS and EPDMS of plans: many plans from one moment of a log, open loop.

A moment is prepared once (map, agents, the PDM-Closed reference, the human's own terms); any
number of plans is then simulated and scored against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import sample_plans, simulate_references
from roadworthy.geometry.polylines import wrap_angle
from roadworthy.scenario import DT, AgentKind, Scenario, SignalState, StateIndex
from roadworthy.vehicle import Vehicle

from .guide import guide, guided_plan, packed_lights
from .maps import map_areas, route_mask
from .pdm.collision import overlapping
from .pdm.comfort import history_states
from .pdm.evaluate import Evaluation, evaluate
from .pdm.reference import Reference
from .pdm.scene import Agents, Scene, pack_agents, pack_scene
from .pdm.totals import epdms, filter_by_human, pdms, progress_in_pairs

__all__ = ["Moment", "PlanScores", "prepare", "score_plans", "score_states"]

_STATES = 41
_FRAMES = {1: 51, 2: 41}
_PAST = np.array([-15, -10, -5, 0])
_HUMAN_EVERY = 5


@dataclass(frozen=True, eq=False)
class Moment:
    """One moment of a log, ready to score plans against. Build with `prepare`.

    Attributes:
        version: 1 (PDMS) or 2 (EPDMS).
        vehicle: the ego.
        ego: float64 [11], its state then.
        scene: map, route, logged agents from then on, lights.
        history: float64 [H, 11], for version 2's comfort; None in version 1.
        reference: what PDM-Closed chose.
        reference_terms: of its simulated trajectory.
        human: float64 [7] by `Term`, of the logged trajectory, for version 2's human filter;
            ones where the filter is off.
    """

    version: int
    vehicle: Vehicle
    ego: NDArray[np.float64]
    scene: Scene
    history: NDArray[np.float64] | None
    reference: Reference
    reference_terms: Evaluation
    human: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlanScores:
    """P plans scored at one moment.

    Attributes:
        total: float64 [P], PDMS, or EPDMS without EC (weights sum to 14).
        value: float64 [P, 7] by `Term`, after the human filter.
        ep: float64 [P], ego progress in a batch of two with PDM-Closed.
        evaluation: the terms before the filter, first failing steps, and who was met.
        states: float64 [P, 41, 11], the simulated plans, world frame.
    """

    total: NDArray[np.float64]
    value: NDArray[np.float64]
    ep: NDArray[np.float64]
    evaluation: Evaluation
    states: NDArray[np.float64]


def _agents(scenario: Scenario, start: int, frames: int, drop_overlapping: bool) -> Agents:
    """The logged agents from a step on; those dropped keep their rows but are never there."""
    tracks, window = scenario.agents, slice(start, start + frames)
    pose, velocity = np.split(tracks.state[:, window], [StateIndex.VX], axis=2)
    valid = tracks.valid[:, window]
    static = tracks.kind >= AgentKind.TRAFFIC_CONE
    packed = pack_agents(pose, velocity, valid, tracks.size, static)
    if drop_overlapping:
        x, y, yaw = scenario.ego[start, :3]
        c, s = np.cos(yaw), np.sin(yaw)
        vehicle, hit = scenario.vehicle, np.zeros(len(tracks), bool)
        shift, half = vehicle.rear_axle_to_centre, 0.5 * vehicle.length
        overlapping(packed, 0, x + shift * c, y + shift * s, c, s, half, 0.5 * vehicle.width, hit)
        if hit.any():
            return pack_agents(pose, velocity, valid & ~hit[:, None], tracks.size, static)
    return packed


def _reference(scenario: Scenario, start: int, version: int) -> Reference:
    tracks = scenario.agents
    now = tracks.valid[:, start]
    return guided_plan(
        guide(scenario.map, scenario.route, scenario.signals.lane),
        scenario.ego[start],
        tracks.state[now, start],
        tracks.size[now],
        tracks.kind[now],
        scenario.signals.state[:, start],
        scenario.vehicle,
        version,
    )


def _human_plan(scenario: Scenario, start: int) -> NDArray[np.float64]:
    """The logged future as a plan: [8, 3], poses every 0.5 s in the ego frame."""
    poses = scenario.ego[start + _HUMAN_EVERY : start + _STATES : _HUMAN_EVERY, :3].copy()
    x, y, yaw = scenario.ego[start, :3]
    dx, dy = poses[:, 0] - x, poses[:, 1] - y
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([wrap_angle(float(h - yaw)) for h in poses[:, 2]])
    return np.stack([c * dx + s * dy, c * dy - s * dx, turn], axis=1)


def prepare(scenario: Scenario, version: int, step: int = 0, human_filter: bool = True) -> Moment:
    """Prepare one moment of a log.

    Args:
        scenario: with at least 40 logged steps after the moment.
        version: 1 (PDMS) or 2 (EPDMS).
        step: steps after `scenario.start`, 0 or more.
        human_filter: whether terms that the logged trajectory itself fails are forgiven
            (version 2; specification, section 6).

    Raises:
        ValueError: a version that is not 1 or 2, a log that is too short, or a route without
            lane polygons.
    """
    if version not in (1, 2):
        raise ValueError(f"version must be 1 or 2, got {version!r}")
    start = scenario.start + step
    if step < 0 or start + _STATES > scenario.steps:
        raise ValueError(
            f"{scenario.id}: step {step} has {scenario.steps - 1 - start} logged steps after it, "
            f"wanted {_STATES - 1}"
        )
    ego, vehicle = scenario.ego[start].copy(), scenario.vehicle
    on_route = route_mask(scenario.map, scenario.route)
    if not on_route.any():
        raise ValueError(f"{scenario.id}: no lane of the route has a polygon in the map")
    lights = None
    if version == 2:
        red = scenario.signals.state[:, start : start + _STATES] == SignalState.RED
        lights = packed_lights(scenario.map, scenario.route, scenario.signals.lane, red)
    areas = map_areas(scenario.map)
    scene = pack_scene(
        areas,
        on_route,
        scenario.route.centreline,
        _agents(scenario, start, _FRAMES[version], version == 2),
        lights,
    )
    history, human = None, np.ones(7)
    if version == 2:
        stamps = np.round((_PAST - _PAST[0]) * DT * 1e6).astype(np.int64)
        history = history_states(scenario.ego[start + _PAST], stamps)
        if human_filter:
            plan = _human_plan(scenario, start)[None]
            driven = simulate_references(ego, sample_plans(ego, plan, 0.5), vehicle)
            human = evaluate(scene, driven, vehicle, 2).value[0]
    reference = _reference(scenario, start, version)
    best = simulate_references(ego, reference.poses[None], vehicle)
    terms = evaluate(scene, best, vehicle, version, history)
    return Moment(version, vehicle, ego, scene, history, reference, terms, human)


def score_states(moment: Moment, states: NDArray[np.float64]) -> PlanScores:
    """Score P simulated plans at one moment, each in a batch of two with PDM-Closed.

    Args:
        moment: from `prepare`.
        states: [P, 41, 11] (`EgoIndex`), world frame.

    Raises:
        ValueError: states of another shape, or numbers that are not finite.
    """
    if states.ndim != 3 or states.shape[1] != _STATES:
        raise ValueError(f"states must have shape [P, {_STATES}, 11], got {states.shape}")
    found = evaluate(moment.scene, states, moment.vehicle, moment.version, moment.history)
    ep = progress_in_pairs(moment.reference_terms, found, moment.version)
    value = filter_by_human(found.value, moment.human)
    total = pdms(value, ep) if moment.version == 1 else epdms(value, ep)
    return PlanScores(total, value, ep, found, states)


def score_plans(moment: Moment, plans: NDArray[np.float64], interval: float) -> PlanScores:
    """Simulate P plans at one moment, and `score_states`.

    Args:
        moment: from `prepare`.
        plans: [P, N, 3], rear-axle poses (x, y, yaw) in the ego frame at interval, 2 interval,
            ...; they should cover 4 s, the last pose is held after that.
        interval: spacing of the poses [s].

    Raises:
        ValueError: plans of another shape, or numbers that are not finite.
    """
    references = sample_plans(moment.ego, plans, interval, _STATES - 1)
    return score_states(moment, simulate_references(moment.ego, references, moment.vehicle))
