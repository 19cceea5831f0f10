"""Who is in a log of a town: drivers with styles of their own, people on foot, parked cars.

Numbers are drawn by additions and multiplications of uniform ones alone (see `exact`). What
drivers are like is fitted to the recorded drives in `realism`: AV2, nuScenes mini and NGSIM.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import STATE_SIZE, AgentKind, LaneKind, StateIndex
from roadworthy.vehicle import PACIFICA
from roadworthy_simulators.traffic.state import AGENT, HINTS, PLACE, PLACES, Mode

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.driving import KNOT, Cast, Style
from roadworthy_sources.towns.streets import PARKING, Street
from roadworthy_sources.towns.town import Crossing, Town

__all__ = ["Crowd", "Draw", "Person", "populate"]

Array = NDArray[np.float64]

_STEP = 0.1
_EGO_SHARE = 0.3
_KERB = 1.3
_APART = 0.85
_FAR_SIDE = 4.2
_CROSSES = 8
_PLACE_LENGTH = 6.6


class Draw:
    """Random numbers from a Philox generator, by exact arithmetic alone."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def uniform(self, low: float, high: float) -> float:
        """One number between two."""
        return float(low + (high - low) * self.rng.random())

    def normal(self, shape: tuple[int, ...] | int) -> Array:
        """Sums of twelve uniform numbers, less six: standard deviation 1, within 6."""
        shape = shape if isinstance(shape, tuple) else (shape,)
        parts = self.rng.random((12, *shape)) - 0.5
        out: Array = parts[0]
        for part in parts[1:]:
            out += part
        return out

    def quantile(self, values: tuple[float, ...]) -> float:
        """A number whose quantiles at even steps from 0 to 1 are `values`."""
        at = self.rng.random() * (len(values) - 1)
        k = min(int(at), len(values) - 2)
        return values[k] + (at - k) * (values[k + 1] - values[k])

    def pick(self, weights: tuple[float, ...]) -> int:
        """An index, as likely as its weight."""
        at, total = self.rng.random() * sum(weights), 0.0
        for k, weight in enumerate(weights):
            total += weight
            if at < total:
                return k
        return len(weights) - 1


HEADWAY = (0.25, 0.5, 0.7, 0.9, 1.15, 1.5, 2.4)
"""Quantiles of the desired time headway T [s]."""
FACTOR = (0.6, 0.85, 0.97, 1.05, 1.12, 1.2, 1.4)
"""Quantiles of the desired speed over the limit."""
ACCEL = (0.9, 1.3, 1.7, 2.2, 3.0)
DECEL = (1.3, 1.9, 2.6, 3.5)
GAP = (1.2, 1.7, 2.2, 2.8, 4.0)
"""Quantiles of a, b [m/s²] and of the gap at a stand s_0 [m]."""
ERROR = (0.15, 0.3, 0.45, 0.7, 1.1)
"""Quantiles of the standard deviation of a driver's error of acceleration [m/s²]."""
SPACING = (16.0, 32.0, 55.0, 85.0, 150.0)
"""Quantiles of a log's mean distance from one vehicle to the next in its lane [m]."""
MEMORY = 0.75
"""Correlation of a driver's errors half a second apart."""

_FLEET: tuple[tuple[str, float, tuple[float, float, float]], ...] = (
    ("car", 0.80, (4.6, 1.88, 1.6)),
    ("van", 0.11, (5.4, 2.0, 2.2)),
    ("truck", 0.06, (8.2, 2.4, 3.2)),
    ("bus", 0.03, (11.5, 2.5, 3.1)),
)


_FLEET_SHARES = tuple(share for _, share, _ in _FLEET)
_SITE_SHARE = 0.12
_SITE: dict[str, tuple[AgentKind, tuple[float, float, float]]] = {
    "cone": (AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7)),
    "barrier": (AgentKind.BARRIER, (2.0, 0.5, 1.0)),
}


