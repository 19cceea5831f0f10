"""Rare events: somebody does what one should not, just where the ego comes along.

An event is timed against the drive that a vehicle makes when nothing happens; then the log is
driven again with the event in it, and the vehicle reacts as the driver that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import HISTORY, STATE_SIZE, AgentKind, LaneKind, StateIndex
from roadworthy.vehicle import PACIFICA
from roadworthy_simulators.traffic.state import PLACE, PLACES, Mode

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.contacts import first_contact
from roadworthy_sources.towns.driving import Cast, Command
from roadworthy_sources.towns.log import STEPS, WARM, Log, blank_log, step_through
from roadworthy_sources.towns.people import Crowd, Draw, Person, standing

__all__ = ["KINDS", "Event", "actors", "bites", "far_from", "happen", "plan_event"]

Array = NDArray[np.float64]

_PRESENT = WARM + HISTORY - 1
_DT = 0.1
_THERE_FROM = WARM - 25
_HALF_CAR = 2.3
_CLEAR_TIME = 30
_CLEAR_ROOM = 6.5
_APART = 90.0
_TRIES = 3
_MANY_TRIES = 16


@dataclass
class Event:
    """What is changed in a log.

    Attributes:
        kind: its name.
        ego: for whom it is made.
        extras: who comes in.
        commands: (vehicle, `Command`, first step, step after the last, value).
        removed: who is not there.
    """

    kind: str
    ego: int
    extras: list[Person] = field(default_factory=list)
    commands: list[tuple[int, Command, int, int, float]] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Ego:
    """An ego's drive when nothing happens, and the moment chosen for the event."""

    log: Log
    agent: int
    draw: Draw
    when: int

    @property
    def at(self) -> Array:
        """State [5] of its box centre at that moment."""
        return np.asarray(self.log.state[self.agent, self.when])

    @property
    def lane(self) -> int:
        return int(self.log.lane[self.agent, self.when])

    @property
    def speed(self) -> float:
        return float(exact.length(self.at[StateIndex.VX], self.at[StateIndex.VY]))

    def seen_from(self, row: int) -> tuple[Array, Array, Array]:
        """How far everyone is ahead of and to the left of the ego at a step, and the cosine of
        the angle between their headings: [A] each."""
        state = self.log.state[:, row]
        x, y, yaw = self.log.state[self.agent, row, :3]
        c, s = (float(v) for v in exact.cos_sin(yaw))
        dx, dy = state[:, 0] - x, state[:, 1] - y
        along, _ = exact.cos_sin(state[:, 2] - yaw)
        return dx * c + dy * s, dy * c - dx * s, along

    def driving(self, row: int) -> NDArray[np.bool_]:
        """Who follows a lane at a step, the ego left out: bool [A]."""
        who = self.log.present[:, row] & (self.log.lane[:, row] >= 0)
        who[self.agent] = False
        return who


def _hard_brake(ego: _Ego) -> Event | None:
    """The one ahead brakes to a stand for nothing."""
    ahead, left, along = ego.seen_from(ego.when)
    gap = ahead - 2.0 * _HALF_CAR
    fits = ego.driving(ego.when) & (np.abs(left) < 1.2) & (along > 0.9) & (gap > 4.0)
    fits &= gap < 4.0 + 2.2 * ego.speed
    if ego.speed < 5.0 or not fits.any():
        return None
    who = int(np.flatnonzero(fits)[np.argmin(gap[fits])])
    last = ego.when + int(ego.draw.uniform(35.0, 60.0))
    order = (who, Command.BRAKE, ego.when, last, ego.draw.uniform(5.0, 7.5))
    return Event("hard_brake", ego.agent, commands=[order])


