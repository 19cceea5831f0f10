"""How far the ego came along its route, and how far the logged one did in the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.geometry.polylines import project
from roadworthy.rollout import RolloutBatch

from .batch import once_per_batch, vehicles
from .contacts import scenes

__all__ = ["MOVED_M", "STALL_SHARE", "Progress", "route_progress"]

MOVED_M = 5.0
"""Below this much progress of the log, progress is not compared with it [m] (as in PDMS)."""

STALL_SHARE = 0.1
"""Below this share of the log's progress the ego has stalled."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Progress along the route's centreline of S rollouts.

    Attributes:
        driven: [S], arc length gained by the ego's box centre from step 0 to the last [m].
        logged: [S], the same of the log over the same steps [m].
        ratio: [S], driven / logged, NaN where the log moved no more than `MOVED_M`.
        completion: [S], ratio clipped to [0, 1], 1 where the log moved no more than `MOVED_M`.
        stalled: [S], 1 where ratio is below `STALL_SHARE`, else 0; NaN where ratio is.
    """

    driven: NDArray[np.float64]
    logged: NDArray[np.float64]
    ratio: NDArray[np.float64]
    completion: NDArray[np.float64]
    stalled: NDArray[np.float64]


@once_per_batch
def route_progress(rollouts: RolloutBatch) -> Progress:
    """Progress of each rollout and of its log.

    Positions are nearest-point projections of the box centre on `Route.centreline`. Negative
    progress counts as 0.
    """
    count, now = len(rollouts), rollouts.now
    driven, logged = np.empty(count), np.empty(count)
    vehicle = vehicles(rollouts)
    offset = 0.5 * (vehicle[:, 1] - vehicle[:, 2])
    pose = np.empty((count, 4, 3))
    for i, case in enumerate(rollouts.cases):
        length, log, start = rollouts.length[i], case.scenario.ego, case.scenario.start
        pose[i, :2] = rollouts.ego[i, [now, now + length], :3]
        pose[i, 2:] = log[[start, min(start + length, len(log) - 1)], :3]
    middle = pose[..., :2] + offset[:, None, None] * np.stack(
        [np.cos(pose[..., 2]), np.sin(pose[..., 2])], axis=-1
    )
    for i, scene in enumerate(scenes(rollouts)):
        arcs = [project(scene.centreline, x, y, 0)[0] for x, y in middle[i]]
        driven[i], logged[i] = max(0.0, arcs[1] - arcs[0]), max(0.0, arcs[3] - arcs[2])
    moved = logged > MOVED_M
    ratio = np.full(count, np.nan)
    np.divide(driven, logged, out=ratio, where=moved)
    completion = np.where(moved, np.minimum(ratio, 1.0), 1.0)
    stalled = np.where(moved, ratio < STALL_SHARE, np.nan).astype(np.float64)
    return Progress(driven, logged, ratio, completion, stalled)
