"""Run directories: nothing that was finished is ever lost, damage is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import roadworthy
from roadworthy.errors import RunError
from roadworthy.rollout import Status
from roadworthy.seeding import derive_seed
from roadworthy.store import (
    FORMAT,
    CaseRecord,
    ErrorRecord,
    Manifest,
    RunDirectory,
    read_run,
    scores_csv,
)
from roadworthy.summary import summarise

SPEC = {
    "name": "m",
    "version": "1",
    "columns": [
        {"name": "value", "per_distance": False},
        {"name": "hit", "per_distance": True},
        {"name": "distance_m", "per_distance": False},
    ],
}


def manifest() -> Manifest:
    return Manifest(
        format=FORMAT,
        suite={"name": "s"},
        config_hash="c",
        planners={"a": {}, "b": {}},
        metrics={"m": SPEC},
        protocol={},
        provenance={},
        scenarios=2,
    )


def record(index: int, planner: str = "a", repetition: int = 0, **values: float) -> CaseRecord:
    return CaseRecord(
        index=index,
        planner=planner,
        key=f"{index}-{repetition}",
        scenario=f"scene {index}",
        source="test",
        scenario_hash="h",
        repetition=repetition,
        seed=derive_seed(0, index, repetition),
        status=Status.OK,
        steps=10,
        values={"m": dict(values)},
    )


def test_records_come_back_in_suite_order_whatever_the_order_of_completion(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append([record(1, "b", value=0.1), record(0, "b", value=1 / 3)])
        folder.append([record(0, "a", value=2.0)])
    run = read_run(tmp_path)
    assert [(r.planner, r.index) for r in run.records] == [("a", 0), ("b", 0), ("b", 1)]
    assert run.records[1].values["m"]["value"] == 1 / 3
    lines = scores_csv(run).splitlines()
    assert lines[0].endswith("m.value,m.hit,m.distance_m")
    assert lines[2].split(",")[-3:] == [repr(1 / 3), "", ""]


def test_a_half_written_line_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append([record(0), record(1)])
    journal = tmp_path / "cases.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    with RunDirectory(tmp_path) as folder:
        assert set(folder.records) == {("a", "0-0")}
        folder.append([record(1)])
    assert [r.index for r in read_run(tmp_path).records] == [0, 1]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append([record(0), record(1)])
    journal = tmp_path / "cases.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"index":1', b'"index":"x"'))
    with pytest.raises(RunError, match=r"cases\.jsonl:2: is damaged"):
        read_run(tmp_path)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path),
        pytest.raises(RunError, match="another run is writing here"),
        RunDirectory(tmp_path),
    ):
        pass


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run directory"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        read_run(tmp_path)
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
    text = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(text | {"format": 99}))
    with pytest.raises(RunError, match="format 99"):
        read_run(tmp_path)


def test_records_of_a_stranger_are_refused(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append([record(0, "c")])
    with pytest.raises(RunError, match="planner 'c'"):
        read_run(tmp_path)


def test_errors_can_be_forgotten_and_only_they(tmp_path: Path) -> None:
    import msgspec

    bad = msgspec.structs.replace(
        record(1), status=Status.PLANNER_ERROR, error=ErrorRecord(type="E", message="m")
    )
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append([record(0), bad])
        assert folder.forget_errors() == 1
    assert [r.index for r in read_run(tmp_path).records] == [0]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), RunDirectory(tmp_path / "file" / "x"):
        pass


def test_repetitions_count_within_their_scenario(tmp_path: Path) -> None:
    """Scene 0 has value 0 twice, scene 1 has value 1 once: the mean is 1/2, not 1/3."""
    with RunDirectory(tmp_path) as folder:
        folder.write_manifest(manifest())
        folder.append(
            [
                record(0, value=0.0, hit=1.0, distance_m=500.0),
                record(0, repetition=1, value=0.0, hit=0.0, distance_m=500.0),
                record(1, value=1.0),
            ]
        )
    columns = {c.column: c for c in summarise(read_run(tmp_path))[0].columns}
    assert columns["value"].mean == 0.5
    assert columns["value"].scenarios == 2
    assert columns["hit"].scenarios == 1
    assert math.isclose(columns["hit"].per_1000_km or 0.0, 1000.0)


def test_scores_are_a_table_with_a_row_per_case(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "mine") as folder:
        folder.write_manifest(manifest())
        folder.append([record(1, value=0.5), record(0, "b", hit=1.0), record(0, value=0.1)])
    table = roadworthy.read_scores(tmp_path / "mine", str(tmp_path / "mine"))
    assert len(table) == 6
    assert table["m.value"][:2].tolist() == [0.1, 0.5]
    assert table.groupby("planner")["m.hit"].sum().to_dict() == {"a": 0.0, "b": 2.0}
    assert table["m.distance_m"].isna().all()
    assert set(table["run"]) == {"mine"}


def test_seeds_are_derived_not_added() -> None:
    seeds = {derive_seed(s, "case", "h", r) for s in range(50) for r in range(50)}
    assert len(seeds) == 2500
    assert derive_seed(1, "a", "1") != derive_seed(1, "a", 1)
    assert all(0 <= seed < 2**63 for seed in seeds)