def _cut_in(ego: _Ego) -> Event | None:
    """Someone beside changes into the ego's lane close ahead of it."""
    graph = ego.log.town.graph
    beside = graph.neighbours(ego.lane) if ego.lane >= 0 else []
    ahead, _, along = ego.seen_from(ego.when)
    gap = ahead - 2.0 * _HALF_CAR
    lane = ego.log.lane[:, ego.when]
    state = ego.log.state[:, ego.when]
    pace = exact.length(state[:, StateIndex.VX], state[:, StateIndex.VY])
    fits = ego.driving(ego.when) & np.isin(lane, beside) & (along > 0.95)
    fits &= (gap > 0.5) & (gap < 11.0) & (pace > 3.0) & (pace < ego.speed + 2.5)
    if ego.speed < 4.0 or not fits.any():
        return None
    who = int(np.flatnonzero(fits)[np.argmin(gap[fits])])
    side = 1.0 if int(ego.log.town.map.lane_left[lane[who]]) == ego.lane else -1.0
    return Event(
        "cut_in", ego.agent, commands=[(who, Command.CUT_IN, ego.when, ego.when + 1, side)]
    )


def _scripted(name: str, kind: AgentKind, size: tuple[float, float, float], path: Array,
              seen: NDArray[np.bool_]) -> Person:  # fmt: skip
    size = tuple(float(v) for v in exact.rounded(size))  # type: ignore[assignment]
    return Person(name, kind, size, Mode.REPLAY, path, seen=seen)


def _along(
    line: Array, start: float, pace: float, first: int, steps: int
) -> tuple[Array, NDArray[np.bool_]]:
    """States [steps, 5] along a line [N, 2] at a pace, at arc length `start` at step `first`, and
    at which steps it is on the line at all."""
    hop = np.diff(line, axis=0)
    size = exact.length(hop[:, 0], hop[:, 1])
    walked = np.concatenate([[0.0], np.cumsum(size)])
    at = start + pace * _DT * (np.arange(steps) - first)
    seen = (at >= 0.0) & (at <= walked[-1])
    at = np.clip(at, 0.0, walked[-1] - 1e-6)
    k = np.clip(np.searchsorted(walked, at, side="right") - 1, 0, len(hop) - 1)
    state = np.zeros((steps, STATE_SIZE))
    state[:, :2] = line[k] + ((at - walked[k]) / size[k])[:, None] * hop[k]
    yaw = exact.unwrapped(exact.angle(hop[:, 0], hop[:, 1]))
    middles = 0.5 * (walked[1:] + walked[:-1])
    state[:, 2] = np.interp(at, middles, yaw)
    c, s = exact.cos_sin(state[:, 2])
    state[:, 3], state[:, 4] = pace * c, pace * s
    return state, seen


