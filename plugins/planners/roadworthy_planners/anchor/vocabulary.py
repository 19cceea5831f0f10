r"""The vocabulary: speed profiles learned from logs, times lateral targets beside the route.

An anchor is a pair (profile, target). A profile says by how much the speed differs from the present
one after 0.5, 1, .. 4 s, so the same profile is "keep on" at a walk and on a main road. A target is
an offset from the route's centreline [m]. Placed in a scene, an anchor drives along the route,

.. math::
    v(t) = \max(0, v_0 + \Delta v(t)), \qquad s(t) = \int_0^t v,

while its offset goes from the present one to the target as a critically damped spring would have
it (`merging`), over a length at which the lateral acceleration stays near `COMFORTABLE` at most.
Speed profiles are bounded by what the bicycle can do, so a tracker can follow an anchor; that it
does is what the rewards go by: every anchor is simulated before it is scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import Scenario, content_hash
from roadworthy.vehicle import EgoIndex

__all__ = ["COMFORTABLE", "INTERVAL", "KNOTS", "TARGETS", "Vocabulary", "learn_vocabulary"]

KNOTS = 8
"""Speeds of a profile; the first one is `INTERVAL` ahead."""
INTERVAL = 0.5
"""Seconds between knots; a plan covers 4 s."""
TARGETS = (-3.0, -1.5, -0.6, 0.0, 0.6, 1.5, 3.0)
"""Offsets to the left of the route's centreline [m]."""
COMFORTABLE = 3.5
"""Lateral acceleration [m/s2] that sets how fast an anchor changes sides."""

_BRAKES = (2.5, 4.5, 7.0)
_BOUNDS = (-7.5, 3.0)  # [m/s2], of profiles learned from logs
_GRID = 0.5
_PER_STEP = 5


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """L speed profiles times M lateral targets; anchor l M + m is (profile l, target m).

    Attributes:
        profiles: float64 [L, 8], change of the speed at each knot [m/s].
        targets: float64 [M], offsets to the left of the route [m].
    """

    profiles: NDArray[np.float64]
    targets: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.profiles.ndim != 2 or self.profiles.shape[1] != KNOTS or not len(self.profiles):
            raise ValueError(f"profiles have shape {self.profiles.shape}, wanted [L, {KNOTS}]")
        if self.targets.ndim != 1 or not len(self.targets):
            raise ValueError(f"targets have shape {self.targets.shape}, wanted [M]")
        if not (np.isfinite(self.profiles).all() and np.isfinite(self.targets).all()):
            raise ValueError("profiles and targets must be finite")

    def __len__(self) -> int:
        return len(self.profiles) * len(self.targets)

    @cached_property
    def hash(self) -> str:
        """Content hash; rewards and checkpoints are of one vocabulary."""
        return content_hash(self)


def learn_vocabulary(
    scenarios: Iterable[Scenario],
    seed: int,
    profiles: int = 18,
    targets: tuple[float, ...] = TARGETS,
) -> Vocabulary:
    """Cluster what logged drivers did (k-means), and add hard braking, which logs hardly hold.

    Profiles that are alike within 0.5 m/s count once, however often they occur: otherwise nearly
    all clusters would be ways of going on as before.

    Args:
        scenarios: logs; moments with 4 s after them are used, two a second.
        seed: of the clusters' first centres.
        profiles: how many profiles, three of which brake at 2.5, 4.5 and 7 m/s2.
        targets: lateral targets [m].

    Raises:
        ValueError: no log is long enough, or they hold fewer different profiles than wanted.
    """
    found = [_profiles(scenario.ego[:, EgoIndex.VX]) for scenario in scenarios]
    seen = np.concatenate([np.zeros((0, KNOTS)), *found])
    wanted = profiles - len(_BRAKES)
    _, first = np.unique(np.round(seen / _GRID), axis=0, return_index=True)
    if wanted < 1 or len(first) < wanted:
        raise ValueError(f"{len(first)} different speed profiles in these logs, wanted {wanted}")
    centres = _k_means(seen[np.sort(first)], wanted, np.random.Generator(np.random.Philox(seed)))
    times = INTERVAL * np.arange(1, KNOTS + 1)
    centres = np.clip(centres, _BOUNDS[0] * times, _BOUNDS[1] * times)
    step = np.clip(np.diff(centres, axis=1, prepend=0.0) / INTERVAL, *_BOUNDS) * INTERVAL
    brakes = -np.array(_BRAKES)[:, None] * times
    learned = np.concatenate([np.cumsum(step, axis=1), brakes])
    order = np.argsort(learned.mean(axis=1), kind="stable")
    return Vocabulary(learned[order], np.array(targets, np.float64))


def _profiles(speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Speed changes [N, 8] after each moment (two a second) that has 4 s after it."""
    begin = np.arange(0, len(speed) - KNOTS * _PER_STEP, _PER_STEP)
    ahead = _PER_STEP * np.arange(1, KNOTS + 1)
    return np.asarray(speed[begin[:, None] + ahead] - speed[begin, None])


def _k_means(
    points: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Lloyd's algorithm from k-means++ centres (Arthur and Vassilvitskii, SODA 2007)."""
    centres = points[[rng.integers(len(points))]]
    for _ in range(count - 1):
        far = ((points[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        centres = np.concatenate([centres, points[[rng.choice(len(points), p=far / far.sum())]]])
    for _ in range(50):
        owner = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        new = np.stack(
            [points[owner == k].mean(axis=0) if (owner == k).any() else centres[k]
             for k in range(count)]
        )  # fmt: skip
        if np.allclose(new, centres):
            break
        centres = new
    return centres
