"""What the logged driver did next: the privileged reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from roadworthy import DT, Brief, EgoIndex, ObservationBatch, PlannerError, TrajectoryBatch

__all__ = ["LogReplay"]

POSES = 50


class LogReplay:
    """Plans the logged poses of the next 5 s, seen from where the ego is now.

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
        future = np.stack(
            [_window(self._poses[row], observations.step) for row in observations.rows]
        )
        now = observations.ego_state[:, -1]
        x, y, yaw = (now[:, None, i] for i in (EgoIndex.X, EgoIndex.Y, EgoIndex.YAW))
        dx, dy = future[..., 0] - x, future[..., 1] - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = future[..., 2] - yaw
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
    """The `POSES` poses after `step`; at and after the log's end, its last extrapolation."""
    begin = min(step + 1, len(poses) - POSES)
    return poses[begin : begin + POSES]
