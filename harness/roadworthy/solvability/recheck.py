"""A second opinion on a certificate: polygons, finite differences, no kernel of the search."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.rings import polygon_of
from roadworthy.scenario import DT, AgentKind, AreaKind, LaneKind, RoadMap, Scenario
from roadworthy.solvability.certificate import Certificate, Evasion, Manoeuvre
from roadworthy.vehicle import EgoIndex, Vehicle

__all__ = ["recheck"]

_FORESIGHT_STEPS = 40
_BEHIND = np.radians(150.0)
_SLACK = 1e-3
_DRIFT = 0.05
_BASE_DRIFT = 0.15
_KERB = 0.02
_START = 1e-3
_TALL_M = 1.4
_MAX_CURVATURE = 0.25


def recheck(scenario: Scenario, certificate: Certificate) -> tuple[str, ...]:
    """What is wrong with a certificate, in sentences; nothing if it holds.

    Tested are: the hash of the scene; the base drive, where it is not the log's (it begins
    where the ego is, and is fit to be driven), its first contact, and the onset of the
    hazard; of each drive that the certificate holds: that it is the base drive until it begins,
    that it begins no sooner than the reaction time says, that its positions, headings and speeds
    agree, that it keeps within the limits of friction, that its box meets nobody's (but for those
    excused, who must come from behind and be able to react), and, where it swerves, that its
    corners stay on the road. Tolerances: 1 mm/s², 5 cm per step (15 cm for a
    base drive), 2 cm at kerbs.

    Args:
        scenario: the scene that it is about.
        certificate: of `solve`.
    """
    return tuple(_problems(scenario, certificate))


def _problems(scenario: Scenario, certificate: Certificate) -> Iterator[str]:
    if scenario.hash != certificate.scenario:
        yield f"it is of scene {certificate.scenario}, this one is {scenario.hash}"
        return
    base = _logged(scenario)
    if certificate.base:
        given = np.array(certificate.base)
        if given.shape != base.shape:
            yield f"the base drive has shape {given.shape}, wanted {base.shape}"
            return
        if not np.isfinite(given).all() or (given[:, 3] < 0.0).any():
            yield "the base drive is not finite, or goes backwards"
            return
        if not np.allclose(given[0], base[0], rtol=0.0, atol=_START):
            yield "the base drive does not begin where the ego is at the present"
        if not np.allclose(given, base, rtol=0.0, atol=_START):
            for problem in _motion_problems(given, certificate, _BASE_DRIFT):
                yield f"base drive: {problem}"
        base = given
    contact, agent = _first_contact(scenario, base, None)
    if (contact, agent) != (certificate.contact, certificate.contact_agent):
        yield (
            f"the base drive first meets agent {agent} at step {contact}, not "
            f"{certificate.contact_agent} at {certificate.contact}"
        )
    elif contact >= 0:
        onset = _onset(scenario, base, contact, agent)
        if onset != certificate.onset:
            yield f"the hazard can be foreseen from step {onset}, not {certificate.onset}"
    for name in ("weakest", "latest"):
        evasion: Evasion | None = getattr(certificate, name)
        if evasion is not None:
            for problem in _evasion_problems(scenario, certificate, base, evasion):
                yield f"{name}: {problem}"
    least = certificate.onset + certificate.reaction_s / DT - 1e-6
    weakest = certificate.weakest
    if weakest is not None and weakest.states and weakest.begin < least:
        yield f"weakest: begins at step {weakest.begin}, before the reaction time has passed"


def _evasion_problems(
    scenario: Scenario, certificate: Certificate, base: NDArray[np.float64], evasion: Evasion
) -> Iterator[str]:
    if not evasion.states:
        if evasion.manoeuvre is not Manoeuvre.KEEP:
            yield f"{evasion.manoeuvre.name} without a drive"
        elif certificate.contact >= 0:
            yield "nothing is done, although the base drive meets someone"
        return
    begin = evasion.begin
    states = np.array(evasion.states)
    if begin + len(states) != len(base):
        yield f"{len(states)} states from step {begin} on, wanted {len(base) - begin}"
        return
    if not np.isfinite(states).all() or (states[:, 3] < 0.0).any():
        yield "states that are not finite, or drive backwards"
        return
    if not np.allclose(states[0], base[begin], rtol=0.0, atol=1e-6):
        yield f"at step {begin} it is not where the base drive is"
    said = certificate.onset + evasion.reaction_s / DT
    if abs(begin - said) > 1e-6:
        yield f"begins at step {begin}, its reaction time says {said:g}"
    yield from _motion_problems(states, certificate, _DRIFT)
    drive = np.concatenate([base[:begin], states])
    met, agent = _first_contact(scenario, drive, set(evasion.excused))
    if met >= 0:
        yield f"meets agent {agent} at step {met}"
    sideways = len(evasion.parameters) > 2 and evasion.parameters[2] != 0.0
    straight = evasion.manoeuvre in (
        Manoeuvre.EASE_OFF,
        Manoeuvre.BRAKE,
        Manoeuvre.BRAKE_HARD,
    )
    if straight and (sideways or _off_path(states, base[begin:])):
        yield f"{evasion.manoeuvre.name} leaves the path of the base drive"
    if not straight:
        off = _off_road(scenario, states)
        if off >= 0:
            yield f"is off the road at step {begin + off}"


def _motion_problems(
    states: NDArray[np.float64], certificate: Certificate, most: float
) -> Iterator[str]:
    """Whether positions, headings and speeds agree, and what tyres bear is not exceeded."""
    if len(states) < 2:
        return
    speed = 0.5 * (states[1:, 3] + states[:-1, 3])
    turn = np.angle(np.exp(1j * np.diff(states[:, 2])))
    yaw = states[:-1, 2] + 0.5 * turn
    wanted = (speed * DT)[:, None] * np.column_stack([np.cos(yaw), np.sin(yaw)])
    drift = np.hypot(*(np.diff(states[:, :2], axis=0) - wanted).T)
    if drift.max() > most:
        yield f"step {int(drift.argmax())}: moves {drift.max():.3f} m beside its speed and heading"
    lat = np.abs(speed * turn / DT)
    lon = np.diff(states[:, 3]) / DT
    both = np.hypot(lat, lon)
    if lat.max() > certificate.lateral + _SLACK:
        yield f"lateral acceleration {lat.max():.2f} m/s², bound {certificate.lateral:g}"
    if both.max() > certificate.combined + _SLACK:
        yield f"combined acceleration {both.max():.2f} m/s², bound {certificate.combined:g}"
    tight = np.abs(turn) - _MAX_CURVATURE * speed * DT
    if tight.max() > 2e-3:
        yield f"step {int(tight.argmax())}: turns tighter than a car can"


def _logged(scenario: Scenario) -> NDArray[np.float64]:
    ego = scenario.ego[scenario.start :]
    return np.column_stack(
        [
            ego[:, EgoIndex.X],
            ego[:, EgoIndex.Y],
            np.unwrap(ego[:, EgoIndex.YAW]),
            np.clip(ego[:, EgoIndex.VX], 0.0, None),
        ]
    )


def _boxes(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    yaw: NDArray[np.float64],
    front: float | NDArray[np.float64],
    rear: float | NDArray[np.float64],
    half_width: float | NDArray[np.float64],
) -> NDArray[np.object_]:
    """Polygons of boxes: `front` metres before their point to `rear` behind it."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    rings = np.empty((len(x), 4, 2))
    corners = ((front, half_width), (-rear, half_width), (-rear, -half_width), (front, -half_width))
    for k, (lon, lat) in enumerate(corners):
        rings[:, k, 0] = x + lon * cos - lat * sin
        rings[:, k, 1] = y + lon * sin + lat * cos
    return np.asarray(shapely.polygons(rings))


