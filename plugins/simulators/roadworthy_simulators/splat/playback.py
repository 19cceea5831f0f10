"""A recorded drive, seen again through the cameras that its planner saw it through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from roadworthy.errors import RunError
from roadworthy.recorded import data_of, scenes_of_run, suite_of
from roadworthy.replay import Replay, load_replay
from roadworthy.resolved import spec_of
from roadworthy.rollout import Case
from roadworthy.scenario import DT, Scenario
from roadworthy.store import CaseRecord, Run
from roadworthy.suite import Suite
from roadworthy.vehicle import EgoIndex

from roadworthy_simulators.splat.actors import Agents, Heads
from roadworthy_simulators.splat.camera_view import Shot, Stage
from roadworthy_simulators.splat.simulator import Splat

__all__ = ["Playback", "had_cameras", "playbacks"]


class Playback:
    """One drive, and the place where it was.

    Attributes:
        record: of the case.
        case: scenario and seed.
        replay: what happened, step by step.
        stage: the place, in the light of the drive, and the rig.
    """

    def __init__(self, record: CaseRecord, case: Case, replay: Replay, stage: Stage) -> None:
        self.record = record
        self.case = case
        self.replay = replay
        self.stage = stage

    @property
    def steps(self) -> int:
        """The last step."""
        return len(self.replay.ego) - 1

    def agents(self, step: int) -> Agents:
        """Who was there at a step."""
        replay = self.replay
        there = np.flatnonzero(replay.agents_valid[:, step])
        return Agents(
            [self.case.scenario.agents.id[int(a)] for a in there],
            replay.agents_kind[there],
            replay.agents_size[there],
            replay.agents[there, step].astype(np.float64),
            step * DT,
        )

    def heads(self, step: int) -> Heads:
        """The traffic lights at a step."""
        replay = self.replay
        return Heads.over(self.case.scenario.map, replay.signal_lane, replay.signals[:, step])

    def shot(self, step: int) -> Shot:
        """What the cameras showed at a step."""
        ego = self.replay.ego[step, : EgoIndex.YAW + 1]
        return self.stage.take(ego, self.agents(step), self.heads(step))


def had_cameras(run: Run) -> bool:
    """Whether a run's planners saw pictures of this simulator."""
    try:
        suite = suite_of(run)
        return spec_of("simulators", suite.simulator, Path(suite.path).parent).entry.load() is Splat
    except Exception:  # of a plugin that is no longer there, or broken
        return False


def playbacks(
    run: Run, wanted: Iterable[CaseRecord], *, backend: str = "", threads: int = 1
) -> Iterator[Playback]:
    """Drives of a run, in the order asked for.

    Scenes are read again from the sources of the run's suite, and recognised by their hash.

    Args:
        run: with cameras; see `had_cameras`.
        wanted: records whose rollout was kept.
        backend: of the renderer; that of the run unless given.
        threads: of the renderer.

    Raises:
        RunError: a rollout is absent, or a scene that the sources no longer give.
    """
    wanted = list(wanted)
    suite = suite_of(run)
    home = Path(suite.path).parent
    options = suite.simulator.options | {"threads": threads}
    if backend:
        options["backend"] = backend
    config = msgspec.structs.replace(suite.simulator, options=options)
    simulator = spec_of("simulators", config, home).build()
    scenes = _scenes(run, suite, {r.scenario_hash for r in wanted})
    for record in wanted:
        scenario = scenes.get(record.scenario_hash)
        if scenario is None:
            raise RunError(
                f"{run.path}: the sources no longer give {record.source}/{record.scenario}",
                hint="Use the data and the version of the run, or run the suite again.",
            )
        replay = load_replay(run.path, record.planner, record.key)
        case = Case(scenario, record.repetition, record.seed)
        yield Playback(record, case, replay, simulator.stage(case))


def _scenes(run: Run, suite: Suite, hashes: set[str]) -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    for scene in scenes_of_run(suite, data_of(run)):
        if isinstance(scene, Scenario) and scene.hash in hashes:
            found.setdefault(scene.hash, scene)
            if len(found) == len(hashes):
                break
    return found