def _in_the_way(ego: _Ego, path: Array, seen: NDArray[np.bool_]) -> list[int]:
    """Who, the ego left out, would be where a script leads, give or take three seconds."""
    log, out = ego.log, []
    rows = np.flatnonzero(seen)[::5]
    shifts = (-_CLEAR_TIME, -_CLEAR_TIME // 2, 0, _CLEAR_TIME // 2, _CLEAR_TIME)
    who = log.lane[:, rows].max(axis=1, initial=-1) >= 0
    for a in np.flatnonzero(who):
        for shift in shifts:
            other = np.clip(rows + shift, 0, log.state.shape[1] - 1)
            gap = log.state[a, other, :2] - path[rows, :2]
            if a != ego.agent and float(exact.length(gap[:, 0], gap[:, 1]).min()) < _CLEAR_ROOM:
                out.append(int(a))
                break
    return out


def _red_light(ego: _Ego) -> Event | None:
    """Someone from a side runs the red, to meet the ego inside the junction."""
    log, town = ego.log, ego.log.town
    held = set(log.signal_lane.tolist())
    lanes = log.lane[ego.agent, _PRESENT + 25 : WARM + STEPS - 45]
    passed = [int(lane) for lane in dict.fromkeys(lanes.tolist()) if lane in held]
    if not passed:
        return None
    mine = passed[0]
    name = {town.index[c.name]: c for c in town.connectors}
    groups = next(s.groups for s in town.signals if s.node == name[mine].node)
    others = [c for g in groups if name[mine].name not in g for n in g
              for c in town.connectors if c.name == n and c.move == "straight"]  # fmt: skip
    if not others:
        return None
    runner = others[int(ego.draw.rng.integers(len(others)))]
    chain = town.graph.extend([town.index[runner.before]], 0.0, 160.0)
    chain += [town.index[runner.name], town.index[runner.after]]
    line = town.graph.centreline(chain)[:, :2]
    track = log.state[ego.agent, :, :2]
    gap = line[:, None] - track[None, _PRESENT : WARM + STEPS - 30 : 1]
    far = exact.length(gap[..., 0], gap[..., 1])
    at, when = np.unravel_index(int(np.argmin(far)), far.shape)
    if far[at, when] > 1.5:
        return None
    pace = ego.draw.uniform(8.5, 12.5)
    first = _PRESENT + int(when) + int(ego.draw.uniform(-3.0, 5.0))
    hop = np.diff(line, axis=0)
    start = float(exact.length(hop[:, 0], hop[:, 1])[: int(at)].sum())
    path, seen = _along(line, start, pace, first, log.signal.shape[1])
    size = (4.6, 1.88, 1.6) if ego.draw.rng.random() < 0.8 else (8.2, 2.4, 3.2)
    person = _scripted(f"runner-{ego.agent}", AgentKind.VEHICLE, size, path, seen)
    return Event("intersection", ego.agent, [person], removed=_in_the_way(ego, path, seen))


def _wrong_way(ego: _Ego) -> Event | None:
    """Someone comes towards the ego in its lane, and gets out of it late."""
    log, town = ego.log, ego.log.town
    lane = ego.lane
    if lane < 0 or town.map.lane_kind[lane] != LaneKind.LANE or town.map.lane_left[lane] >= 0:
        return None
    s, _, _ = town.graph.locate(lane, ego.at[:2])
    line = town.map.lane_centreline[lane]
    hop = np.diff(line[:, :2], axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(hop[:, 0], hop[:, 1]))])
    pace = ego.draw.uniform(5.0, 8.0)
    late = ego.draw.uniform(8.0, 16.0)
    if walked[-1] - s < 1.2 * pace + late + 22.0 or s < 25.0 or ego.speed < 4.0:
        return None
    c, d = exact.cos_sin(line[:, 2])
    turn_back = s + late
    width = town.streets.plan.lane_width
    fine = np.arange(0.0, walked[-1], 1.5)
    x = np.interp(fine, walked, line[:, 0])
    y = np.interp(fine, walked, line[:, 1])
    share = np.clip((turn_back + 18.0 - fine) / 18.0, 0.0, 1.0)
    left = width * share * share * (3.0 - 2.0 * share)
    nx, ny = np.interp(fine, walked, -d), np.interp(fine, walked, c)
    path_line = np.stack([x + left * nx, y + left * ny], axis=1)[::-1]
    begin = float(walked[-1] - turn_back)
    path, seen = _along(path_line, begin, pace, ego.when, log.signal.shape[1])
    seen &= np.arange(len(seen)) >= _THERE_FROM
    person = _scripted(f"wrong-way-{ego.agent}", AgentKind.VEHICLE, (4.6, 1.88, 1.6), path, seen)
    return Event("wrong_way", ego.agent, [person], removed=_in_the_way(ego, path, seen))


