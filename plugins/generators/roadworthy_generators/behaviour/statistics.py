r"""Statistics of motion, and how far apart two sets of them are.

Histograms are compared by the Jensen-Shannon divergence to base 2 (Lin, IEEE Transactions on
Information Theory 37 (1991) 145). Their bins are centred on zero where values have a sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, Scenario

from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.scene import ego_centre, track_states

__all__ = ["EDGES", "distance", "divergence", "histograms"]

Array = NDArray[np.float64]

EDGES: Mapping[str, Array] = {
    "speed": np.arange(0.0, 20.1, 1.0),
    "acceleration": np.arange(-8.25, 8.3, 0.5),
    "yaw_rate": np.arange(-1.025, 1.05, 0.05),
    "nearest": np.arange(0.0, 41.0, 2.0),
}
_NEAR_M = 40.0


def divergence(p: Array, q: Array) -> float:
    """Jensen-Shannon divergence to base 2 of two histograms [K]."""
    p, q = p / max(p.sum(), 1.0), q / max(q.sum(), 1.0)
    m = 0.5 * (p + q)
    return float(
        sum(0.5 * np.sum(one[one > 0] * np.log2(one[one > 0] / m[one > 0])) for one in (p, q))
    )


def histograms(scenario: Scenario, begin: int, rows: Sequence[int]) -> dict[str, Array]:
    """Counts over `EDGES` of agents within 40 m of the ego, over 6 s from a step on."""
    out = {name: np.zeros(len(edges) - 1) for name, edges in EDGES.items()}
    span = slice(begin, begin + STEPS + 1)
    tracks = scenario.agents
    states, valid = track_states(tracks.state[:, span]), tracks.valid[:, span]
    ego = ego_centre(scenario.ego[span], scenario.vehicle.rear_axle_to_centre)
    everyone = np.concatenate([ego[None], states])
    there = np.concatenate([np.ones((1, len(ego)), np.bool_), valid])
    for a in rows:
        both = valid[a, 1:] & valid[a, :-1]
        near = np.hypot(*(states[a, 1:, :2] - ego[1:, :2]).T) < _NEAR_M
        use = both & near
        speed = states[a, :, 3]
        turn = np.angle(np.exp(1j * np.diff(states[a, :, 2]))) / DT
        gap = np.hypot(*np.moveaxis(everyone[:, 1:, :2] - states[a, 1:, :2], -1, 0))
        gap = np.where(there[:, 1:], gap, np.inf)
        gap[a + 1] = np.inf
        values = {
            "speed": speed[1:], "acceleration": np.diff(speed) / DT, "yaw_rate": turn,
            "nearest": gap.min(0),
        }  # fmt: skip
        for name, value in values.items():
            edges = EDGES[name]
            out[name] += np.histogram(np.clip(value[use], edges[0], edges[-1] - 1e-9), edges)[0]
    return out


def distance(one: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, float]:
    """The divergence of each histogram, by its name."""
    return {name: round(divergence(one[name], other[name]), 4) for name in EDGES}
