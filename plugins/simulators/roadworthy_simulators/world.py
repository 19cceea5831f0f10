"""The world of a batch of scenarios: observe it, drive it, save it, restore it.

`World` is what the simulators, batched roll-outs and gymnasium environments step. Time is a
row of 10 Hz; all scenarios of a world are at the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import make_profile, track_step
from roadworthy.dynamics.tracker import interpolate_plan, velocity_operator
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.plugins import FactorySpec
from roadworthy.scenario import DT, HISTORY, STATE_SIZE, RoadMap, Scenario
from roadworthy.vehicle import EGO_STATE_SIZE, EgoIndex, VehicleIndex

from .traffic.arrivals import route_hints
from .traffic.lanes import Lanes, lanes_of, pack
from .traffic.state import AGENT, HINTS, PLACE, PLACES, SCENE, Batch
from .traffic.step import begin_traffic, make_scratch, replay_traffic, step_traffic

__all__ = ["TRACKED_STEPS", "Snapshot", "StartNoise", "Traffic", "World"]

Traffic = Literal["replay", "idm", "behaviour"]

TRACKED_STEPS = 40
"""The tracker fits its profiles to this much of a plan (4 s), or to the part driven where that
is longer; what a plan says beyond is not used."""
_ROUTE_REACH = 300.0
_CHUNKS_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class StartNoise:
    """Standard deviations of a perturbed start: normal, independent.

    Attributes:
        lateral: [m], to the left of the logged pose.
        yaw: [rad].
        speed: [m/s]; the perturbed speed is not below zero.
    """

    lateral: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0

    def draw(self, seed: int) -> NDArray[np.float64]:
        """Lateral, yaw and speed offsets [3] of a case, from its seed alone."""
        bits = np.random.Philox(key=[seed & (2**64 - 1), 0x5374617274])  # stream "Start"
        return np.random.Generator(bits).standard_normal(3) * [self.lateral, self.yaw, self.speed]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A saved world. `World.restore` takes it any number of times.

    Attributes:
        step: when it was taken.
        arrays: copies of the agents' state and of the record so far.
    """

    step: int
    arrays: tuple[NDArray[Any], ...]


