"""Whether the pictures that a planner was shown may be believed."""

from __future__ import annotations

import numpy as np
from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

__all__ = ["CameraValidity"]


class CameraValidity:
    """Share of moments whose pictures the simulator stands by, and the worst of its figures.

    A picture may be hollow (the scene has a hole), show what no recorded picture shows, or be
    taken far off the recorded path. What a planner did on seeing such pictures says little of the
    planner: each moment that is not valid is an event of the case.
    """

    spec = MetricSpec(
        name="camera-validity",
        version="1",
        columns=(
            Column(
                "valid_share",
                "higher",
                doc="Share of the planner's moments whose pictures are all valid",
                headline=True,
                bounds=SHARE,
            ),
            Column(
                "hollow",
                "lower",
                doc="Largest share of a picture that the scene leaves empty",
                bounds=SHARE,
            ),
            Column(
                "unseen",
                "lower",
                doc="Largest share of a picture that was never recorded",
                bounds=SHARE,
            ),
            Column("off_path", "lower", "m", "Farthest the ego was from the recorded path"),
        ),
        source="World Engine (Li et al., 2026, arXiv 2606.19836): rendered views near the log",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; NaN where the simulator has no cameras."""
        values = {c.name: np.full(len(rollouts), np.nan) for c in self.spec.columns}
        events: list[list[dict[str, object]]] = [[] for _ in range(len(rollouts))]
        for row, frames in enumerate(rollouts.frames):
            if not len(frames.step):
                continue
            values["valid_share"][row] = frames.valid.mean()
            values["hollow"][row] = frames.hollow.max()
            values["unseen"][row] = frames.unseen.max()
            values["off_path"][row] = frames.off_path.max()
            events[row] = [
                {"kind": "invalid_picture", "step": int(step)}
                for step in frames.step[~frames.valid]
            ]
        return Scores(self.spec, values, events=tuple(events))