@dataclass
class Person:
    """Anyone and anything in a log.

    Attributes:
        name: unique in its log.
        kind: what it is.
        size: length, width, height [m].
        mode: how it moves.
        path: [R, 5] `StateIndex`, of those on paths; standing ones need one row.
        lane, s, speed: of lane followers, at the first step.
        way: lanes that it takes.
        factor: desired speed over the limit; wish: [m/s], where factor is 0.
        style: [7] `Style`.
        crosses: (lane, arc length, row of the path).
        go: first step at which it may step on the crosswalk.
        ego: whether it may become the ego.
        seen: bool [R], when one that replays its path is there; None for always.
    """

    name: str
    kind: AgentKind
    size: tuple[float, float, float]
    mode: Mode
    path: Array | None = None
    lane: int = -1
    s: float = 0.0
    speed: float = 0.0
    way: tuple[int, ...] = ()
    factor: float = 0.0
    wish: float = 0.0
    style: Array = field(default_factory=lambda: np.zeros(len(Style)))
    crosses: tuple[tuple[int, float, float], ...] = ()
    go: int = 0
    ego: bool = False
    seen: NDArray[np.bool_] | None = None


@dataclass
class Crowd:
    """The people of a log of R steps."""

    steps: int
    people: list[Person] = field(default_factory=list)

    def add(self, person: Person) -> int:
        """Add someone; returns their number."""
        self.people.append(person)
        return len(self.people) - 1

    def cast(self, draw: Draw) -> Cast:
        """Arrays for the kernels, with everyone's errors drawn."""
        count, knots = len(self.people), self.steps // KNOT + 2
        agents = np.zeros(count, AGENT)
        hints = np.full((count, HINTS), -1, np.int64)
        walkers = [p for p in self.people if p.path is not None]
        path = np.zeros((max(1, len(walkers)), self.steps, STATE_SIZE))
        seen = np.ones((len(path), self.steps), np.bool_)
        cross_lane = np.full((len(path), _CROSSES), -1, np.int64)
        cross_s, cross_row = np.zeros((2, len(path), _CROSSES))
        path_of, go = np.full(count, -1, np.int64), np.zeros(len(path), np.int64)
        row = 0
        for a, person in enumerate(self.people):
            me = agents[a]
            me["mode"], me["kind"], me["last"] = person.mode, person.kind, self.steps - 1
            me["half_length"], me["half_width"] = 0.5 * person.size[0], 0.5 * person.size[1]
            me["seen_x"], me["rate"], me["before"], me["leaving"] = np.inf, 1.0, -1, -1
            me["entry"] = me["leaving_entry"] = -1
            me["lane"], me["s"], me["speed"] = person.lane, person.s, person.speed
            me["factor"], me["wish"] = person.factor, person.wish
            me["d"] = person.style[Style.BIAS]
            me["rest"] = int(person.s) % 10
            hints[a, : min(HINTS, len(person.way))] = person.way[:HINTS]
            if person.path is not None:
                path_of[a] = row
                path[row, : len(person.path)] = person.path
                path[row, len(person.path) :] = person.path[-1]
                if person.seen is not None:
                    seen[row] = person.seen
                for k, (lane, s, at) in enumerate(person.crosses[:_CROSSES]):
                    cross_lane[row, k], cross_s[row, k], cross_row[row, k] = lane, s, at
                go[row] = person.go
                x, y, yaw = path[row, 0, : StateIndex.VX].tolist()
                me["x"], me["y"], me["yaw"] = x, y, yaw
                c, s = exact.cos_sin(yaw)
                me["cos"], me["sin"] = float(c), float(s)
                if not seen[row, 0]:
                    me["mode"] = Mode.ABSENT
                row += 1
        return Cast(
            agents, np.zeros((count, PLACES), PLACE), hints,
            np.array([p.style for p in self.people]).reshape(count, len(Style)),
            _wandering(draw, count, knots), _wandering(draw, count, knots),
            path_of, path, seen, cross_lane, cross_s, cross_row, go,
            np.zeros((count, 3), np.int64), np.zeros(count),
        )  # fmt: skip


def _wandering(draw: Draw, count: int, knots: int) -> Array:
    """Unit normal numbers [count, knots], each correlated with the one before."""
    out = draw.normal((count, knots))
    fresh = float(np.sqrt(1.0 - MEMORY * MEMORY))
    for k in range(1, knots):
        out[:, k] = MEMORY * out[:, k - 1] + fresh * out[:, k]
    return out


