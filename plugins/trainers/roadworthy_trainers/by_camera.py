"""Trainers whose planner sees the scenes through cameras: pictures are rendered for every moment.

Scenes are shown as the simulator `splat` shows them, each in one light.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.rollout import Case
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed
from roadworthy_planners.anchor import learn_vocabulary
from roadworthy_planners.anchor.camera import AnchorCamera
from roadworthy_simulators.splat.simulator import Splat

from .base import Cases
from .dense_distillation import DenseDistillation
from .errors import TrainingError
from .frames import Proposed, grouped
from .imitation import Imitation

__all__ = ["CameraDistillation", "CameraImitation"]


class _Shown:
    """A planner to train, whose observations get pictures before it sees them."""

    def __init__(self, planner: AnchorCamera, scenarios: Sequence[Scenario], seed: int) -> None:
        self._planner = planner
        self._of = {id(s.route): s for s in scenarios}
        self._seed = seed
        self._simulator = Splat()
        self._cases: list[Case] = []

    def __deepcopy__(self, memo: Any) -> _Shown:
        return self  # the planner is this trainer's own already

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    @property
    def mix(self) -> Mapping[str, float]:
        return self._planner.mix

    @mix.setter
    def mix(self, value: Mapping[str, float]) -> None:
        self._planner.mix = value

    def reset_batch(self, briefs: Sequence[Brief]) -> None:
        self._cases = []
        for brief in briefs:
            scenario = self._of[id(brief.route)]
            seed = derive_seed(self._seed, "light", scenario.hash)
            self._cases.append(Case(scenario, 0, seed))
        self._simulator.keep(len(briefs))
        self._planner.reset_batch(briefs)

    def propose(self, observations: ObservationBatch) -> Proposed:
        shots = [
            self._simulator.look(self._cases[row], observations, i)
            for i, row in enumerate(observations.rows)
        ]
        images = {
            camera.name: np.stack([shot.images[camera.name] for shot in shots])
            for camera in self._simulator.rig.cameras
        }
        return self._planner.propose(replace(observations, images=images))


def _shown(planner: Any, cases: Cases, seed: int) -> tuple[_Shown, dict[str, list[Scenario]]]:
    sets = grouped(cases)
    scenarios = [s for members in sets.values() for s in members]
    if planner is None:
        try:
            vocabulary = learn_vocabulary(scenarios, derive_seed(0, "vocabulary"))
        except ValueError as error:
            raise TrainingError(str(error), hint="Give more, or longer, scenarios.") from error
        own = AnchorCamera.untrained(vocabulary, derive_seed(seed, "weights"))
    elif isinstance(planner, (str, Path)):
        own = AnchorCamera(Path(planner))
    else:
        own = copy.deepcopy(planner)
    return _Shown(own, scenarios, seed), sets


@dataclass(frozen=True, kw_only=True)
class CameraImitation(Imitation):
    """`imitation` of a planner with cameras; see there."""

    name: ClassVar[str] = "camera-imitation"

    def train(self, planner: Any, cases: Cases, out: Path, seed: int) -> Path:
        """As `OfflineTrainer.train`; a checkpoint may be one of `anchor`, too."""
        shown, sets = _shown(planner, cases, seed)
        return super().train(shown, sets, out, seed)


@dataclass(frozen=True, kw_only=True)
class CameraDistillation(DenseDistillation):
    """`dense-distillation` of a planner with cameras; see there."""

    name: ClassVar[str] = "camera-distillation"

    def train(self, planner: Any, cases: Cases, out: Path, seed: int) -> Path:
        """As `OfflineTrainer.train`; a checkpoint may be one of `anchor`, too."""
        shown, sets = _shown(planner, cases, seed)
        return super().train(shown, sets, out, seed)
