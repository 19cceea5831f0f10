"""The PDM Score against reference vectors, and what the check makes of broken ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from roadworthy.errors import DataError
from roadworthy_metrics.conformance import check_pdms


@pytest.fixture(scope="module")
def table(pdms_vectors):
    return check_pdms(pdms_vectors)


def test_every_value_agrees(table):
    wrong = [f"{r.metric}: {r.agree}/{r.values}, {r.first}" for r in table.rows if r.first]
    assert not wrong
    assert table.ok


def test_nothing_is_excepted(table):
    assert not [r.exceptions for r in table.rows if r.exceptions]


def test_all_parts_are_compared(table):
    names = {r.metric for r in table.rows if r.values}
    assert names >= {
        "simulation from reference", "simulation from plans", "area flags", "v1 NC", "v1 DAC",
        "v1 TTC", "v1 EP", "v1 C", "v1 DDC", "v1 score", "v2 NC", "v2 TLC", "v2 LK", "v2 HC",
        "v2 EC", "v2 score", "v2 filtered score", "v2 collision events", "interp v1 pose",
        "interp v2 presence", "two-stage combined", "PDM-Closed proposals",
    }  # fmt: skip


@pytest.fixture
def one_case(pdms_vectors, tmp_path) -> Path:
    """A folder with one case, its index, and nothing else; returns the case's path."""
    content = json.loads((pdms_vectors / "index.json").read_text())
    entry = content["cases"][0]
    (tmp_path / "cases").mkdir()
    shutil.copy(pdms_vectors / entry["file"], tmp_path / entry["file"])
    content["cases"] = [entry]
    (tmp_path / "index.json").write_text(json.dumps(content))
    (tmp_path / entry["file"]).chmod(0o644)
    return tmp_path / entry["file"]


def _rewrite(path: Path, **changes) -> Path:
    arrays = dict(np.load(path))
    for key, value in changes.items():
        if value is None:
            del arrays[key]
        else:
            arrays[key] = value
    np.savez(path, **arrays)
    (path.parent.parent / "index.json").unlink(missing_ok=True)
    return path.parent.parent


def test_a_single_case_is_enough(one_case):
    assert check_pdms(one_case.parent.parent).ok


def test_an_unsigned_folder_is_read(one_case):
    assert check_pdms(_rewrite(one_case)).ok


def test_a_wrong_value_is_found(one_case):
    states = np.load(one_case)["out_sim"].copy()
    states[3, 7, 0] += 1e-3
    table = check_pdms(_rewrite(one_case, out_sim=states))
    assert not table.ok
    row = next(r for r in table.rows if r.metric == "simulation from reference")
    assert row.agree == row.values - 1
    assert "[3, 7, 0]" in row.first


def test_a_changed_file_is_refused(one_case):
    one_case.write_bytes(one_case.read_bytes() + b"x")
    with pytest.raises(DataError, match="sha256"):
        check_pdms(one_case.parent.parent)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"in_raw": None}, "'in_raw' is missing"),
        ({"in_ego0": np.zeros(10)}, "in_ego0 has shape"),
        ({"in_ego0": np.full(11, np.nan)}, r"in_ego0\[0\] = nan"),
        ({"in_map_off": np.array([0, 5])}, "in_map_off"),
        ({"in_map_type": np.array([0.5])}, "in_map_type has dtype"),
        ({"meta_json": np.frombuffer(b"{oops", np.uint8)}, "meta_json is not JSON"),
    ],
)
def test_malformed_vectors_are_named(one_case, change, words):
    with pytest.raises(DataError, match=words) as error:
        check_pdms(_rewrite(one_case, **change))
    assert one_case.name in str(error.value)


def test_an_index_cannot_lead_outside(one_case):
    index = one_case.parent.parent / "index.json"
    content = json.loads(index.read_text())
    content["cases"][0]["file"] = "../../etc/passwd"
    index.write_text(json.dumps(content))
    with pytest.raises(DataError, match="leaves the directory"):
        check_pdms(index.parent)
