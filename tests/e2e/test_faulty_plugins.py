"""Sources, metrics and factories that fail: the run says whose fault it is, and is no success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from roadworthy.cli import main
from roadworthy.errors import PluginError, SuiteError
from roadworthy.exit_codes import ExitCode
from roadworthy.rollout import Status
from roadworthy.runner import check_suite, resume, run_suite
from roadworthy.store import read_run
from roadworthy.suite import parse_suite

BAD = Path(__file__).parents[1] / "planners" / "bad.py"
PLUGINS = """
import numpy as np
from dataclasses import replace
from roadworthy import Column, MetricSpec, Rejected, Scores
from roadworthy.plugins import registry

class ExitsWhenMade:
    def __init__(self):
        raise SystemExit(0)

class InterruptsWhenMade:
    def __init__(self):
        raise KeyboardInterrupt

class Scenes:
    def scenarios(self):
        yield from registry().create("sources", "procedural", {"seed": 5, "count": 1}).scenarios()

class Exits(Scenes):
    def scenarios(self):
        yield from super().scenarios()
        raise SystemExit(0)

class GivesNone(Scenes):
    def scenarios(self):
        yield None

class SaysWhatIsNoText(Scenes):
    def scenarios(self):
        yield Rejected("a\\udcff", "mine", "Odd\\udcff", "no \\udcff.bin " + "x" * 1000000)
        yield from super().scenarios()

class Numbers(Scenes):
    def scenarios(self):
        for scene in super().scenarios():
            yield replace(scene, id=3)
            yield scene

class Metric:
    columns = (Column("x"),)

    def __init__(self):
        self.spec = MetricSpec("mine", "1", self.columns)

    def score(self, rollouts):
        print("scoring", flush=True)
        return Scores(self.spec, {"x": np.ones(len(rollouts))})

class NoSpec(Metric):
    def __init__(self):
        self.spec = None

class TextForASpec(Metric):
    def __init__(self):
        self.spec = "mine"

class NoColumns(Metric):
    columns = ()

class TwoOfOneName(Metric):
    columns = (Column("x"), Column("x"))

class Unprintable(Metric):
    columns = (Column("x\\udcff"),)
"""
SUITE = """
name = "faulty"
seed = 5
metrics = ["METRIC"]
sources = [{name = "SOURCE"}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 1.0}
planners = ["PLANNER"]
[run]
executor = "EXECUTOR"
workers = 1
save_rollouts = false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGINS)
    return tmp_path


def text(
    planner: str = "constant-velocity",
    source: str = "./mine.py:Scenes",
    metric: str = "success",
    executor: str = "inline",
) -> str:
    words = {"PLANNER": planner, "SOURCE": source, "METRIC": metric, "EXECUTOR": executor}
    out = SUITE
    for word, value in words.items():
        out = out.replace(word, value)
    return out


def run(folder: Path, suite: str, *options: str) -> int:
    (folder / "suite.toml").write_text(suite)
    return main(["run", str(folder / "suite.toml"), "--out", str(folder / "run"), *options])


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        (text(planner="./mine.py:ExitsWhenMade"), "cannot be made"),
        (text(planner="./mine.py:InterruptsWhenMade"), "cannot be made"),
        (text(metric="./mine.py:ExitsWhenMade"), "cannot be made"),
        (text(source="./mine.py:ExitsWhenMade"), "cannot be made"),
        (text(source="./mine.py:Exits"), "stopped with"),
        (text(source="./mine.py:GivesNone"), "gave None"),
    ],
)
def test_a_plugin_that_ends_the_program_or_gives_nothing_is_named(
    folder: Path, suite: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, suite) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert err.count("error: ") == 1
    assert said in err
    assert "@mine.py" in err


