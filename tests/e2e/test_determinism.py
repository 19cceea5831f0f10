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
from roadworthy.errors import RunError
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


PLANNER = """
import numpy as np
from roadworthy import Trajectory
class Mine:
    def __init__(self, *, weights: str = "", ahead: float = 1.0) -> None: self.ahead = ahead
    def reset(self, brief): pass
    def plan(self, observation):
        return Trajectory(np.linspace(0, self.ahead, 24).reshape(8, 3) * (1, 0, 0), 0.5)
"""


def test_another_suite_does_not_mix_in_and_what_differs_is_named(tmp_path: Path) -> None:
    suite, weights = tmp_path / "same.toml", tmp_path / "weights.bin"
    (tmp_path / "mine.py").write_text(PLANNER)
    weights.write_bytes(b"1")
    mine = f'{{name = "./mine.py:Mine", label = "mine", ahead = 2.0, weights = "{weights}"}}'
    text = (
        SUITE.replace("count = 10", "count = 2")
        .replace('"pdms", "epdms", "safety", ', "")
        .replace('["idm", "constant-velocity"]', f'["constant-velocity", {mine}]')
        .replace("process", "inline")
    )
    run_suite(parse_suite(text, str(suite)), tmp_path / "run")

    def told(old: str = "", new: str = "") -> str:
        with pytest.raises(RunError, match="another suite") as refused:
            run_suite(parse_suite(text.replace(old, new), str(suite)), tmp_path / "run")
        assert "remove this one" in refused.value.hint
        return refused.value.message.partition("or version: ")[2]

    assert told("seed = 11\nrep", "seed = 12\nrep") == "suite: seed is 12, was 11"
    assert told("repetitions = 2", "repetitions = 1") == "suite: repetitions is 1, was 2"
    assert told("count = 2", "count = 3") == "source procedural: count is 3, was 2"
    assert told("hz = 5", "hz = 2") == "simulator: replan_hz is 2, was 5"
    assert told("ahead = 2.0", "ahead = 3.0") == "planner mine: ahead is 3.0, was 2.0"
    assert told("ahead = 2.0, ", "") == "planner mine: ahead is not set, was 2.0"
    assert told('"constant-velocity", ', "") == "planners are mine, were constant-velocity, mine"
    assert told('"success", ', "") == "metrics are comfort, were success, comfort"
    weights.write_bytes(b"2")
    assert told() == f"planner mine: {weights} has changed"
    weights.write_bytes(b"1")
    run_suite(parse_suite(text, str(suite)), tmp_path / "run")
    (tmp_path / "mine.py").write_text(PLANNER + "\n# changed\n")
    assert told().startswith("planner mine: its file has changed")
