"""The flywheel: a planner is trained, evaluated, mined and trained again, behind a gate.

`run_flywheel` does what a TOML file asks; see `roadworthy.flywheel.config` for the file and
`docs/flywheel.md` for the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from roadworthy.flywheel.config import Flywheel, load_flywheel, parse_flywheel
from roadworthy.flywheel.crew import Job, do_alone, do_together
from roadworthy.flywheel.named import Named
from roadworthy.flywheel.results import RESULTS, Results, read_results, results_of, size_of
from roadworthy.flywheel.sets import read_sets
from roadworthy.flywheel.stages import StageEvent, Stages
from roadworthy.flywheel.turning import EmptyHardSet, Wheel
from roadworthy.flywheel.units import gather, most_at_once, units_of
from roadworthy.provenance import collect
from roadworthy.store import write_file

__all__ = [
    "EmptyHardSet",
    "Flywheel",
    "Results",
    "StageEvent",
    "check_flywheel",
    "load_flywheel",
    "parse_flywheel",
    "read_results",
    "run_flywheel",
]

MANIFEST = "flywheel.json"


def run_flywheel(
    flywheel: Flywheel,
    out: Path,
    *,
    data: Path | None = None,
    workers: int = 1,
    progress: Callable[[StageEvent], None] = lambda event: None,
) -> Results:
    """Do what a flywheel says, in a new folder or going on in an old one.

    Stages whose inputs are as before are kept, those of a changed flywheel too. `flywheel.json`
    says what was asked and by which code, `results.json` what came out; the second is the same
    bytes whatever happened in between, and however many worked on it.

    Args:
        flywheel: what to do.
        out: the folder.
        data: where relative source paths are looked up first.
        workers: processes that make scenes and variants, and to which bases, arms and evaluations
            are given; 0 means one per core. No more are started than have work at once; where that
            is one, it is this process. Beside them each may have up to twice its share to make
            variants.
        progress: told of each stage.

    Raises:
        RoadworthyError: it cannot be started or go on; finished stages are kept.
    """
    with Stages(out, progress) as stages:
        named = Named(flywheel, data)
        manifest = {"flywheel": msgspec.to_builtins(flywheel), "provenance": collect()}
        _write(out / MANIFEST, manifest)
        workers = workers or os.cpu_count() or 1
        sets, left_out = read_sets(named, stages, workers)
        crew = min(workers, most_at_once(flywheel))
        helpers = min(workers, 2 * workers // crew)  # not all of the crew generate at once
        outcomes = (
            do_alone(Wheel(named, stages, sets, data, helpers))
            if crew == 1
            else do_together(Job(flywheel, out, sets, data, helpers), crew, stages.tell)
        )
        turned = gather(outcomes, units_of(flywheel))
        sizes = {name: size_of(sets.read(s), flywheel.rare) for name, s in sets.stages.items()}
        results = results_of(flywheel, turned, sizes, (*named.notices, *left_out), out)
        _write(out / RESULTS, results)
    return results


def check_flywheel(flywheel: Flywheel, data: Path | None = None) -> tuple[str, ...]:
    """Make every plugin that a flywheel names once, with its options, and train nothing.

    Args:
        flywheel: what to check.
        data: where relative source paths are looked up first.

    Returns:
        What is left out here, in a sentence each.

    Raises:
        RoadworthyError: it could not be turned; says where and why.
    """
    return tuple(Named(flywheel, data).notices)


def _write(path: Path, value: object) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
