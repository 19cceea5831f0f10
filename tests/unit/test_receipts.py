"""Scenes that passed admission before need not pass it again; no others get by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from roadworthy.admission import admit
from roadworthy.admission.receipts import Receipts
from roadworthy.reading import Reading
from roadworthy.resolved import resolve_suite
from roadworthy.runner import run_suite
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.store import Run
from roadworthy.suite import Suite, parse_suite
from roadworthy.testing.scenes import straight_road_scenario

GOOD = [replace(straight_road_scenario(seconds=2.0, seed=s), id=f"s{s}") for s in range(3)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "roadworthy" / "admitted"


def stored(path: Path, scenes: list[Scenario]) -> Path:
    with StoreWriter(path) as writer:
        for scene in scenes:
            writer.add(scene)
    return path


def suite_of(store: Path) -> Suite:
    text = f"""
name = "receipts"
metrics = ["success"]
sources = [{{name = "store", path = "{store}"}}]
simulator = {{name = "closed-loop", duration_s = 0.5, traffic = "replay"}}
planners = ["idm"]
run = {{executor = "inline", save_rollouts = false}}
"""
    return parse_suite(text, str(store.parent / "receipts.toml"))


def drive(store: Path, out: Path) -> Run:
    return run_suite(suite_of(store), out)


def scenes_of(store: Path) -> list[Scenario]:
    return [s for s in ScenarioStore(store).scenarios() if isinstance(s, Scenario)]


def test_a_run_leaves_receipts_and_the_next_gives_the_same_bytes(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", [admit(scene) for scene in GOOD])
    assert not any(map(Receipts().covers, scenes_of(store)))
    drive(store, tmp_path / "first")
    assert all(map(Receipts().covers, scenes_of(store)))
    drive(store, tmp_path / "second")
    for name in ("scores.csv", "summary.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_what_was_never_admitted_as_it_is_has_none(tmp_path: Path) -> None:
    ego = GOOD[0].ego.copy()
    ego[3, 0] = np.nan
    broken = replace(GOOD[0], id="broken", ego=ego)
    bent = GOOD[1].route.centreline.copy()
    bent[:, 2] += 2.0 * np.pi * (np.arange(len(bent)) % 2)  # headings that admission unwraps
    mended = replace(GOOD[1], id="mended", route=replace(GOOD[1].route, centreline=bent))
    store = stored(tmp_path / "store", [admit(GOOD[2]), broken, mended])
    for turn in ("first", "second"):
        run = drive(store, tmp_path / turn)
        assert [r.status.value for r in run.records] == ["ok", "invalid_scenario", "ok"]
        assert [Receipts().covers(s) for s in scenes_of(store)] == [True, False, False]
    # A scene that is in no store may have arrays that can still be written.
    assert not Receipts().covers(admit(GOOD[2]))


def test_a_damaged_file_costs_time_alone(tmp_path: Path, cache: Path) -> None:
    store = stored(tmp_path / "store", [admit(scene) for scene in GOOD])
    drive(store, tmp_path / "run")
    (kept,) = cache.glob("*.hashes")
    kept.write_bytes(kept.read_bytes()[5:] + b"torn")
    assert not any(map(Receipts().covers, scenes_of(store)))
    reading = Reading(resolve_suite(suite_of(store), None, tmp_path / "again"), ())
    assert len(list(reading.cases())) == len(GOOD)
    assert all(map(Receipts().covers, scenes_of(store)))


def test_other_checks_make_receipts_worthless(tmp_path: Path, cache: Path) -> None:
    store = stored(tmp_path / "store", [admit(scene) for scene in GOOD])
    drive(store, tmp_path / "run")
    (kept,) = cache.glob("*.hashes")
    kept.rename(cache / "of-another-version.hashes")
    assert not any(map(Receipts().covers, scenes_of(store)))
    drive(store, tmp_path / "again")
    assert [p.name for p in cache.iterdir()] == [kept.name]
