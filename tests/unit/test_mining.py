"""What counts as a failure, how failures are merged, and that nothing mined leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy import failures, mining
from roadworthy.cli import main
from roadworthy.errors import DataError, RunError
from roadworthy.exit_codes import ExitCode
from roadworthy.failures import Reason, find_failures
from roadworthy.mining import mine, read_mined
from roadworthy.recorded import scenes_of_run
from roadworthy.rollout import Status
from roadworthy.runner import run_suite
from roadworthy.scenario import Lineage, Scenario
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.splits import (
    LeakError,
    Origin,
    find_overlaps,
    origin_of,
    partition,
    require_disjoint,
)
from roadworthy.store import FORMAT, CaseRecord, Manifest, Run
from roadworthy.suite import parse_suite
from roadworthy.testing.scenes import moved, straight_road_scenario

COLUMNS = {
    "pdms": ("nc", "dac", "ddc", "ep", "ttc", "comfort"),
    "epdms": ("nc", "dac", "ddc", "ep", "ttc", "hc"),
    "success": ("off_road", "collision_at_fault", "stalled", "progress_ratio"),
    "safety": ("collision_at_fault", "ttc", "min_ttc"),
    "comfort": ("comfortable", "share_within"),
    "neuroncap": ("impact_speed",),
}
GOOD = {"nc": 1.0, "dac": 1.0, "ddc": 1.0, "ep": 1.0, "ttc": 1.0, "comfort": 1.0}


def record(
    number: int = 0,
    values: Mapping[str, Mapping[str, float | None]] | None = None,
    events: Sequence[dict[str, Any]] = (),
    **more: Any,
) -> CaseRecord:
    fields: dict[str, Any] = {
        "index": number,
        "planner": "mine",
        "key": f"{number:032x}",
        "scenario": f"scene-{number}",
        "source": "test",
        "scenario_hash": f"{number:032x}",
        "repetition": 0,
        "seed": 0,
        "status": Status.OK,
        "values": {"pdms": GOOD} if values is None else dict(values),
        "events": {"pdms": list(events)} if events else {},
    }
    return CaseRecord(**fields | more)


def run_of(
    records: Sequence[CaseRecord], metrics: Sequence[str] = tuple(COLUMNS), **planners: Any
) -> Run:
    manifest = Manifest(
        format=FORMAT,
        suite={"name": "mined"},
        config_hash="c",
        planners={"mine": {}, **planners},
        metrics={
            m: {"version": "1", "columns": [{"name": c} for c in COLUMNS[m]]} for m in metrics
        },
        protocol={},
        provenance={},
    )
    return Run(path=Path("run"), manifest=manifest, records=tuple(records))


def reasons(values: Mapping[str, Mapping[str, float | None]], **more: Any) -> list[Reason]:
    found = find_failures(run_of([record(values=values, **more)])).cases
    return [finding.reason for case in found for finding in case.findings]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"pdms": GOOD}, []),
        ({"pdms": GOOD | {"nc": 0.0, "ep": 0.0}}, [Reason.COLLISION]),
        ({"pdms": GOOD | {"nc": 0.5}}, [Reason.COLLISION]),
        ({"epdms": {"nc": 0.5}}, [Reason.COLLISION]),
        ({"safety": {"collision_at_fault": 1.0}}, [Reason.COLLISION]),
        ({"success": {"collision_at_fault": 1.0}}, [Reason.COLLISION]),
        ({"pdms": GOOD | {"dac": 0.0, "ep": 0.0}}, [Reason.LANE_DEPARTURE]),
        ({"pdms": GOOD | {"ddc": 0.0}}, [Reason.LANE_DEPARTURE]),
        ({"pdms": GOOD | {"ddc": 0.5}}, []),
        ({"success": {"off_road": 1.0}}, [Reason.LANE_DEPARTURE]),
        ({"pdms": GOOD | {"ep": 0.0}}, [Reason.STALL]),
        ({"success": {"progress_ratio": 0.0}}, [Reason.STALL]),
        ({"success": {"stalled": 1.0, "progress_ratio": 0.09}}, [Reason.STALL]),
        ({"pdms": GOOD | {"ttc": 0.0}}, [Reason.TTC]),
        ({"safety": {"ttc": 1.0}}, [Reason.TTC]),
        ({"pdms": GOOD | {"comfort": 0.0}}, [Reason.COMFORT]),
        ({"epdms": {"hc": 0.0}}, [Reason.COMFORT]),
        ({"comfort": {"comfortable": 0.0}}, [Reason.COMFORT]),
        (
            {"pdms": GOOD | {"nc": 0.0, "dac": 0.0, "ttc": 0.0, "comfort": 0.0, "ep": 0.0}},
            [Reason.COLLISION, Reason.LANE_DEPARTURE, Reason.TTC, Reason.COMFORT],
        ),
        ({"pdms": dict.fromkeys(GOOD)}, []),
    ],
)
def test_each_reason(
    values: Mapping[str, Mapping[str, float | None]], wanted: list[Reason]
) -> None:
    assert reasons(values) == wanted


def test_an_errored_case_is_counted_and_not_judged() -> None:
    bad = record(1, {}, status=Status.TIMEOUT)
    found = find_failures(run_of([record(0), bad]))
    assert (found.judged, found.unjudged, found.cases) == (1, 1, ())


def test_the_slowest_percent_of_safe_cases_has_stalled() -> None:
    progress = np.linspace(0.6, 1.0, 200)
    records = [record(i, {"success": {"progress_ratio": p}}) for i, p in enumerate(progress)]
    found = find_failures(run_of(records)).cases
    assert [case.scenario for case in found] == ["scene-0", "scene-1"]
    assert {case.reason for case in found} == {Reason.STALL}
    assert find_failures(run_of(records[:50])).cases == ()


def test_severity_follows_the_impact_and_the_first_step_the_blame() -> None:
    events = [
        {"kind": "ttc", "step": 3},
        {"kind": "collision", "step": 5, "at_fault": False},
        {"kind": "collision", "step": 9, "at_fault": True},
        {"kind": "collision", "step": 12, "at_fault": True},
    ]
    values = {"pdms": GOOD | {"nc": 0.0}, "neuroncap": {"impact_speed": 15.0}}
    (hard,) = find_failures(run_of([record(values=values, events=events)])).cases
    assert (hard.severity, hard.findings[0].step, hard.step) == (1.0, 9, 9)
    soft = {"pdms": GOOD | {"nc": 0.5, "ttc": 0.0}}
    (half,) = find_failures(run_of([record(values=soft, events=events)])).cases
    assert (half.severity, half.step) == (0.7, 3)
    assert [f.severity for f in half.findings] == sorted(
        (f.severity for f in half.findings), reverse=True
    )


@given(
    nc=st.sampled_from([0.0, 0.5, 1.0]),
    others=st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5),
    speed=st.floats(0.0, 100.0),
    least=st.floats(0.0, 5.0),
)
def test_severities_lie_in_the_unit_interval(
    nc: float, others: list[float], speed: float, least: float
) -> None:
    values = {
        "pdms": {
            "nc": nc,
            **dict(zip(("dac", "ddc", "ep", "ttc", "comfort"), others, strict=True)),
        },
        "neuroncap": {"impact_speed": speed},
        "safety": {"min_ttc": least},
        "success": {"progress_ratio": others[0]},
    }
    for case in find_failures(run_of([record(values=values)])).cases:
        assert all(0.0 < f.severity <= 1.0 for f in case.findings)


def test_what_a_run_cannot_tell_is_said() -> None:
    found = find_failures(run_of([record()], metrics=["pdms"]))
    assert found.blind == ()
    assert "success.progress_ratio" in found.missing[Reason.STALL]
    found = find_failures(run_of([record()], metrics=["comfort"]))
    assert set(found.blind) == set(Reason) - {Reason.COMFORT}
    with pytest.raises(RunError, match="none of the columns"):
        find_failures(run_of([record()], metrics=["neuroncap"]))
    with pytest.raises(RunError, match="no planner 'mien'"):
        find_failures(run_of([record()]), ["mien"])


def test_planners_that_saw_the_log_are_mined_on_request_alone() -> None:
    bad = record(values={"pdms": GOOD | {"nc": 0.0}}, planner="oracle")
    run = run_of([bad], oracle={"privileged": True})
    assert find_failures(run).cases == ()
    assert len(find_failures(run, ["oracle"]).cases) == 1


def located(number: int, x: float, log: str, step: int = 10, scene: int | None = None) -> Any:
    values = {"pdms": GOOD | {"nc": 0.0}}
    events = [{"kind": "collision", "step": step, "at_fault": True}]
    scene = number if scene is None else scene
    more = {"scenario": f"scene-{scene}", "scenario_hash": f"{scene:032x}", "tags": (log,)}
    (case,) = find_failures(run_of([record(number, values, events, **more)])).cases
    return mining._Located(case, (x, 0.0), ("test", log))


def test_near_failures_of_one_log_are_one_cluster() -> None:
    one = [located(0, 0.0, "log:a"), located(1, 10.0, "log:a"), located(2, 40.0, "log:a")]
    other = [located(3, 0.0, "log:b")]
    assert sorted(size for _, size in mining.cluster(one + other)) == [1, 1, 2]
    apart = [located(4, 0.0, "log:c", 10, scene=4), located(5, 0.0, "log:c", 60, scene=4)]
    assert len(mining.cluster(apart)) == 2


def test_strata_take_turns() -> None:
    common = [located(i, 100.0 * i, f"log:{i}") for i in range(8)]
    rare = [
        replace(one, case=_tagged(one.case, ("rare", "cut_in")))
        for one in (located(i, 100.0 * i, f"log:{i}") for i in range(8, 10))
    ]
    kept = mining.stratify(mining.cluster(common + rare), 4)
    assert sum("cut_in" in case.stratum for case in kept) == 2


def _tagged(case: failures.FailedCase, tags: tuple[str, ...]) -> failures.FailedCase:
    return failures.FailedCase(
        **{name: getattr(case, name) for name in case.__struct_fields__} | {"tags": tags}
    )


def test_related_scenes_are_found_by_log_map_area_and_lineage() -> None:
    one = straight_road_scenario(seed=1)
    elsewhere = {"origin": (5000.0, 900.0, 0.2)}
    far = straight_road_scenario(seed=2, **elsewhere)
    kinds = {
        "map": straight_road_scenario(seed=3),
        "lineage": replace(far, lineage=Lineage(one.hash, "perturb", 1, {})),
        "area": straight_road_scenario(seed=4, length=320.0),
    }
    for kind, other in kinds.items():
        assert [o.kind for o in find_overlaps([origin_of(one)], [origin_of(other)])] == [kind]
    assert find_overlaps([origin_of(one)], [origin_of(far)]) == []
    logs = [replace(s, tags=("common", "log:7")) for s in (one, far)]
    with pytest.raises(LeakError, match="share their log"):
        require_disjoint(logs[:1], logs[1:], "mined", "evaluated")
    require_disjoint([one], [far], "mined", "evaluated")
    cousin = replace(far, lineage=Lineage("5" * 32, "perturb", 1, {"root": one.hash}))
    assert find_overlaps([origin_of(cousin)], [origin_of(one)])[0].kind == "lineage"


@given(
    links=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 9)), max_size=40),
    seed=st.integers(0, 2**32),
    share=st.floats(0.0, 1.0),
)
def test_partitions_are_disjoint_and_whole(
    links: list[tuple[int, int]], seed: int, share: float
) -> None:
    keys: list[set[str]] = [{f"map:own-{i}"} for i in range(30)]
    for scene, key in links:
        keys[scene].add(f"log:{key}")
    origins = [Origin(f"s/{i}", frozenset(k)) for i, k in enumerate(keys)]
    parts = partition(origins, {"mining": 1.0 - share, "test": share}, seed)
    assert sorted(parts["mining"] + parts["test"]) == list(range(30))
    ours, theirs = ([origins[i] for i in parts[name]] for name in ("mining", "test"))
    assert find_overlaps(ours, theirs) == []


SUITE = """
name = "mined"
seed = 3
metrics = ["pdms", "safety", "success", "comfort", "neuroncap"]
sources = [{name = "procedural", seed = 3, count = 16}]
planners = ["constant-velocity"]
[simulator]
name = "closed-loop"
replan_hz = 2
duration_s = 12.0
[run]
executor = "inline"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("mining")
    return run_suite(parse_suite(SUITE, str(folder / "mined.toml")), folder / "run")