def populate(town: Town, draw: Draw, steps: int, green: dict[int, list[tuple[int, int]]]) -> Crowd:
    """Fill a town.

    Args:
        town: where.
        draw: random numbers.
        steps: R.
        green: per signalled node the first and last step of each phase, in the order of its
            groups, over and over.
    """
    crowd = Crowd(steps)
    spacing = draw.quantile(SPACING)
    for street in town.streets.streets.values():
        _construction(crowd, town, draw, street)
    sites = np.array([p.path[0, :2] for p in crowd.people if p.path is not None]).reshape(-1, 2)
    for lane in range(len(town.map.lane_id)):
        if town.map.lane_kind[lane] == LaneKind.LANE:
            _fill_lane(crowd, town, draw, lane, spacing * draw.uniform(0.6, 1.6), sites)
    for street in town.streets.streets.values():
        _park(crowd, town, draw, street)
        if not town.streets.plan.edges[street.edge].slip:
            _pavement(crowd, draw, street)
    for crossing in town.crossings:
        _cross(crowd, town, draw, crossing, green)
    return crowd


def _way(town: Town, draw: Draw, lane: int) -> tuple[int, ...]:
    """Lanes that a driver takes from a lane on; straight on three times out of five."""
    way = [lane]
    while len(way) < HINTS:
        after = town.graph.successors[way[-1]]
        if not after:
            break
        straight = int(town.lanes.lane["straight"][way[-1]])
        weights = tuple(1.2 * (len(after) - 1) + 0.1 if j == straight else 1.0 for j in after)
        way.append(after[draw.pick(weights)])
    return tuple(way)


def driver(town: Town, draw: Draw, lane: int, s: float, bicycle: bool, name: str) -> Person:
    """A driver, or someone on a bicycle, in a lane."""
    style = np.zeros(len(Style))
    for column, table in (
        (Style.HEADWAY, HEADWAY), (Style.ACCEL, ACCEL), (Style.DECEL, DECEL), (Style.GAP, GAP),
        (Style.ERROR, ERROR),
    ):  # fmt: skip
        style[column] = draw.quantile(table)
    style[Style.SWAY] = draw.uniform(0.03, 0.12)
    style[Style.BIAS] = 0.12 * draw.normal(1)[0]
    factor = draw.quantile(FACTOR)
    limit = float(town.map.lane_speed_limit[lane])
    if bicycle:
        style[Style.BIAS] = -0.25 * town.streets.plan.lane_width
        style[Style.ACCEL], wish = 1.0, draw.uniform(3.0, 6.5)
        size = (1.8, 0.65, 1.7)
        way = _way(town, draw, lane)
        return Person(name, AgentKind.BICYCLE, size, Mode.LANE, None, lane, s, wish, way, 0.0, wish,
                      style)  # fmt: skip
    ego = draw.rng.random() < _EGO_SHARE
    what, _, size = _FLEET[draw.pick(_FLEET_SHARES)]
    share = 1.0 + 0.04 * np.clip(draw.normal(3), -2.5, 2.5)
    size = (size[0] * share[0], size[1] * share[1], size[2] * share[2])
    if ego:
        what, size = "car", (PACIFICA.length, PACIFICA.width, PACIFICA.height)
    name = name.replace("car", what)
    size = tuple(float(v) for v in exact.rounded(size))  # type: ignore[assignment]
    return Person(name, AgentKind.VEHICLE, size, Mode.LANE, None, lane, s, 0.8 * limit * factor,
                  _way(town, draw, lane), factor, limit * factor, style, ego=ego)  # fmt: skip


def _fill_lane(
    crowd: Crowd, town: Town, draw: Draw, lane: int, spacing: float, sites: Array
) -> None:
    """Vehicles along a lane at random distances, none of them on a building site [K, 2]."""
    length = float(town.graph.length[lane])
    line = town.map.lane_centreline[lane]
    hop = np.diff(line[:, :2], axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(hop[:, 0], hop[:, 1]))])
    s = 4.0 + draw.uniform(0.0, spacing)
    while s < length - 12.0:
        bicycle = len(town.graph.road(lane)) == 1 and draw.rng.random() < 0.025
        person = driver(town, draw, lane, s, bicycle, f"car-{len(crowd.people)}")
        x, y = np.interp(s, walked, line[:, 0]), np.interp(s, walked, line[:, 1])
        near = exact.length(sites[:, 0] - x, sites[:, 1] - y)
        if near.min(initial=np.inf) > 0.5 * person.size[0] + 2.0:
            crowd.add(person)
        u = draw.rng.random()
        s += person.size[0] + 4.0 + (spacing - 5.0) * (0.25 + 1.5 * u * u)