def _ego_boxes(drive: NDArray[np.float64], car: Vehicle) -> NDArray[np.object_]:
    return _boxes(drive[:, 0], drive[:, 1], drive[:, 2], car.front, car.rear, 0.5 * car.width)


def _first_contact(
    scenario: Scenario, drive: NDArray[np.float64], named: set[int] | None
) -> tuple[int, int]:
    """First step at which a drive's box meets someone's who is not to blame for it, and whom.

    Args:
        scenario: the scene.
        drive: [N, 4].
        named: agents that a certificate excuses, and nobody else is; None: whoever may be, is.
    """
    boxes = _ego_boxes(drive, scenario.vehicle)
    found = (-1, -1)
    for a in range(len(scenario.agents)):
        state = scenario.agents.state[a, scenario.start :]
        valid = scenario.agents.valid[a, scenario.start :]
        length, width = scenario.agents.size[a, :2]
        near = np.hypot(*(state[:, :2] - drive[:, :2]).T) < 0.5 * length + width + 20.0
        steps = np.flatnonzero(valid & near)
        if not len(steps):
            continue
        others = _boxes(
            state[steps, 0], state[steps, 1], state[steps, 2],
            0.5 * length, 0.5 * length, 0.5 * width,
        )  # fmt: skip
        hits = steps[shapely.intersects(boxes[steps], others)]
        if not len(hits):
            continue
        k = int(hits[0])
        sight = state[k, :2] - drive[k, :2]
        bearing = np.angle(np.exp(1j * (np.arctan2(sight[1], sight[0]) - drive[k, 2])))
        excused = bool(scenario.agents.reactive[a]) and abs(bearing) > _BEHIND
        if excused and (named is None or a in named):
            continue
        if found[0] < 0 or k < found[0]:
            found = (k, a)
    return found


