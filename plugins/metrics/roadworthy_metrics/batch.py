"""What the kernels need of a batch of rollouts beyond its arrays, made once per batch.

Several metrics read the same rollouts. What `once_per_batch` wraps is computed for the first
of them and kept as long as the batch lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from roadworthy.rollout import RolloutBatch

__all__ = ["distance", "half_sizes", "kinds", "once_per_batch", "vehicles"]

T = TypeVar("T")


def once_per_batch(function: Callable[[RolloutBatch], T]) -> Callable[[RolloutBatch], T]:
    """Keep a function's results while their batch lives (the object, not an equal one)."""
    kept: WeakKeyDictionary[RolloutBatch, T] = WeakKeyDictionary()

    def call(rollouts: RolloutBatch) -> T:
        try:
            return kept[rollouts]
        except KeyError:
            return kept.setdefault(rollouts, function(rollouts))

    call.__doc__ = function.__doc__
    call.__name__ = function.__name__
    return call


@once_per_batch
def half_sizes(rollouts: RolloutBatch) -> NDArray[np.float64]:
    """Half length and half width of every agent: [S, A, 2] [m], 0 for padding."""
    out = np.zeros((len(rollouts), rollouts.agents.shape[1], 2))
    for row, case in zip(out, rollouts.cases, strict=True):
        size = case.scenario.agents.size
        row[: len(size)] = 0.5 * size[:, :2]
    return out


@once_per_batch
def kinds(rollouts: RolloutBatch) -> NDArray[np.int8]:
    """`AgentKind` of every agent: int8 [S, A], -1 for padding."""
    out = np.full(rollouts.agents.shape[:2], -1, np.int8)
    for row, case in zip(out, rollouts.cases, strict=True):
        row[: len(case.scenario.agents)] = case.scenario.agents.kind
    return out


@once_per_batch
def vehicles(rollouts: RolloutBatch) -> NDArray[np.float64]:
    """`Vehicle.as_array()` of every ego: [S, 6] [m]."""
    rows = [case.scenario.vehicle.as_array() for case in rollouts.cases]
    return np.array(rows, np.float64).reshape(-1, 6)


@once_per_batch
def distance(rollouts: RolloutBatch) -> NDArray[np.float64]:
    """Length of the path driven by the rear axle: [S] [m]."""
    xy = rollouts.ego[:, rollouts.now :, :2]
    hop = np.hypot(np.diff(xy[..., 0], axis=1), np.diff(xy[..., 1], axis=1))
    driven = np.arange(hop.shape[1]) < rollouts.length[:, None]
    total: NDArray[np.float64] = np.where(driven, hop, 0.0).sum(axis=1)
    return total
