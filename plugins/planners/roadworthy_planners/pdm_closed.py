"""PDM-Closed: fifteen proposals along the route, the one that the PDM Score likes best.

Dauner, Hallgarten, Geiger and Chitta, *Parting with Misconceptions about Learning-based Vehicle
Motion Planning*, CoRL 2023 (arXiv 2306.07962), in the form that NAVSIM uses as the reference of
ego progress: three lateral offsets times five target speeds, driven by the intelligent driver
model among objects that keep their velocity, simulated, and scored by the harness's own PDMS,
version 1. It judges itself by the metric that judges it: a strong reference, not a fair rival.

NAVSIM's reference starts on its path at once. Here every proposal comes back to its path from
where the ego is, as `merging` says, before it is simulated and scored: what wins is what is driven.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from roadworthy import DT, Brief, EgoIndex, ObservationBatch, TrajectoryBatch
from roadworthy.geometry.polylines import wrap_angle
from roadworthy_metrics.guide import Guide, guide, guided_plan

from .merging import STEEPEST, merge_length, offset_and_slope

__all__ = ["PDMClosed"]

_SCORE_VERSION = 1


class PDMClosed:
    """Drives the best of fifteen proposals; see the module's docstring.

    Signals that are red now count as red for the whole plan; others are free.
    """

    def __init__(self) -> None:
        self._guides: list[Guide] = []

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """Packs every map (once per map) and route."""
        self._guides = [guide(b.map, b.route, b.signal_lane) for b in briefs]

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """Poses [S, 40, 3] at 0.1 s: the chosen path, on the way to it at first."""
        plans = []
        for i, row in enumerate(observations.rows):
            ego = observations.ego_state[i, -1]
            here = observations.agents_valid[i, :, -1]
            chosen = guided_plan(
                self._guides[row],
                ego,
                observations.agents_state[i, here, -1],
                observations.agents_size[i, here],
                observations.agents_kind[i, here],
                observations.signal_state[i],
                observations.briefs[i].vehicle,
                _SCORE_VERSION,
                _rejoin,
            )
            plans.append(_to_ego(chosen.poses[1:], ego))
        return TrajectoryBatch(np.stack(plans), DT)


def _rejoin(paths: NDArray[np.float64], ego: NDArray[np.float64]) -> NDArray[np.float64]:
    """World poses [P, T, 3] of paths, from where the ego [11] is; the first one is the ego's.

    Beyond either end of the route the path goes on beside the ego, and an ego far from its path
    comes back the slower, at a slope below 1.
    """
    direction = paths[..., 2]
    cos, sin = np.cos(direction), np.sin(direction)
    dx, dy = ego[EgoIndex.X] - paths[:, :1, 0], ego[EgoIndex.Y] - paths[:, :1, 1]
    offset = cos[:, :1] * dy - sin[:, :1] * dx
    ahead = cos[:, :1] * dx + sin[:, :1] * dy
    off = (ego[EgoIndex.YAW] - direction[:, :1] + np.pi) % (2.0 * np.pi) - np.pi
    step = paths[:, 1:, :2] - paths[:, :-1, :2]
    driven = np.zeros(direction.shape)
    np.cumsum(np.hypot(step[..., 0], step[..., 1]), axis=1, out=driven[:, 1:])
    left, rise = offset_and_slope(
        offset,
        np.tan(np.clip(off, -STEEPEST, STEEPEST)),
        np.maximum(merge_length(ego[EgoIndex.VX]), 0.5 * np.abs(offset)),
        driven,
    )
    out = np.empty(paths.shape)
    out[..., 0] = paths[..., 0] + ahead * cos[:, :1] - left * sin
    out[..., 1] = paths[..., 1] + ahead * sin[:, :1] + left * cos
    out[..., 2] = direction + np.arctan(rise)
    out[:, 0] = ego[: EgoIndex.VX]
    return out


def _to_ego(poses: NDArray[np.float64], ego: NDArray[np.float64]) -> NDArray[np.float64]:
    """World poses [N, 3] as the ego sees them."""
    x, y, yaw = ego[EgoIndex.X], ego[EgoIndex.Y], ego[EgoIndex.YAW]
    c, s = np.cos(yaw), np.sin(yaw)
    dx, dy = poses[:, 0] - x, poses[:, 1] - y
    turn = poses[:, 2] - yaw
    if np.abs(turn[1:] - turn[:-1]).max(initial=0.0) >= np.pi:
        turn = np.unwrap(turn)
    turn += wrap_angle(float(turn[0])) - turn[0]
    return np.stack([c * dx + s * dy, c * dy - s * dx, turn], axis=1)
