"""Suite files: what they may say, and how a mistake is answered."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy.errors import RoadworthyError, SuiteError
from roadworthy.resolved import resolve_suite
from roadworthy.runner import resume, run_suite
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
        ("speed = 3.0", f"speed = {'9' * 5000}", "line 20: an integer of TOML has at most 64 bits"),
        ("speed = 3.0", "speed = 0x8000000000000000", "planners[1].speed: an integer of TOML"),
        ("speed = 3.0", f"speed = {'{a = ' * 5000}1{'}' * 5000}", "not TOML"),
        ("speed = 3.0", f"speed = {'{a = ' * 40}1{'}' * 40}", "more than 32 tables and lists"),
        ("speed = 3.0", f"{'.'.join('a' * 3000)} = 1", "more than 32 tables and lists"),
        ("speed = 3.0", "speed = [1.0, nan]", "planners[1].speed[1] = nan"),
        ("replan_hz = 5", "replan_hz = inf", "simulator.replan_hz = inf"),
        ("speed = 3.0", "[run]\nplan_time_limit_s = nan", "run.plan_time_limit_s = nan"),
        ("speed = 3.0", '[[gate]]\nmetric = "pdms"\nat_least = nan', "gate[0].at_least = nan"),
        ('name = "idm"', 'name = "i\\u0000dm"', "planners[0].name = 'i\\x00dm'"),
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


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (Path("/dev/zero"), tmp_path / "pipe.toml"):
        with pytest.raises(SuiteError, match="is not a plain file"):
            load_suite(path)
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(1 << 40)  # of nothing
    with pytest.raises(SuiteError, match="At most 1 MB"):
        load_suite(tmp_path / "large.toml")


READER = """
from pathlib import Path
from roadworthy_planners.constant_velocity import ConstantVelocity

class Reader(ConstantVelocity):
    def __init__(self, weights: str, more: list[Path]):
        self.read = [Path(weights).read_text(), *(p.read_text() for p in more)]
"""
BESIDE = """
name = "beside"
metrics = ["success"]
sources = [{name = "procedural", count = 1}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 0.5}
run = {executor = "inline"}
[[planners]]
name = "./mine.py:Reader"
weights = "parts/weights.txt"
more = ["./more.txt"]
"""


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "parts").mkdir(parents=True)
    (home / "mine.py").write_text(READER)
    (home / "parts" / "weights.txt").write_text("weights")
    (home / "more.txt").write_text("more")
    (home / "beside.toml").write_text(BESIDE)
    (tmp_path / "elsewhere").mkdir()
    return home


def test_a_file_beside_the_suite_is_found_from_anywhere(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says the same of itself: the text as written, the file's hash."""
    found = []
    for folder, path in ((beside, "beside.toml"), (beside.parent / "elsewhere",
                                                   "../home/beside.toml")):  # fmt: skip
        monkeypatch.chdir(folder)
        resolved = resolve_suite(load_suite(Path(path)), None, None)
        spec = pickle.loads(pickle.dumps(resolved.planners["reader"]))
        monkeypatch.chdir("/")  # where a worker happens to be
        assert folder == beside or spec.build().read == ["weights", "more"]
        found.append((resolved.config_hash(), resolved.described))
    assert found[0] == found[1]
    planner = found[0][1]["reader"]
    assert planner["options"] == {"weights": "parts/weights.txt", "more": ["./more.txt"]}
    assert sorted(planner["files"]) == ["./more.txt", "parts/weights.txt"]
    (beside / "more.txt").write_text("other")
    assert resolve_suite(load_suite(beside / "beside.toml"), None, None).described != found[0][1]


def test_what_is_here_comes_before_what_is_beside_the_suite(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(beside.parent / "elsewhere")
    Path("more.txt").write_text("here")
    resolved = resolve_suite(load_suite(beside / "beside.toml"), None, None)
    assert resolved.planners["reader"].build().read == ["weights", "here"]


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_run_reads_the_file_beside_its_suite_and_can_be_resumed(
    isolation: str, beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(beside.parent / "elsewhere")
    suite = override(load_suite(Path("../home/beside.toml")), isolation=isolation)
    run = run_suite(suite, Path("run"))
    assert [record.status for record in run.records] == ["ok"]
    monkeypatch.chdir(beside.parent)
    assert resume(Path("elsewhere/run")).records == run.records


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
    with pytest.raises(SuiteError, match="1024"):
        override(suite, workers=99999999)


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
