"""Distillation of every proposal's sub-scores into heads of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from roadworthy_planners.anchor.planner import HYDRA
from torch import nn

from . import objectives
from .base import OfflineTrainer
from .errors import TrainingError
from .fit import Batch, Loss, outputs
from .frames import Frames
from .imitation import labels_of
from .policy_gradient import sub_scores, worth_following
from .reward import Reward, taught

__all__ = ["DenseDistillation"]


@dataclass(frozen=True, kw_only=True)
class DenseDistillation(OfflineTrainer):
    r"""A head per sub-score learns what the simulator says of every proposal.

    .. math::
        L = \sum_m BCE(p_m(k), m_k) + \lambda [r_e \ge \rho \max_k r_k]
            \left(-\sum_k y_k \log \pi(k)\right)

    and the planner drives the proposal with the best combination of heads (`mix`; see
    `roadworthy_planners.anchor.planner`). Li et al., *Hydra-MDP*, 2024, arXiv 2406.06978.

    Attributes:
        imitation: lambda.
        temperature: tau of the labels y [m2].
        follow: rho.
    """

    lr: float = 1.5e-3
    imitation: float = 0.2
    temperature: float = 0.3
    follow: float = 0.9

    name: ClassVar[str] = "dense-distillation"

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Inputs, sub-scores, labels, and where the expert is followed."""
        assert frames.scores is not None
        return {
            "inputs": frames.inputs,
            "scores": taught(frames.scores, Reward.of(self.reward)),
            "labels": labels_of(frames, self.temperature),
            "keep": worth_following(frames, rewards, driven, self.follow),
        }

    def mix(self) -> Mapping[str, float]:
        """The heads decide."""
        return HYDRA

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""

        def loss(network: nn.Module, batch: Batch) -> Any:
            found = outputs(network, batch["inputs"])
            if found.terms is None:
                raise TrainingError(
                    "this network has no heads for sub-scores",
                    hint="Return (logits, sub-score logits [N, K, 8]), or use policy-gradient.",
                )
            heads = sub_scores(found.terms, batch["scores"])
            follow = objectives.imitation(found.logits, batch["labels"], batch["keep"])
            return heads + self.imitation * follow, {"heads": heads, "imitation": follow}

        return loss
