r"""Guidance: costs of predicted futures, whose gradients steer the sampling.

At every step the network predicts clean actions; they are rolled out, the cost of the futures is
differentiated with respect to the actions alone (through the unicycle, never through the network),
and the actions move against the gradient. C. Jiang et al., "MotionDiffuser", CVPR 2023, and
Z. Zhong et al., "Guided conditional diffusion for controllable traffic simulation", ICRA 2023, do
so with the network in between.

Terms compose: a cost is the sum of weighted terms, and `strength` is the dial over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from roadworthy.scenario import DT
from torch import Tensor
from torch.nn import functional

from roadworthy_generators.behaviour.kinematics import rollout
from roadworthy_generators.behaviour.network import Scenes

__all__ = [
    "CollisionCourse",
    "Futures",
    "Goal",
    "Guidance",
    "NoOverlap",
    "OnRoad",
    "SpeedLimit",
    "TargetSpeed",
    "Term",
    "TimeToCollision",
    "Unlikely",
]

_STRIDE = 3


class Futures(NamedTuple):
    """Predicted motion of B scenes.

    Attributes:
        states: [B, A, STEPS + 1, 4] x, y, yaw, speed.
        actions: [B, A, ACTIONS, 2] scaled; predicted: the same, as the network said.
        half: [B, A, 2] half lengths and widths.
        there, free: bool [B, A]: who exists, and who may be moved.
    """

    states: Tensor
    actions: Tensor
    predicted: Tensor
    half: Tensor
    there: Tensor
    free: Tensor


class Term(Protocol):
    """A cost of futures: [B], about 1 where it is worth mentioning."""

    def __call__(self, futures: Futures) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class CollisionCourse:
    """`agent` [B] is `offset` [B, 2] from the ego's centre (token 0) at step `at` [B]."""

    agent: Tensor
    at: Tensor
    offset: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        ego = _steps(futures.states[:, 0], self.at)[:, :2]
        other = _steps(_rows(futures.states, self.agent), self.at)[:, :2]
        return ((other - ego - self.offset).square().sum(-1) + 0.04).sqrt() / 2.0


@dataclass(frozen=True, eq=False)
class TimeToCollision:
    """From `lead` [B] steps before step `at` [B] on, going on at its velocity `agent` [B] would
    come within a metre of being `offset` [B, 2] from the ego's centre at `at`: a hazard that can
    be foreseen."""

    agent: Tensor
    at: Tensor
    lead: Tensor
    offset: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        meets = _steps(futures.states[:, 0], self.at)[:, :2] + self.offset
        other = _rows(futures.states, self.agent)
        steps = torch.arange(other.shape[1], device=other.device)
        left = (self.at[:, None] - steps) * DT
        x = other[..., 0] + left * other[..., 3] * other[..., 2].cos() - meets[:, 0, None]
        y = other[..., 1] + left * other[..., 3] * other[..., 2].sin() - meets[:, 1, None]
        use = (steps <= self.at[:, None]) & (steps >= (self.at - self.lead)[:, None])
        far = ((x.square() + y.square() + 1e-4).sqrt() - 1.0).clamp(min=0.0)
        return (far * use).sum(1) / use.sum(1).clamp(min=1) / 2.0


@dataclass(frozen=True, eq=False)
class NoOverlap:
    """Nobody comes within `margin` [m] of anybody but, of pairs with the ego, `agent` [B]; boxes
    are three circles each."""

    agent: Tensor
    margin: float = 0.4

    def __call__(self, futures: Futures) -> Tensor:
        free, there = futures.free.any(0), futures.there
        rows = torch.nonzero(free).flatten()
        if not len(rows):
            return futures.states.new_zeros(len(there))
        states = futures.states[:, :, 1::_STRIDE]
        heading = torch.stack([states[..., 2].cos(), states[..., 2].sin()], -1)
        reach = (futures.half[..., 0] - futures.half[..., 1]).clamp(min=0.0)
        shift = torch.tensor([-1.0, 0.0, 1.0], device=reach.device) * reach[..., None]
        disc = states[..., None, :2] + shift[:, :, None, :, None] * heading[..., None, :]
        radius = futures.half[..., 1] * 1.05
        mine, theirs = disc[:, rows], disc.detach()
        gap = mine[:, :, None, :, :, None] - theirs[:, None, :, :, None]
        far = (gap.square().sum(-1).flatten(-2).amin(-1) + 1e-6).sqrt()
        wanted = radius[:, rows, None] + radius[:, None] + self.margin
        inside = (wanted[..., None] - far).clamp(min=0.0)
        pair = there[:, rows, None] & there[:, None] & futures.free[:, rows, None]
        pair = pair & (rows[:, None] != torch.arange(there.shape[1], device=rows.device))
        aimed = rows[None] == self.agent[:, None]
        pair[:, :, 0] &= ~aimed
        return (inside.amax(-1) * pair).sum((1, 2))


