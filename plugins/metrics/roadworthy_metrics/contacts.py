"""Whom the ego met in each rollout and who was at fault: computed once, read by every metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import AgentKind

from .batch import half_sizes, once_per_batch, vehicles
from .maps import map_areas, route_mask
from .pdm.area import Area, area_flags
from .pdm.collision import CollisionKind, collisions, time_to_collision
from .pdm.motion import make_motion
from .pdm.scene import FAR, Agents, Scene, pack_scene

__all__ = ["Conduct", "Contact", "conduct", "driven_areas", "driven_states", "scenes"]

_NON_DRIVABLE = int(Area.NON_DRIVABLE)
_BETWEEN_LANES_OR_OFF = int(Area.MULTIPLE_LANES | Area.NON_DRIVABLE)
_FIRST_STATIC = int(AgentKind.TRAFFIC_CONE)
_STOPPED_TRACK = int(CollisionKind.STOPPED_TRACK)
_FRONT = int(CollisionKind.ACTIVE_FRONT)
_LATERAL = int(CollisionKind.ACTIVE_LATERAL)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn_agents(
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    first: int,
    out: NDArray[np.float64],
) -> bool:
    """From rows of agents to rows of frames.

    Args:
        agents: [A, F, 5] `StateIndex`.
        valid: bool [A, F].
        first: row of F that is frame 0.
        out: [4, frames, A' <= A], overwritten: x and y (`FAR` where not valid), yaw, speed.

    Returns:
        Whether every number that counts is finite.
    """
    finite = True
    for a in range(out.shape[2]):
        for t in range(out.shape[1]):
            if valid[a, first + t]:
                f = first + t
                x, y, yaw = agents[a, f, 0], agents[a, f, 1], agents[a, f, 2]
                vx, vy = agents[a, f, 3], agents[a, f, 4]
                speed = math.sqrt(vx * vx + vy * vy)
                finite = finite and math.isfinite(x + y + yaw + speed)
                out[0, t, a], out[1, t, a], out[2, t, a], out[3, t, a] = x, y, yaw, speed
            else:
                out[0, t, a], out[1, t, a], out[2, t, a], out[3, t, a] = FAR, FAR, 0.0, 0.0
    return finite


def _agents(rollouts: RolloutBatch, row: int) -> Agents:
    tracks = rollouts.cases[row].scenario.agents
    turned = np.empty((4, int(rollouts.length[row]) + 1, len(tracks)))
    if not _turn_agents(rollouts.agents[row], rollouts.agents_valid[row], rollouts.now, turned):
        name = rollouts.cases[row].scenario.id
        raise ValueError(f"rollout of {name}: an agent's state is not finite at a valid step")
    half = np.ascontiguousarray(half_sizes(rollouts)[row, : len(tracks)].T)
    static = (tracks.kind >= _FIRST_STATIC).astype(np.uint8)
    radius = np.sqrt(half[0] ** 2 + half[1] ** 2)
    return Agents(turned[0], turned[1], turned[2], turned[3], half[0], half[1], radius, static)


def driven_states(rollouts: RolloutBatch, row: int) -> NDArray[np.float64]:
    """The ego's states from step 0 on: [length + 1, 11]."""
    return rollouts.ego[row, rollouts.now : rollouts.now + int(rollouts.length[row]) + 1]


@once_per_batch
def scenes(rollouts: RolloutBatch) -> tuple[Scene, ...]:
    """What each ego drove in, for the PDM kernels; frame 0 of the agents is step 0.

    Raises:
        ValueError: an agent whose state is not finite where it is valid.
    """
    out = []
    for i, case in enumerate(rollouts.cases):
        road, route = case.scenario.map, case.scenario.route
        agents = _agents(rollouts, i)
        out.append(pack_scene(map_areas(road), route_mask(road, route), route.centreline, agents))
    return tuple(out)


@njit(cache=True, nogil=True, error_model="numpy")
def _flags(
    scene: Scene, states: NDArray[np.float64], vehicle: NDArray[np.float64]
) -> NDArray[np.uint8]:
    out = np.empty(states.shape[0], np.uint8)
    area_flags(scene.areas, scene.on_route, make_motion(states, vehicle), out)
    return out


@once_per_batch
def driven_areas(rollouts: RolloutBatch) -> tuple[NDArray[np.uint8], ...]:
    """`Area` flags of each ego's driven steps: per rollout uint8 [length + 1].

    Raises:
        ValueError: a state, of the ego in a case without error or of a valid agent, that is not
            finite.
    """
    out = []
    vehicle = vehicles(rollouts)
    for i, scene in enumerate(scenes(rollouts)):
        states = driven_states(rollouts, i)
        if rollouts.errors[i] is None and not np.isfinite(states).all():
            name = rollouts.cases[i].scenario.id
            raise ValueError(f"rollout of {name}: the ego's state is not finite")
        out.append(_flags(scene, states, vehicle[i]))
    return tuple(out)


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(
    scene: Scene,
    states: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    flags: NDArray[np.uint8],
    met: NDArray[np.int32],
    result: NDArray[np.int64],
) -> int:
    """Collisions and TTC of one rollout.

    Args:
        scene: the map and the agents.
        states: [T, 11] `EgoIndex`.
        vehicle: [6] `Vehicle.as_array()`.
        flags: uint8 [T], `Area` flags.
        met: int32 [A, 4], overwritten: step, agent, `CollisionKind` and fault of the first
            contact with each agent met.
        result: int64 [3], overwritten: first step off the drivable area, first step that fails
            TTC, the agent there; -1 for none.

    Returns:
        How many rows of `met` were written.
    """
    steps, count = states.shape[0], scene.agents.radius.shape[0]
    motion, ignored = make_motion(states, vehicle), np.empty(count, np.bool_)
    result[:] = -1
    for t in range(steps):
        if flags[t] & _NON_DRIVABLE:
            result[0] = t
            break
    _, step, agent = time_to_collision(motion, flags, scene.agents, ignored)
    result[1], result[2] = step, agent
    events = np.empty((steps * count, 3), np.int32)
    _, _, _, _, found = collisions(motion, flags, scene.agents, ignored, events)
    ignored[:] = False
    rows = 0
    for e in range(found):
        t, a, kind = events[e]
        if ignored[a]:
            continue
        ignored[a] = True
        wide = flags[t] & _BETWEEN_LANES_OR_OFF != 0
        blame = kind in (_STOPPED_TRACK, _FRONT) or (kind == _LATERAL and wide)
        met[rows, 0], met[rows, 1], met[rows, 2], met[rows, 3] = t, a, kind, blame
        rows += 1
    return rows


class Contact(NamedTuple):
    """The ego's box met an agent's.

    Attributes:
        step: simulation step of the first overlap.
        agent: row of `Scenario.agents`.
        kind: how they met.
        at_fault: whether the ego is to blame, by NAVSIM's rules.
    """

    step: int
    agent: int
    kind: CollisionKind
    at_fault: bool


@dataclass(frozen=True, slots=True)
class Conduct:
    """What one ego did to others and to the road.

    At fault (NAVSIM): the object stands or is static; or the ego's front met it; or it met the
    ego's side while the ego was between lanes or off the drivable area. Not at fault: the ego
    stood, or was met from behind, or from the side in its lane. The first contact with an agent
    decides for the whole rollout.

    Attributes:
        contacts: first contacts, one per agent met, in the order of time.
        off_road: first step at which a corner is off the drivable area, -1 for never.
        ttc_step: first step that fails PDMS's TTC, -1 for none.
        ttc_agent: the agent there, -1 for none.
    """

    contacts: tuple[Contact, ...]
    off_road: int
    ttc_step: int
    ttc_agent: int

    @property
    def at_fault(self) -> bool:
        """Whether the ego caused a collision."""
        return any(contact.at_fault for contact in self.contacts)


@once_per_batch
def conduct(rollouts: RolloutBatch) -> tuple[Conduct, ...]:
    """What each ego did on its driven steps, by the PDM Score's kernels.

    Raises:
        ValueError: as `driven_areas`.
    """
    out = []
    vehicle = vehicles(rollouts)
    for i, scene in enumerate(scenes(rollouts)):
        states, flags = driven_states(rollouts, i), driven_areas(rollouts)[i]
        met = np.empty((len(scene.agents.radius), 4), np.int32)
        result = np.empty(3, np.int64)
        rows = met[: _follow(scene, states, vehicle[i], flags, met, result)].tolist()
        contacts = tuple(Contact(t, a, CollisionKind(k), bool(f)) for t, a, k, f in rows)
        out.append(Conduct(contacts, *result.tolist()))
    return tuple(out)
