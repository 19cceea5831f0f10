"""The `splat` simulator: the closed loop, and pictures in every observation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import SimulatorError, did_you_mean
from roadworthy.host import Answer, PlannerHost
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.rig import THREE_CAMERAS, Rig, parse_rig, read_rig
from roadworthy.rollout import Case, CaseError, Frames, RolloutBatch
from roadworthy.scenario import DT, Scenario
from roadworthy.vehicle import EgoIndex

from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_simulators.splat.actors import Agents, Heads
from roadworthy_simulators.splat.camera_view import Shot, Stage
from roadworthy_simulators.splat.procedural.street import LIGHTS, make_street
from roadworthy_simulators.splat.render import Backend
from roadworthy_simulators.splat.scenes.folder import read_scene
from roadworthy_simulators.splat.scenes.scene import SplatScene
from roadworthy_simulators.world import Traffic

__all__ = ["Splat"]

_STAGES_KEPT = 4


class Splat:
    """The closed loop with cameras: pictures are rendered where the planner is asked for a plan.

    A scenario is seen in the scene of `scenes` that is aligned to its map, or, where no scenes are
    given, in a procedural street. The traversal, and with it the light, is drawn from the case's
    seed.

    Args:
        rig: a rig file (TOML), or camera tables as in one; three cameras of 480x270 if not given.
        scenes: scene folders.
        traversal: which one; drawn if empty.
        street_seed: of procedural streets and looks.
        replan_hz, traffic, duration_s: see `closed_loop.ClosedLoop`.
        start_lateral_m, start_yaw_rad, start_speed_mps: see there.
        threads: number of threads; results do not depend on it.
        backend: of the renderer, see `splat.render`. `cpu` gives equal bytes on every run.

    Raises:
        DataError: a rig or scene that cannot be read.
        SimulatorError: an option out of range.
    """

    def __init__(
        self,
        *,
        rig: str | Sequence[Mapping[str, Any]] | None = None,
        scenes: Sequence[str] = (),
        traversal: str = "",
        street_seed: int = 0,
        replan_hz: float = 2.0,
        traffic: Traffic = "idm",
        duration_s: float | None = None,
        start_lateral_m: float = 0.0,
        start_yaw_rad: float = 0.0,
        start_speed_mps: float = 0.0,
        threads: int = 1,
        backend: Backend = "cpu",
    ) -> None:
        if rig is None:
            self._rig: Rig = THREE_CAMERAS
        else:
            self._rig = read_rig(Path(rig)) if isinstance(rig, str) else parse_rig(rig, "rig")
        self._loop = ClosedLoop(
            replan_hz=replan_hz,
            traffic=traffic,
            duration_s=duration_s,
            start_lateral_m=start_lateral_m,
            start_yaw_rad=start_yaw_rad,
            start_speed_mps=start_speed_mps,
            threads=threads,
        )
        self._scenes = {
            scene.alignment.map_hash: scene for scene in (read_scene(Path(s)) for s in scenes)
        }
        if "" in self._scenes:
            raise SimulatorError(
                f"scenes: {self._scenes[''].name!r} is aligned to no map",
                hint="Set alignment.map_hash in its scene.json.",
            )
        for scene in self._scenes.values():
            if traversal:
                scene.traversal(traversal)
        if traversal and not self._scenes and traversal not in LIGHTS:
            raise SimulatorError(f"traversal = {traversal!r}", hint=did_you_mean(traversal, LIGHTS))
        self._traversal = traversal
        self._seed = street_seed
        self._threads = threads
        self._backend: Backend = backend
        self._stages: OrderedDict[tuple[str, str], Stage] = OrderedDict()
        self._kept = _STAGES_KEPT

    @property
    def rig(self) -> Rig:
        """The cameras."""
        return self._rig

    def run(self, cases: Sequence[Case], host: PlannerHost) -> RolloutBatch:
        """Drive all cases; see `ClosedLoop.run`."""
        self.keep(len(cases))
        cameras = _CameraHost(host, self)
        rollouts = self._loop.run(cases, cameras)  # type: ignore[arg-type]
        return replace(rollouts, frames=cameras.frames())

    def stage(self, case: Case) -> Stage:
        """Where a case is seen; those of a batch are kept.

        Raises:
            SimulatorError: scenes were given, and none is aligned to the case's map.
        """
        scenario = case.scenario
        known = self._scenes.get(scenario.map.hash)
        names = list(LIGHTS) if known is None else [t.name for t in known.traversals]
        chosen = self._traversal or names[case.seed % len(names)]
        key = (scenario.hash if known is None else scenario.map.hash, chosen)
        if key not in self._stages:
            self._stages[key] = Stage(
                self._scene(scenario), chosen, self._rig, seed=self._seed, threads=self._threads,
                backend=self._backend,
            )  # fmt: skip
        self._stages.move_to_end(key)
        while len(self._stages) > self._kept:
            self._stages.popitem(last=False)
        return self._stages[key]

    def keep(self, count: int) -> None:
        """Keeps as many places in memory from now on: those of a batch are seen in turns."""
        self._kept = max(_STAGES_KEPT, count)

    def look(self, case: Case, observations: ObservationBatch, i: int) -> Shot:
        """What the cameras show at row `i` of a batch of observations, which is of `case`."""
        scenario = case.scenario
        ego = observations.ego_state[i, -1, : EgoIndex.YAW + 1]
        lanes = scenario.signals.lane
        heads = Heads.over(scenario.map, lanes, observations.signal_state[i, : len(lanes)])
        return self.stage(case).take(ego, _agents(observations, i, scenario), heads)

    def _scene(self, scenario: Scenario) -> SplatScene:
        if not self._scenes:
            return make_street(scenario, self._seed)
        if scenario.map.hash not in self._scenes:
            raise SimulatorError(
                f"scenario {scenario.id!r}: no scene is aligned to its map {scenario.map.hash}",
                hint="Give a scene of that map, or no scenes for procedural streets.",
            )
        return self._scenes[scenario.map.hash]


class _CameraHost:
    """Stands between the closed loop and the planner's host, and adds the pictures."""

    def __init__(self, host: PlannerHost, simulator: Splat) -> None:
        self._host = host
        self._simulator = simulator
        self._cases: tuple[Case, ...] = ()
        self._seen: list[list[tuple[int, NDArray[np.float64], NDArray[np.float64], float, bool]]]
        self._seen = []

    @property
    def briefs(self) -> tuple[Brief, ...]:
        return self._host.briefs

    @property
    def errors(self) -> list[CaseError | None]:
        return self._host.errors

    def reset(self, cases: Sequence[Case]) -> None:
        self._cases = tuple(cases)
        self._seen = [[] for _ in cases]
        self._host.reset(cases)

    def plan(self, observations: ObservationBatch) -> Answer:
        rig = self._simulator.rig
        images = {
            c.name: np.zeros((len(observations), c.height, c.width, 3), np.uint8)
            for c in rig.cameras
        }
        for i, row in enumerate(observations.rows):
            shot = self._simulator.look(self._cases[row], observations, i)
            for name, picture in shot.images.items():
                images[name][i] = picture
            self._seen[row].append(
                (observations.step, shot.hollow, shot.unseen, shot.off_path, shot.valid)
            )
        return self._host.plan(replace(observations, images=images))

    def frames(self) -> tuple[Frames, ...]:
        """Per case the figures of its pictures."""
        names = tuple(c.name for c in self._simulator.rig.cameras)
        out = []
        for seen in self._seen:
            columns = list(zip(*seen, strict=True)) or [[], [], [], [], []]
            shape = (len(seen), len(names))
            out.append(
                Frames(
                    names,
                    np.array(columns[0], np.int64),
                    np.array(columns[1], np.float64).reshape(shape),
                    np.array(columns[2], np.float64).reshape(shape),
                    np.array(columns[3], np.float64),
                    np.array(columns[4], np.bool_),
                )
            )
        return tuple(out)


def _agents(observations: ObservationBatch, i: int, scenario: Scenario) -> Agents:
    count = int(observations.agents_count[i])
    there = np.flatnonzero(observations.agents_valid[i, :count, -1])
    return Agents(
        [scenario.agents.id[int(a)] for a in there],
        observations.agents_kind[i, there],
        observations.agents_size[i, there],
        observations.agents_state[i, there, -1],
        observations.step * DT,
    )
