"""A flywheel turned by several processes is the flywheel turned by one."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from flywheel_sets import load_file, search, wheel_file, write_set
from roadworthy.errors import PluginError, RunError
from roadworthy.flywheel import Flywheel, StageEvent, load_flywheel, run_flywheel
from roadworthy.flywheel.units import Unit, most_at_once, next_unit, units_of
from roadworthy_sources.towns import Towns


def two_arms(file: Path, sets: Path, **of_second: Any) -> Flywheel:
    """Both mine the same base at the same time; the second may be made to fail."""
    arms = [
        {"name": name, "trainer": search(**options), "data": ["mined"], "gated": False}
        for name, options in (("first", {}), ("second", of_second))
    ]
    quick = {"pretrain": {"trainer": search(step=0.0)}, "metrics": ["success"]}
    return load_flywheel(wheel_file(file, sets, arms=arms, **quick))


def test_workers_that_fail_or_die_keep_what_is_finished_and_two_make_the_bytes_of_one(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = tmp_path / "two", tmp_path / "w.toml"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")  # each worker sees one of them
    with pytest.raises(RunError, match=r"seed 1, second: the worker process died \(SIGKILL\)") as e:
        run_flywheel(two_arms(file, sets, fault="killed"), out, workers=2)
    assert "Finished stages are kept" in e.value.hint
    with pytest.raises(PluginError, match=r"(?s)second, round 1: .*NaN on GPUs [34];") as raised:
        run_flywheel(two_arms(file, sets, fault="raise"), out, workers=2)
    assert "Finished stages are kept" in raised.value.hint

    events: list[StageEvent] = []
    mended = two_arms(file, sets, step=0.4)
    run_flywheel(mended, out, workers=2, progress=events.append)
    assert not multiprocessing.active_children()
    kept = [e.stage.partition("-")[0] for e in events if e.state == "kept"]
    assert kept.count("train") >= 1
    assert "mined" in kept
    run_flywheel(mended, tmp_path / "one")
    assert (out / "results.json").read_bytes() == (tmp_path / "one/results.json").read_bytes()


def test_workers_that_have_variants_made_by_others_make_the_bytes_of_one(
    sets: Path, tmp_path: Path
) -> None:
    towns = Towns(split="mining", distribution="rare", count=36, towns=4)
    write_set(tmp_path / "mining", towns.scenarios())
    sources = load_file(wheel_file(tmp_path / "w.toml", sets))["sources"]
    sources["mining"] = [{"name": "store", "path": str(tmp_path / "mining")}]
    arm = {"name": "varied", "trainer": search(), "data": ["variants"], "gated": False}
    quick = {"pretrain": {"trainer": search(step=0.0)}, "metrics": ["success"]}
    file = wheel_file(tmp_path / "w.toml", sets, sources=sources, arms=[arm], **quick)
    for workers in (2, 1):
        run_flywheel(load_flywheel(file), tmp_path / f"{workers}", workers=workers)
        left = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
        assert not [command for command in left if "spawn_main" in command]
    one, two = tmp_path / "1", tmp_path / "2"
    assert (one / "results.json").read_bytes() == (two / "results.json").read_bytes()
    (made,) = one.glob("stages/varied-*/scenes/generation.json")
    assert json.loads(made.read_bytes())["parents"] >= 16  # enough for two processes


def test_ctrl_c_ends_the_workers_and_no_stage_is_made_twice(sets: Path, tmp_path: Path) -> None:
    events: list[StageEvent] = []

    def progress(event: StageEvent) -> None:
        events.append(event)
        if event.label.startswith("seed 1, second") and event.state == "started":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_flywheel(two_arms(tmp_path / "w.toml", sets), tmp_path / "out", workers=2,
                     progress=progress)  # fmt: skip
    assert not multiprocessing.active_children()
    seen = [(e.stage, e.state) for e in events]
    assert len(seen) == len(set(seen))


def test_bases_go_first_then_long_arms_of_other_seeds_and_evaluations_last(tmp_path: Path) -> None:
    arms = [
        {"name": name, "trainer": search(), "data": ["mined"], "rounds": n, "gated": False}
        for name, n in (("short", 1), ("long", 2))
    ]
    wheel = load_flywheel(wheel_file(tmp_path / "w.toml", tmp_path, arms=arms, seeds=[1, 2, 3]))
    units = units_of(wheel)
    assert most_at_once(wheel) == 9
    assert next_unit(wheel, units, (), ()) == Unit(1)
    bases = {Unit(1), Unit(2)}
    left = [unit for unit in units if unit not in bases]
    assert next_unit(wheel, left, {Unit(1)}, {Unit(2)}) == Unit(3)
    left.remove(Unit(3))
    assert next_unit(wheel, left, bases, {Unit(3)}) == Unit(1, "long")
    left.remove(Unit(1, "long"))
    assert next_unit(wheel, left, bases, {Unit(1, "long")}) == Unit(2, "long")
    assert next_unit(wheel, [Unit(3, "long")], bases, ()) is None  # its base is not there
    judged = Unit(1, evaluation=True)
    assert next_unit(wheel, [judged, Unit(2, "short")], bases, ()) == Unit(2, "short")
    assert next_unit(wheel, [judged, Unit(2, "long", evaluation=True)], bases, ()) == judged
