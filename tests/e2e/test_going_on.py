"""A run is gone on with where it is the same run, from anywhere, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from roadworthy.cli import main
from roadworthy.comparison.pairing import contestants, require_comparable
from roadworthy.errors import RunError
from roadworthy.exit_codes import ExitCode
from roadworthy.rollout import Status
from roadworthy.runner import resume, run_suite
from roadworthy.scenario_store import StoreWriter
from roadworthy.store import Run, read_run
from roadworthy.suite import load_suite
from roadworthy.testing.scenes import straight_road_scenario

PLANNER = """
import numpy as np
from roadworthy import Trajectory

class Sometimes:
    def reset(self, brief):
        if brief.seed % 2 and not Mended:
            raise ValueError("an odd seed")
    def plan(self, observation):
        x = observation.ego_state[-1, 3] * 0.5 * np.arange(1, 9)
        return Trajectory(np.column_stack([x, 0 * x, 0 * x]), dt=0.5)
"""
METRIC = """
import numpy as np
from roadworthy import Column, MetricSpec, Scores

class Above:
    spec = MetricSpec("above", "1", (Column("above", headline=True),))
    def __init__(self, limit: float = 1.0):
        self.limit = limit
    def score(self, rollouts):
        fast = rollouts.ego[:, -1, 3] > self.limit
        return Scores(self.spec, {"above": fast.astype(float)})
"""
SUITE = """
name = "on"
seed = 3
metrics = [{name = "./above.py:Above", limit = 1.0}]
sources = [{name = "procedural", seed = 4, count = 8}]
planners = [{name = "./plan.py:Sometimes", label = "mine"}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 1.0}
run = {executor = "inline", save_rollouts = false}
gate = [{metric = "above", at_least = 0.0, min_scenarios = 2}]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a suite, its planner, which fails in some cases, and its metric."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "plan.py").write_text(PLANNER.replace("Mended", "False"))
    (folder / "above.py").write_text(METRIC)
    (folder / "on.toml").write_text(SUITE)
    return folder


def drive(home: Path, out: Path) -> Run:
    return run_suite(load_suite(home / "on.toml"), out)


def test_errors_are_tried_again_only_where_the_run_can_go_on(home: Path, tmp_path: Path) -> None:
    run = drive(home, tmp_path / "run")
    bad = [r.key for r in run.records if r.status is Status.PLANNER_ERROR]
    assert 0 < len(bad) < 8
    assert main(["gate", str(run.path)]) == ExitCode.INCOMPLETE
    journal = (run.path / "cases.jsonl").read_bytes()
    (home / "plan.py").write_text(PLANNER.replace("Mended", "True"))
    with pytest.raises(RunError, match="holds a run of another suite, planner or version"):
        resume(run.path, retry_errors=True)
    assert (run.path / "cases.jsonl").read_bytes() == journal
    assert main(["gate", str(run.path)]) == ExitCode.INCOMPLETE


def test_a_retry_that_is_interrupted_is_no_complete_run(home: Path, tmp_path: Path) -> None:
    run = drive(home, tmp_path / "run")
    scores = (run.path / "scores.csv").read_bytes()

    def stop(plan: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(run.path, retry_errors=True, announce=stop)
    assert not read_run(run.path).manifest.complete
    assert main(["gate", str(run.path)]) == ExitCode.INCOMPLETE
    resume(run.path)
    assert (run.path / "scores.csv").read_bytes() == scores


def test_from_another_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    run_suite(load_suite(Path("on.toml")), Path("run"))
    first = (home / "run" / "scores.csv").read_bytes()
    monkeypatch.chdir("/")
    again = resume(home / "run", retry_errors=True)
    assert (again.path / "scores.csv").read_bytes() == first
    home.rename(tmp_path / "moved")
    assert resume(tmp_path / "moved" / "run").manifest.complete


def test_other_data_are_not_mixed_in(home: Path, tmp_path: Path) -> None:
    for data, count in (("one", 2), ("two", 3)):
        with StoreWriter(tmp_path / data / "scenes") as store:
            for seed in range(count):
                store.add(straight_road_scenario(seconds=2.0, seed=10 * count + seed))
    text = SUITE.replace('"procedural", seed = 4, count = 8', '"store", path = "scenes"')
    (home / "on.toml").write_text(text)
    suite = load_suite(home / "on.toml")
    run_suite(suite, tmp_path / "run", data=tmp_path / "one")
    with pytest.raises(RunError, match="holds 2 records of cases that the sources do not give"):
        run_suite(suite, tmp_path / "run", data=tmp_path / "two")


def test_a_metric_is_known_by_its_options_and_its_code(home: Path, tmp_path: Path) -> None:
    first = drive(home, tmp_path / "run")
    (home / "on.toml").write_text(SUITE.replace("limit = 1.0", "limit = 2.0"))
    with pytest.raises(RunError, match="another"):
        drive(home, tmp_path / "run")
    other = drive(home, tmp_path / "other")
    with pytest.raises(RunError, match=r"metric above has options .* and .*"):
        require_comparable(*contestants([(first, "mine"), (other, "mine")]))
    (home / "on.toml").write_text(SUITE)
    (home / "above.py").write_text(METRIC.replace(">", ">="))
    with pytest.raises(RunError, match="another"):
        drive(home, tmp_path / "run")
    third = drive(home, tmp_path / "third")
    with pytest.raises(RunError, match="two states of its file"):
        require_comparable(*contestants([(first, "mine"), (third, "mine")]))


def test_a_planner_that_changes_the_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PLANNER.replace("brief.seed % 2 and not Mended", "__import__('os').chdir('/')")
    (home / "plan.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    run = run_suite(load_suite(home / "on.toml"), Path("run"))
    assert len(run.records) == 8
    assert (tmp_path / "run" / "scores.csv").is_file()


def test_without_a_home_of_ones_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()
    assert drive(home, tmp_path / "run").manifest.complete


def test_two_scenes_that_are_refused_by_one_name_are_two(home: Path, tmp_path: Path) -> None:
    (home / "twins.py").write_text(
        "from roadworthy.scenario import Rejected\n"
        "from roadworthy.testing.scenes import straight_road_scenario\n"
        "class Twins:\n"
        "    def scenarios(self):\n"
        "        yield from [straight_road_scenario(seconds=2.0)] * 3\n"
        "        yield from [Rejected('torn', 'twins', 'DataError', 'it is torn')] * 2\n"
    )
    text = SUITE.replace('"procedural", seed = 4, count = 8', '"./twins.py:Twins"')
    (home / "on.toml").write_text(text)
    run = drive(home, tmp_path / "run")
    names = [record.scenario for record in run.records]
    first = names[0]
    assert names == [first, f"{first}#2", f"{first}#3", "torn", "torn#2"]
    assert len((run.path / "scores.csv").read_text().splitlines()) == 6
