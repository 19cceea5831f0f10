"""What happens where streets meet: connectors, roundabouts, joints, signals, crosswalks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.rings import union_rings
from roadworthy.scenario import AreaKind, LaneKind

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.curves import Curve, arc, heading, hermite, turned
from roadworthy_sources.towns.streets import Street, Streets

__all__ = [
    "CROSSWALK",
    "Connector",
    "Signals",
    "build_streets",
    "crosswalk",
    "slip_lanes",
    "stop_lines",
]

Array = NDArray[np.float64]

CROSSWALK = (1.0, 4.0)
"""A crosswalk begins and ends this far from the mouth of its arm [m]."""
_STOP_BEFORE = 5.0
_CORNER = 6.0
_LEAST = 7.0
_SHORTEST = 42.0
_RING = 15.0
_RING_WIDTH = 4.6
_RING_REACH = 30.0
_RING_ANGLE = 0.56
_STRAIGHT = 0.6
_OPPOSITE = 0.75
_LEFT_LIMIT = 8.3333
_RIGHT_LIMIT = 6.9444
_TAPER = 30.0
_SLIP_BACK = 60.0
_SLIP_ASIDE = 22.0
_SLIP_ANGLE = 0.5


@dataclass(frozen=True)
class Connector:
    """A way through a junction.

    Attributes:
        name: lane.
        node: the junction.
        before, after: lanes that it connects.
        arms: edges that it comes from and leads to.
        move: "straight", "left", "right" or "round".
    """

    name: str
    node: int
    before: str
    after: str
    arms: tuple[int, int]
    move: str


@dataclass(frozen=True)
class Signals:
    """Signals of one junction.

    Attributes:
        node: the junction.
        groups: per phase its connectors.
    """

    node: int
    groups: tuple[tuple[str, ...], ...]


def setback(streets: Streets, node: int, edge: int) -> float:
    """How far from a node the street along an edge ends [m]."""
    plan = streets.plan
    here = plan.nodes[node]
    if here.kind in ("exit", "joint"):
        return 0.0
    if here.kind == "roundabout":
        return _RING_REACH
    mine = plan.edges[edge].lanes * plan.lane_width
    at = here.arms.index(edge)
    reach = _LEAST
    for side in (-1, 1):
        other = here.arms[(at + side) % len(here.arms)]
        gap = plan.direction(node, other) - plan.direction(node, edge)
        theta = side * gap % (2.0 * np.pi)
        if theta < 2.9:
            width = plan.edges[other].lanes * plan.lane_width
            c, s = (float(v) for v in exact.cos_sin(theta))
            corner = (width + mine * c) / s
            reach = max(reach, corner + _CORNER * (1.0 + c) / s)
    return reach


def build_streets(streets: Streets) -> tuple[list[Connector], list[Signals]] | None:
    """Lay all streets and junctions of a plan; None where a street would be too short."""
    plan = streets.plan
    for k, edge in enumerate(plan.edges):
        ends = []
        for node, way in ((edge.a, edge.out[0]), (edge.b, edge.out[1])):
            ends.append(plan.nodes[node].xy + setback(streets, node, k) * heading(way))
        gap = ends[1] - ends[0]
        if float(exact.length(*gap)) < _SHORTEST:
            return None
        streets.street(k, hermite(ends[0], edge.out[0], ends[1], edge.out[1] + np.pi))
    for node, k in plan.slips:
        _slip_road(streets, node, k)
    connectors: list[Connector] = []
    signals: list[Signals] = []
    for n, place in enumerate(plan.nodes):
        if place.kind == "joint":
            _joint(streets, n)
        elif place.kind == "roundabout":
            connectors += _roundabout(streets, n)
        elif place.kind in ("signals", "priority"):
            made = _crossing(streets, n)
            connectors += made
            if place.kind == "signals":
                signals.append(_phases(streets, n, made))
    return connectors, signals


def _joint(streets: Streets, node: int) -> None:
    """Join two streets in one line; the lanes that one has more begin or end there."""
    one, two = streets.plan.nodes[node].arms
    for here, there in ((one, two), (two, one)):
        arriving, leaving = streets.arriving(node, here), streets.leaving(node, there)
        for before, after in zip(arriving, leaving, strict=False):
            streets.join(before, after)
        wide, narrow = streets.streets[here], streets.streets[there]
        if wide.half > narrow.half + 0.1:
            _taper(streets, narrow, wide.half, streets.plan.edges[there].b == node)


def slip_lanes(streets: Streets, node: int, edge: int) -> tuple[str, str]:
    """The lane of the slip road that comes in at a joint, and the lane that it becomes."""
    return f"x{edge}/f0", streets.leaving(node, edge)[-1]


def _slip_road(streets: Streets, node: int, edge: int) -> None:
    """Lay a slip road that bends in from the right and becomes the outermost lane of an edge;
    where that lane ends, the street becomes narrower by a taper."""
    plan, e = streets.plan, streets.plan.edges[edge]
    name, onto = slip_lanes(streets, node, edge)
    end, yaw = streets.lanes[onto].ends(0)
    ahead = heading(yaw)
    start = end - _SLIP_BACK * ahead + _SLIP_ASIDE * turned(ahead, 3)
    curve = hermite(start, yaw + _SLIP_ANGLE, end, yaw)
    streets.lane(name, LaneKind.LANE, curve, 0.0, plan.lane_width, e.limit)
    streets.pave(streets.lanes[name].ring())
    streets.join(name, onto)
    far = e.b if e.a == node else e.a
    (other,) = [k for k in plan.nodes[far].arms if k != edge]
    narrow, at_end = streets.streets[other], plan.edges[other].b == far
    _taper(streets, narrow, narrow.half + plan.lane_width, at_end, (1.0 if at_end else -1.0,))


def _taper(
    streets: Streets,
    narrow: Street,
    half: float,
    at_end: bool,
    sides: tuple[float, ...] = (-1.0, 1.0),
) -> None:
    """Pave what a street is wider at its joint with a wider one, on its left (1) and right (-1)."""
    near = narrow.length if at_end else 0.0
    far = narrow.length - _TAPER if at_end else _TAPER
    for side in sides:
        edge = narrow.line(near, far, side * narrow.half)
        tip = narrow.at(near, side * half)[0]
        streets.pave(np.concatenate([edge, tip[None]]))


def _turn(streets: Streets, node: int, come: int, go: int) -> float:
    """Change of direction from arriving along one arm to leaving along another, (-pi, pi]."""
    plan = streets.plan
    turn = plan.direction(node, go) - plan.direction(node, come) - np.pi
    return float((turn + np.pi) % (2.0 * np.pi) - np.pi)


def _crossing(streets: Streets, node: int) -> list[Connector]:
    """Connectors between all arms, and the paved outline of the junction."""
    arms = streets.plan.nodes[node].arms
    made: list[Connector] = []
    for come in arms:
        turns = {go: _turn(streets, node, come, go) for go in arms if go != come}
        straight = min(turns, key=lambda go: abs(turns[go]))
        moves = {}
        for go, turn in turns.items():
            ahead = go == straight and abs(turn) < _STRAIGHT
            moves[go] = "straight" if ahead else "left" if turn > 0.0 else "right"
        pairs = _lane_pairs(streets, node, come, moves)
        for before, after, go in pairs:
            made.append(_connect(streets, node, come, go, before, after, moves[go]))
    streets.area(AreaKind.INTERSECTION, _outline(streets, node))
    return made


def _lane_pairs(
    streets: Streets, node: int, come: int, moves: dict[int, str]
) -> list[tuple[str, str, int]]:
    """Which arriving lane leads to which leaving lane of which arm."""
    arriving = streets.arriving(node, come)
    last = len(arriving) - 1
    pairs: list[tuple[int, int, int]] = []
    rights = [go for go, move in moves.items() if move == "right"]
    for go, move in moves.items():
        room = len(streets.leaving(node, go))
        if move == "left":
            pairs.append((0, 0, go))
        elif move == "right":
            pairs.append((last, room - 1, go))
        else:
            pairs += [(k, k, go) for k in range(min(last + 1, room))]
            if not rights and last + 1 > room:
                pairs += [(k, room - 1, go) for k in range(room, last + 1)]
    used = {k for k, _, _ in pairs}
    lefts = [go for go, move in moves.items() if move == "left"]
    for k in range(last + 1):
        if k not in used:
            go = (lefts or rights)[0]
            pairs.append((k, min(k, len(streets.leaving(node, go)) - 1), go))
    return [(arriving[k], streets.leaving(node, go)[m], go) for k, m, go in pairs]


def _connect(
    streets: Streets, node: int, come: int, go: int, before: str, after: str, move: str
) -> Connector:
    start, end = streets.lanes[before].ends(-1), streets.lanes[after].ends(0)
    limit = min(streets.lanes[before].limit, streets.lanes[after].limit)
    limit = min(limit, {"left": _LEFT_LIMIT, "right": _RIGHT_LIMIT}.get(move, limit))
    name = f"n{node}/{before.replace('/', '')}-{after.replace('/', '')}"
    curve = hermite(*start, *end)
    streets.lane(name, LaneKind.CONNECTOR, curve, 0.0, streets.plan.lane_width, limit)
    streets.pave(streets.lanes[name].ring())
    streets.join(before, name)
    streets.join(name, after)
    return Connector(name, node, before, after, (come, go), move)


def _mouth(streets: Streets, node: int, edge: int) -> tuple[Array, Array, float]:
    """Right and left corner of an arm's mouth, seen from the node, and its way outwards."""
    plan = streets.plan
    way = plan.direction(node, edge)
    middle = plan.nodes[node].xy + setback(streets, node, edge) * heading(way)
    across = streets.streets[edge].half * turned(heading(way))
    return middle - across, middle + across, way


