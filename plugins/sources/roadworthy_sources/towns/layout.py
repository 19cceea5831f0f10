"""Where a town's streets run: a plan of nodes and edges, grid-like, organic or radial."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roadworthy_sources.towns import exact

__all__ = ["LAYOUTS", "Edge", "Node", "Plan", "draw_plan"]

Array = NDArray[np.float64]

LAYOUTS = ("grid", "organic", "radial")

_SIDE_STREET = (8.3333, 11.1111, 11.1111, 13.8889)
_MAIN_STREET = (13.8889, 13.8889, 15.6464, 16.6667)
_NARROWEST = 1.05
_STUB = 95.0
_SLIP_SHARE = 0.35
_SLIP_LENGTHS = (110.0, 110.0, 90.0)


@dataclass
class Node:
    """A place where streets meet, bend, or leave the town.

    Attributes:
        xy: [2] world [m].
        arms: edges that meet here, counter-clockwise by direction.
        kind: "signals", "priority", "roundabout", "joint" (two streets in one line) or "exit".
    """

    xy: Array
    arms: list[int] = field(default_factory=list)
    kind: str = "priority"


@dataclass
class Edge:
    """A street between two nodes.

    Attributes:
        a, b: nodes.
        lanes: in each direction.
        limit: [m/s].
        out: direction in which it leaves a, and in which it leaves b [rad].
        main: whether it is a main street.
        extra: lanes more on the way from a to b, and on the way back, on its outside.
        slip: whether it is part of a street with a slip road: nobody walks along it.
    """

    a: int
    b: int
    lanes: int
    limit: float
    main: bool
    out: list[float] = field(default_factory=lambda: [0.0, 0.0])
    extra: list[int] = field(default_factory=lambda: [0, 0])
    slip: bool = False


@dataclass
class Plan:
    """Nodes and edges of a town, and how wide its lanes are [m].

    Attributes:
        slips: joints at which a slip road comes in, each with the edge that it leads along.
    """

    layout: str
    lane_width: float
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    slips: list[tuple[int, int]] = field(default_factory=list)

    def node(self, x: float, y: float) -> int:
        """Add a node."""
        self.nodes.append(Node(np.array([x, y])))
        return len(self.nodes) - 1

    def edge(self, a: int, b: int, lanes: int, limit: float, main: bool) -> int:
        """Add an edge."""
        self.edges.append(Edge(a, b, lanes, limit, main))
        return len(self.edges) - 1

    def direction(self, node: int, edge: int) -> float:
        """Direction in which an edge leaves a node [rad]."""
        e = self.edges[edge]
        return e.out[0] if e.a == node else e.out[1]

    def chord(self, node: int, edge: int) -> Array:
        """Vector [2] from a node to the other end of an edge."""
        e = self.edges[edge]
        return self.nodes[e.b if e.a == node else e.a].xy - self.nodes[node].xy


def draw_plan(rng: np.random.Generator) -> Plan:
    """A random plan in which no two arms of a node are nearer than 60 degrees."""
    while True:
        layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
        width = float(exact.rounded(rng.uniform(3.25, 3.6), 0.05))
        plan = Plan(layout, width)
        (_radial if layout == "radial" else _blocks)(plan, rng)
        _link(plan)
        if not _aim(plan, rng):
            continue
        _choose_kinds(plan, rng)
        if _apart(plan):
            return plan


def _blocks(plan: Plan, rng: np.random.Generator) -> None:
    """Rows and columns of blocks; organic ones are shaken, and lose more of their streets."""
    organic = plan.layout == "organic"
    columns, rows = int(rng.integers(3, 5)), int(rng.integers(3, 5))
    x = np.concatenate([[0.0], np.cumsum(rng.uniform(95.0, 165.0, columns - 1))])
    y = np.concatenate([[0.0], np.cumsum(rng.uniform(95.0, 165.0, rows - 1))])
    x, y = x - 0.5 * x[-1], y - 0.5 * y[-1]
    c, s = (float(v) for v in exact.cos_sin(rng.uniform(0.0, 2.0 * np.pi)))
    shake = 24.0 if organic else 0.0
    for j in range(rows):
        for i in range(columns):
            px = x[i] + shake * rng.uniform(-1.0, 1.0)
            py = y[j] + shake * rng.uniform(-1.0, 1.0)
            plan.node(float(c * px - s * py), float(s * px + c * py))
    main_row, main_column = int(rng.integers(rows)), int(rng.integers(columns))
    wide = [int(rng.integers(2, 4)), 2]
    side, fast = _limits(rng)
    lost = 0.22 if organic else 0.13

    def at(i: int, j: int) -> int:
        return j * columns + i

    streets: list[tuple[int, int, bool, int]] = []
    for j in range(rows):
        main = j == main_row
        streets += [(at(i, j), at(i + 1, j), main, wide[0]) for i in range(columns - 1)]
    for i in range(columns):
        main = i == main_column
        streets += [(at(i, j), at(i, j + 1), main, wide[1]) for j in range(rows - 1)]
    degree = np.zeros(columns * rows, int)
    for a, b, _, _ in streets:
        degree[a] += 1
        degree[b] += 1
    for a, b, main, lanes in streets:
        gone = rng.random() < lost
        if gone and not main and min(degree[a], degree[b]) > 2:
            degree[a] -= 1
            degree[b] -= 1
            continue
        plan.edge(a, b, lanes if main else 1, fast if main else side, main)
    for j in range(rows):
        for i, out in ((0, -1.0), (columns - 1, 1.0)):
            main = j == main_row
            if main or rng.random() < 0.25:
                _stub(plan, rng, at(i, j), out * c, out * s, wide[0] if main else 1, fast, side)
    for i in range(columns):
        for j, out in ((0, -1.0), (rows - 1, 1.0)):
            main = i == main_column
            if main or rng.random() < 0.25:
                _stub(plan, rng, at(i, j), -out * s, out * c, wide[1] if main else 1, fast, side)


def _radial(plan: Plan, rng: np.random.Generator) -> None:
    """A ring of streets around a middle, with spokes that lead in and out."""
    spokes = int(rng.integers(4, 6))
    radius = rng.uniform(125.0, 165.0)
    first = rng.uniform(0.0, 2.0 * np.pi)
    side, fast = _limits(rng)
    middle = plan.node(0.0, 0.0)
    wide = int(rng.integers(1, 3))
    at = first + 2.0 * np.pi * (np.arange(spokes) + rng.uniform(-0.08, 0.08, spokes)) / spokes
    c, s = exact.cos_sin(at)
    ring = [plan.node(float(radius * c[k]), float(radius * s[k])) for k in range(spokes)]
    for k in range(spokes):
        plan.edge(ring[k], ring[(k + 1) % spokes], 1, side, False)
        main = k in (0, spokes // 2)
        plan.edge(middle, ring[k], wide if main else 1, fast if main else side, main and wide > 1)
        if main or rng.random() < 0.8:
            lanes = wide if main else 1
            _stub(plan, rng, ring[k], float(c[k]), float(s[k]), lanes, fast, side)


def _limits(rng: np.random.Generator) -> tuple[float, float]:
    side = _SIDE_STREET[int(rng.integers(len(_SIDE_STREET)))]
    fast = _MAIN_STREET[int(rng.integers(len(_MAIN_STREET)))]
    return side, max(side, fast)


def _stub(
    plan: Plan,
    rng: np.random.Generator,
    node: int,
    x: float,
    y: float,
    lanes: int,
    fast: float,
    side: float,
) -> None:
    """A street out of town; a main one may have a slip road, or lose a lane on the way."""
    here = plan.nodes[node].xy
    reach = _STUB * rng.uniform(0.9, 1.3)
    main = lanes > 1
    limit = fast if main else side
    draw = rng.random() if main else 1.0
    if draw < _SLIP_SHARE:
        _slip(plan, node, x, y, lanes, limit, bool(rng.random() < 0.5))
        return
    if draw < 0.6:
        joint = plan.node(float(here[0] + x * reach), float(here[1] + y * reach))
        plan.edge(node, joint, lanes, limit, main)
        node, here, lanes = joint, plan.nodes[joint].xy, lanes - 1
    end = plan.node(float(here[0] + x * reach), float(here[1] + y * reach))
    plan.nodes[end].kind = "exit"
    plan.edge(node, end, lanes, limit, main)


def _slip(
    plan: Plan, node: int, x: float, y: float, lanes: int, limit: float, inward: bool
) -> None:
    """A street out of town with a slip road onto it, on the way out or in.

    The slip road becomes a lane beside the others, which ends where the next joint is.
    """
    at, here, way = 0.0, plan.nodes[node].xy, [node]
    for length in _SLIP_LENGTHS:
        at += length
        way.append(plan.node(float(here[0] + x * at), float(here[1] + y * at)))
    plan.nodes[way[-1]].kind = "exit"
    edges = [plan.edge(a, b, lanes, limit, True) for a, b in itertools.pairwise(way)]
    for edge in edges:
        plan.edges[edge].slip = True
    plan.edges[edges[1]].extra[int(inward)] = 1
    plan.slips.append((way[2] if inward else way[1], edges[1]))


def _link(plan: Plan) -> None:
    """Write the arms of every node; drop nodes without any."""
    for node in plan.nodes:
        node.arms = []
    for k, edge in enumerate(plan.edges):
        plan.nodes[edge.a].arms.append(k)
        plan.nodes[edge.b].arms.append(k)
    done: set[int] = set()
    for n, node in enumerate(plan.nodes):
        if len(node.arms) == 2 and n not in done:
            for arrives, arm in zip((True, False), node.arms, strict=True):
                _run_through(plan, n, arm, arrives, done)


def _run_through(plan: Plan, n: int, arm: int, arrives: bool, done: set[int]) -> None:
    """Turn round edges from a node on, until a node that is no joint, so that all run one way."""
    while True:
        done.add(n)
        edge = plan.edges[arm]
        if (edge.b == n) != arrives:
            edge.a, edge.b = edge.b, edge.a
            edge.extra.reverse()
        n = edge.a if arrives else edge.b
        if len(plan.nodes[n].arms) != 2 or n in done:
            return
        (arm,) = [k for k in plan.nodes[n].arms if k != arm]


def _aim(plan: Plan, rng: np.random.Generator) -> bool:
    """Choose the directions in which edges leave their nodes; False if some come too close."""
    for edge in plan.edges:
        gap = plan.nodes[edge.b].xy - plan.nodes[edge.a].xy
        straight = float(exact.angle(gap[0], gap[1]))
        bend = 0.0
        exits = "exit" in (plan.nodes[edge.a].kind, plan.nodes[edge.b].kind)
        if plan.layout == "organic" and not edge.main and not exits:
            bend = rng.uniform(-0.32, 0.32)
        sway = bend if rng.random() < 0.7 else -bend
        if plan.layout == "radial" and edge.lanes == 1 and not exits and 0 not in (edge.a, edge.b):
            spokes = np.sum([0 in (e.a, e.b) for e in plan.edges])
            bend = sway = -float(np.pi / spokes) * 0.8
        edge.out = [straight + bend, straight + np.pi - sway]
    for n, node in enumerate(plan.nodes):
        node.arms.sort(key=lambda k: plan.direction(n, k) % (2.0 * np.pi))
        if len(node.arms) == 2:
            _straighten(plan, n)
        for k, arm in enumerate(node.arms):
            after = node.arms[(k + 1) % len(node.arms)]
            if len(node.arms) < 3:
                continue
            gap = (plan.direction(n, after) - plan.direction(n, arm)) % (2.0 * np.pi)
            if gap < _NARROWEST:
                return False
    return True


def _straighten(plan: Plan, n: int) -> None:
    """Let the two streets of a node run through it in one line."""
    one, two = plan.nodes[n].arms
    u, v = plan.chord(n, one), plan.chord(n, two)
    u, v = u / exact.length(*u), v / exact.length(*v)
    along = float(exact.angle(u[0] - v[0], u[1] - v[1]))
    for edge, way in ((one, along), (two, along + np.pi)):
        e = plan.edges[edge]
        e.out[0 if e.a == n else 1] = way


def _choose_kinds(plan: Plan, rng: np.random.Generator) -> None:
    """Say of every node how it is governed."""
    for n, node in enumerate(plan.nodes):
        if node.kind == "exit":
            continue
        if len(node.arms) == 2:
            node.kind = "joint"
            continue
        widest = max(plan.edges[k].lanes for k in node.arms)
        ways = sorted(plan.direction(n, k) % (2.0 * np.pi) for k in node.arms)
        apart = min(np.diff([*ways, ways[0] + 2.0 * np.pi]))
        round_share = 0.8 if plan.layout == "radial" and n == 0 else 0.22
        draw = rng.random()
        if widest == 1 and apart > 1.2 and draw < round_share:
            node.kind = "roundabout"
        elif widest > 1 or (len(node.arms) >= 4 and draw < 0.6):
            node.kind = "signals"
        else:
            node.kind = "priority"


def _apart(plan: Plan) -> bool:
    """Whether no two nodes are nearer than 70 m."""
    xy = np.array([node.xy for node in plan.nodes])
    gap = xy[:, None] - xy[None]
    far = exact.length(gap[..., 0], gap[..., 1]) + 1e3 * np.eye(len(xy))
    return bool(far.min() > 70.0)
