"""The source in docs/bring-your-own-data.md is taken from the page, and run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from roadworthy import cli
from roadworthy.exit_codes import ExitCode
from roadworthy.runner import run_suite
from roadworthy.scenario_store import ScenarioStore
from roadworthy.suite import load_suite

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bring-your-own-data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's source beside two logs: one of 6 s behind another car, and one cut off."""
    (tmp_path / "drives.py").write_text(blocks("python")[0])
    logs = tmp_path / "logs"
    logs.mkdir()
    x = 0.8 * np.arange(76)
    still = np.zeros(len(x))
    table = np.stack([x, still, still, x + 20.0, still, still], axis=1)
    for name, rows in (("good", table), ("short", table[:9])):
        np.savetxt(
            logs / f"{name}.csv", rows, "%.4f", ",", header="x,y,yaw,ax,ay,ayaw", comments=""
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_short() -> None:
    body = blocks("python")[0].partition("class Drives")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 30


def test_it_is_listed_shown_and_stored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["./drives.py:Drives", "-o", "path=logs"]
    assert cli.main(["scenarios", "list", *source, "--json"]) == ExitCode.OK
    good, short = json.loads(capsys.readouterr().out)
    assert (good["id"], good["refused"], good["seconds"]) == ("good", "", 7.5)
    assert good["agents"] == {"vehicle": 1}
    assert good["scored_on"]["collisions"]
    assert "9 steps" in short["refused"]
    assert cli.main(["scenarios", "validate", *source]) == ExitCode.INCOMPLETE
    assert cli.main(["scenarios", "show", *source, "--out", "drive.html"]) == ExitCode.OK
    assert (folder / "drive.html").stat().st_size > 10_000
    assert cli.main(["scenarios", "convert", *source, "--out", "s", "--split", "test"]) == 0
    assert [s.id for s in ScenarioStore(folder / "s").scenarios("test")] == ["good", "short"]


def test_its_suite_runs(folder: Path) -> None:
    (folder / "suite.toml").write_text(blocks("toml")[0] + '\n[run]\nexecutor = "inline"\n')
    run = run_suite(load_suite(folder / "suite.toml"), folder / "out")
    assert [r.status.value for r in run.records] == ["ok", "invalid_scenario"]