def standing(name: str, kind: AgentKind, size: tuple[float, float, float], xy: Array,
             yaw: float) -> Person:  # fmt: skip
    """Something that stands at a point [2]."""
    path = np.zeros((1, STATE_SIZE))
    path[0, :2], path[0, StateIndex.YAW] = exact.rounded(xy), exact.rounded(yaw, exact.ANGLE_GRID)
    size = tuple(float(v) for v in exact.rounded(size))  # type: ignore[assignment]
    mode = Mode.PARKED if kind < AgentKind.TRAFFIC_CONE else Mode.REPLAY
    return Person(name, kind, size, mode, path)


def _park(crowd: Crowd, town: Town, draw: Draw, street: Street) -> None:
    """Cars along the parking strips, not before crosswalks."""
    share = draw.uniform(0.2, 0.75)
    for side, there in ((-1.0, street.parking[0]), (1.0, street.parking[1])):
        at = 20.0
        while there and at < street.length - 20.0:
            clear = not street.crossing or abs(at - street.crossing) > 9.0
            if clear and draw.rng.random() < share:
                left = side * (street.half + 0.5 * PARKING + draw.uniform(-0.12, 0.2))
                xy, yaw = street.at(at + draw.uniform(-0.4, 0.4), left)
                what, _, size = _FLEET[draw.pick((0.85, 0.15))]
                yaw += (0.0 if side < 0.0 else np.pi) + 0.015 * draw.normal(1)[0]
                name = f"parked-{what}-{len(crowd.people)}"
                crowd.add(standing(name, AgentKind.VEHICLE, size, xy, yaw))
            at += _PLACE_LENGTH


def _construction(crowd: Crowd, town: Town, draw: Draw, street: Street) -> None:
    """Perhaps a building site: it takes the outer lane of two or more, and narrows a single one."""
    draws = draw.rng.random(3)
    if draws[0] > _SITE_SHARE or street.length < 90.0 or street.crossing or any(street.parking):
        return
    if any(town.streets.plan.edges[street.edge].extra):
        return
    lanes, width = len(street.lanes[0]), town.streets.plan.lane_width
    side = -1.0 if draws[1] < 0.5 else 1.0
    reach = 20.0 + 15.0 * float(draws[2])
    first = 0.5 * (street.length - reach) + (-5.0 if side < 0.0 else 5.0)
    edge = street.half - (0.92 * width if lanes > 1 else 0.0)
    things: list[tuple[str, float, float]] = []
    for k in range(5 if lanes > 1 else 0):
        back = 4.0 * (k + 1)
        out = edge + (street.half - edge) * (k + 1) / 6.0
        things.append(("cone", first - back if side < 0.0 else first + reach + back, out))
    things += [("cone", first + at, edge) for at in np.arange(0.0, reach + 1.0, 4.0).tolist()]
    if lanes > 1:
        things += [("barrier", first + at, street.half - 0.5 * width)
                   for at in np.arange(1.0, reach, 5.0).tolist()]  # fmt: skip
    for what, at, out in things:
        kind, size = _SITE[what]
        xy, yaw = street.at(at, side * out)
        name = f"site-{what}-{len(crowd.people)}"
        crowd.add(standing(name, kind, size, xy, yaw + (0.0 if what == "cone" else 0.5 * np.pi)))