def _obstacle(ego: _Ego, kind: str) -> Event | None:
    """Something lies or stands in the ego's lane."""
    log, town, lane = ego.log, ego.log.town, ego.lane
    if lane < 0 or town.map.lane_kind[lane] != LaneKind.LANE or ego.speed < 4.0:
        return None
    gap = log.state[:, _THERE_FROM, :2] - ego.at[:2]
    near = exact.length(gap[:, 0], gap[:, 1]) < 24.0
    near &= log.lane[:, _THERE_FROM] == lane
    start = log.state[ego.agent, _THERE_FROM, :2] - ego.at[:2]
    s, _, yaw = town.graph.locate(lane, ego.at[:2])
    if near.any() or float(exact.length(start[0], start[1])) < 30.0 or s < 15.0:
        return None
    if not town.graph.neighbours(lane) and ego.draw.rng.random() < 0.6:
        return None
    c, d = (float(v) for v in exact.cos_sin(yaw))
    seen = np.arange(log.signal.shape[1]) >= _THERE_FROM
    things: list[tuple[AgentKind, tuple[float, float, float], float, float]] = []
    if kind == "debris":
        size = (ego.draw.uniform(0.4, 1.2), ego.draw.uniform(0.6, 1.4), ego.draw.uniform(0.2, 0.7))
        things.append((AgentKind.GENERIC_OBJECT, size, 0.0, ego.draw.uniform(-0.5, 0.5)))
    else:
        van = (5.4, 2.0, 2.2) if ego.draw.rng.random() < 0.6 else (8.2, 2.4, 3.2)
        things.append((AgentKind.VEHICLE, van, 6.0, ego.draw.uniform(-0.4, 0.0)))
        things += [(AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7), -3.0 * k, -0.8 + 0.8 * k)
                   for k in range(3)]  # fmt: skip
    extras = []
    for k, (what, size, ahead, left) in enumerate(things):
        xy = ego.at[:2] + np.array([ahead * c - left * d, ahead * d + left * c])
        person = standing(f"{kind}-{ego.agent}-{k}", what, size, xy, yaw)
        extras.append(replace(person, mode=Mode.REPLAY, seen=seen))
    return Event(kind, ego.agent, extras)


def _debris(ego: _Ego) -> Event | None:
    return _obstacle(ego, "debris")


def _blocked_lane(ego: _Ego) -> Event | None:
    return _obstacle(ego, "blocked_lane")


def _jaywalker(ego: _Ego) -> Event | None:
    """Someone comes out from behind a parked van, on foot or on a bicycle."""
    log, town, lane = ego.log, ego.log.town, ego.lane
    if lane < 0 or town.map.lane_kind[lane] != LaneKind.LANE or town.map.lane_right[lane] >= 0:
        return None
    s, _, yaw = town.graph.locate(lane, ego.at[:2])
    if ego.speed < 4.5 or not 22.0 < s < float(town.graph.length[lane]) - 22.0:
        return None
    c, d = (float(v) for v in exact.cos_sin(yaw))
    cyclist = ego.draw.rng.random() < 0.3
    pace = ego.draw.uniform(2.4, 3.4) if cyclist else ego.draw.uniform(1.4, 2.4)
    width = town.streets.plan.lane_width
    ahead = 3.0

    def point(forward: float, left: float) -> Array:
        return np.asarray(ego.at[:2]) + np.array([forward * c - left * d, forward * d + left * c])

    side = -(0.5 * width + 3.4)
    line = np.stack([point(ahead, side), point(ahead, 0.5 * width + 9.0)])
    reach = -side - 0.5 * PACIFICA.width
    first = ego.when - int(reach / pace / _DT) + int(ego.draw.uniform(-4.0, 1.0))
    steps = log.signal.shape[1]
    path, _ = _along(line, 0.0, pace, first, steps)
    path[: first + 1, StateIndex.VX :] = 0.0
    kind = AgentKind.BICYCLE if cyclist else AgentKind.PEDESTRIAN
    size = (1.8, 0.65, 1.7) if cyclist else (0.6, 0.6, 1.75)
    arrived = exact.length(path[:, 0] - line[1, 0], path[:, 1] - line[1, 1]) < 0.5
    path[arrived, StateIndex.VX :] = 0.0
    walker = _scripted(f"jaywalker-{ego.agent}", kind, size, path, np.ones(steps, np.bool_))
    van = standing(f"parked-van-{ego.agent}", AgentKind.VEHICLE, (5.4, 2.0, 2.2),
                   point(ahead - 4.2, -(0.5 * width + 1.25)), yaw)  # fmt: skip
    parked = [
        a for a, p in enumerate(log.crowd.people)
        if p.mode == Mode.PARKED and p.path is not None
        and float(exact.length(*(p.path[0, :2] - point(ahead - 2.0, side))[:2])) < 11.0
    ]  # fmt: skip
    removed = parked + _in_the_way(ego, path, _crossing(path, line))
    return Event("pedestrian_cyclist", ego.agent, [walker, van], removed=removed)