def _onset(scenario: Scenario, base: NDArray[np.float64], contact: int, agent: int) -> int:
    """First step of the unbroken run at which the agent is in view and, going on as it does, meets
    the base."""
    boxes = _ego_boxes(base, scenario.vehicle)
    state = scenario.agents.state[agent, scenario.start :]
    valid = scenario.agents.valid[agent, scenario.start :]
    half = 0.5 * scenario.agents.size[agent, :2]
    onset = contact
    for k in range(contact, -1, -1):
        if not valid[k] or (k < contact and not _in_view(scenario, boxes[k], k, agent)):
            break
        ahead = np.arange(min(_FORESIGHT_STEPS + 1, len(base) - k))
        moved = state[k, None, :2] + state[k, None, 3:5] * DT * ahead[:, None]
        yaw = np.full(len(ahead), state[k, 2])
        others = _boxes(moved[:, 0], moved[:, 1], yaw, half[0], half[0], half[1])
        if not shapely.intersects(boxes[k + ahead], others).any():
            break
        onset = k
    return onset


def _in_view(scenario: Scenario, ego: shapely.Geometry, step: int, agent: int) -> bool:
    """Whether a line from the middle of the ego's box to the agent's centre or a corner is free of
    vehicles of 1.4 m and more."""
    tracks, now = scenario.agents, scenario.start + step
    state, size = tracks.state[:, now], tracks.size
    boxes = _boxes(
        state[:, 0], state[:, 1], state[:, 2], 0.5 * size[:, 0], 0.5 * size[:, 0], 0.5 * size[:, 1]
    )
    blocks = tracks.valid[:, now] & (tracks.kind == AgentKind.VEHICLE) & (size[:, 2] >= _TALL_M)
    blocks[agent] = False
    eye = shapely.get_coordinates(shapely.centroid(ego))
    ends = np.concatenate([state[agent, None, :2], shapely.get_coordinates(boxes[agent])[:4]])
    lines = shapely.linestrings(np.stack([np.repeat(eye, len(ends), 0), ends], 1))
    blocked = shapely.intersects(lines[:, None], boxes[blocks][None]).any(axis=1)
    return not bool(blocked.all())


def _off_path(states: NDArray[np.float64], base: NDArray[np.float64]) -> bool:
    """Whether a drive strays from the line of the base drive, extended at its end."""
    end = base[-1]
    beyond = end[:2] + 60.0 * np.array([np.cos(end[2]), np.sin(end[2])])
    line = shapely.linestrings(np.concatenate([base[:, :2], beyond[None]]))
    return bool(shapely.distance(line, shapely.points(states[:, :2])).max() > 0.3)


def _off_road(scenario: Scenario, states: NDArray[np.float64]) -> int:
    """First state, but for the one at which it begins, with a corner off the road; -1 for none."""
    tree = shapely.STRtree(_surfaces(scenario.map))
    corners = shapely.get_coordinates(_ego_boxes(states, scenario.vehicle)).reshape(-1, 5, 2)[:, :4]
    points = shapely.points(corners.reshape(-1, 2))
    good = np.zeros(len(points), np.bool_)
    good[tree.query(points, predicate="dwithin", distance=_KERB)[0]] = True
    whole: NDArray[np.bool_] = np.logical_and.reduce(good.reshape(-1, 4), axis=1)
    bad = np.flatnonzero(~whole[1:]) + 1
    return int(bad[0]) if len(bad) else -1


def _surfaces(road_map: RoadMap) -> list[shapely.Geometry]:
    areas = zip(road_map.area_kind, road_map.area_polygon, strict=True)
    drivable = (AreaKind.DRIVABLE, AreaKind.INTERSECTION, AreaKind.CARPARK)
    found = [polygon_of(ring) for kind, ring in areas if kind in drivable]
    lanes = zip(road_map.lane_kind, road_map.lane_polygon, strict=True)
    return found or [polygon_of(ring) for kind, ring in lanes if kind != LaneKind.BIKE]
