"""Runs of a trained planner on a set of scenes, as stages."""

from __future__ import annotations

from pathlib import Path

import msgspec

from roadworthy.flywheel.named import CHECKPOINT, Named
from roadworthy.flywheel.scenes import SCENES
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.flywheel.training import Trained
from roadworthy.runner import run_suite
from roadworthy.suite import PluginConfig, Suite

__all__ = ["RUN", "Evaluation", "drive"]

RUN = "run"
"""Folder of a stage in which its run directory lies."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One run on a set that is evaluated on.

    Attributes:
        arm: label of the planner; `base` before post-training, `base-4x` on four times the data.
        seed: of its training.
        set: name of the set.
        open_loop: whether by the second simulator.
        stage: folder of the stage.
    """

    arm: str
    seed: int
    set: str
    open_loop: bool = False
    stage: str


def drive(
    planner: Trained,
    scenes: Stage,
    named: Named,
    stages: Stages,
    *,
    called: str,
    label: str,
    repetitions: int = 1,
    save: bool = False,
    open_loop: bool = False,
) -> Stage:
    """Run a planner on the scenes of a stage; the stage holds a run directory.

    Args:
        planner: what drives.
        scenes: what is driven.
        named: simulators and metrics.
        stages: where.
        called: label of the planner in the run.
        label: for progress.
        repetitions: how often each scene is driven.
        save: whether rollouts are kept, for replays.
        open_loop: whether by the second simulator.
    """
    wheel = named.flywheel
    simulator = wheel.open_loop if open_loop and wheel.open_loop else wheel.simulator
    metrics = (open_loop and wheel.open_loop_metrics) or wheel.metrics
    options = {**wheel.planner.options, CHECKPOINT: str(planner.path)}
    suite = Suite(
        name=f"{wheel.name}-{called}",
        seed=0,
        repetitions=repetitions,
        sources=(
            PluginConfig(
                name="store",
                label="store",
                options={"path": str((scenes.path / SCENES).resolve())},
                where=f"{wheel.path}: stage {scenes.path.name}",
            ),
        ),
        simulator=simulator,
        planners=(msgspec.structs.replace(wheel.planner, label=called, options=options),),
        metrics=metrics,
        run=msgspec.structs.replace(wheel.run, save_rollouts=save),
        path=wheel.path,
    )

    def work(out: Path) -> list[Path]:
        run = run_suite(suite, out / RUN)
        return [run.path / "scores.csv", run.path / "summary.json"]

    inputs = {
        "scenes": scenes.digest,
        "planner": named.described(named.planner),
        "checkpoint": planner.stage.digest,
        "label": called,
        "simulator": named.described(named.spec("simulators", simulator)),
        "metrics": [named.described(named.spec("metrics", m)) for m in metrics],
        "repetitions": repetitions,
        "rollouts": save,
    }
    return stages.make("drive", inputs, work, label, resumable=True)
