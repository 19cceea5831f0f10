"""Success of a closed-loop rollout, and how far it came."""

from __future__ import annotations

import numpy as np
from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .contacts import conduct
from .progress import MOVED_M, STALL_SHARE, route_progress

__all__ = ["Success"]


class Success:
    """Driven to the end without an at-fault collision and without leaving the drivable area."""

    spec = MetricSpec(
        name="success",
        version="1",
        columns=(
            Column(
                "success",
                doc="1 where driven to the end without at-fault collision and never off-road",
                headline=True,
                drivable_area=True,
                bounds=SHARE,
            ),
            Column(
                "success_strict",
                doc="1 where driven to the end without any collision and never off-road",
                drivable_area=True,
                bounds=SHARE,
            ),
            Column(
                "collision_at_fault",
                "lower",
                doc="1 where the ego caused a collision",
                bounds=SHARE,
            ),
            Column(
                "collision_any", "lower", doc="1 where the ego's box met another's", bounds=SHARE
            ),
            Column(
                "off_road",
                "lower",
                doc="1 where a corner left the drivable area",
                drivable_area=True,
                bounds=SHARE,
            ),
            Column(
                "route_completion",
                doc="Progress over that of the log in the same time, at most 1",
                headline=True,
                bounds=SHARE,
            ),
            Column("progress_m", "higher", "m", "Progress along the route"),
            Column("progress_logged_m", "neither", "m", "Progress of the log in the same time"),
            Column(
                "progress_ratio",
                doc=f"Progress over that of the log, where the log moved more than {MOVED_M:g} m",
            ),
            Column(
                "stalled",
                "lower",
                doc=f"1 where progress is below {STALL_SHARE:.0%} of the log's, "
                f"where that moved more than {MOVED_M:g} m",
                bounds=SHARE,
            ),
        ),
        source="World Engine (Li et al., 2026, arXiv 2606.19836): closed-loop success rate",
        formula="success = (1 - collision_at_fault) (1 - off_road), 0 where not driven to the end",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout. A case that failed with an error was not driven to its end."""
        driven = conduct(rollouts)
        fault = np.array([row.at_fault for row in driven], float)
        met = np.array([bool(row.contacts) for row in driven], float)
        off = np.array([row.off_road >= 0 for row in driven], float)
        ended = np.array([error is None for error in rollouts.errors], float)
        progress = route_progress(rollouts)
        values = {
            "success": (1.0 - fault) * (1.0 - off) * ended,
            "success_strict": (1.0 - met) * (1.0 - off) * ended,
            "collision_at_fault": fault,
            "collision_any": met,
            "off_road": off,
            "route_completion": progress.completion,
            "progress_m": progress.driven,
            "progress_logged_m": progress.logged,
            "progress_ratio": progress.ratio,
            "stalled": progress.stalled,
        }
        events = tuple(
            [{"kind": "off_road", "step": row.off_road}] if row.off_road >= 0 else []
            for row in driven
        )
        return Scores(self.spec, values, events=events)
