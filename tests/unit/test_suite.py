"""Suite files: what they may say, and how a mistake is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy.errors import RoadworthyError, SuiteError
from roadworthy.suite import load_suite, override, parse_suite

GOOD = """
name = "demo"
seed = 3
repetitions = 2
metrics = ["pdms", {name = "safety", label = "s"}]

[[sources]]
name = "procedural"
count = 4

[simulator]
name = "closed-loop"
replan_hz = 5

[[planners]]
name = "idm"

[[planners]]
name = "./mine.py:MyPlanner"
speed = 3.0
"""


def test_a_good_suite_says_what_it_says() -> None:
    suite = parse_suite(GOOD, "demo.toml")
    assert (suite.name, suite.seed, suite.repetitions) == ("demo", 3, 2)
    assert suite.sources[0].options == {"count": 4}
    assert suite.simulator.options == {"replan_hz": 5}
    assert [p.label for p in suite.planners] == ["idm", "my-planner"]
    assert suite.planners[1].options == {"speed": 3.0}
    assert [m.name for m in suite.metrics] == ["pdms", "safety"]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('name = "demo"', "", "name"),
        ('name = "demo"', "name = 3", "name = 3"),
        ('name = "demo"', 'name = ""', "name = ''"),
        ("seed = 3", "seed = -1", "seed = -1"),
        ("seed = 3", 'seed = "three"', "seed = 'three'"),
        ("seed = 3", "sede = 3", "Did you mean 'seed'?"),
        ("repetitions = 2", "repetitions = 0", "repetitions = 0"),
        ('metrics = ["pdms", {name = "safety", label = "s"}]', "metrics = []", "metrics"),
        ('metrics = ["pdms", {name = "safety", label = "s"}]', "metrics = [3]", "metrics[0]"),
        ('name = "procedural"', "", "sources[0]: has no name"),
        ('name = "procedural"', "name = 7", "sources[0].name = 7"),
        ('name = "procedural"', 'name = "procedural"\noptional = "yes"', "sources[0].optional"),
        ('name = "./mine.py:MyPlanner"', 'name = "idm"', "two planners are called 'idm'"),
        ("speed = 3.0", 'label = "../../etc"', "cannot be a label"),
        ("speed = 3.0", 'label = "<img>"', "cannot be a label"),
        ("speed = 3.0", "speed = 3.0\n[run]\nworker = 2", "Did you mean 'workers'?"),
        ("speed = 3.0", "speed = 3.0\n[run]\nworkers = -2", "run.workers = -2"),
        ("speed = 3.0", 'speed = 3.0\n[run]\nexecutor = "ray9"', "run.executor = 'ray9'"),
        ("speed = 3.0", "speed = ", "not TOML"),
        ("seed = 3", "seed = " + "9" * 5000, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_file_field_and_value(old: str, new: str, wanted: str) -> None:
    assert old in GOOD
    with pytest.raises(SuiteError) as caught:
        parse_suite(GOOD.replace(old, new, 1), "demo.toml")
    assert wanted in str(caught.value)
    assert "demo.toml" in str(caught.value)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "safety.toml").write_text(GOOD)
    with pytest.raises(SuiteError, match=r"Did you mean '.*safety\.toml'"):
        load_suite(tmp_path / "safetey.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(SuiteError, match="byte 8 is not UTF-8"):
        load_suite(path)


def test_the_command_line_wins(tmp_path: Path) -> None:
    suite = override(
        parse_suite(GOOD, "demo.toml"),
        planners=("idm", "./p.py:Other"),
        executor="inline",
        workers=3,
    )
    assert [p.label for p in suite.planners] == ["idm", "other"]
    assert (suite.run.executor, suite.run.workers) == ("inline", 3)
    with pytest.raises(SuiteError, match="two planners"):
        override(suite, planners=("idm", "idm"))


def answer(text: str) -> None:
    """Parse, and if the answer is an error, insist on one that names the file."""
    message = "any.toml"
    try:
        parse_suite(text, "any.toml")
    except RoadworthyError as error:
        message = str(error)
    assert "any.toml" in message


@given(st.text(max_size=300))
def test_any_text_is_a_suite_or_a_suite_error(text: str) -> None:
    answer(text)


@given(st.sampled_from(GOOD.splitlines()), st.text(max_size=20))
def test_a_suite_with_one_line_changed_is_a_suite_or_a_suite_error(line: str, text: str) -> None:
    answer(GOOD.replace(line, text, 1))