@dataclass(frozen=True, eq=False)
class OnRoad:
    """Vehicles that may be moved stay on the road.

    Attributes:
        depth: [1, 1, H, W] how far inside the road the points of a grid are [m], negative outside.
        origin: x, y of its first point; cell: its spacing [m].
        vehicle: bool [B, A] who is asked to.
        margin: how far inside their centres are to be [m].
    """

    depth: Tensor
    origin: tuple[float, float]
    cell: float
    vehicle: Tensor
    margin: float = 0.9

    def __call__(self, futures: Futures) -> Tensor:
        states = futures.states[:, :, 1::_STRIDE, :2]
        size = torch.tensor(self.depth.shape[:1:-1], device=states.device) - 1
        at = (states - states.new_tensor(self.origin)) / self.cell / size * 2.0 - 1.0
        depth = functional.grid_sample(
            self.depth.expand(len(states), -1, -1, -1), at, padding_mode="border",
            align_corners=True,
        )[:, 0]  # fmt: skip
        off = (self.margin - depth).clamp(min=0.0).amax(-1)
        return (off * (self.vehicle & futures.free)).sum(1)


@dataclass(frozen=True, eq=False)
class SpeedLimit:
    """`agent` [B] keeps to `limit` [B] m/s."""

    agent: Tensor
    limit: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        speed = _rows(futures.states, self.agent)[..., 3]
        return (speed - self.limit[:, None]).clamp(min=0.0).mean(1)


@dataclass(frozen=True, eq=False)
class TargetSpeed:
    """`agent` [B] drives at `speed` [B] m/s."""

    agent: Tensor
    speed: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        speed = _rows(futures.states, self.agent)[..., 3]
        return (speed - self.speed[:, None]).abs().mean(1) / 3.0


@dataclass(frozen=True, eq=False)
class Goal:
    """`agent` [B] ends at `point` [B, 2]."""

    agent: Tensor
    point: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        end = _rows(futures.states, self.agent)[:, -1, :2]
        return ((end - self.point).square().sum(-1) + 0.25).sqrt() / 5.0


@dataclass(frozen=True, eq=False)
class Unlikely:
    """`agent` [B] does what the network says of it."""

    agent: Tensor

    def __call__(self, futures: Futures) -> Tensor:
        off = _rows(futures.actions - futures.predicted, self.agent)
        return off.square().mean((1, 2))


@dataclass(frozen=True, eq=False)
class Guidance:
    """Weighted terms, and how they are followed.

    Attributes:
        terms: (weight, term) pairs; none for unguided sampling.
        strength: the dial: 0 does not guide, 1 as usual.
        steps: gradient steps at each level.
        rate: how far a step goes at most, in scaled actions.
    """

    terms: Sequence[tuple[float, Term]] = ()
    strength: float = 1.0
    steps: int = 3
    rate: float = 0.15

    def cost(self, futures: Futures) -> Tensor:
        """[B]."""
        total = futures.states.new_zeros(len(futures.states))
        for weight, term in self.terms:
            total = total + weight * term(futures)
        return total

    def steered(self, predicted: Tensor, scenes: Scenes, half: Tensor, free: Tensor) -> Tensor:
        """Clean actions [B, A, ACTIONS, 2], those of the least cost on the way; only `free` agents'
        change. Where a step costs more than the best so far, the next is half as long."""
        if not self.terms or self.strength == 0.0:
            return predicted
        actions = best = predicted
        least = torch.full((len(predicted),), torch.inf, device=predicted.device)
        rate = torch.full_like(least, self.strength * self.rate)
        for left in range(self.steps, -1, -1):
            with torch.enable_grad():
                leaf = actions.detach().requires_grad_(left > 0)
                states = rollout(leaf * scenes.scales.unsqueeze(-2), *scenes[3:5], scenes.limits)
                cost = self.cost(Futures(states, leaf, predicted, half, scenes.there, free))
                total = cost.sum()
            better = cost.detach() < least
            best = torch.where(better[:, None, None, None], actions, best)
            rate = torch.where(better, rate, 0.5 * rate)
            least = torch.where(better, cost.detach(), least)
            if left:
                (slope,) = torch.autograd.grad(total, leaf)
                size = slope.square().mean((-1, -2), keepdim=True).sqrt()
                step = rate[:, None, None, None] * slope / size.clamp(min=0.02)
                actions = (actions - step * free[..., None, None]).detach()
        return best


def _rows(values: Tensor, agent: Tensor) -> Tensor:
    """values[b, agent[b]] for each b."""
    return values[torch.arange(len(values), device=values.device), agent]


def _steps(states: Tensor, step: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), step]