def _outline(streets: Streets, node: int) -> Array:
    """Outline of a junction with rounded corners."""
    arms = streets.plan.nodes[node].arms
    ring: list[Array] = []
    for here, there in zip(arms, [*arms[1:], arms[0]], strict=True):
        right, left, way = _mouth(streets, node, here)
        after, _, out = _mouth(streets, node, there)
        ring.append(right[None])
        ring.append(hermite(left, way + np.pi, after, out).xy[:-1])
    return np.concatenate(ring)


def _roundabout(streets: Streets, node: int) -> list[Connector]:
    """A ring driven counter-clockwise, with an entry and an exit for every arm."""
    plan, centre = streets.plan, streets.plan.nodes[node].xy
    arms = plan.nodes[node].arms
    limit = 8.3333
    paved: list[Array] = []
    made: list[Connector] = []

    def lane(name: str, curve: Curve, width: float) -> str:
        streets.lane(name, LaneKind.CONNECTOR, curve, 0.0, width, limit)
        paved.append(streets.lanes[name].ring())
        return name

    ways = [plan.direction(node, k) for k in arms]
    front, shared = [], []
    for i, way in enumerate(ways):
        front.append(
            lane(f"n{node}/r{i}f", arc(centre, _RING, way - _RING_ANGLE, 2.0 * _RING_ANGLE),
                 _RING_WIDTH)
        )  # fmt: skip
        gap = (ways[(i + 1) % len(ways)] - way) % (2.0 * np.pi) - 2.0 * _RING_ANGLE
        shared.append(
            lane(f"n{node}/r{i}s", arc(centre, _RING, way + _RING_ANGLE, gap), _RING_WIDTH)
        )
    for i, edge in enumerate(arms):
        (come,), (go,) = streets.arriving(node, edge), streets.leaving(node, edge)
        before, exit_from = i, (i - 1) % len(arms)
        start = streets.lanes[come].ends(-1)
        onto = streets.lanes[shared[before]].ends(0)
        entry = lane(f"n{node}/in{i}", hermite(*start, *onto), plan.lane_width)
        off, end = streets.lanes[shared[exit_from]].ends(-1), streets.lanes[go].ends(0)
        leave = lane(f"n{node}/out{i}", hermite(*off, *end), plan.lane_width)
        for a, b in ((come, entry), (entry, shared[i]), (shared[exit_from], front[i]),
                     (front[i], shared[i]), (shared[exit_from], leave), (leave, go)):  # fmt: skip
            streets.join(a, b)
        made.append(Connector(entry, node, come, shared[i], (edge, edge), "round"))
        right, left, way = _mouth(streets, node, edge)
        tips = [
            centre + (_RING - 1.0) * heading(way + side * 0.8 * _RING_ANGLE) for side in (1.0, -1.0)
        ]
        paved.append(np.array([right, left, *tips]))
    for ring in union_rings(paved, 0.3):
        streets.area(AreaKind.INTERSECTION, ring)
    return made


