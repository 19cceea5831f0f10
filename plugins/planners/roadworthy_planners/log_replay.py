"""What the logged driver did next: the privileged reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from roadworthy import DT, Brief, EgoIndex, ObservationBatch, PlannerError, TrajectoryBatch

from .merging import STEEPEST, merge_length, offset_and_slope

__all__ = ["LogReplay"]

POSES = 50


class LogReplay:
    """Plans the logged poses of the next 5 s, seen from where the ego is now.

    On the logged path the plan is the log; from beside it, the plan comes back as `merging` says.
    Beyond the log's end the ego goes on straight at the log's last speed. Being told the
    future, the planner is privileged; reports mark it.
    """

    needs_log = True

    def __init__(self) -> None:
        self._poses: list[NDArray[np.float64]] = []

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """Keeps the logged future of each case.

        Raises:
            PlannerError: if a brief comes without its log.
        """
        self._poses = [_future(brief) for brief in briefs]

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """Poses [S, 50, 3] at 0.1 s, headings continuous along each plan."""
        step = observations.step
        log = np.stack([_window(self._poses[row], step) for row in observations.rows])
        now = observations.ego_state[:, -1]
        x, y, yaw = (now[:, None, i] for i in (EgoIndex.X, EgoIndex.Y, EgoIndex.YAW))
        speed = now[:, None, EgoIndex.VX]
        direction = log[..., 2]
        cos, sin = np.cos(direction[:, :1]), np.sin(direction[:, :1])
        offset = cos * (y - log[:, :1, 1]) - sin * (x - log[:, :1, 0])
        off = (yaw - direction[:, :1] + np.pi) % (2.0 * np.pi) - np.pi
        driven = np.cumsum(np.hypot(*np.diff(log[..., :2], axis=1).transpose(2, 0, 1)), axis=1)
        left, rise = offset_and_slope(
            offset,
            np.tan(np.clip(off, -STEEPEST, STEEPEST)),
            merge_length(speed),
            driven,
        )
        direction = direction[:, 1:]
        dx = log[:, 1:, 0] - left * np.sin(direction) - x
        dy = log[:, 1:, 1] + left * np.cos(direction) - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = direction + np.arctan(rise) - yaw
        turn -= 2.0 * np.pi * np.round(turn[:, :1] / (2.0 * np.pi))
        return TrajectoryBatch(np.stack([cos * dx + sin * dy, cos * dy - sin * dx, turn], -1), DT)


def _future(brief: Brief) -> NDArray[np.float64]:
    """World poses from the present on, with `POSES` extrapolated ones behind: [horizon+1+50, 3]."""
    if brief.log is None:
        raise PlannerError(
            "log-replay was given no log",
            hint="The harness sets Brief.log where needs_log is True.",
        )
    ego = brief.log.ego[brief.log.start :]
    poses = ego[:, [EgoIndex.X, EgoIndex.Y, EgoIndex.YAW]].copy()
    poses[:, 2] = np.unwrap(poses[:, 2])
    x, y, yaw = poses[-1]
    reach = max(0.0, ego[-1, EgoIndex.VX]) * DT * np.arange(1, POSES + 1)
    beyond = np.stack([x + reach * np.cos(yaw), y + reach * np.sin(yaw), np.full(POSES, yaw)], -1)
    return np.concatenate([poses, beyond])


def _window(poses: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """The pose at `step` and the `POSES` after it; beyond the log's end, its extrapolation."""
    begin = min(step, len(poses) - POSES - 1)
    return poses[begin : begin + POSES + 1]