def _crossing(path: Array, line: Array) -> NDArray[np.bool_]:
    """The steps at which someone on a path is past its first 4 m and before its end."""
    walked = exact.length(path[:, 0] - line[0, 0], path[:, 1] - line[0, 1])
    return (walked > 4.5) & (exact.length(path[:, 3], path[:, 4]) > 0.1)


KINDS: Mapping[str, Callable[[_Ego], Event | None]] = {
    "cut_in": _cut_in,
    "pedestrian_cyclist": _jaywalker,
    "intersection": _red_light,
    "hard_brake": _hard_brake,
    "wrong_way": _wrong_way,
    "debris": _debris,
    "blocked_lane": _blocked_lane,
}
"""Rare kinds, and what makes them."""


def plan_event(log: Log, agent: int, kind: str, draw: Draw) -> Event | None:
    """An event of a kind for an ego, three to seven seconds after the present, or None where
    there is no occasion for it."""
    for _ in range(_MANY_TRIES if kind == "cut_in" else _TRIES):
        when = _PRESENT + int(draw.uniform(30.0, 72.0))
        event = KINDS[kind](_Ego(log, agent, draw, when))
        if event is not None and agent not in event.removed:
            return event
    return None


def far_from(log: Log, agent: int, events: list[Event]) -> bool:
    """Whether a vehicle stays 90 m from the egos of all events."""
    span = slice(WARM, WARM + STEPS, 10)
    for event in events:
        gap = log.state[agent, span, :2] - log.state[event.ego, span, :2]
        if float(exact.length(gap[:, 0], gap[:, 1]).min()) < _APART:
            return False
    return True


def happen(log: Log, events: list[Event], draw: Draw) -> Log:
    """Drive a log again with events in it; numbers of those who were in it stay."""
    count = len(log.crowd.people)
    extras = Crowd(log.crowd.steps, [p for e in events for p in e.extras])
    cast = log.cast._replace(agents=log.origin.copy())
    cast = cast._replace(place=np.zeros((count, PLACES), PLACE), command=cast.command * 0)
    if extras.people:
        cast = _joined(cast, extras.cast(draw))
    for event in events:
        for who, order, first, last, value in event.commands:
            cast.command[who] = int(order), first, last
            cast.value[who] = value
        cast.agents["mode"][event.removed] = Mode.ABSENT
        cast.path_of[event.removed] = -1
    crowd = Crowd(log.crowd.steps, log.crowd.people + extras.people)
    out = blank_log(log.town, crowd, cast, log.signal_lane, log.signal)
    step_through(out)
    return out


def _joined(one: Cast, two: Cast) -> Cast:
    """Two casts as one."""
    shifted = np.where(two.path_of >= 0, two.path_of + len(one.path), -1)
    parts = zip(one, two._replace(path_of=shifted), strict=True)
    return Cast(*(np.concatenate(pair) for pair in parts))


def actors(log: Log, event: Event) -> list[int]:
    """Numbers, in a log in which an event happens, of those who make it happen."""
    names = {p.name for p in event.extras}
    who = [a for a, person in enumerate(log.crowd.people) if person.name in names]
    return who + [order[0] for order in event.commands]


def bites(before: Log, after: Log, event: Event) -> bool:
    """Whether the ego, had it driven on as before, would have met someone of the event, or had
    to brake by 2.5 m/s² at least."""
    ego, who = event.ego, actors(after, event)
    span = slice(_PRESENT, WARM + STEPS)
    centre = np.concatenate([before.state[ego, span][None], after.state[who, span]])
    there = np.concatenate([before.present[ego, span][None], after.present[who, span]])
    agents = after.cast.agents
    rows = [ego, *who]
    half = np.stack([agents["half_length"][rows], agents["half_width"][rows]], axis=1)
    met = False
    for k in range(1, len(rows)):
        pair = [0, k]
        met = met or first_contact(centre[pair], there[pair], half[pair], 0.2)[0] >= 0
    speed = exact.length(after.state[ego, span, 3], after.state[ego, span, 4])
    return bool(met or np.diff(speed).min() < -0.25)
