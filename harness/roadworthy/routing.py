"""The lane graph: which lanes a drive follows, and the route that a planner is given.

Sources use this to turn a logged drive into a `Route`. Lanes are indices into a `RoadMap`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.scenario import LaneKind, RoadMap, Route

__all__ = ["LaneGraph", "path_yaw", "resample"]

_MAX_MATCHES = 8
_SEARCH_RADIUS = 4.0
_MAX_TURN = np.pi / 3
_LANE_CHANGE_COST = 6.0
_JUMP_COST = 60.0
_MAX_HOPS = 4


def path_yaw(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unwrapped heading along a path [N, 2] by central differences; N >= 2."""
    step = np.gradient(xy, axis=0)
    return np.unwrap(np.arctan2(step[:, 1], step[:, 0]))


def resample(xy: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """A path [N, 2] at even arc lengths no more than `spacing` apart, ends kept: [M, 2]."""
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    count = max(2, int(np.ceil(arc[-1] / spacing - 1e-9)) + 1)
    at = np.linspace(0.0, arc[-1], count)
    return np.stack([np.interp(at, arc, xy[:, 0]), np.interp(at, arc, xy[:, 1])], axis=1)


class LaneGraph:
    """Lanes of a map as a graph, with lengths, predecessors and a spatial index.

    Bike lanes take no part: they are never matched, followed or expanded to.
    """

    def __init__(self, road_map: RoadMap) -> None:
        self.map = road_map
        count = len(road_map.lane_id)
        self.drivable = road_map.lane_kind != LaneKind.BIKE
        self.successors: list[list[int]] = [
            [int(j) for j in row if self.drivable[j]] for row in road_map.lane_successors
        ]
        self.predecessors: list[list[int]] = [[] for _ in range(count)]
        for lane, row in enumerate(self.successors):
            for follower in row:
                self.predecessors[follower].append(lane)
        self.length = np.array(
            [np.hypot(*np.diff(c[:, :2], axis=0).T).sum() for c in road_map.lane_centreline]
        )

    @cached_property
    def _lines(self) -> tuple[list[int], shapely.STRtree]:
        lanes = [int(i) for i in np.flatnonzero(self.drivable)]
        lines = [shapely.linestrings(self.map.lane_centreline[i][:, :2]) for i in lanes]
        return lanes, shapely.STRtree(lines)

    def neighbours(self, lane: int) -> list[int]:
        """Lanes beside this one into which a change is legal."""
        sides = (int(self.map.lane_left[lane]), int(self.map.lane_right[lane]))
        return [side for side in sides if side >= 0 and self.drivable[side]]

    def locate(self, lane: int, xy: NDArray[np.float64]) -> tuple[float, float, float]:
        """Arc length, signed left offset [m] and heading of the nearest centreline point."""
        line = self.map.lane_centreline[lane]
        start, step = line[:-1, :2], np.diff(line[:, :2], axis=0)
        square = np.maximum((step**2).sum(axis=1), 1e-12)
        share = np.clip(((xy - start) * step).sum(axis=1) / square, 0.0, 1.0)
        apart = xy - (start + share[:, None] * step)
        k = int(np.argmin((apart**2).sum(axis=1)))
        lengths = np.sqrt(square)
        left = (step[k, 0] * apart[k, 1] - step[k, 1] * apart[k, 0]) / lengths[k]
        heading = float(np.arctan2(step[k, 1], step[k, 0]))
        offset = float(np.copysign(np.hypot(*apart[k]), left))
        return float(lengths[:k].sum() + share[k] * lengths[k]), offset, heading

    def match(self, poses: NDArray[np.float64], spacing: float = 2.0) -> list[int]:
        """The lane sequence that a drive followed, most likely as a whole (Viterbi).

        A pose pays for its distance and heading difference to a lane's centreline, a step
        from lane to lane for being a lane change, or no connection at all. Gaps between
        lanes further apart are filled by the shortest path.

        Args:
            poses: [N, 3] x, y, yaw in driving order.
            spacing: poses closer than this to the last one used are skipped [m].

        Returns:
            Lane indices in order, none twice in a row; empty where no lane is near.
        """
        lanes, tree = self._lines
        if not lanes:
            return []
        stages: list[list[tuple[int, float]]] = []
        last: NDArray[np.float64] | None = None
        for pose in poses:
            if last is not None and np.hypot(*(pose[:2] - last)) < spacing:
                continue
            last = pose[:2]
            near = tree.query(shapely.points(pose[:2]), "dwithin", _SEARCH_RADIUS)
            found = []
            for lane in sorted(lanes[i] for i in near):
                _, offset, heading = self.locate(lane, pose[:2])
                turn = abs((pose[2] - heading + np.pi) % (2.0 * np.pi) - np.pi)
                if turn < _MAX_TURN:
                    found.append((lane, offset**2 + 4.0 * turn**2))
            if found:
                stages.append(sorted(found, key=lambda item: item[1])[:_MAX_MATCHES])
        if not stages:
            return []
        return self._joined(self._viterbi(stages))

    def _viterbi(self, stages: list[list[tuple[int, float]]]) -> list[int]:
        costs = [cost for _, cost in stages[0]]
        back: list[list[int]] = []
        for before, after in itertools.pairwise(stages):
            table = np.array(
                [[costs[i] + self._step_cost(a, b) for i, (a, _) in enumerate(before)]
                 for b, _ in after]
            )  # fmt: skip
            back.append([int(k) for k in table.argmin(axis=1)])
            costs = [float(table[j].min()) + cost for j, (_, cost) in enumerate(after)]
        at = int(np.argmin(costs))
        chain = [stages[-1][at][0]]
        for stage, row in zip(reversed(stages[:-1]), reversed(back), strict=True):
            at = row[at]
            chain.append(stage[at][0])
        chain.reverse()
        return [lane for i, lane in enumerate(chain) if i == 0 or lane != chain[i - 1]]

    def _step_cost(self, before: int, after: int) -> float:
        if before == after:
            return 0.0
        if after in self.successors[before]:
            return 0.1
        sides = self.neighbours(before)
        if after in sides or any(after in self.successors[side] for side in sides):
            return _LANE_CHANGE_COST
        return self._hops.get((before, after), _JUMP_COST)

    @cached_property
    def _hops(self) -> dict[tuple[int, int], float]:
        """Pairs joined by two to four successor steps, and their cost."""
        pairs: dict[tuple[int, int], float] = {}
        for lane in range(len(self.successors)):
            front = set(self.successors[lane])
            for hop in range(2, _MAX_HOPS + 1):
                front = {j for i in front for j in self.successors[i]}
                for j in front:
                    pairs.setdefault((lane, j), 0.1 * hop)
        return pairs

    def _joined(self, chain: list[int]) -> list[int]:
        out = chain[:1]
        for lane in chain[1:]:
            gap = self.shortest(out[-1], lane)
            out.extend(gap[1:] if gap else [lane])
        return out

    def shortest(self, start: int, goal: int, limit: float = 1000.0) -> list[int]:
        """Cheapest path from lane to lane, both included; lane changes cost 50 m.

        Returns:
            Lane indices, empty where there is no path of cost below `limit` [m].
        """
        best = {start: 0.0}
        came: dict[int, int] = {}
        queue = [(0.0, start)]
        while queue:
            cost, lane = heapq.heappop(queue)
            if lane == goal:
                path = [lane]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return path[::-1]
            if cost > best[lane] or cost > limit:
                continue
            steps = [(j, float(self.length[lane])) for j in self.successors[lane]]
            steps += [(j, 50.0) for j in self.neighbours(lane)]
            for follower, price in steps:
                if cost + price < best.get(follower, np.inf):
                    best[follower] = cost + price
                    came[follower] = lane
                    heapq.heappush(queue, (cost + price, follower))
        return []

    def extend(self, chain: Sequence[int], ahead: float, behind: float) -> list[int]:
        """Lengthen a lane sequence at both ends along the straightest connections.

        Args:
            chain: lane indices.
            ahead, behind: metres of further lanes wanted after the last and before the
                first; less is added where the map ends or would loop.
        """
        out = list(chain)
        reach = 0.0
        while out and reach < ahead:
            fresh = [j for j in self.successors[out[-1]] if j not in out]
            if not fresh:
                break
            out.append(min(fresh, key=lambda j: (self._bend(j), j)))
            reach += float(self.length[out[-1]])
        reach = 0.0
        while out and reach < behind:
            fresh = [j for j in self.predecessors[out[0]] if j not in out]
            if not fresh:
                break
            out.insert(0, min(fresh, key=lambda j: (self._bend(j), j)))
            reach += float(self.length[out[0]])
        return out

    def _bend(self, lane: int) -> float:
        yaw = np.unwrap(self.map.lane_centreline[lane][:, 2])
        return float(abs(yaw[-1] - yaw[0]))

    def road(self, lane: int) -> list[int]:
        """The lane and all parallel lanes of the same road reached by legal changes."""
        found, queue = {lane}, [lane]
        while queue:
            for side in self.neighbours(queue.pop()):
                if side not in found:
                    found.add(side)
                    queue.append(side)
        return sorted(found)

    def expand(self, chain: Iterable[int]) -> NDArray[np.int64]:
        """All on-route lanes of a lane sequence.

        Those are the parallel lanes of every road driven, and inside intersections every
        connector that leads from the road before to the road after (nuPlan's roadblock
        connector).
        """
        chain = list(chain)
        lanes: set[int] = set()
        for lane in chain:
            lanes.update(self.road(lane))
        for before, lane, after in zip(chain[:-2], chain[1:-1], chain[2:], strict=True):
            if self.map.lane_kind[lane] == LaneKind.CONNECTOR:
                goals = set(self.road(after))
                for start in self.road(before):
                    for j in self.successors[start]:
                        if goals.intersection(self.successors[j]):
                            lanes.add(j)
        return np.array(sorted(lanes), np.int64)

    def centreline(
        self, chain: Sequence[int], changes: dict[int, NDArray[np.float64]] | None = None
    ) -> NDArray[np.float64]:
        """One smooth path along a lane sequence.

        Where the sequence changes lanes sideways, the path crosses over on a cosine ramp.

        Args:
            chain: lane indices, each a successor or a neighbour of the one before.
            changes: for the position in `chain` of a lane entered sideways, the point [2]
                around which the crossing happens; by default the middle of that lane.

        Returns:
            [C, 3] x, y, unwrapped yaw, about 1 m apart.

        Raises:
            ValueError: an empty sequence.
        """
        if not len(chain):
            raise ValueError("a route needs at least one lane")
        line = self.map.lane_centreline[chain[0]][:, :2]
        for at in range(1, len(chain)):
            before, lane = chain[at - 1], chain[at]
            new = self.map.lane_centreline[lane][:, :2]
            if lane in self.successors[before] or lane not in self.neighbours(before):
                line = np.concatenate([line, new])
            else:
                where = (changes or {}).get(at, new[len(new) // 2])
                line = _crossed(line, new, np.asarray(where))
        keep = np.concatenate([[True], np.hypot(*np.diff(line, axis=0).T) > 1e-3])
        xy = resample(line[keep], 1.0)
        return np.column_stack([xy, path_yaw(xy)])

    def route(
        self, poses: NDArray[np.float64], ahead: float = 150.0, behind: float = 30.0
    ) -> Route | None:
        """The route of a logged drive, going on beyond its end where the map does.

        Args:
            poses: [T, 3] logged poses in driving order.
            ahead: metres of centreline wanted after the last pose.
            behind: metres of centreline wanted before the first pose.

        Returns:
            The route, or None where the drive is near no lane.
        """
        chain = self.match(poses)
        if not chain:
            return None
        ends = self.locate(chain[-1], poses[-1, :2])[0], self.locate(chain[0], poses[0, :2])[0]
        full = self.extend(chain, ahead - (self.length[chain[-1]] - ends[0]), behind - ends[1])
        lead = full.index(chain[0]) if chain[0] in full else 0
        changes: dict[int, NDArray[np.float64]] = {}
        for at in range(1, len(chain)):
            if chain[at] in self.neighbours(chain[at - 1]):
                gap = [
                    abs(self.locate(chain[at], p[:2])[1])
                    - abs(self.locate(chain[at - 1], p[:2])[1])
                    for p in poses
                ]
                beside = [k for k, value in enumerate(gap) if value < 0.0]
                if beside:
                    changes[lead + at] = poses[beside[0], :2]
        centreline = self.centreline(full, changes)
        start = max(0, _nearest(centreline, poses[0, :2]) - int(behind))
        stop = _nearest(centreline, poses[-1, :2]) + int(ahead) + 1
        return Route(self.expand(full), centreline[start:stop])


def _nearest(line: NDArray[np.float64], xy: NDArray[np.float64]) -> int:
    return int(np.argmin(((line[:, :2] - xy) ** 2).sum(axis=1)))


def _crossed(
    line: NDArray[np.float64], new: NDArray[np.float64], where: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A path that leaves `line` for the parallel `new`, over some 30 m around `where`."""
    fine = resample(new, 1.0)
    middle = _nearest(fine, where)
    half = min(15, max(middle, 1), max(len(fine) - 1 - middle, 1))
    first, last = max(middle - half, 0), min(middle + half, len(fine) - 1)
    old = resample(line, 1.0)
    begin = _nearest(old, fine[first])
    span = np.arange(first, last + 1)
    share = 0.5 - 0.5 * np.cos(np.pi * (span - first) / max(last - first, 1))
    beside = old[np.minimum(begin + (span - first), len(old) - 1)]
    mixed = (1.0 - share)[:, None] * beside + share[:, None] * fine[span]
    return np.concatenate([old[:begin], mixed, fine[last + 1 :]])
