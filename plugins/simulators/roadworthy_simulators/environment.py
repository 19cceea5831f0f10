"""The closed loop as a gymnasium environment, for reinforcement learning by any outside library.

One episode is one scenario. An action says how hard to accelerate and where to be beside the
route; it becomes a plan of four seconds, which the tracker and the bicycle drive until the next
action, while the traffic reacts. What counts as an at-fault collision and as off the road is what
the metrics say.

Needs `gymnasium` (`pip install -c constraints.txt ".[gym]"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from roadworthy.geometry.polylines import Polyline, build_polyline, interpolate_path, project
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, Plans, RolloutBatch
from roadworthy.scenario import DT, RATE_HZ, Scenario, SignalState, StateIndex
from roadworthy.vehicle import EgoIndex
from roadworthy_metrics.contacts import conduct

from .world import Snapshot, Traffic, World

__all__ = ["AGENTS", "FEATURES", "ROUTE_POINTS", "DrivingEnv"]

POSES = 40
AGENTS = 12
"""The nearest so many are seen."""
ROUTE_POINTS = 8
_ROUTE_SPACING = 6.0
_SEEN = 60.0
_EGO = 6
_PER_AGENT = 9
FEATURES = _EGO + 3 * ROUTE_POINTS + 1 + _PER_AGENT * AGENTS
"""Length of an observation."""
_HARDEST, _LIVELIEST = 6.0, 3.0
_BESIDE = 3.0
_FASTEST = 25.0
_MERGE = 20.0


class DrivingEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Drives scenarios, one per episode.

    Action, in [-1, 1]²: acceleration from -6 to 3 m/s² (0 is 0), and where to be beside the route,
    from 3 m right to 3 m left.

    Observation, float32 [FEATURES], lengths in units of 30 m and speeds of 10 m/s, cut to ±5: the
    ego's speed, the acceleration last asked for, yaw rate, offset and heading from the route, and
    time left; points of the route ahead as x, y and speed limit (0 where unknown); the distance to
    the next red light (1 where none); and of each of the nearest agents whether there is one, x, y,
    cosine and sine of its yaw, its velocity, and its half size. Frames are the ego's.

    Reward per step: metres along the route over 10, minus 5 where the episode ends by an at-fault
    collision or by leaving the drivable area, minus 0.02 times the squared change of acceleration
    over 5 m/s². An episode is truncated at its scenario's horizon.

    Args:
        scenarios: what to drive; `reset` draws one, or takes `options={"scenario": index}`.
        replan_hz: actions per second; must divide 10.
        traffic: `idm` and `behaviour` let others react, `replay` does not.

    Raises:
        ValueError: one of these does not fit.

    Attributes:
        scenario: the one that is driven.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's)

    def __init__(
        self, scenarios: Sequence[Scenario], replan_hz: float = 2.0, traffic: Traffic = "idm"
    ) -> None:
        every = RATE_HZ / replan_hz if replan_hz > 0 else 0.0
        if every < 1.0 or abs(every - round(every)) > 1e-9:
            raise ValueError(f"replan_hz = {replan_hz!r}: does not divide {RATE_HZ}")
        if traffic not in get_args(Traffic):
            raise ValueError(f"traffic = {traffic!r}: one of {', '.join(get_args(Traffic))}")
        if not scenarios:
            raise ValueError("there is no scenario to drive")
        self._scenarios = tuple(scenarios)
        self._every = round(every)
        self._traffic: Traffic = traffic
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Box(-5.0, 5.0, (FEATURES,), np.float32)
        self.scenario = self._scenarios[0]
        self._world: World | None = None
        self._ended = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of the draws of scenarios from now on.
            options: `scenario`, the index of the one to drive.
        """
        super().reset(seed=seed)
        chosen = (options or {}).get("scenario")
        index = int(self.np_random.integers(len(self._scenarios))) if chosen is None else chosen
        self.scenario = self._scenarios[index]
        self._case = Case(self.scenario, 0, 0)
        host = PlannerHost(lambda: None)  # only for the brief
        host.reset([self._case])
        self._briefs = host.briefs
        self._world = World([self.scenario], traffic=self._traffic)
        centreline = np.ascontiguousarray(self.scenario.route.centreline, np.float64)
        self._line: Polyline = build_polyline(centreline)
        self._path = centreline
        self._limits = self._speed_limits(centreline)
        self._lights = self._light_arcs()
        self._acceleration = 0.0
        self._arc = self._where()[0]
        self._ended = False
        return self._observe(), self._info(0.0, False, False)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Drive until the next action.

        Raises:
            RuntimeError: the episode has not begun, or has ended.
        """
        world = self._world
        if world is None or self._ended:
            raise RuntimeError("reset() the environment first")
        wanted = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        acceleration = float(wanted[0] * (_LIVELIEST if wanted[0] > 0.0 else _HARDEST))
        poses = self._plan(acceleration, _BESIDE * float(wanted[1]))
        rows, count = np.zeros(1, np.int64), np.array([POSES], np.int64)
        world.drive(rows, poses[None], count, np.array([DT]), self._every)
        arc = self._where()[0]
        gained, self._arc = arc - self._arc, arc
        (judged,) = conduct(self._rollouts())
        hit, off = bool(judged.at_fault), judged.off_road >= 0
        jump, self._acceleration = acceleration - self._acceleration, acceleration
        reward = gained / 10.0 - 0.02 * (jump / 5.0) ** 2 - 5.0 * (hit or off)
        truncated = world.step >= int(world.length[0])
        self._ended = hit or off or truncated
        return self._observe(), reward, hit or off, truncated, self._info(gained, hit, off)

    def save(self) -> tuple[Snapshot, float, float, bool]:
        """Everything that can still change; `restore` goes back to it."""
        assert self._world is not None, "reset() the environment first"
        return self._world.save(), self._arc, self._acceleration, self._ended

    def restore(self, saved: tuple[Snapshot, float, float, bool]) -> NDArray[np.float32]:
        """Go back to a moment of this episode; what is seen there."""
        assert self._world is not None, "reset() the environment first"
        snapshot, self._arc, self._acceleration, self._ended = saved
        self._world.restore(snapshot)
        return self._observe()

    def close(self) -> None:
        """Let go of the world."""
        if self._world is not None:
            self._world.close()

    @property
    def _ego(self) -> NDArray[np.float64]:
        assert self._world is not None
        return np.asarray(self._world.ego[0, self._world.now])

    def _where(self) -> tuple[float, float, float]:
        """Arc length on the route, offset to its left [m], and heading from it [rad]."""
        x, y, yaw = self._ego[:3]
        arc, _, _ = project(self._line, x, y, 0)
        on_x, on_y, on_yaw = self._route_pose(arc)
        left = -np.sin(on_yaw) * (x - on_x) + np.cos(on_yaw) * (y - on_y)
        return arc, float(left), float(np.angle(np.exp(1j * (yaw - on_yaw))))

    def _route_pose(self, arc: float) -> tuple[float, float, float]:
        pose = np.empty(3)
        interpolate_path(self._line.arc, self._path, arc, pose)
        return float(pose[0]), float(pose[1]), float(pose[2])

    def _plan(self, acceleration: float, beside: float) -> NDArray[np.float64]:
        """Poses [40, 3] in the ego frame: along the route, drawing near to where to be."""
        x, y, yaw = self._ego[:3]
        arc, left, heading = self._where()
        time = DT * np.arange(1, POSES + 1)
        speed = np.clip(self._ego[EgoIndex.VX] + acceleration * time, 0.0, _FASTEST)
        run = np.cumsum(speed) * DT
        merge = max(_MERGE, 3.0 * float(self._ego[EgoIndex.VX]))
        u = np.clip(run / merge, 0.0, 1.0)
        slope = float(np.clip(np.tan(np.clip(heading, -1.0, 1.0)), -1.0, 1.0)) * merge
        bend = u * u * (3.0 - 2.0 * u)
        offset = left + (beside - left) * bend + slope * u * (1.0 - u) ** 2
        poses = np.empty((POSES, 3))
        for i in range(POSES):
            on_x, on_y, on_yaw = self._route_pose(arc + run[i])
            px = on_x - np.sin(on_yaw) * offset[i] - x
            py = on_y + np.cos(on_yaw) * offset[i] - y
            poses[i, 0] = np.cos(yaw) * px + np.sin(yaw) * py
            poses[i, 1] = -np.sin(yaw) * px + np.cos(yaw) * py
            poses[i, 2] = on_yaw - yaw
        poses[:, 2] += np.arctan(
            (slope * (1.0 - u) * (1.0 - 3.0 * u) + (beside - left) * 6.0 * u * (1.0 - u)) / merge
        )
        poses[:, 2] = np.angle(np.exp(1j * poses[:, 2]))
        return poses

    def _speed_limits(self, centreline: NDArray[np.float64]) -> NDArray[np.float64]:
        """Limit at each point of the route [m/s], 0 where unknown."""
        lanes, limits = self.scenario.map.lane_centreline, self.scenario.map.lane_speed_limit
        out = np.zeros(len(centreline))
        near = np.full(len(centreline), np.inf)
        for lane in self.scenario.route.lanes:
            begin, end = lanes.offsets[lane], lanes.offsets[lane + 1]
            line = build_polyline(lanes.values[begin:end])
            for i, (x, y) in enumerate(centreline[:, :2]):
                _, off, _ = project(line, x, y, 0)
                if off < near[i]:
                    near[i] = off
                    out[i] = limits[lane] if np.isfinite(limits[lane]) else 0.0
        return out

    def _light_arcs(self) -> NDArray[np.float64]:
        """[G], arc length at which each signal's lane begins on the route; NaN off it."""
        lanes = self.scenario.map.lane_centreline
        out = np.full(len(self.scenario.signals.lane), np.nan)
        for g, lane in enumerate(self.scenario.signals.lane):
            x, y = lanes.values[lanes.offsets[lane], :2]
            arc, off, _ = project(self._line, x, y, 0)
            if off < 1.5:
                out[g] = arc
        return out

    def _observe(self) -> NDArray[np.float32]:
        world = self._world
        assert world is not None
        ego, now = self._ego, world.now
        arc, left, heading = self._where()
        cos, sin = np.cos(ego[EgoIndex.YAW]), np.sin(ego[EgoIndex.YAW])
        out = np.zeros(FEATURES)
        out[:_EGO] = (
            ego[EgoIndex.VX] / 10.0, self._acceleration / 5.0, ego[EgoIndex.YAW_RATE],
            left / 3.0, heading, (world.length[0] - world.step) * DT / 10.0,
        )  # fmt: skip
        at = _EGO
        for i in range(ROUTE_POINTS):
            on_x, on_y, _ = self._route_pose(arc + _ROUTE_SPACING * (i + 1))
            dx, dy = on_x - ego[0], on_y - ego[1]
            limit = np.interp(arc + _ROUTE_SPACING * (i + 1), self._line.arc, self._limits)
            out[at : at + 3] = (
                (cos * dx + sin * dy) / 30.0, (-sin * dx + cos * dy) / 30.0, limit / 10.0
            )  # fmt: skip
            at += 3
        red = world.signals[0, : len(self._lights), now] == SignalState.RED
        ahead = self._lights[red] - arc
        ahead = ahead[(ahead > -5.0) & (ahead < _SEEN)]
        out[at] = ahead.min() / _SEEN if len(ahead) else 1.0
        at += 1
        out[at:] = self._agents(now, cos, sin).ravel()
        return np.clip(out, -5.0, 5.0).astype(np.float32)

    def _agents(self, now: int, cos: float, sin: float) -> NDArray[np.float64]:
        """[AGENTS, 9]: the nearest first."""
        assert self._world is not None
        tracks, ego = self.scenario.agents, self._ego
        state = self._world.agents[0, : len(tracks), now]
        there = self._world.valid[0, : len(tracks), now]
        offset = state[:, :2] - ego[:2]
        far = np.where(there, np.hypot(offset[:, 0], offset[:, 1]), np.inf)
        out = np.zeros((AGENTS, _PER_AGENT))
        for row, a in enumerate(np.argsort(far, kind="stable")[:AGENTS]):
            if far[a] > _SEEN:
                break
            turn = state[a, StateIndex.YAW] - ego[EgoIndex.YAW]
            vx, vy = state[a, StateIndex.VX], state[a, StateIndex.VY]
            out[row] = (
                1.0,
                (cos * offset[a, 0] + sin * offset[a, 1]) / 30.0,
                (-sin * offset[a, 0] + cos * offset[a, 1]) / 30.0,
                np.cos(turn), np.sin(turn),
                (cos * vx + sin * vy) / 10.0, (-sin * vx + cos * vy) / 10.0,
                0.5 * tracks.size[a, 0] / 5.0, 0.5 * tracks.size[a, 1] / 5.0,
            )  # fmt: skip
        return out

    def _rollouts(self) -> RolloutBatch:
        world = self._world
        assert world is not None
        return RolloutBatch(
            cases=(self._case,),
            errors=(None,),
            length=np.minimum(world.length, world.step),
            ego=world.ego,
            agents=world.agents,
            agents_valid=world.valid,
            signals=world.signals,
            plans=(Plans(np.zeros(0, np.int64), np.zeros((0, 0, 3)), 0.0),),
        )

    def _info(self, gained: float, hit: bool, off: bool) -> dict[str, Any]:
        assert self._world is not None
        return {
            "scenario": self.scenario.id,
            "step": self._world.step,
            "gained_m": gained,
            "collision_at_fault": hit,
            "off_road": off,
        }
