"""Whether a planner could have known better: what it proposed to itself before each failure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from roadworthy.driven import scene_of_replay
from roadworthy.failures import Reason, find_failures
from roadworthy.flywheel.evaluating import RUN
from roadworthy.flywheel.named import CACHE, Named
from roadworthy.flywheel.stages import Stage, Stages
from roadworthy.flywheel.training import Trained
from roadworthy.plainfile import read_plain
from roadworthy.plugins import registry
from roadworthy.replay import load_replay, replay_path
from roadworthy.scenario import Scenario
from roadworthy.store import read_run, write_file

__all__ = ["Hindsight", "Lookback", "look_back", "read_lookbacks"]

FILE = "hindsight.json"


class Hindsight(msgspec.Struct, frozen=True, kw_only=True):
    """What a planner could have chosen at a moment before it failed.

    Attributes:
        seconds: from that moment to the failure.
        driven, best: reward of what it then drove, and of the best of its proposals.
        ways_out: how many of them meet nobody at fault and stay on the road for 4 s.
        proposals: how many there are.
    """

    seconds: float
    driven: float
    best: float
    ways_out: int
    proposals: int


class Lookback(msgspec.Struct, frozen=True, kw_only=True):
    """A case that failed, and what hindsight says of it: None where nothing can be said."""

    key: str
    scenario: str
    reason: str
    step: int
    hindsight: Hindsight | None


def look_back(
    driven: Stage, scenes: Iterable[Scenario], planner: Trained, named: Named, stages: Stages,
    label: str,
) -> Stage:  # fmt: skip
    """Ask plugins (hook `roadworthy_hindsight`) about the collisions and departures of a run.

    Args:
        driven: a stage of `evaluating.drive` that kept its rollouts.
        scenes: what was driven.
        planner: who drove.
        named, stages: of the flywheel.
        label: for progress.
    """
    by_hash = {scene.hash: scene for scene in scenes}
    hooks = registry().hooks

    def work(out: Path) -> list[Path]:
        run = read_run(driven.path / RUN)
        failures: list[Lookback] = []
        drives: list[tuple[Scenario, int]] = []
        for case in find_failures(run).cases:
            first = case.findings[0]
            kept = replay_path(run.path, case.planner, case.key)
            if first.reason not in (Reason.COLLISION, Reason.LANE_DEPARTURE) or first.step < 0:
                continue
            if case.scenario_hash in by_hash and kept.is_file():
                replay = load_replay(run.path, case.planner, case.key)
                drives.append((scene_of_replay(by_hash[case.scenario_hash], replay), first.step))
                failures.append(Lookback(key=case.key, scenario=case.scenario,
                                         reason=first.reason.value, step=first.step,
                                         hindsight=None))  # fmt: skip
        found = hooks.roadworthy_hindsight(
            named.with_checkpoint(planner.path).build(), drives, stages.root / CACHE
        )
        if found is not None and len(found) == len(failures):
            failures = [
                msgspec.structs.replace(one, hindsight=said)
                for one, said in zip(failures, found, strict=True)
            ]
        out.mkdir(parents=True, exist_ok=True)
        write_file(out / FILE, msgspec.json.encode(failures))
        return [out / FILE]

    inputs = {
        "run": driven.digest,
        "planner": named.described(named.planner),
        "checkpoint": planner.stage.digest,
        "code": registry().hook_code("roadworthy_hindsight"),
    }
    return stages.make("hindsight", inputs, work, label)


def read_lookbacks(stage: Path) -> Sequence[Lookback]:
    """What such a stage holds; nothing where it cannot be read."""
    try:
        return msgspec.json.decode(read_plain(stage / FILE), type=list[Lookback])
    except (OSError, msgspec.MsgspecError):
        return []