def test_a_mined_set_is_driven_by_any_suite_and_fails_again(run: Run, tmp_path: Path) -> None:
    mined = mine(run.path, tmp_path / "hard")
    assert mined.judged == 16
    assert read_mined(tmp_path / "hard") == mined
    failed = {r.scenario_hash for r in run.records if r.values["pdms"]["nc"] != 1.0}
    hashes = [
        s.hash for s in ScenarioStore(tmp_path / "hard").scenarios() if isinstance(s, Scenario)
    ]
    assert failed <= set(hashes)
    assert len(hashes) == len(set(hashes)) == len({c.scenario_hash for c in mined.cases})
    text = SUITE.replace(
        '{name = "procedural", seed = 3, count = 16}', '{name = "store", path = "hard"}'
    )
    again = run_suite(parse_suite(text, str(tmp_path / "hard.toml")), tmp_path / "again")
    known = {(r.key, str(r.values)) for r in run.records}
    assert len(again.records) == len(hashes)
    assert all((r.key, str(r.values)) in known for r in again.records)


def test_mining_twice_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        mine(run.path, tmp_path / name, limit=5)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "b").iterdir())
    assert all(
        (tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names
    )
    assert len(read_mined(tmp_path / "a").cases) == 5


def test_nothing_held_out_is_mined(run: Run, tmp_path: Path) -> None:
    mined = mine(run.path, tmp_path / "hard", hold_out=0.5)
    assert mined.held_out
    everything = list(scenes_of_run(parse_suite(SUITE, "mined.toml"), None))
    kept_back = [s for s in everything if isinstance(s, Scenario) and s.hash in mined.held_out]
    stored = [s for s in ScenarioStore(tmp_path / "hard").scenarios() if isinstance(s, Scenario)]
    assert stored
    require_disjoint(stored, kept_back, "mined", "held out")


def test_mining_refuses_what_would_leak_into_evaluation(run: Run, tmp_path: Path) -> None:
    scenes = list(scenes_of_run(parse_suite(SUITE, "m.toml"), None))
    twin = [replace(moved(s, 0.0, 0.0, 0.0), id="twin") for s in scenes if isinstance(s, Scenario)]
    with pytest.raises(LeakError, match=r"would leak into the test set: .* share their"):
        mine(run.path, tmp_path / "hard", against={"the test set": twin})
    assert not (tmp_path / "hard").exists()
    command = ["mine", str(run.path), "--out", str(tmp_path / "hard"), "--against"]
    (tmp_path / "evaluation.toml").write_text(SUITE)
    assert main([*command, str(tmp_path / "evaluation.toml")]) == ExitCode.USAGE
    (tmp_path / "evaluation.toml").write_text(SUITE.replace("seed = 3, count", "seed = 4, count"))
    assert main([*command, str(tmp_path / "evaluation.toml")]) == ExitCode.OK


def test_a_set_to_be_kept_off_that_cannot_be_read_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mine", str(run.path), "--out", str(tmp_path / "hard"), "--against"]
    with StoreWriter(tmp_path / "test") as store:
        store.add(straight_road_scenario())
    (tmp_path / "empty").mkdir()
    assert main([*command, str(tmp_path / "empty")]) == ExitCode.USAGE
    assert "has no scene to keep out" in capsys.readouterr().err
    index = tmp_path / "test" / "index.jsonl"
    index.write_bytes(index.read_bytes().replace(b'"steps"', b'"stops"'))
    assert main([*command, str(tmp_path / "test")]) == ExitCode.USAGE
    assert "cannot be kept out of the rest" in capsys.readouterr().err
    assert not (tmp_path / "hard").exists()


def test_scenes_tagged_for_evaluation_are_never_mined(tmp_path: Path) -> None:
    scenes = list(scenes_of_run(parse_suite(SUITE, "m.toml"), None))
    with StoreWriter(tmp_path / "tagged") as store:
        for i, scene in enumerate(s for s in scenes if isinstance(s, Scenario)):
            word = ("split:test", "validation", "split:train")[i % 3]
            store.add(replace(scene, tags=(*scene.tags, word)))
    path = str(tmp_path / "tagged.toml")
    text = SUITE.replace(
        '{name = "procedural", seed = 3, count = 16}', '{name = "store", path = "tagged"}'
    )
    again = run_suite(parse_suite(text, path), tmp_path / "run")
    mined = mine(again.path, tmp_path / "hard")
    stored = [s for s in ScenarioStore(tmp_path / "hard").scenarios() if isinstance(s, Scenario)]
    assert mined.evaluation_only > 0
    assert stored
    assert all("split:train" in scene.tags for scene in stored)


def test_mistakes_are_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="hold_out"):
        mine(run.path, tmp_path / "out", hold_out=1.0)
    with pytest.raises(RunError, match="limit is 0"):
        mine(run.path, tmp_path / "out", limit=0)
    with pytest.raises(RunError, match="no run directory"):
        mine(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="is there already"):
        mine(run.path, run.path)
    with pytest.raises(DataError, match=r"mining\.json"):
        read_mined(tmp_path)
