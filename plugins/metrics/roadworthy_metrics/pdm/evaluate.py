"""All sub-metrics of trajectories in one scene, but for those that compare trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.vehicle import EGO_STATE_SIZE, Vehicle

from .area import area_flags
from .collision import collisions, time_to_collision
from .comfort import ComfortFilters, comfort, comfort_filters
from .lanes import driving_direction, lane_keeping, raw_progress, traffic_lights
from .motion import make_motion
from .scene import Scene

__all__ = ["Evaluation", "Term", "evaluate"]


class Term(IntEnum):
    """Columns of `Evaluation.value` and `Evaluation.first_step`."""

    NC = 0
    DAC = 1
    DDC = 2
    TLC = 3
    TTC = 4
    LK = 5
    COMFORT = 6


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Sub-metrics of P trajectories of T states.

    Attributes:
        value: float64 [P, 7], by `Term`. Version 1 has no TLC and LK: they are 1.
        progress: float64 [P], raw progress along the centreline [m].
        first_step: int32 [P, 7], by `Term`: the first step at which it fails, -1: none.
        collision_agent: int32 [P], object of the first at-fault collision, -1: none.
        collision_kind: int32 [P], its `CollisionKind`, -1: none.
        ttc_agent: int32 [P], object of the first TTC failure, -1: none.
        comfort_checks: bool [P, 6], by `ComfortCheck`, true where it passes.
        area: uint8 [P, T], `Area` flags.
        events: int32 [N, 4], if asked for: (trajectory, step, object, `CollisionKind`) of every
            evaluation of NC; otherwise N = 0.
    """

    value: NDArray[np.float64]
    progress: NDArray[np.float64]
    first_step: NDArray[np.int32]
    collision_agent: NDArray[np.int32]
    collision_kind: NDArray[np.int32]
    ttc_agent: NDArray[np.int32]
    comfort_checks: NDArray[np.bool_]
    area: NDArray[np.uint8]
    events: NDArray[np.int32]


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    scene: Scene,
    states: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    history: NDArray[np.float64],
    filters: ComfortFilters,
    version: int,
    judge_comfort: bool,
    flagged: bool,
    value: NDArray[np.float64],
    progress: NDArray[np.float64],
    first_step: NDArray[np.int32],
    blame: NDArray[np.int32],
    checks: NDArray[np.bool_],
    area: NDArray[np.uint8],
    events: NDArray[np.int32],
    event_counts: NDArray[np.int32],
) -> None:
    ignored = np.empty(scene.agents.radius.shape[0], np.bool_)
    failed = np.empty(6, np.int64)
    for p in range(states.shape[0]):
        motion = make_motion(states[p], vehicle)
        flags = area[p]
        if not flagged:
            area_flags(scene.areas, scene.on_route, motion, flags)
        value[p] = 1.0
        first_step[p] = -1
        nc, step, who, how, count = collisions(motion, flags, scene.agents, ignored, events[p])
        value[p, 0], first_step[p, 0], blame[p, 0], blame[p, 1] = nc, step, who, how
        event_counts[p] = count
        for t in range(flags.shape[0]):
            if flags[t] & 2:
                value[p, 1], first_step[p, 1] = 0.0, t
                break
        ddc, step = driving_direction(motion, flags, version == 2)
        value[p, 2], first_step[p, 2] = ddc, step
        ttc, step, who = time_to_collision(motion, flags, scene.agents, ignored)
        value[p, 4], first_step[p, 4], blame[p, 2] = ttc, step, who
        if version == 2:
            tlc, step = traffic_lights(motion, scene.lights)
            value[p, 3], first_step[p, 3] = tlc, step
            lk, step = lane_keeping(scene.centreline, motion, flags)
            value[p, 5], first_step[p, 5] = lk, step
        progress[p] = raw_progress(scene.centreline, motion)
        if not judge_comfort:
            checks[p] = True
            continue
        comfort(states[p], history, filters, failed)
        for k in range(6):
            checks[p, k] = failed[k] < 0
            if failed[k] >= 0:
                step = max(0, failed[k] - history.shape[0])
                if value[p, 6] == 1.0 or step < first_step[p, 6]:
                    first_step[p, 6] = step
                value[p, 6] = 0.0


def evaluate(
    scene: Scene,
    states: NDArray[np.float64],
    vehicle: Vehicle,
    version: int,
    history: NDArray[np.float64] | None = None,
    events: bool = False,
    area: NDArray[np.uint8] | None = None,
) -> Evaluation:
    """Score P trajectories in one scene (specification, sections 4 and 5).

    For T = 41 states this is the PDM Score's definition. Longer series, as closed-loop rollouts
    are, extend it: windows (11 steps of DDC, 20 of LK, the comfort filters' 41, 8, 15 and 5, the
    41 frames in which an object's first speed is looked for) slide along the series, the
    thresholds are unchanged, and TTC looks only as far ahead as the agents' frames go.

    Args:
        scene: its agents must have at least T frames.
        states: [P, T >= 1, 11], simulated ego states at 10 Hz (`EgoIndex`), world frame.
        vehicle: the ego.
        version: 1 (PDMS) or 2 (EPDMS).
        history: [H, 11], ego states before them, for version 2's comfort. None leaves HC at 1,
            as NAVSIM scores a trajectory without history. Comfort of fewer than 4 samples is 1.
        events: also list every collision that was looked at.
        area: uint8 [P, T], the trajectories' `Area` flags where they are known already.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    states = np.require(states, np.float64, ["C", "W"])
    if states.ndim != 3 or states.shape[1] < 1 or states.shape[2] != EGO_STATE_SIZE:
        raise ValueError(f"states must have shape [P, T >= 1, 11], got {states.shape}")
    if not np.isfinite(states).all():
        raise ValueError("states must be finite")
    count, length = states.shape[:2]
    if len(scene.agents.x) < length:
        raise ValueError(f"{length} states but only {len(scene.agents.x)} frames of agents")
    if version not in (1, 2):
        raise ValueError(f"version must be 1 or 2, got {version!r}")
    before = np.zeros((0, EGO_STATE_SIZE))
    if history is not None and version == 2:
        before = np.require(history, np.float64, ["C", "W"])
    samples = len(before) + length
    filters = comfort_filters(max(samples, 4), version, vehicle.rear_axle_to_centre)
    judge_comfort = samples >= 4 and (version == 1 or history is not None)
    value, progress = np.empty((count, 7)), np.empty(count)
    first = np.empty((count, 7), np.int32)
    blame = np.empty((count, 3), np.int32)
    checks = np.empty((count, 6), np.bool_)
    flagged = area is not None
    flags = np.empty((count, length), np.uint8) if area is None else area
    if flags.shape != (count, length):
        raise ValueError(f"area has shape {flags.shape}, wanted {(count, length)}")
    room = length * scene.agents.x.shape[1] if events else 0
    seen = np.zeros((count, room, 3), np.int32)
    seen_counts = np.zeros(count, np.int32)
    _evaluate(
        scene, states, vehicle.as_array(), before, filters, version,
        judge_comfort, flagged,
        value, progress, first, blame, checks, flags, seen, seen_counts,
    )  # fmt: skip
    rows = np.zeros((0, 4), np.int32)
    if events:
        rows = np.concatenate(
            [np.insert(seen[p, : seen_counts[p]], 0, p, axis=1) for p in range(count)]
        ).astype(np.int32)
    return Evaluation(
        value, progress, first, blame[:, 0], blame[:, 1], blame[:, 2], checks, flags, rows
    )
