"""Cases as references, the plan of a run, and what planners need."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from roadworthy.admission import admit
from roadworthy.errors import DataError, SuiteError
from roadworthy.execution import references
from roadworthy.execution.pace import RunPlan, estimate, pace_keys, remember
from roadworthy.rollout import Case, Status
from roadworthy.runner import run_suite
from roadworthy.scenario import Scenario, content_hash
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.store import CaseRecord
from roadworthy.suite import Resources, parse_suite
from roadworthy.testing.scenes import straight_road_scenario

SUITE = """
name = "needs"
metrics = ["success"]
sources = [{name = "procedural", count = 1}]
simulator = {name = "closed-loop", duration_s = 1.0}
planners = [{name = "idm", resources = RESOURCES}]
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with StoreWriter(path) as writer:
        writer.add(admit(straight_road_scenario(agents=20, seconds=15.0)))
    return path


def first(store: Path) -> Scenario:
    scene = next(ScenarioStore(store).scenarios())
    assert isinstance(scene, Scenario)
    return scene


def test_a_stored_scenario_travels_as_its_place(store: Path) -> None:
    scene = admit(first(store))
    case = Case(scene, 0, 7, {"name": "closed-loop"})
    data = references.dumps((case, scene))
    assert len(data) < 4000 < len(pickle.dumps(scene))
    again, alone = references.loads(data)
    assert again.scenario is alone
    assert again.key == case.key
    assert content_hash(again.scenario, skip=("repairs",)) == scene.hash
    assert not again.scenario.ego.flags.writeable


def test_any_other_scenario_travels_whole(store: Path) -> None:
    made = admit(straight_road_scenario(agents=3, seconds=2.0))
    assert references.loads(references.dumps(made)).hash == made.hash
    turned = first(store)
    mended = admit(
        Scenario(**{n: getattr(turned, n) for n in turned.__dataclass_fields__} | {"id": "other"})
    )
    back = references.loads(references.dumps(mended))
    assert (back.id, back.hash) == ("other", mended.hash)


def test_a_changed_store_is_noticed_where_it_may_be_another(store: Path) -> None:
    scene = first(store)
    data = references.dumps(scene, verify=True)
    path = store / "arrays-00000.bin"
    whole = bytearray(path.read_bytes())
    at = whole.index(np.ascontiguousarray(scene.ego).tobytes()[:64])
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match="its hash is"):
        references.loads(data)


def test_hashes_are_those_of_the_first_version() -> None:
    """Stores and runs on disk hold them."""
    value = ("a", 1, 2.5, None, True, ("x", "é"), (), np.arange(6.0).reshape(2, 3), np.zeros(0))
    assert content_hash(value) == "3dde19fcf2d0bfb3f36e7fc08e355d63"


def test_the_plan_says_what_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RunPlan("process", 2, ("0",), 16, 330, 30, 75.2)
    assert str(plan) == (
        "330 cases (30 done) in batches of 16; process, 2 workers, 1 GPU; about 75 s"
    )
    assert str(RunPlan("inline", 1, (), 4, None, 0, None)) == (
        "cases as they are found in batches of 4; inline, 1 worker, no GPU; time unknown"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keys = pace_keys({"a": {"version": "1"}, "b": {"version": "2"}}, {"name": "sim"}, ["pdms"])
    assert estimate(keys, 100, 2) is None

    def record(planner: str, seconds: float) -> CaseRecord:
        return CaseRecord(
            index=0, planner=planner, key="k", scenario="s", source="x", scenario_hash="",
            repetition=0, seed=0, status=Status.OK, seconds={"total": seconds},
        )  # fmt: skip

    remember(keys, [record("a", 1.0), record("a", 3.0), record("b", 4.0)])
    assert estimate(keys, 100, 2) == 50 * (2.0 + 4.0) / 2
    assert estimate(keys, None, 2) is None
    (tmp_path / "roadworthy" / "pace.json").write_bytes(b"\x00")
    assert estimate(keys, 100, 2) is None


def test_what_a_planner_needs_is_read_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = parse_suite(SUITE.replace("RESOURCES", "{gpus = 2, memory_gb = 8}"), "needs.toml")
    assert suite.planners[0].resources == Resources(gpus=2, memory_gb=8)
    assert suite.planners[0].options == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(SuiteError, match="needs 2 GPUs, there are 1"):
        run_suite(suite, tmp_path / "run")
    for wrong, message in (("{gpu = 1}", "unknown key 'gpu'"), ("{memory_gb = 0}", "memory_gb")):
        with pytest.raises(SuiteError, match=message):
            parse_suite(SUITE.replace("RESOURCES", wrong), "needs.toml")
