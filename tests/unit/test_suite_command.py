"""`roadworthy suite validate`"""

from __future__ import annotations

from pathlib import Path

import pytest
from roadworthy.cli import main
from roadworthy.exit_codes import ExitCode

SUITES = Path(__file__).parents[2] / "suites"
RUNNABLE = ["smoke", "safety", "cameras", "flywheel", "paper", "scaling"]


def test_what_is_shipped_can_be_run(capsys):
    files = [str(SUITES / f"{name}.toml") for name in RUNNABLE]
    assert main(["suite", "validate", *files]) == ExitCode.OK
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == files
    assert [row[1] for row in rows] == ["suite"] * 3 + ["flywheel"] * 3


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("smoke", "replan_hz", "replan", "simulator.replan = 2: there is no such option"),
        ("smoke", '"towns"', '"town"', "towns"),
        ("smoke", "count", "number", "number"),
        ("safety", 'metric = "pdms"', 'metric = "pdms.score"', "gate[1].metric = 'pdms.score'"),
        ("safety", 'against = "baseline"', 'against = "idn"', "Did you mean 'idm'?"),
        ("flywheel", 'metric = "success"', 'metric = "succes"', "accept[1].metric = 'succes'"),
        ("flywheel", '"success.route_completion"', '"success.route"', "headline = 'success.route'"),
        ("flywheel", "[generation]", "[generations]", "generation"),
        ("flywheel", 'trainer = { name = "', 'trainer = { name = "un', "trainer"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is(name, old, new, told, tmp_path, capsys):
    text = (SUITES / f"{name}.toml").read_text()
    assert old in text
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace(old, new, 1))
    assert main(["suite", "validate", str(wrong)]) == ExitCode.USAGE
    found = capsys.readouterr()
    assert found.out == ""
    assert str(wrong) in found.err
    assert told in found.err


def test_a_planner_beside_the_suite_can_be_isolated(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from roadworthy_planners.idm import IDM as Mine\n")
    text = (SUITES / "smoke.toml").read_text()
    suite = tmp_path / "suite.toml"
    suite.write_text(text + '\n[[planners]]\nname = "./mine.py:Mine"\nisolation = "process"\n')
    assert main(["suite", "validate", str(suite)]) == ExitCode.OK
    assert capsys.readouterr().out == f"{suite}\tsuite\tok\n"


@pytest.mark.parametrize("value", ["9" * 5000, "{a = " * 5000 + "1" + "}" * 5000])
def test_what_python_cannot_read_is_refused_of_suites_and_flywheels(value, tmp_path, capsys):
    for name in ("smoke", "flywheel"):
        wrong = tmp_path / f"{name}.toml"
        wrong.write_text(f"seed = {value}\n" + (SUITES / f"{name}.toml").read_text())
        assert main(["suite", "validate", str(wrong)]) == ExitCode.USAGE
        assert capsys.readouterr().err.startswith(f"error: {wrong}: ")


def test_where_a_path_is_missing_it_is_named(tmp_path, capsys):
    wrong = tmp_path / "wrong.toml"
    text = (SUITES / "smoke.toml").read_text()
    wrong.write_text(text + '\n[[sources]]\nname = "store"\npath = "nowhere"\n')
    assert main(["suite", "validate", str(wrong)]) == ExitCode.USAGE
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_an_optional_source_that_is_left_out_says_where_it_was_looked_for(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    text = (SUITES / "smoke.toml").read_text()
    path = tmp_path / "some.toml"
    path.write_text(text + '\n[[sources]]\nname = "store"\npath = "nowhere"\noptional = true\n')
    assert main(["suite", "validate", str(path), "--data", str(tmp_path / "data")]) == ExitCode.OK
    told = capsys.readouterr().err
    assert f"not found at {tmp_path / 'data' / 'nowhere'} and {tmp_path / 'nowhere'}" in told
