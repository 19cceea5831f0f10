"""What a flywheel refuses, and what it says when something goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flywheel_sets import load_file, search, wheel_file, write_set
from roadworthy.errors import PluginError, RunError, SuiteError
from roadworthy.flywheel import (
    EmptyHardSet,
    load_flywheel,
    run_flywheel,
)
from roadworthy.splits import LeakError
from roadworthy.testing.scenes import straight_road_scenario


@pytest.mark.parametrize("leaking", ["train", "mining", "validation"])
def test_a_run_that_would_leak_is_refused(sets: Path, tmp_path: Path, leaking: str) -> None:
    sources = load_file(wheel_file(tmp_path / "w.toml", sets))["sources"]
    sources[leaking] = [*sources[leaking], {"name": "store", "path": str(sets / "test")}]
    file = wheel_file(tmp_path / "w.toml", sets, sources=sources)
    with pytest.raises(LeakError, match=rf"{leaking} would leak into test.*lineage"):
        run_flywheel(load_flywheel(file), tmp_path / "out")
    assert not list((tmp_path / "out" / "stages").glob("train-*"))


def test_related_scenes_can_be_left_out_instead(sets: Path, tmp_path: Path) -> None:
    sources = load_file(wheel_file(tmp_path / "w.toml", sets))["sources"]
    sources["train"] = [*sources["train"], {"name": "store", "path": str(sets / "test")}]
    file = wheel_file(tmp_path / "w.toml", sets, sources=sources, related="leave-out", arms=[])
    results = run_flywheel(load_flywheel(file), tmp_path / "out")
    assert results.sets["train"].scenes == 5
    assert results.sets["test"].scenes == 10
    assert "train: 10 of 15 scenes are left out" in results.notices[0]


def test_a_set_of_which_nothing_is_there_is_named(sets: Path, tmp_path: Path) -> None:
    sources = load_file(wheel_file(tmp_path / "w.toml", sets))["sources"]
    sources["train"] = [{"name": "store", "path": "nowhere", "optional": True}]
    file = wheel_file(tmp_path / "w.toml", sets, sources=sources)
    with pytest.raises(RunError, match="set 'train': none of its sources is there"):
        run_flywheel(load_flywheel(file), tmp_path / "out")


def test_a_planner_that_fails_at_nothing_is_a_typed_error(sets: Path, tmp_path: Path) -> None:
    write_set(tmp_path / "easy", [straight_road_scenario()])
    sources = load_file(wheel_file(tmp_path / "w.toml", sets))["sources"]
    sources["mining"] = [{"name": "store", "path": str(tmp_path / "easy")}]
    file = wheel_file(tmp_path / "w.toml", sets, sources=sources, metrics=["success"])
    with pytest.raises(EmptyHardSet, match="failed at none of 1 cases"):
        run_flywheel(load_flywheel(file), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": {"train": [{"name": "towns"}]}}, "there is no set 'mining'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "one is named twice"),
        ({"sedes": [1]}, "Did you mean 'seeds'"),
        ({"arms": [{"name": "a", "trainer": search(), "data": {"minde": 1}}]}, "'minde'"),
        ({"arms": [{"name": "a", "trainer": search(), "data": {"mined": -1}}]}, "mined"),
        ({"arms": [{"name": "base", "trainer": search(), "data": {"mined": 1}}]}, "'base'"),
        ({"arms": [{"name": "a", "trainer": search(), "data": {"mined": 1},
                    "smaller": {"rate": 0.5}}]}, "smaller.rate"),
        ({"arms": [{"name": "a", "trainer": search(), "data": {"mined": 1},
                    "reference": "b"}]}, "reference = 'b'"),
        ({"accept": []}, "no rule to accept a round by"),
        ({"accept": [{"metric": "success"}]}, "no condition"),
        ({"accept": [{"metric": "success", "margin": 0.1, "against": "x"}]}, "against"),
        ({"scaling": {"multiples": [2, 4], "arm": "whole"}}, "multiples"),
        ({"scaling": {"arm": "hole"}}, "Did you mean 'whole'"),
        ({"pretrain": {"trainer": search(objective="speed")}}, "objective"),
        ({"pretrain": {"trainer": "imitatoin"}}, "pretrain.trainer"),
        ({"planner": "./nowhere.py:X"}, "no file"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_the_field(
    sets: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    file = wheel_file(tmp_path / "w.toml", sets, **changes)
    with pytest.raises((SuiteError, PluginError)) as raised:
        run_flywheel(load_flywheel(file), tmp_path / "out")
    assert words in str(raised.value)
