r"""The planner `anchor`: a network scores every anchor of a vocabulary, and the best is driven.

Scores are combined as Hydra-MDP combines its heads (Li et al., *Hydra-MDP: End-to-end Multimodal
Planning with Multi-target Hydra-Distillation*, 2024, arXiv 2406.06978):

.. math::
    \operatorname{score}(k) = w_\pi \log \pi(k) + \sum_{m} w_m \log p_m(k)
        + w_\Sigma \log \frac{5 p_{TTC} + 5 p_{EP} + 2 p_{LK} + 2 p_{C}}{14},

with a policy :math:`\pi` over anchors, and the multipliers :math:`m` NC, DAC, DDC, TLC (and any
other sub-score that the mix names). A checkpoint says by its `mix` how much each counts; imitation
alone has only :math:`w_\pi`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy import Brief, ObservationBatch, TrajectoryBatch
from roadworthy.errors import DataError
from roadworthy.scenario import DT

from .checkpoint import load_checkpoint, save_checkpoint
from .features import encode
from .network import TERMS, AnchorNetwork, NetworkConfig, Scored, one_thread
from .route_table import RouteTable, pack_route
from .vocabulary import Vocabulary

__all__ = ["GUIDED", "HYDRA", "IMITATION", "Anchor", "Proposals", "combine"]

IMITATION = {"policy": 1.0}
"""The `mix` of a planner that knows no more than what drivers do."""

HYDRA = {"policy": 0.05, "nc": 2.0, "dac": 2.0, "ddc": 0.5, "tlc": 0.5, "weighted": 2.0}
"""The `mix` of a planner whose heads were taught what every anchor leads to."""

GUIDED = {**HYDRA, "policy": 0.2, "ep": 0.5}
"""The `mix` of a policy that was taught by rewards, with the heads as its second opinion. Heads
that were taught briefly are unsure, and a product of unsure heads is timid: `HYDRA` lost progress
where this does not (`docs/post-training.md`)."""

_WEIGHTED = {"ttc": 5.0, "ep": 5.0, "lk": 2.0, "comfort": 2.0}
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Proposals:
    """What a planner can choose from at N moments.

    Attributes:
        inputs: arrays [N, ...], what its network reads.
        plans: float64 [N, K, P, 3], poses in the ego frame at `dt, 2 dt, ..`.
        dt: seconds between poses.
    """

    inputs: Mapping[str, NDArray[np.float32]]
    plans: NDArray[np.float64]
    dt: float = DT


def combine(scored: Scored, mix: Mapping[str, float]) -> torch.Tensor:
    """One score per anchor [N, K]; see the module's docstring.

    Args:
        scored: by the network.
        mix: weights of `policy`, of any sub-score's head (`TERMS`), and of `weighted`.
    """
    total = mix.get("policy", 0.0) * scored.logits.log_softmax(dim=-1)
    if scored.terms is None:
        return total
    log_p = torch.nn.functional.logsigmoid(scored.terms)
    for k, name in enumerate(TERMS):
        if mix.get(name):
            total = total + mix[name] * log_p[..., k]
    if mix.get("weighted"):
        p = scored.terms.sigmoid()
        mean = sum(w * p[..., TERMS.index(name)] for name, w in _WEIGHTED.items()) / 14.0
        total = total + mix["weighted"] * torch.log(mean + 1e-6)
    return total


class Anchor:
    """Drives the anchor that its network likes best.

    Args:
        checkpoint: folder that a trainer wrote.

    Raises:
        DataError: the checkpoint is damaged, or of another version or vocabulary.
    """

    def __init__(self, checkpoint: Path) -> None:
        manifest, network = load_checkpoint(Path(checkpoint))
        if not isinstance(network, AnchorNetwork):
            raise DataError(
                f"{checkpoint}: is of a planner with cameras", hint='Use "anchor-camera".'
            )
        self.network = network
        self.checkpoint: Path | None = Path(checkpoint)
        self.vocabulary = manifest.vocabulary
        self.mix: Mapping[str, float] = dict(manifest.mix)
        self.provenance: Mapping[str, Any] = manifest.provenance
        self._routes: list[RouteTable] = []

    @classmethod
    def untrained(
        cls, vocabulary: Vocabulary, seed: int, config: NetworkConfig | None = None
    ) -> Anchor:
        """A planner with random weights, to be trained."""
        planner = cls.__new__(cls)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            planner.network = AnchorNetwork(config or NetworkConfig()).eval()
        planner.vocabulary, planner.mix, planner.provenance = vocabulary, dict(IMITATION), {}
        planner.checkpoint, planner._routes = None, []
        return planner

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        """Packs every route."""
        self._routes = [pack_route(brief) for brief in briefs]

    def propose(self, observations: ObservationBatch) -> Proposals:
        """What the network reads, and every anchor as a plan."""
        routes = [self._routes[row] for row in observations.rows]
        inputs, plans = encode(self.vocabulary, routes, observations)
        return Proposals(inputs, plans)

    @one_thread()
    @torch.inference_mode()
    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        """Poses [S, 40, 3] at 0.1 s."""
        proposals = self.propose(observations)
        chosen = np.empty(len(observations), np.int64)
        for begin in range(0, len(chosen), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            inputs = {name: torch.from_numpy(v[part]) for name, v in proposals.inputs.items()}
            chosen[part] = combine(self.network(inputs), self.mix).argmax(dim=-1).numpy()
        return TrajectoryBatch(proposals.plans[np.arange(len(chosen)), chosen], DT)

    def save(self, folder: Path, provenance: Mapping[str, Any]) -> Path:
        """Write a checkpoint.

        Raises:
            RunError: it cannot be written.
        """
        return save_checkpoint(folder, self.network, self.vocabulary, self.mix, provenance)
