"""Scenarios cut out of a log: one per ego that drove well, with those around it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.scenario import (
    DT,
    HISTORY,
    AgentKind,
    Route,
    Scenario,
    Signals,
    StateIndex,
    Tracks,
)
from roadworthy.vehicle import EGO_STATE_SIZE, PACIFICA, EgoIndex

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.contacts import first_contact
from roadworthy_sources.towns.log import STEPS, WARM, Log
from roadworthy_sources.towns.town import Town

__all__ = [
    "FEATURES",
    "MAX_AGENTS",
    "Drive",
    "cut",
    "drives",
    "ego_states",
    "ego_track",
    "features",
    "fit",
    "judge",
    "on_road",
    "touched",
]

Array = NDArray[np.float64]

MAX_AGENTS = 32
_NEAR = 75.0
_MARGIN = 0.05
_LEAST_PROGRESS = 20.0
_HARDEST = {"common": 4.2, "rare": 8.2}
_SHARPEST = 4.5
_PARKED_COUNTS = 1.6
_SIGNALS_NEAR = 120.0
_AHEAD = 120.0
_BEHIND = 30.0
_CLOSE = 20.0
FEATURES = (
    "straight", "curve", "merge", "four_way", "t_junction", "roundabout", "crosswalk", "signals",
    "unprotected_left", "left_turn", "right_turn", "lane_change", "construction",
    "parked_cars", "pedestrians",
)  # fmt: skip
"""What an ego may meet on its drive."""


@dataclass(frozen=True, eq=False)
class Drive:
    """One vehicle's drive through a log, as an ego's.

    Attributes:
        agent: its number in the log.
        ego: [T, 11] states, rear axle.
        chain: lanes that it follows, in order.
        others: numbers of those who are in its scenario.
        harmed: whether it touches one of them.
    """

    agent: int
    ego: Array
    chain: tuple[int, ...]
    others: tuple[int, ...]
    harmed: bool = False


def _driver_states(log: Log, agent: int) -> Array:
    """States [T, 11] of a vehicle whose box centre follows the logged track: its rear axle follows
    the same path, `rear_axle_to_centre` behind."""
    track = log.state[agent]
    back = PACIFICA.rear_axle_to_centre
    first = track[0]
    c, s = exact.cos_sin(first[StateIndex.YAW])
    lead = first[:2] - 3.0 * np.array([float(c), float(s)])
    line = np.concatenate([lead[None], track[:, :2]])
    hop = np.diff(line, axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(hop[:, 0], hop[:, 1]))])
    at = walked[1:] - back
    keep = np.concatenate([[True], np.diff(walked) > 1e-9])
    x = np.interp(at, walked[keep], line[keep, 0])
    y = np.interp(at, walked[keep], line[keep, 1])
    dx, dy = track[:, 0] - x, track[:, 1] - y
    yaw = exact.unwrapped(exact.angle(dx, dy))
    return ego_states(np.stack([x, y, yaw], axis=1)[WARM - 3 : WARM + STEPS + 3])


def ego_states(pose: Array) -> Array:
    """States [T, 11] of an ego whose rear axle takes poses [T + 6, 3], three of them before the
    first state and three after the last; velocities and accelerations are derivatives of positions
    (Savitzky and Golay over 0.7 s)."""
    velocity, acceleration = exact.slope(pose, 1, DT), exact.slope(pose, 2, DT)
    pose = pose[3:-3]
    steps = len(pose)
    out = np.zeros((steps, EGO_STATE_SIZE))
    c, s = exact.cos_sin(pose[:, 2])
    out[:, : EgoIndex.VX] = pose
    out[:, EgoIndex.VX] = c * velocity[:, 0] + s * velocity[:, 1]
    out[:, EgoIndex.VY] = c * velocity[:, 1] - s * velocity[:, 0]
    out[:, EgoIndex.AX] = c * acceleration[:, 0] + s * acceleration[:, 1]
    out[:, EgoIndex.AY] = c * acceleration[:, 1] - s * acceleration[:, 0]
    out[:, EgoIndex.YAW_RATE] = velocity[:, 2]
    out[:, EgoIndex.YAW_ACCEL] = acceleration[:, 2]
    wheel = PACIFICA.wheelbase * velocity[:, 2] / np.maximum(out[:, EgoIndex.VX], 1.0)
    steer = exact.angle(np.ones(steps), wheel)
    out[:, EgoIndex.STEER] = steer
    out[1:-1, EgoIndex.STEER_RATE] = (steer[2:] - steer[:-2]) / (2.0 * DT)
    out[:, : EgoIndex.YAW] = exact.rounded(out[:, : EgoIndex.YAW])
    out[:, EgoIndex.YAW :] = exact.rounded(out[:, EgoIndex.YAW :], exact.ANGLE_GRID)
    return out


def _chain(log: Log, agent: int) -> tuple[int, ...]:
    """Lanes followed while the scenario runs, or () where not always on one."""
    lanes = log.lane[agent, WARM : WARM + STEPS]
    if (lanes < 0).any():
        return ()
    keep = np.concatenate([[True], np.diff(lanes) != 0])
    return tuple(int(lane) for lane in lanes[keep])


def _follows_lanes(log: Log, agent: int) -> bool:
    """Whether a vehicle is always there and follows lanes that lead to one another, none twice."""
    chain, graph = _chain(log, agent), log.town.graph
    joined = all(
        b in graph.successors[a] or b in graph.neighbours(a) for a, b in itertools.pairwise(chain)
    )
    once = len(set(chain)) == len(chain)
    return bool(log.present[agent].all()) and len(chain) > 0 and joined and once


def drives(log: Log) -> list[int]:
    """Vehicles that may be egos: they follow lanes all the time and get somewhere."""
    out = []
    span = slice(WARM, WARM + STEPS)
    for a, person in enumerate(log.crowd.people):
        if not person.ego or not _follows_lanes(log, a):
            continue
        track = log.state[a, span]
        way = track[-1, :2] - track[0, :2]
        if float(exact.length(way[0], way[1])) < _LEAST_PROGRESS:
            continue
        out.append(a)
    return out


def _others(log: Log, agent: int) -> tuple[int, ...]:
    """Those nearest to the ego at any time; parked cars count as further away than they are."""
    span = slice(WARM, WARM + STEPS)
    gap = log.state[:, span, :2] - log.state[agent, span, :2]
    far = np.sqrt(gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1])
    far = np.where(log.present[:, span], far, np.inf).min(axis=1)
    stands = log.cast.path_of >= 0
    stands &= log.cast.agents["kind"] != AgentKind.PEDESTRIAN
    rank = np.where(stands, far * _PARKED_COUNTS, far)
    rank[agent] = np.inf
    order = np.argsort(rank, kind="stable")[:MAX_AGENTS]
    return tuple(sorted(int(a) for a in order if far[a] < _NEAR))


def ego_track(ego: Array) -> Array:
    """Box centre states [T, 5] of ego states [T, 11]."""
    c, s = exact.cos_sin(ego[:, EgoIndex.YAW])
    back = PACIFICA.rear_axle_to_centre
    return np.stack(
        [
            ego[:, EgoIndex.X] + back * c,
            ego[:, EgoIndex.Y] + back * s,
            ego[:, EgoIndex.YAW],
            ego[:, EgoIndex.VX] * c,
            ego[:, EgoIndex.VX] * s,
        ],
        axis=1,
    )


@lru_cache(maxsize=64)
def _surface(town: Town) -> shapely.Geometry:
    """Where one may drive, ready to be asked."""
    rings = [p for k, p in zip(town.map.area_kind, town.map.area_polygon, strict=True) if k == 0]
    ground = shapely.union_all([shapely.polygons(ring) for ring in rings])
    shapely.prepare(ground)
    return ground


def on_road(town: Town, ego: Array) -> bool:
    """Whether all corners of the ego stay on the drivable surface."""
    c, s = exact.cos_sin(ego[:, EgoIndex.YAW])
    half = 0.5 * PACIFICA.width
    x, y = [], []
    for ahead in (PACIFICA.front, -PACIFICA.rear):
        for left in (half, -half):
            x.append(ego[:, EgoIndex.X] + ahead * c - left * s)
            y.append(ego[:, EgoIndex.Y] + ahead * s + left * c)
    ground = _surface(town)
    return bool(shapely.contains_xy(ground, np.concatenate(x), np.concatenate(y)).all())


def fit(town: Town, ego: Array, rarity: str) -> bool:
    """Whether a drive [T, 11] stays on the road and brakes and turns no harder than the occasion
    calls for."""
    gentle = ego[:, EgoIndex.AX].min() >= -_HARDEST[rarity]
    return bool(gentle and np.abs(ego[:, EgoIndex.AY]).max() <= _SHARPEST and on_road(town, ego))


def _contact(ego: Array, state: Array, there: NDArray[np.bool_], half: Array) -> tuple[int, int]:
    """First step at which anyone touches another, and the lower number of the two, 0 for the ego;
    -1 for never.

    Args:
        ego: [T, 11].
        state: [A, T, 5]; there: [A, T]; half: [A, 2], lengths and widths.
    """
    centre = np.concatenate([ego_track(ego)[None], state])
    seen = np.concatenate([np.ones((1, len(ego)), np.bool_), there])
    mine = np.array([[0.5 * PACIFICA.length, 0.5 * PACIFICA.width]])
    step, who, _ = first_contact(centre, seen, np.concatenate([mine, half]), _MARGIN)
    return step, who


def touched(scenario: Scenario) -> bool:
    """Whether anyone in a scenario touches another."""
    agents = scenario.agents
    return _contact(scenario.ego, agents.state, agents.valid, 0.5 * agents.size[:, :2])[0] >= 0


def judge(log: Log, agent: int, rarity: str) -> Drive | None:
    """The drive of a driver, or None where it is not fit to be an example: it leaves the road, it
    brakes harder than the occasion calls for, or someone in its scene touches another (in rare
    scenes the ego may, after the present)."""
    if not _follows_lanes(log, agent):
        return None
    ego = _driver_states(log, agent)
    if not fit(log.town, ego, rarity):
        return None
    others = _others(log, agent)
    span = slice(WARM, WARM + STEPS)
    rows = list(others)
    agents = log.cast.agents
    half = np.stack([agents["half_length"][rows], agents["half_width"][rows]], axis=1)
    step, who = _contact(ego, log.state[rows, span], log.present[rows, span], half)
    harmed = step >= HISTORY and who == 0
    if step >= 0 and not (harmed and rarity == "rare"):
        return None
    return Drive(agent, ego, _chain(log, agent), others, harmed)


def features(log: Log, drive: Drive) -> tuple[str, ...]:
    """What the ego meets, in the order of `FEATURES`."""
    town, chain = log.town, drive.chain
    met = {town.family[lane] for lane in chain}
    moves = {town.index[c.name]: c.move for c in town.connectors}
    held = set(log.signal_lane.tolist())
    for lane in chain:
        move = moves.get(lane, "")
        if move in ("left", "right"):
            met.add(f"{move}_turn")
        if lane in held:
            met.add("signals")
            if move == "left":
                met.add("unprotected_left")
    if any(b in town.graph.neighbours(a) for a, b in itertools.pairwise(chain)):
        met.add("lane_change")
    span = slice(WARM, WARM + STEPS)
    rows = list(drive.others)
    gap = log.state[rows, span, :2] - log.state[drive.agent, span, :2]
    close = exact.length(gap[..., 0], gap[..., 1]).min(axis=1) < _CLOSE
    names = [log.crowd.people[a].name for a, near in zip(rows, close, strict=True) if near]
    if sum(name.startswith("parked") for name in names) >= 3:
        met.add("parked_cars")
    if any(name.startswith("pedestrian") for name in names):
        met.add("pedestrians")
    if any(name.startswith("site") for name in names):
        met.add("construction")
    return tuple(name for name in FEATURES if name in met)


def cut(
    log: Log, drive: Drive, name: str, tags: tuple[str, ...], scripted: frozenset[int]
) -> Scenario:
    """The scenario of a drive; not admitted yet.

    Args:
        log, drive: what happened.
        name, tags: of the scenario.
        scripted: those who do as logged even where traffic reacts.
    """
    town, rows = log.town, list(drive.others)
    span = slice(WARM, WARM + STEPS)
    state = log.state[rows, span].copy()
    state[..., :2] = exact.rounded(state[..., :2])
    state[..., 2:] = exact.rounded(state[..., 2:], exact.ANGLE_GRID)
    people = [log.crowd.people[a] for a in rows]
    near = _near_signals(log, drive)
    return Scenario(
        id=name,
        source="towns",
        map=town.map,
        ego=drive.ego,
        agents=Tracks(
            id=tuple(p.name for p in people),
            kind=np.array([p.kind for p in people], np.int8),
            size=np.array([p.size for p in people], np.float64).reshape(-1, 3),
            state=state,
            valid=log.present[rows, span].copy(),
            reactive=np.array([a not in scripted for a in rows], np.bool_),
        ),
        route=_route(town, drive),
        signals=Signals(log.signal_lane[near], log.signal[near][:, span].copy()),
        start=HISTORY - 1,
        vehicle=PACIFICA,
        tags=tags,
    )


def _near_signals(log: Log, drive: Drive) -> NDArray[np.int64]:
    starts = np.array([log.town.map.lane_centreline[int(k)][0, :2] for k in log.signal_lane])
    if not len(starts):
        return np.zeros(0, np.int64)
    some = drive.ego[::15, :2]
    gap = starts[:, None] - some[None]
    return np.flatnonzero(exact.length(gap[..., 0], gap[..., 1]).min(axis=1) < _SIGNALS_NEAR)


def _route(town: Town, drive: Drive) -> Route:
    """The way that the ego took, from 30 m behind its start to some 120 m beyond its end."""
    graph, ego, chain = town.graph, drive.ego, list(drive.chain)
    full = graph.extend(chain, _AHEAD, _BEHIND)
    lead = full.index(chain[0])
    changes: dict[int, Array] = {}
    for at in range(1, len(chain)):
        if chain[at] in graph.neighbours(chain[at - 1]):
            new, old = ego[:, :2], chain[at - 1]
            beside = [abs(graph.locate(chain[at], p)[1]) < abs(graph.locate(old, p)[1])
                      for p in new[::3]]  # fmt: skip
            first = beside.index(True) if True in beside else len(beside) - 1
            changes[lead + at] = new[3 * first]
    line = graph.centreline(full, changes)
    gap = line[:, None, :2] - ego[None, [0, -1], :2]
    nearest = np.argmin(gap[..., 0] ** 2 + gap[..., 1] ** 2, axis=0)
    line = line[max(0, int(nearest[0]) - int(_BEHIND)) : int(nearest[1]) + int(_AHEAD) + 1]
    line[:, :2] = exact.rounded(line[:, :2])
    line[:, 2] = exact.rounded(line[:, 2], exact.ANGLE_GRID)
    return Route(graph.expand(full), line)
