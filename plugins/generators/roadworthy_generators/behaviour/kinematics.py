r"""Motion of agents as actions: accelerations and yaw rates, rolled out by a unicycle.

$$v_{k+1} = \max(0, v_k + a_k\,\Delta t),\quad \psi_{k+1} = \psi_k + \omega_k\,\Delta t,\quad
p_{k+1} = p_k + \tfrac12(v_k + v_{k+1})\,\Delta t\,
(\cos\bar\psi_k, \sin\bar\psi_k)$$

with the mean heading of a step. An action holds for 0.25 s, states are at 10 Hz. Accelerations,
yaw rates, lateral accelerations and curvatures are cut to what a kind of agent can do before they
are rolled out, so whatever a network says, the motion can be driven or walked.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind
from torch import Tensor

__all__ = ["ACTIONS", "ACTION_S", "LIMITS", "SCALES", "STEPS", "actions_of", "limits_of", "rollout"]

ACTIONS = 24
"""Actions of a token."""
ACTION_S = 0.25
"""How long each holds [s]."""
STEPS = 60
"""Steps at 10 Hz that they make up: 6 s."""

LIMITS: dict[AgentKind, tuple[float, float, float, float, float]] = {
    AgentKind.VEHICLE: (7.5, 4.0, 1.0, 5.0, 0.2),
    AgentKind.BICYCLE: (5.0, 2.5, 1.8, 4.0, 0.6),
    AgentKind.PEDESTRIAN: (4.0, 2.5, 2.5, 4.0, 6.0),
}
"""By kind: braking and acceleration [m/s²], yaw rate [rad/s], lateral acceleration [m/s²] and
curvature [1/m], all at most. They lie within `roadworthy.variants.BOUNDS`."""

SCALES: dict[AgentKind, tuple[float, float]] = {
    AgentKind.VEHICLE: (1.5, 0.2),
    AgentKind.BICYCLE: (1.0, 0.3),
    AgentKind.PEDESTRIAN: (0.6, 0.5),
}
"""By kind: acceleration [m/s²] and yaw rate [rad/s] that a network sees as 1."""

_STILL = (0.0, 0.0, 0.0, 0.0, 0.0)


def limits_of(kinds: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Limits [A, 5] and scales [A, 2] of agents by their kinds; static objects cannot move."""
    limits = np.array([LIMITS.get(AgentKind(int(k)), _STILL) for k in kinds], np.float32)
    scales = np.array([SCALES.get(AgentKind(int(k)), (1.0, 1.0)) for k in kinds], np.float32)
    return limits.reshape(-1, 5), scales.reshape(-1, 2)


@cache
def _spread() -> Tensor:
    """[STEPS, ACTIONS] shares of a step of 0.1 s that lie within each action."""
    edges = np.arange(ACTIONS + 1) * ACTION_S
    begin = np.arange(STEPS)[:, None] * DT
    shared = np.minimum(begin + DT, edges[1:]) - np.maximum(begin, edges[:-1])
    return torch.tensor(np.maximum(shared, 0.0) / DT, dtype=torch.float32)


def rollout(actions: Tensor, pose: Tensor, speed: Tensor, limits: Tensor) -> Tensor:
    """States of agents that act.

    Args:
        actions: [..., ACTIONS, 2] acceleration [m/s²] and yaw rate [rad/s].
        pose: [..., 3] x, y, yaw at the present.
        speed: [...] at the present, at least 0.
        limits: [..., 5] by `LIMITS`.

    Returns:
        [..., STEPS + 1, 4] x, y, yaw, speed at 10 Hz, the present first.
    """
    per_step = torch.einsum("sa,...ac->...sc", _spread().to(actions), actions)
    brake, gas, rate, lateral, bend = limits.unsqueeze(-2).unbind(-1)
    push = torch.maximum(torch.minimum(per_step[..., 0], gas), -brake)
    free = speed.unsqueeze(-1) + torch.cumsum(push * DT, -1)
    # Reflected at zero (Skorokhod): the same as clamping at every step.
    lowest = torch.cummin(free, -1).values.clamp(max=0.0)
    after = free - lowest
    v = torch.cat([speed.unsqueeze(-1), after], -1)
    middle = 0.5 * (v[..., 1:] + v[..., :-1])
    most = torch.minimum(torch.minimum(rate, bend * middle), lateral / middle.clamp(min=0.1))
    turn = torch.maximum(torch.minimum(per_step[..., 1], most), -most) * DT
    yaw = torch.cat([pose[..., 2:3], pose[..., 2:3] + torch.cumsum(turn, -1)], -1)
    heading = 0.5 * (yaw[..., 1:] + yaw[..., :-1])
    hop = middle * DT
    x = torch.cumsum(torch.cat([pose[..., 0:1], hop * torch.cos(heading)], -1), -1)
    y = torch.cumsum(torch.cat([pose[..., 1:2], hop * torch.sin(heading)], -1), -1)
    return torch.stack([x, y, yaw, v], -1)


def actions_of(yaw: NDArray[np.float64], speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The actions that make up a motion: [..., ACTIONS, 2].

    Args:
        yaw, speed: [..., STEPS + 1] at 10 Hz; yaw unwrapped.
    """
    at = np.arange(ACTIONS + 1) * ACTION_S / DT
    low = np.minimum(at.astype(np.int64), STEPS - 1)
    share = at - low

    def grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((1.0 - share) * values[..., low] + share * values[..., low + 1])

    return np.stack([np.diff(grid(speed)), np.diff(grid(yaw))], -1) / ACTION_S
