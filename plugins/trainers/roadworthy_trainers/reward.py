r"""One number per proposal, mixed from the sub-scores.

.. math::
    r = (1 - w_s h) \bigl(1 - w_c (1 - DAC \cdot DDC \cdot TLC)\bigr)
        \frac{w_p EP + w_t TTC + w_l LK + w_h HC}{w_p + w_t + w_l + w_h}
        \; \bigl(1 - w_q [\text{stall}]\bigr) + w_d h \frac{t_{NC}}{4\,\mathrm{s}},

with the harm h: 0 without a collision at fault, 1 with a road user hit, :math:`w_o` with an object
hit (where NC is one half). With all of :math:`w_s, w_c = 1` and :math:`w_o = 1/2` this is EPDMS
(specification, section 6) but for the last two factors. A stall is progress below a fifth of what
the best harmless proposal of the same moment makes: standing still where one could drive is not a
safe drive. The last summand makes a later collision the lesser evil where all proposals end in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .errors import TrainingError
from .scores import COLLISION_STEP, SCORES

__all__ = ["Reward", "reward_of", "taught"]

_STALL = 0.2
_HORIZON = 40.0
NC, DAC, DDC, TLC, TTC, LK, HC, EP = range(len(SCORES))


@dataclass(frozen=True, slots=True)
class Reward:
    """Weights of the reward; see the module's docstring.

    Attributes:
        safety: w_s, of collisions.
        objects: w_o, of a collision with an object.
        compliance: w_c, of drivable area, driving direction and lights.
        progress: w_p.
        ttc: w_t.
        lane: w_l.
        comfort: w_h.
        stall: w_q.
        delay: w_d.
    """

    safety: float = 1.0
    objects: float = 0.5
    compliance: float = 1.0
    progress: float = 5.0
    ttc: float = 5.0
    lane: float = 2.0
    comfort: float = 2.0
    stall: float = 0.5
    delay: float = 0.1

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not (np.isfinite(value) and value >= 0.0):
                raise TrainingError(f"reward.{f.name} = {value!r}", hint="Weights are 0 or more.")
        for name in ("safety", "objects", "compliance", "stall"):
            if getattr(self, name) > 1.0:
                raise TrainingError(f"reward.{name} is above 1", hint="Give 0 to 1.")
        if self.progress + self.ttc + self.lane + self.comfort <= 0.0:
            raise TrainingError("reward: progress, ttc, lane and comfort are all 0")

    @classmethod
    def of(cls, weights: Mapping[str, float]) -> Reward:
        """With some weights given by name.

        Raises:
            TrainingError: an unknown name, or a weight out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in weights:
            if name not in known:
                raise TrainingError(
                    f"reward.{name}: there is no such weight", hint=f"Known: {', '.join(known)}."
                )
        return cls(**weights)


def reward_of(scores: NDArray[np.uint8], reward: Reward) -> NDArray[np.float32]:
    """Rewards of proposals.

    Args:
        scores: uint8 [..., K, 9], see `scores`.
        reward: weights.

    Returns:
        float32 [..., K].
    """
    value = scores[..., :COLLISION_STEP].astype(np.float32) / 255.0
    nc, ep = value[..., NC], value[..., EP]
    harm = _harm(nc, reward)
    lawful = value[..., DAC] * value[..., DDC] * value[..., TLC]
    weights = reward.progress + reward.ttc + reward.lane + reward.comfort
    mean = (
        reward.progress * ep
        + reward.ttc * value[..., TTC]
        + reward.lane * value[..., LK]
        + reward.comfort * value[..., HC]
    ) / weights
    best = (ep * (nc * lawful > 0.99)).max(axis=-1, keepdims=True)
    stalls = ep < _STALL * best
    total = (1.0 - reward.safety * harm) * (1.0 - reward.compliance * (1.0 - lawful)) * mean
    total *= 1.0 - reward.stall * stalls
    step = np.minimum(scores[..., COLLISION_STEP], _HORIZON)
    total += reward.delay * harm * step / _HORIZON
    return np.asarray(total, np.float32)


def taught(scores: NDArray[np.uint8], reward: Reward) -> NDArray[np.uint8]:
    """What sub-score heads are taught: the scores [..., 9] with 1 - h in the place of NC."""
    found = scores.copy()
    nc = scores[..., NC].astype(np.float32) / 255.0
    found[..., NC] = np.rint(255.0 * (1.0 - _harm(nc, reward)))
    return found


def _harm(nc: NDArray[np.float32], reward: Reward) -> NDArray[np.float32]:
    """h of the module's docstring."""
    return np.where((nc > 0.0) & (nc < 1.0), np.float32(reward.objects), 1.0 - nc)
