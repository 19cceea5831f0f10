"""The NeuroNCAP score: stars for avoiding a collision, or for softening it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .batch import half_sizes, vehicles

__all__ = ["NeuroNCAP", "first_impact"]


@njit(cache=True, nogil=True, error_model="numpy")
def first_impact(
    ego: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half_size: NDArray[np.float64],
    now: int,
    length: NDArray[np.int64],
    frozen: bool,
    step: NDArray[np.int64],
    who: NDArray[np.int64],
    speed: NDArray[np.float64],
) -> None:
    """The first step at which the ego's box meets an agent's, in S rollouts.

    Agents whose box meets the ego's at step 0 are left out: no planner could have helped it.
    Of several agents met at the same step the one with the highest impact speed counts.

    Args:
        ego: [S, F, 11] `EgoIndex`, rear axle, world frame.
        vehicle: [S, 6], a `Vehicle.as_array()` each.
        agents: [S, A, F, 5] `StateIndex`, box centres, world frame.
        valid: bool [S, A, F].
        half_size: [S, A, 2], half length and half width [m].
        now: row of F that is step 0.
        length: int64 [S], steps driven.
        frozen: take no action: the ego goes straight on from step 0 at its velocity then,
            against the agents as they moved.
        step: int64 [S], overwritten, -1 for never.
        who: int64 [S], overwritten, row of the agent, -1 for none.
        speed: [S], overwritten: magnitude of the relative velocity at that step [m/s], NaN for
            none.
    """
    pose = np.empty((ego.shape[1] - now, 6))
    for i in range(ego.shape[0]):
        step[i], who[i], speed[i] = -1, -1, np.nan
        half_length, half_width = 0.5 * (vehicle[i, 1] + vehicle[i, 2]), 0.5 * vehicle[i, 0]
        to_centre = 0.5 * (vehicle[i, 1] - vehicle[i, 2])
        radius = math.sqrt(half_length * half_length + half_width * half_width)
        for t in range(length[i] + 1):
            state = ego[i, now] if frozen else ego[i, now + t]
            c, s = math.cos(state[2]), math.sin(state[2])
            vx, vy = state[3] * c - state[4] * s, state[3] * s + state[4] * c
            ahead = 0.1 * t if frozen else 0.0
            pose[t, 0] = state[0] + to_centre * c + ahead * vx
            pose[t, 1] = state[1] + to_centre * s + ahead * vy
            pose[t, 2], pose[t, 3], pose[t, 4], pose[t, 5] = c, s, vx, vy
        last = length[i]
        for a in range(agents.shape[1]):
            long, wide = half_size[i, a, 0], half_size[i, a, 1]
            reach = radius + math.sqrt(long * long + wide * wide)
            reach2 = reach * reach * (1.0 + 1e-9)
            for t in range(last + 1):
                if not valid[i, a, now + t]:
                    continue
                f = now + t
                dx, dy = agents[i, a, f, 0] - pose[t, 0], agents[i, a, f, 1] - pose[t, 1]
                if dx * dx + dy * dy > reach2:
                    continue
                if not boxes_intersect(
                    0.0, 0.0, pose[t, 2], pose[t, 3], half_length, half_width,
                    dx, dy, math.cos(agents[i, a, f, 2]), math.sin(agents[i, a, f, 2]), long, wide,
                ):  # fmt: skip
                    continue
                if t == 0:
                    break
                wx, wy = agents[i, a, f, 3] - pose[t, 4], agents[i, a, f, 4] - pose[t, 5]
                impact = math.sqrt(wx * wx + wy * wy)
                if step[i] < 0 or t < step[i] or impact > speed[i]:
                    step[i], who[i], speed[i], last = t, a, impact, t
                break


class NeuroNCAP:
    """5 without a collision, else 4 max(0, 1 - v_impact / v_reference).

    A collision is any overlap of the ego's box with an agent's, whoever is at fault. Speeds are
    magnitudes of the relative velocity. v_reference is the impact speed had no action been
    taken: the ego goes straight on from step 0 at its velocity then, against the agents as they
    moved in this rollout. Where that meets nobody, v_reference is the ego's speed at step 0.
    """

    spec = MetricSpec(
        name="neuroncap",
        version="1",
        columns=(
            Column(
                "neuroncap",
                doc="5 without a collision, else 4 max(0, 1 - impact / reference speed)",
                headline=True,
            ),
            Column(
                "collision",
                "lower",
                doc="1 where the ego's box meets an agent's, else 0",
                bounds=SHARE,
            ),
            Column("impact_speed", "lower", "m/s", "Relative speed at the first collision"),
            Column("reference_speed", "neither", "m/s", "Impact speed had no action been taken"),
            Column(
                "reference_collision",
                "neither",
                doc="1 where taking no action would have led to a collision, else 0",
                bounds=SHARE,
            ),
        ),
        source="NeuroNCAP (Ljungbergh et al., ECCV 2024, arXiv 2404.07762)",
        formula="neuroncap = 5 if collision = 0 else 4 max(0, 1 - impact_speed / reference_speed)",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; `impact_speed` is NaN without a collision."""
        count = len(rollouts)
        arrays = (
            rollouts.ego, vehicles(rollouts), rollouts.agents, rollouts.agents_valid,
            half_sizes(rollouts), rollouts.now, rollouts.length,
        )  # fmt: skip
        step, who, impact = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
        first_impact(*arrays, False, step, who, impact)
        met, nobody, reference = np.empty_like(step), np.empty_like(who), np.empty_like(impact)
        first_impact(*arrays, True, met, nobody, reference)
        start = rollouts.ego[:, rollouts.now]
        reference = np.where(met >= 0, reference, np.hypot(start[:, 3], start[:, 4]))
        collided = step >= 0
        ratio = np.divide(
            impact, reference, out=np.where(impact > 0.0, np.inf, 0.0), where=reference > 0.0
        )
        stars = np.where(collided, 4.0 * np.maximum(0.0, 1.0 - ratio), 5.0)
        values = {
            "neuroncap": stars,
            "collision": collided.astype(np.float64),
            "impact_speed": impact,
            "reference_speed": reference,
            "reference_collision": (met >= 0).astype(np.float64),
        }
        events = tuple(
            [{"kind": "impact", "step": int(t), "agent": int(a), "speed": float(v)}]
            if t >= 0
            else []
            for t, a, v in zip(step, who, impact, strict=True)
        )
        return Scores(self.spec, values, events=events)
