"""Trainers whose planner sees the scenes through cameras: pictures are rendered for every moment.

Scenes are shown as the simulator `splat` shows them, each in one light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from roadworthy.observation import ObservationBatch
from roadworthy.rollout import Case
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed
from roadworthy_planners.anchor import Anchor
from roadworthy_planners.anchor.camera import AnchorCamera
from roadworthy_simulators.splat.simulator import Splat

from .dense_distillation import DenseDistillation
from .frames import Look
from .imitation import Imitation

__all__ = ["CameraDistillation", "CameraImitation"]


class _Cameras:
    """Adds pictures to observations, in a light of each scene's own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._simulator = Splat()

    def __call__(
        self, scenarios: Sequence[Scenario], observations: ObservationBatch
    ) -> ObservationBatch:
        self._simulator.keep(len(scenarios))
        shots = []
        for i, row in enumerate(observations.rows):
            scenario = scenarios[row]
            case = Case(scenario, 0, derive_seed(self._seed, "light", scenario.hash))
            shots.append(self._simulator.look(case, observations, i))
        images = {
            camera.name: np.stack([shot.images[camera.name] for shot in shots])
            for camera in self._simulator.rig.cameras
        }
        return replace(observations, images=images)


@dataclass(frozen=True, kw_only=True)
class CameraImitation(Imitation):
    """`imitation` of a planner with cameras; see there. A checkpoint may be one of `anchor`,
    too."""

    name: ClassVar[str] = "camera-imitation"
    kind: ClassVar[type[Anchor]] = AnchorCamera

    def look(self, seed: int) -> Look:
        """What shows the planner the scenes."""
        return _Cameras(seed)


@dataclass(frozen=True, kw_only=True)
class CameraDistillation(DenseDistillation):
    """`dense-distillation` of a planner with cameras; see there. A checkpoint may be one of
    `anchor`, too; without one it begins from nothing."""

    name: ClassVar[str] = "camera-distillation"
    needs_base: ClassVar[bool] = False
    kind: ClassVar[type[Anchor]] = AnchorCamera

    def look(self, seed: int) -> Look:
        """What shows the planner the scenes."""
        return _Cameras(seed)