def _phases(streets: Streets, node: int, made: list[Connector]) -> Signals:
    """Opposite arms are green together; an arm without an opposite is alone."""
    arms = streets.plan.nodes[node].arms
    free = list(arms)
    groups: list[tuple[str, ...]] = []
    while free:
        one = free.pop(0)
        opposite = [k for k in free if abs(_turn(streets, node, one, k)) < _OPPOSITE]
        group = [one, *sorted(opposite, key=lambda k: abs(_turn(streets, node, one, k)))[:1]]
        for k in group[1:]:
            free.remove(k)
        groups.append(tuple(c.name for c in made if c.arms[0] in group))
    return Signals(node, tuple(groups))


def crosswalk(streets: Streets, node: int, edge: int) -> None:
    """Lay a crosswalk over an arm near its mouth, with stop lines before it."""
    street, at_end = streets.streets[edge], streets.plan.edges[edge].b == node
    street.crossed.append(node)
    low, high = CROSSWALK
    span = (street.length - high, street.length - low) if at_end else (low, high)
    streets.area(AreaKind.CROSSWALK, street.band(*span, -street.half, street.half))


def stop_lines(streets: Streets, node: int, edge: int, crossed: bool) -> None:
    """Stop lines at the end of an arm, before its crosswalk if it has one."""
    for name in streets.arriving(node, edge):
        streets.stop_line(name, _STOP_BEFORE if crossed else 0.5)