class World:
    """S scenarios at step 0, with their ego and their traffic.

    Args:
        scenarios: what to simulate.
        traffic: `replay` moves agents exactly as logged; `idm` lets them react (see `traffic`);
            `behaviour` asks the generator of that name, whose `traffic(scenarios, seeds)` drives
            them, for the next steps whenever the egos have new plans.
        steps: how far to go at most; each scenario ends at its own horizon if that is sooner.
        seeds: one per scenario, for the start noise.
        noise: perturbs the ego's state at step 0 (its history stays as logged).
        threads: scenarios are shared out among them. Results do not depend on it.

    Attributes:
        step: steps driven so far.
        length: int64 [S], steps that each scenario has.
        ego: [S, R, 11], agents: [S, A, R, 5], valid: bool [S, A, R], signals: int8 [S, G, R]:
            the record up to row `HISTORY - 1 + step`; zero beyond.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        *,
        traffic: Traffic = "idm",
        steps: int | None = None,
        seeds: Sequence[int] | None = None,
        noise: StartNoise | None = None,
        threads: int = 1,
    ) -> None:
        self.scenarios = tuple(scenarios)
        self.step = 0
        self._reactive = traffic == "idm"
        self._driven: Any = None
        if traffic == "behaviour":
            made = FactorySpec("generators", traffic, {}, "traffic").build()
            self._driven = made.traffic(
                self.scenarios, [0] * len(self.scenarios) if seeds is None else list(seeds)
            )
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        horizon = np.array([s.horizon for s in self.scenarios], np.int64)
        self.length = horizon if steps is None else np.minimum(horizon, steps)
        rows = HISTORY + int(self.length.max(initial=0))
        self._maps = _distinct_maps(self.scenarios)
        self._lanes = pack([lanes_of(m) for m in self._maps]) if self._reactive else None
        self._batch = _allocate(self.scenarios, self._maps, self.length, rows, self._lanes)
        agents = self._batch.agent.shape[1]
        self._kind = np.zeros((len(self.scenarios), agents), np.int8)
        self._size = np.zeros((len(self.scenarios), agents, 3))
        for row, scenario in enumerate(self.scenarios):
            self._kind[row, : len(scenario.agents)] = scenario.agents.kind
            self._size[row, : len(scenario.agents)] = scenario.agents.size
        self.ego, self.agents = self._batch.ego, self._batch.agents
        self.valid, self.signals = self._batch.valid, self._batch.signals
        if noise is not None and seeds is not None:
            for row, seed in enumerate(seeds):
                _perturb(self.ego[row, HISTORY - 1], noise.draw(seed))
        if self._reactive:
            self._each(lambda part: begin_traffic(self._lanes, self._batch, part))

    @property
    def now(self) -> int:
        """The row of the present."""
        return HISTORY - 1 + self.step

    def observe(self, rows: NDArray[np.int64], briefs: Sequence[Brief]) -> ObservationBatch:
        """The present and the past of some of the scenarios, as copies.

        Args:
            rows: int64 [N], which of them.
            briefs: one per scenario of the world.
        """
        span = slice(self.now + 1 - HISTORY, self.now + 1)
        b = self._batch
        return ObservationBatch(
            briefs=tuple(briefs[int(row)] for row in rows),
            rows=rows.copy(),
            step=self.step,
            ego_state=self.ego[rows, span],
            agents_state=_history(self.agents, rows, span.start),
            agents_valid=self.valid[rows, :, span],
            agents_kind=self._kind[rows],
            agents_size=self._size[rows],
            signal_state=self.signals[rows, :, self.now],
            agents_count=b.scene["agents"][rows],
            signal_count=b.scene["signals"][rows],
        )

    def drive(
        self,
        rows: NDArray[np.int64],
        poses: NDArray[np.float64],
        count: NDArray[np.int64],
        dt: NDArray[np.float64],
        steps: int,
    ) -> None:
        """Follow plans made now for `steps` steps, with the tracker and the bicycle.

        A plan that ends sooner is held at its last pose, at zero speed. Where the tracker
        looks ahead of the end of a plan, the last values of the speed and curvature profiles
        hold, as in nuPlan. Rows whose scenario ends sooner stop there; all other scenarios stand
        still and their record stays as it is.

        Args:
            rows: int64 [N], distinct scenarios.
            poses: [N, P, 3] plans in the ego frame of the present, padded with anything.
            count: int64 [N], poses of each plan, at least 1.
            dt: [N] seconds between poses.
            steps: at least 1.
        """
        if steps < 1:
            raise ValueError(f"steps = {steps}: at least one step is driven")
        rows = np.ascontiguousarray(rows, np.int64)
        poses = np.ascontiguousarray(poses, np.float64)
        count = np.ascontiguousarray(count, np.int64)
        dt = np.ascontiguousarray(dt, np.float64)
        planned = np.floor(count * dt / DT + 1e-9).astype(np.int64)
        tracked = np.clip(planned, steps, max(steps, TRACKED_STEPS))
        steps = min(steps, int(self.length.max(initial=0)) - self.step)
        if steps < 1:
            raise ValueError(f"step {self.step}: every scenario of this world has ended")
        b, now = self._batch, self.now
        for wanted in np.unique(tracked):
            operator = velocity_operator(int(wanted))
            chosen = np.flatnonzero(tracked == wanted)
            self._each(
                lambda part, operator=operator: _track(
                    b, rows, poses, count, dt, operator, part, now, steps
                ),
                chosen,
            )
        if self._reactive:
            self._each(lambda part: self._step_traffic(part, now, steps), rows)
        else:
            self._each(lambda part: replay_traffic(b, part, now, steps), rows)
        if self._driven is not None:
            self._ask_traffic(rows, now, steps)
        self.step += steps

    def save(self) -> Snapshot:
        """A copy of everything that can still change."""
        span = slice(0, self.now + 1)
        return Snapshot(
            self.step,
            (
                *(a.copy() for a in self._state()),
                self.ego[:, span].copy(),
                self.agents[:, :, span].copy(),
                self.valid[:, :, span].copy(),
                self.signals[:, :, span].copy(),
            ),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this world (or of an equal one), bit by bit."""
        state = self._state()
        for target, source in zip(state, snapshot.arrays, strict=False):
            target[...] = source
        self.step = snapshot.step
        span = slice(0, self.now + 1)
        ego, agents, valid, signals = snapshot.arrays[len(state) :]
        for target, source in (
            (self.ego.swapaxes(0, 1), ego.swapaxes(0, 1)),
            (np.moveaxis(self.agents, 2, 0), np.moveaxis(agents, 2, 0)),
            (np.moveaxis(self.valid, 2, 0), np.moveaxis(valid, 2, 0)),
            (np.moveaxis(self.signals, 2, 0), np.moveaxis(signals, 2, 0)),
        ):
            target[span] = source
            target[span.stop :] = 0

    def _step_traffic(self, rows: NDArray[np.int64], now: int, steps: int) -> None:
        agents = self._batch.agent.shape[1]
        scratch = make_scratch(len(self._lanes.lane), agents)
        step_traffic(self._lanes, self._batch, scratch, rows, now, steps)

    def _ask_traffic(self, rows: NDArray[np.int64], now: int, steps: int) -> None:
        """Let a model drive whom it can; the others stay as replayed. It sees nothing of the ego
        beyond the present."""
        for s in rows:
            end = min(int(self._batch.scene["rows"][s]), now + steps + 1)
            past = slice(0, now + 1)
            who, states = self._driven.drive(
                int(s), self.ego[s, past], self.agents[s, :, past], self.valid[s, :, past],
                end - now - 1,
            )  # fmt: skip
            self.agents[s, who, now + 1 : end] = states

    def _state(self) -> tuple[NDArray[Any], ...]:
        b = self._batch
        return b.agent, b.place

    def _each(
        self, work: Callable[[NDArray[np.int64]], None], rows: NDArray[np.int64] | None = None
    ) -> None:
        """Run a kernel over chunks of `rows` (all scenarios if None) on the threads."""
        if rows is None:
            rows = np.arange(len(self.scenarios), dtype=np.int64)
        if self._pool is None or len(rows) < 2:
            work(rows)
            return
        parts = np.array_split(rows, min(len(rows), self._threads * _CHUNKS_PER_THREAD))
        for done in [self._pool.submit(work, part) for part in parts]:
            done.result()

    def close(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown()


@njit(cache=True, nogil=True, error_model="numpy")
def _track(
    b: Batch,
    rows: NDArray[np.int64],
    poses: NDArray[np.float64],
    count: NDArray[np.int64],
    dt: NDArray[np.float64],
    operator: NDArray[np.float64],
    part: NDArray[np.int64],
    now: int,
    steps: int,
) -> None:
    """Drive the egos of plans `part` from row `now`; plans are sampled len(operator) steps far."""
    reference = np.empty((len(operator) + 1, 3))
    for i in part:
        s = rows[i]
        interpolate_plan(b.ego[s, now, :3], poses[i, : count[i]], dt[i], reference)
        profile = make_profile(reference, operator)
        for k in range(min(steps, b.scene[s].rows - 1 - now)):
            track_step(b.ego[s, now + k], profile, k, b.vehicle[s], b.ego[s, now + k + 1])


@njit(cache=True, nogil=True, error_model="numpy")
def _history(
    agents: NDArray[np.float64], rows: NDArray[np.int64], first: int
) -> NDArray[np.float64]:
    """Copy of `HISTORY` rows from `first` on, of some scenarios: [N, A, H, 5]."""
    out = np.empty((len(rows), agents.shape[1], HISTORY, STATE_SIZE))
    for i in range(len(rows)):
        out[i] = agents[rows[i], :, first : first + HISTORY]
    return out


def _perturb(ego: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
    yaw = ego[EgoIndex.YAW]
    ego[EgoIndex.X] -= offset[0] * np.sin(yaw)
    ego[EgoIndex.Y] += offset[0] * np.cos(yaw)
    ego[EgoIndex.YAW] = yaw + offset[1]
    ego[EgoIndex.VX] = max(0.0, ego[EgoIndex.VX] + offset[2])


def _distinct_maps(scenarios: Sequence[Scenario]) -> list[RoadMap]:
    """The maps in order of first use; scenarios of one place usually share one object."""
    found: dict[str, RoadMap] = {}
    for scenario in scenarios:
        found.setdefault(scenario.map.hash, scenario.map)
    return list(found.values())


def _allocate(
    scenarios: Sequence[Scenario],
    maps: Sequence[RoadMap],
    length: NDArray[np.int64],
    rows: int,
    lanes: Lanes | None,
) -> Batch:
    """Arrays of a batch, with the log in place and the record filled up to the present."""
    count = len(scenarios)
    agents = max((len(s.agents) for s in scenarios), default=0)
    signals = max((len(s.signals.lane) for s in scenarios), default=0)
    place = {m.hash: i for i, m in enumerate(maps)}
    b = Batch(
        scene=np.zeros(count, SCENE),
        log=np.zeros((count, agents, rows, STATE_SIZE)),
        log_valid=np.zeros((count, agents, rows), np.bool_),
        ego_log=np.zeros((count, rows, 4)),
        signal_lane=np.full((count, signals), -1, np.int64),
        signal_log=np.zeros((count, signals, rows), np.int8),
        vehicle=np.zeros((count, len(VehicleIndex))),
        hints=np.full((count, agents + 1, HINTS), -1, np.int64),
        agent=np.zeros((count, agents), AGENT),
        place=np.zeros((count, agents, PLACES), PLACE),
        ego=np.zeros((count, rows, EGO_STATE_SIZE)),
        agents=np.zeros((count, agents, rows, STATE_SIZE)),
        valid=np.zeros((count, agents, rows), np.bool_),
        signals=np.zeros((count, signals, rows), np.int8),
    )
    for i, scenario in enumerate(scenarios):
        n, g, r = len(scenario.agents), len(scenario.signals.lane), HISTORY + int(length[i])
        first = scenario.start + 1 - HISTORY
        span = slice(first, first + r)
        car = scenario.vehicle
        b.scene[i] = (
            place[scenario.map.hash], n, g, r,
            0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre,
        )  # fmt: skip
        b.vehicle[i] = car.as_array()
        b.agent["kind"][i, :n] = scenario.agents.kind
        b.agent["reactive"][i, :n] = scenario.agents.reactive
        b.agent["half_length"][i, :n] = 0.5 * scenario.agents.size[:, 0]
        b.agent["half_width"][i, :n] = 0.5 * scenario.agents.size[:, 1]
        b.log[i, :n, :r] = scenario.agents.state[:, span]
        b.log_valid[i, :n, :r] = scenario.agents.valid[:, span]
        b.ego_log[i, :r] = scenario.ego[span, :4]
        b.ego[i, :HISTORY] = scenario.ego[first : first + HISTORY]
        if g:
            b.signal_log[i, :g, :r] = scenario.signals.state[:, span]
        if lanes is not None:
            m = int(b.scene["map"][i])
            b.signal_lane[i, :g] = scenario.signals.lane + lanes.map["lane_begin"][m]
            path = np.ascontiguousarray(scenario.route.centreline, np.float64)
            x, y = scenario.ego[scenario.start, :2]
            route_hints(lanes, m, path, x, y, _ROUTE_REACH, b.hints[i, -1])
    b.agents[:, :, :HISTORY] = b.log[:, :, :HISTORY]
    b.valid[:, :, :HISTORY] = b.log_valid[:, :, :HISTORY]
    b.signals[:, :, :HISTORY] = b.signal_log[:, :, :HISTORY]
    return b