def test_ctrl_c_while_a_plugin_is_at_work_interrupts(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "import os, signal\nclass Slow:\n    def reset(self, brief):\n        try:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n        except KeyboardInterrupt:\n"
        "            raise ValueError\n    def plan(self, observation): ...\n"
    )
    assert run(folder, text(planner="./slow.py:Slow")) == ExitCode.INTERRUPTED
    assert read_run(folder / "run").records == ()


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_planner_that_raises_a_keyboard_interrupt_does_not_interrupt_the_run(
    folder: Path, isolation: str
) -> None:
    suite = text(planner=f"{BAD}:Interrupts").replace("1.0}", "3.0}")
    assert run(folder, suite, "--isolation", isolation) == ExitCode.INCOMPLETE
    (record,) = read_run(folder / "run").records
    assert record.status is Status.PLANNER_ERROR
    assert record.error is not None
    assert record.error.type == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("source", "names"),
    [("SaysWhatIsNoText", ["a\\udcff"]), ("Numbers", ["3"])],
)
def test_whatever_a_source_says_can_be_recorded_and_read_again(
    folder: Path, source: str, names: list[str]
) -> None:
    suite = parse_suite(text(source=f"./mine.py:{source}"), str(folder / "suite.toml"))
    made = run_suite(suite, folder / "run")
    assert [r.scenario for r in made.records if r.status is Status.INVALID_SCENARIO] == names
    assert [r.status for r in made.records].count(Status.OK) == 1
    assert (folder / "run" / "cases.jsonl").stat().st_size < 20_000
    assert resume(folder / "run").records == made.records


@pytest.mark.parametrize(
    "metric", ["NoSpec", "TextForASpec", "NoColumns", "TwoOfOneName", "Unprintable"]
)
def test_a_metric_without_a_usable_spec_is_refused_before_anything_is_driven(
    folder: Path, metric: str
) -> None:
    suite = parse_suite(text(metric=f"./mine.py:{metric}"), str(folder / "suite.toml"))
    with pytest.raises(PluginError, match=r"metrics\[0\]: metric .*@mine\.py.* has no usable spec"):
        check_suite(suite)


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_what_plugins_print_is_no_result(
    folder: Path, executor: str, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = text(planner=f"{BAD}:Prints", metric="./mine.py:Metric", executor=executor)
    assert run(folder, suite, "--json") == ExitCode.OK
    out, err = capfd.readouterr()
    assert json.loads(out)[0]["planner"] == "prints"
    assert "at step 0" in err
    assert "scoring" in err


def test_a_memory_limit_that_no_worker_can_live_with_is_refused(folder: Path) -> None:
    with pytest.raises(SuiteError, match=r"run\.memory_limit_gb = 1e-09: .*0\.25"):
        parse_suite(text() + "memory_limit_gb = 1e-9\n", str(folder / "suite.toml"))


def test_a_plugin_that_does_not_fit_the_memory_limit_names_the_limit(folder: Path) -> None:
    """A planner's cases have the error; without a metric there is no case at all."""
    (folder / "large.py").write_text(
        "import numpy as np\nfrom roadworthy_planners.constant_velocity import ConstantVelocity\n"
        "from roadworthy_metrics.success import Success\nWEIGHTS = np.ones(2**27)\n"
        "class Planner(ConstantVelocity): ...\nclass Metric(Success): ...\n"
    )
    planner = '{name = "./large.py:Planner", resources = {memory_gb = 0.5}}'
    suite = text(executor="process").replace('"constant-velocity"', planner)
    made = run_suite(parse_suite(suite, str(folder / "suite.toml")), folder / "run")
    (record,) = made.records
    assert record.status is Status.PLANNER_ERROR
    assert record.error is not None
    assert "resources.memory_gb of planner 'planner' = 0.5 may be too small" in record.error.message
    suite = text(metric="./large.py:Metric", executor="process") + "memory_limit_gb = 0.5\n"
    with pytest.raises(PluginError) as refused:
        run_suite(parse_suite(suite, str(folder / "suite.toml")), folder / "other")
    assert "run.memory_limit_gb = 0.5 may be too small" in refused.value.hint
