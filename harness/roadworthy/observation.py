"""What a planner is told: once per scenario (`Brief`), and at each replan (`Observation`).

An observation holds the past and the present alone. The future of the log is in a
`Brief` only where the planner class declares `needs_log = True`; such a planner is
*privileged*, and every report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roadworthy.scenario import RoadMap, Route, Scenario
from roadworthy.vehicle import Vehicle

__all__ = ["Brief", "Observation", "ObservationBatch"]


@dataclass(frozen=True, eq=False)
class Brief:
    """What is fixed for one case.

    Attributes:
        map: the road map, world frame.
        route: the route, world frame.
        vehicle: the ego's dimensions.
        signal_lane: int64 [G], the lane that each signal governs.
        seed: 64-bit seed of this case; a planner that draws numbers draws from it.
        log: the whole scenario, future included, for planners with `needs_log = True`.
    """

    map: RoadMap
    route: Route
    vehicle: Vehicle
    signal_lane: NDArray[np.int64]
    seed: int
    log: Scenario | None = None


@dataclass(frozen=True, eq=False)
class Observation:
    """One moment of one case. H = `HISTORY` rows, oldest first, the last one is now.

    Attributes:
        brief: what was said at `reset`.
        step: simulation step, 0 at the start (10 Hz).
        ego_state: [H, 11] `EgoIndex`, rear axle, world frame.
        agents_state: [A, H, 5] `StateIndex`, box centres, world frame.
        agents_valid: bool [A, H]; an agent is present now where `agents_valid[:, -1]`.
        agents_kind: int8 [A], `AgentKind`.
        agents_size: [A, 3] length, width, height [m].
        signal_state: int8 [G], `SignalState` now.
        images: per camera of the rig uint8 [H, W, 3], red, green, blue; none where the simulator
            has no cameras.
    """

    brief: Brief
    step: int
    ego_state: NDArray[np.float64]
    agents_state: NDArray[np.float64]
    agents_valid: NDArray[np.bool_]
    agents_kind: NDArray[np.int8]
    agents_size: NDArray[np.float64]
    signal_state: NDArray[np.int8]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ObservationBatch:
    """One moment of S cases, padded to the most agents and signals among them.

    Fields as in `Observation` with a leading axis S; padding agents are never valid and
    padding signals are `SignalState.UNKNOWN`. `batch[i]` is the i-th `Observation`, with
    the padding cut off.

    Attributes:
        rows: int64 [S], which of the briefs given to `reset_batch` each row belongs to; cases
            that have ended or failed are no longer among them.
        agents_count, signal_count: int64 [S], the unpadded numbers.
        images: per camera uint8 [S, H, W, 3].
    """

    briefs: Sequence[Brief]
    rows: NDArray[np.int64]
    step: int
    ego_state: NDArray[np.float64]
    agents_state: NDArray[np.float64]
    agents_valid: NDArray[np.bool_]
    agents_kind: NDArray[np.int8]
    agents_size: NDArray[np.float64]
    signal_state: NDArray[np.int8]
    agents_count: NDArray[np.int64]
    signal_count: NDArray[np.int64]
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.briefs)

    def __getitem__(self, index: int) -> Observation:
        count, signals = self.agents_count[index], self.signal_count[index]
        return Observation(
            brief=self.briefs[index],
            step=self.step,
            ego_state=self.ego_state[index].copy(),
            agents_state=self.agents_state[index, :count].copy(),
            agents_valid=self.agents_valid[index, :count].copy(),
            agents_kind=self.agents_kind[index, :count].copy(),
            agents_size=self.agents_size[index, :count].copy(),
            signal_state=self.signal_state[index, :signals].copy(),
            images={name: shown[index].copy() for name, shown in self.images.items()},
        )
