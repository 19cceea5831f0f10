"""Imitation: do what the logged driver did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import nn

from . import objectives
from .base import OfflineTrainer
from .errors import TrainingError
from .fit import Batch, Loss, outputs
from .frames import Frames

__all__ = ["Imitation", "labels_of"]


@dataclass(frozen=True, kw_only=True)
class Imitation(OfflineTrainer):
    r"""Cross entropy with soft labels by the distance to what the expert drove.

    .. math::
        L = -\sum_k y_k \log \pi(k), \qquad y = \operatorname{softmax}(-d / \tau),

    with :math:`d_k` the mean squared distance of proposal k over eight half seconds. So proposals
    beside the nearest one are not taught to be wrong. Li et al., *Hydra-MDP*, 2024, arXiv
    2406.06978, section 3.2.

    Begun from nothing, it learns the vocabulary too; on hard logs, it is supervised fine-tuning.

    Attributes:
        temperature: tau [m2].
    """

    steps: int = 1500
    lr: float = 1.5e-3
    temperature: float = 0.1

    name: ClassVar[str] = "imitation"
    needs_scores: ClassVar[bool] = False
    needs_base: ClassVar[bool] = False

    def arrays(self, network: nn.Module, frames: Frames, rewards: Any, driven: Any) -> Any:
        """Inputs, labels, and which moments have an expert."""
        if not frames.expert.any():
            raise TrainingError(
                "these are all rollouts: nobody to imitate", hint="Give logs, or train by reward."
            )
        return {
            "inputs": frames.inputs,
            "labels": labels_of(frames, self.temperature),
            "keep": frames.expert,
        }

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """See the class."""

        def loss(network: nn.Module, batch: Batch) -> Any:
            logits = outputs(network, batch["inputs"]).logits
            loss = objectives.imitation(logits, batch["labels"], batch["keep"])
            best = batch["labels"].argmax(dim=-1)
            return loss, {"agreement": (logits.argmax(dim=-1) == best).float().mean()}

        return loss


def labels_of(frames: Frames, temperature: float) -> np.ndarray:
    """softmax(-distance / temperature): float32 [N, K]."""
    scaled = -frames.distance / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    y = np.exp(scaled)
    return np.asarray(y / y.sum(axis=1, keepdims=True), np.float32)
