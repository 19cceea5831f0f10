"""Traffic through the four-way intersection of `roads.crossing`, and who overlaps whom."""

from __future__ import annotations

import numpy as np
from roads import Agent, crossing, make_scenario
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.scenario import DT, HISTORY, Scenario
from roadworthy_simulators.world import World

SIDES = ("E", "N", "W", "S")
EXIT = {"straight": 2, "left": 3, "right": 1}
MAP = crossing()
LANES = {name: i for i, name in enumerate(MAP.lane_id)}


def way(side: str, turn: str) -> np.ndarray:
    """Points [N, 2] from the end of an arm through the intersection and out again."""
    leave = SIDES[(SIDES.index(side) + EXIT[turn]) % 4]
    names = (f"in.{side}", f"{side}.{turn}", f"out.{leave}")
    xy = np.concatenate([MAP.lane_centreline[LANES[n]][:, :2] for n in names])
    return xy[np.r_[True, np.hypot(*np.diff(xy, axis=0).T) > 1e-6]]


def poses_along(xy: np.ndarray, start: float, speed: float, seconds: float) -> np.ndarray:
    """Poses [T, 3] of a log that is `start` m along a path at step 0."""
    arc = np.r_[0.0, np.cumsum(np.hypot(*np.diff(xy, axis=0).T))]
    time = (np.arange(HISTORY + round(seconds / DT)) - (HISTORY - 1)) * DT
    s = np.clip(start + speed * time, 1.0, arc[-1] - 1.0)

    def at(u: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(u, arc, xy[:, 0]), np.interp(u, arc, xy[:, 1])], axis=1)

    ahead = at(s + 0.5) - at(s - 0.5)
    return np.column_stack([at(s), np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))])


def busy_crossing(seed: int, *, per_side: int = 3, seconds: float = 60.0) -> Scenario:
    """Cars from all four sides that want to go anywhere, and no signals."""
    rng = np.random.default_rng(seed)
    agents = []
    for side in SIDES:
        start = rng.uniform(130.0, 140.0)
        for _ in range(per_side):
            turn = str(rng.choice(list(EXIT)))
            speed = rng.uniform(6.0, 10.0)
            poses = poses_along(way(side, turn), start, speed, seconds)
            stands = np.flatnonzero(np.hypot(*np.diff(poses[:, :2], axis=0).T) < 1e-6)
            last = int(stands[stands >= HISTORY][0]) - HISTORY - 2 if len(stands) else 10**9
            agents.append(Agent(poses=poses, last=last))
            start -= rng.uniform(14.0, 30.0)
    return make_scenario(MAP, agents, ego=(400.0, 400.0, 0.0, 0.0), seconds=seconds)


def overlaps(world: World, scenario: int) -> set[tuple[int, int, int]]:
    """(agent, agent, step) of all pairs of boxes that overlap in a driven world."""
    poses, valid = world.agents[scenario, :, 15:], world.valid[scenario, :, 15:]
    half = 0.5 * world.scenarios[scenario].agents.size
    found = set()
    for a in range(len(half)):
        for b in range(a):
            near = np.hypot(*(poses[a] - poses[b])[:, :2].T) < half[a, 0] + half[b, 0] + 2.0
            for t in np.flatnonzero(near & valid[a] & valid[b]):
                p, q = poses[a, t], poses[b, t]
                if boxes_intersect(
                    p[0], p[1], np.cos(p[2]), np.sin(p[2]), half[a, 0], half[a, 1],
                    q[0], q[1], np.cos(q[2]), np.sin(q[2]), half[b, 0], half[b, 1],
                ):  # fmt: skip
                    found.add((a, b, int(t)))
    return found


def drive_standing(world: World, steps: int) -> None:
    """Let time pass with every ego told to stay where it is."""
    rows = np.arange(len(world.scenarios))
    world.drive(
        rows, np.zeros((len(rows), 1, 3)), np.ones(len(rows), np.int64),
        np.full(len(rows), 0.5), steps,
    )  # fmt: skip
