"""The planner `anchor-camera`: `anchor` that sees others through cameras alone.

It knows the ego's motion, the route and the map; other road users and traffic lights reach it only
as pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from roadworthy import ObservationBatch
from roadworthy.scenario import SignalState

from .checkpoint import load_checkpoint
from .eyes import CameraNetwork, EyesConfig, shrunk
from .features import encode
from .network import AnchorNetwork, NetworkConfig
from .planner import IMITATION, Anchor, Proposals
from .vocabulary import Vocabulary

__all__ = ["AnchorCamera"]


class AnchorCamera(Anchor):
    """Drives the anchor that its network likes best, by what the cameras show.

    Args:
        checkpoint: folder that a trainer wrote, of this planner or of `anchor`, whose network then
            gets eyes that have learned nothing yet; by default the one that comes with this
            package, for three cameras called left, front and right as in `suites/cameras.toml`.

    Raises:
        DataError: the checkpoint is damaged, or of another version or vocabulary.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        folder = Path(str(resources.files(__package__) / "town")) if checkpoint is None else None
        manifest, network = load_checkpoint(folder or Path(str(checkpoint)))
        if isinstance(network, AnchorNetwork):
            fresh = _fresh(network.config, EyesConfig(), seed=0)
            fresh.anchor.load_state_dict(network.state_dict())
            network = fresh.eval()
        self.network = network  # type: ignore[assignment]
        self.checkpoint = folder or Path(str(checkpoint))
        self.vocabulary = manifest.vocabulary
        self.mix: Mapping[str, float] = dict(manifest.mix)
        self.provenance: Mapping[str, Any] = manifest.provenance
        self._routes = []

    @classmethod
    def untrained(
        cls,
        vocabulary: Vocabulary,
        seed: int,
        config: NetworkConfig | None = None,
        eyes: EyesConfig | None = None,
    ) -> AnchorCamera:
        """A planner with random weights, to be trained."""
        planner = cls.__new__(cls)
        network = _fresh(config or NetworkConfig(), eyes or EyesConfig(), seed)
        planner.network = network.eval()  # type: ignore[assignment]
        planner.vocabulary, planner.mix, planner.provenance = vocabulary, dict(IMITATION), {}
        planner.checkpoint, planner._routes = None, []
        return planner

    @property
    def eyes(self) -> EyesConfig:
        """What it looks at."""
        network: Any = self.network
        found: EyesConfig = network.eyes.config
        return found

    def propose(self, observations: ObservationBatch) -> Proposals:
        """What the network reads, and every anchor as a plan.

        Raises:
            DataError: a camera is missing.
        """
        pictures = shrunk(observations.images, self.eyes)
        alone = replace(
            observations,
            agents_valid=np.zeros_like(observations.agents_valid),
            signal_state=np.full_like(observations.signal_state, SignalState.UNKNOWN),
        )
        routes = [self._routes[row] for row in observations.rows]
        inputs, plans = encode(self.vocabulary, routes, alone)
        return Proposals({**inputs, "pictures": pictures}, plans)  # type: ignore[dict-item]


def _fresh(config: NetworkConfig, eyes: EyesConfig, seed: int) -> CameraNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CameraNetwork(config, eyes)