def walk_along(line: Array, pace: float, steps: int) -> Array:
    """States [steps, 5] of someone who walks along a line [N, 2] at a pace and stops at its end."""
    hop = np.diff(line, axis=0)
    size = exact.length(hop[:, 0], hop[:, 1])
    walked = np.concatenate([[0.0], np.cumsum(size)])
    at = np.minimum(pace * _STEP * np.arange(steps), walked[-1] - 1e-6)
    k = np.clip(np.searchsorted(walked, at, side="right") - 1, 0, len(hop) - 1)
    out = np.zeros((steps, STATE_SIZE))
    share = ((at - walked[k]) / size[k])[:, None]
    out[:, :2] = line[k] + share * hop[k]
    out[:, StateIndex.YAW] = exact.angle(hop[k, 0], hop[k, 1])
    moving = (at < walked[-1] - 1e-3)[:, None]
    out[:, StateIndex.VX :] = np.where(moving, pace * hop[k] / size[k][:, None], 0.0)
    return out


def _walker(crowd: Crowd, draw: Draw, path: Array, **more: object) -> None:
    size = (draw.uniform(0.5, 0.7), draw.uniform(0.5, 0.7), draw.uniform(1.5, 1.9))
    size = tuple(float(v) for v in exact.rounded(size))  # type: ignore[assignment]
    name = f"pedestrian-{len(crowd.people)}"
    crowd.add(Person(name, AgentKind.PEDESTRIAN, size, Mode.PATH, path, **more))  # type: ignore[arg-type]


def _pavement(crowd: Crowd, draw: Draw, street: Street) -> None:
    """People who walk along the pavements."""
    for side, parking in zip((-1.0, 1.0), street.parking, strict=True):
        for turn in range(draw.pick((0.45, 0.3, 0.15, 0.1))):
            wide = street.half + (PARKING if parking else 0.0)
            wide += _KERB + _APART * (turn + draw.uniform(0.0, 0.3))
            start, end = 2.0, street.length - 2.0
            if draw.rng.random() < 0.5:
                start, end = end, start
            line = street.line(start + (end - start) * draw.uniform(0.0, 0.7), end, side * wide)
            _walker(crowd, draw, walk_along(line, draw.uniform(0.7, 1.7), crowd.steps))


def _cross(
    crowd: Crowd,
    town: Town,
    draw: Draw,
    crossing: Crossing,
    green: dict[int, list[tuple[int, int]]],
) -> None:
    """People who cross on a crosswalk, with the signals where there are any."""
    street = town.streets.streets[crossing.edge]
    parked = PARKING if any(street.parking) else 0.0
    for turn in range(draw.pick((0.55, 0.28, 0.17))):
        side = 1.0 if draw.rng.random() < 0.5 else -1.0
        at = crossing.at + 1.1 * turn - 0.55
        pace = draw.uniform(0.9, 1.7)
        near, far = 0.8 + 0.8 * turn, _FAR_SIDE + parked + _APART * turn
        start = street.at(at, -side * (street.half + near))[0]
        end = street.at(at, side * (street.half + 0.8))[0]
        to = crossing.to[int(draw.rng.integers(len(crossing.to)))]
        beyond = street.line(at, to, side * (street.half + far))
        line = np.concatenate([start[None], end[None], beyond])
        path = walk_along(line, pace, crowd.steps)
        crosses = []
        for lane in crossing.lanes:
            s, left, _ = town.graph.locate(lane, start)
            reach = abs(left) / pace / _STEP
            crosses.append((lane, float(exact.rounded(s)), float(exact.rounded(reach))))
        go = 1 + int(draw.uniform(0.0, 0.9) * crowd.steps)
        if crossing.node >= 0:
            phases = green[crossing.node]
            group = _group(town, crossing)
            count = len(next(s.groups for s in town.signals if s.node == crossing.node))
            times = [first for k, (first, _) in enumerate(phases) if k % count != group]
            later = [t for t in times if t >= go]
            if not later:
                continue
            go = max(1, later[0] + int(draw.uniform(5.0, 25.0)))
        _walker(crowd, draw, path, crosses=tuple(crosses), go=go)


def _group(town: Town, crossing: Crossing) -> int:
    """The phase in which the street below a crosswalk has green."""
    arm = {c.name: c.arms[0] for c in town.connectors if c.node == crossing.node}
    groups = next(s.groups for s in town.signals if s.node == crossing.node)
    return next(
        (k for k, names in enumerate(groups) if any(arm[n] == crossing.edge for n in names)), 0
    )
