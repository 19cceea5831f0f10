"""The same suite gives the same bytes: with one worker, with two, killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_table import finished, not_driven_again, results
from roadworthy.exit_codes import ExitCode
from roadworthy.runner import resume, run_suite
from roadworthy.suite import override, parse_suite

SUITE = """
name = "same"
seed = 11
repetitions = 2
metrics = ["pdms", "epdms", "safety", "success", "comfort"]
sources = [{name = "procedural", seed = 11, count = 10}]
planners = ["idm", "constant-velocity"]
[simulator]
name = "closed-loop"
replan_hz = 5
duration_s = 5.0
start_lateral_m = 0.3
[run]
executor = "process"
workers = 1
batch_size = 3
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference") / "run"
    run_suite(parse_suite(SUITE, "same.toml"), folder)
    return results(folder)


@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers(reference: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    run_suite(override(parse_suite(SUITE, "same.toml"), workers=workers), tmp_path / "run")
    assert results(tmp_path / "run") == reference


def test_inline_with_another_batch_size(reference: dict[str, bytes], tmp_path: Path) -> None:
    text = SUITE.replace("batch_size = 3", "batch_size = 7")
    run_suite(override(parse_suite(text, "same.toml"), executor="inline"), tmp_path / "run")
    assert results(tmp_path / "run") == reference


def test_killed_and_resumed(reference: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "same.toml"
    path.write_text(SUITE)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "run", str(path), "--out", str(folder)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    journal = folder / "cases.jsonl"
    limit = time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < limit:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(folder)
    assert 0 < before.count(b"\n") < 40
    assert not (folder / "scores.csv").exists()
    run = resume(folder)
    assert len(run.records) == 40
    assert results(folder) == reference
    not_driven_again(folder, before, 40)


def test_interrupted_by_the_user(reference: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "same.toml"
    path.write_text(SUITE)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "run", str(path), "--out", str(folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    journal = folder / "cases.jsonl"
    limit = time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < limit:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == ExitCode.INTERRUPTED
    before = finished(folder)
    assert 0 < before.count(b"\n") < 40
    resume(folder)
    assert results(folder) == reference
    not_driven_again(folder, before, 40)


def test_another_suite_does_not_mix_in(reference: dict[str, bytes], tmp_path: Path) -> None:
    from roadworthy.errors import RunError

    folder = tmp_path / "run"
    text = SUITE.replace("count = 10", "count = 2").replace('"pdms", "epdms", ', "")
    run_suite(parse_suite(text, "same.toml"), folder)
    other = text.replace("seed = 11\nrep", "seed = 12\nrep")
    with pytest.raises(RunError, match="another suite"):
        run_suite(parse_suite(other, "same.toml"), folder)
