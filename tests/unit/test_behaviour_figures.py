"""Figures of the behaviour model: scores of motion, plain predictions, tables of them."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from roadworthy.scenario import DT, Scenario
from roadworthy.scenario_store import StoreWriter
from roadworthy_generators.behaviour import Behaviour
from roadworthy_generators.behaviour.examples import PATH_STEPS
from roadworthy_generators.behaviour.figures.__main__ import main
from roadworthy_generators.behaviour.figures.prediction import idm_paths
from roadworthy_generators.behaviour.figures.realism import (
    FEATURES,
    likelihoods,
    realism,
    score,
)
from roadworthy_generators.behaviour.figures.report import summary, table
from roadworthy_generators.behaviour.scene import Body
from roadworthy_generators.behaviour.statistics import EDGES
from roadworthy_sources.towns import Towns


@cache
def parent() -> Scenario:
    scenes = Towns(seed=5, count=1, split="validation", towns=1).scenarios()
    return next(scene for scene in scenes if isinstance(scene, Scenario))


def _values(speed: float, steps: int = 40, rollouts: int = 1) -> dict[str, np.ndarray]:
    found = {name: np.full((rollouts, 1, steps), np.nan) for name in FEATURES}
    found["speed"][:] = speed
    found["collision"] = np.zeros((rollouts, 1, 1))
    return found


def test_likelihoods_are_shares_of_a_smoothed_histogram() -> None:
    samples = _values(3.0, rollouts=4)
    samples["speed"][3] = 20.0
    samples["collision"][3] = 1.0
    found = likelihoods(_values(3.2), samples)
    assert set(found) == {"speed", "collision"}
    assert found["speed"] == pytest.approx((120 + 0.1) / (160 + 10 * 0.1))
    assert found["collision"] == pytest.approx((3 + 0.1) / (4 + 2 * 0.1))
    weights = FEATURES["speed"].weight, FEATURES["collision"].weight
    expected = np.average([found["speed"], found["collision"]], weights=weights)
    assert score(found) == pytest.approx(expected)
    assert sum(feature.weight for feature in FEATURES.values()) == pytest.approx(0.95)


def test_samples_of_the_model_are_scored_and_unguided_ones_seldom_hurt() -> None:
    told = realism(Behaviour(draws=6), parent(), 1)
    assert 0.5 < told["guided"] < 1.0
    assert 0.5 < told["unguided"] < 1.0
    assert told["lost"] == pytest.approx(told["unguided"] - told["guided"])
    assert told["alone"] >= 3
    assert told["alone_fails"] <= 1


def test_the_intelligent_driver_model_follows_its_lane_and_stops_behind_who_stands() -> None:
    scene = parent()
    line = next(line for line in scene.map.lane_centreline if np.ptp(line[:, 2]) < 0.05 and
                np.hypot(*(line[-1, :2] - line[0, :2])) > 60.0)  # fmt: skip
    pose = line[1, :3]
    ahead = np.array([np.cos(pose[2]), np.sin(pose[2])])

    def body(gap: float) -> Body:
        past = np.zeros((3, 16, 4))
        past[:, :, :3] = pose
        past[1, :, 3] = 10.0
        past[2, :, :2] += gap * ahead
        past[0, :, :2] -= 500.0
        return Body(
            np.array([-1, 0, 1]), np.zeros(3, np.int8), np.tile([4.6, 1.9], (3, 1)), past,
            np.ones((3, 16), np.bool_), np.array([False, False, True]),
        )  # fmt: skip

    rng = np.random.default_rng(0)
    free = idm_paths(scene, body(-300.0), scene.start, rng)[1]
    behind = idm_paths(scene, body(40.0), scene.start, rng)[1]
    assert behind.shape == (len(PATH_STEPS), 2)
    assert behind[:, 0].max() < 40.0 - 4.6
    assert np.diff(behind[:, 0])[-1] < 0.4 * np.diff(behind[:, 0])[0]
    assert free[3, 0] == pytest.approx(10.0 * PATH_STEPS[3] * DT, rel=0.25)
    assert free[-1, 0] > behind[-1, 0] + 10.0


def test_a_summary_counts_over_scenes_and_a_table_says_it() -> None:
    bins = {name: [0.0] * (len(edges) - 1) for name, edges in EDGES.items()}
    full = {name: [8.0, *values[1:]] for name, values in bins.items()}
    hist = {"adversary": full, "log_mover": full, "vehicle": full, "log_vehicle": bins}
    rows = [
        {"scene": name, "seed": seed, "raw": 10, "fit": 8, "fails": fails, "kind_crossing": 2,
         "hist": hist}
        for name, seed, fails in (("a", 0, 6), ("a", 1, 4), ("b", 0, 2))
    ]  # fmt: skip
    dials = [
        {"severity": s, "fit": 4, "fails": f} | {f"{k}_{r}": 2 + (k == "certified")
         for k in ("certified", "fails") for r in (0.5, 1.0, 1.5)}
        for s, f in ((0.0, 1), (0.0, 1), (1.0, 3))
    ]  # fmt: skip
    told = json.loads(json.dumps(summary(rows, dials)))
    assert (told["scenes"], told["rows"]) == (2, 3)
    assert told["rates"]["fails"]["value"] == pytest.approx(12 / 30)
    assert told["rates"]["fails"]["low"] <= 0.4 <= told["rates"]["fails"]["high"]
    assert told["rates"]["score"]["value"] is None
    assert told["divergences"]["adversary"]["value"] == pytest.approx(0.0)
    assert told["kinds"] == {"crossing": 6}
    assert [step["fails"] for step in told["dial"]] == [2, 3]
    text = table(told)
    assert "| planner fails, of raw | 0.400 (" in text
    assert "0.250 of 8" in text


def test_the_command_measures_a_store_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StoreWriter(tmp_path / "store") as store:
        store.add(parent(), split="validation")
    out = tmp_path / "out"
    command = ["figures", str(tmp_path / "store"), "--out", str(out), "--draws", "4"]
    monkeypatch.setattr(sys, "argv", [*command, "--seeds", "0", "--dial-scenes", "1"])
    main()
    told = json.loads((out / "figures.json").read_text())
    assert told["rows"] == 1
    assert told["rates"]["fit"]["of"] >= 3
    assert told["rates"]["min_ade"]["value"] < told["rates"]["ade_cv"]["value"]
    assert (out / "severity.svg").read_text().startswith("<svg")
    lines = (out / "figures.jsonl").read_text()
    main()
    assert (out / "figures.jsonl").read_text() == lines
