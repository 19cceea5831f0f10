"""Every way a planner can fail is charged to its own cases, named, and costs nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from roadworthy.rollout import Status
from roadworthy.runner import resume, run_suite
from roadworthy.store import Run
from roadworthy.suite import Suite, parse_suite

BAD = Path(__file__).parents[1] / "planners" / "bad.py"


def suite(*planners: str, executor: str, limit: float = 20.0, count: int = 3) -> Suite:
    text = f"""
    name = "faulty"
    seed = 5
    metrics = ["success"]
    sources = [{{name = "procedural", seed = 5, count = {count}}}]
    simulator = {{name = "closed-loop", replan_hz = 2, duration_s = 3.0}}
    planners = [{", ".join(f'"{BAD}:{name}"' for name in planners)}]
    [run]
    executor = "{executor}"
    workers = 2
    batch_size = 8
    plan_time_limit_s = {limit}
    memory_limit_gb = 3.0
    save_rollouts = false
    """
    return parse_suite(text, str(BAD.parent / "suite.toml"))


def by_planner(run: Run) -> dict[str, list[tuple[Status, str, int]]]:
    found: dict[str, list[tuple[Status, str, int]]] = {}
    for r in run.records:
        kind = (r.status, r.error.type if r.error else "", r.error.step if r.error else -1)
        found.setdefault(r.planner, []).append(kind)
    return found


OUTPUTS = {
    "Raises": "KeyError",
    "Exits": "SystemExit",
    "ReturnsNone": "PlannerOutputError",
    "ReturnsText": "PlannerOutputError",
    "ReturnsNaN": "PlannerOutputError",
    "ReturnsInfinity": "PlannerOutputError",
    "WrongShape": "PlannerOutputError",
    "NoPoses": "PlannerOutputError",
    "BareArray": "PlannerOutputError",
    "ZeroDt": "PlannerOutputError",
    "WorldFrame": "PlannerOutputError",
    "SaysWhatIsNoText": "FileNotFoundError",
    "SaysTooMuch": "ValueError",
    "CannotSay": "Mute",
    "Cancels": "CancelledError",
    "RaisesItsOwnBase": "Halt",
    "InterruptsInAGroup": "BaseExceptionGroup",
    "ReturnsComplex": "PlannerOutputError",
    "ReturnsNumbersAsText": "PlannerOutputError",
    "ReturnsMasked": "PlannerOutputError",
    "ReturnsDurations": "PlannerOutputError",
    "ReturnsTruth": "PlannerOutputError",
    "TrueDt": "PlannerOutputError",
    "Spins": "PlannerOutputError",
    "LiesAboutItsShape": "PlannerOutputError",
}


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_what_a_planner_raises_or_returns_is_charged_to_its_step(
    tmp_path: Path, executor: str
) -> None:
    names = [*OUTPUTS, "RaisesInReset", "Exchanges", "Good", "Vandal", "WholeSeconds"]
    run = run_suite(suite(*names, executor=executor), tmp_path / "run")
    found = by_planner(run)
    from roadworthy.plugins.localfile import kebab

    for name, error in OUTPUTS.items():
        assert found[kebab(name)] == [(Status.PLANNER_ERROR, error, 10)] * 3, name
    assert found["raises-in-reset"] == [(Status.PLANNER_ERROR, "RuntimeError", -1)] * 3
    assert found["good"] == [(Status.OK, "", -1)] * 3
    assert found["vandal"] == [(Status.OK, "", -1)] * 3
    assert found["whole-seconds"] == [(Status.OK, "", -1)] * 3
    assert found["exchanges"] == [(Status.PLANNER_ERROR, "PlannerOutputError", -1)] * 3
    good, vandal = ([r for r in run.records if r.planner == name] for name in ("good", "vandal"))
    assert [r.values for r in good] == [r.values for r in vandal]
    messages = {r.error.message for r in run.records if r.error}
    assert all("\n" in m or m for m in messages)
    nan = next(r for r in run.records if r.planner == kebab("ReturnsNaN"))
    assert nan.error is not None
    assert "poses[3]" in nan.error.message
    says = {r.planner: r.error.message for r in run.records if r.error}
    assert says["says-what-is-no-text"] == "weights-\\udcff.bin"
    assert "RoadMap.lane_centreline, Vehicle.width" in says["exchanges"]
    assert "yaw of 1e+308 rad" in says["spins"]
    assert all(len(message) <= 4000 for message in says.values())
    assert (tmp_path / "run" / "cases.jsonl").stat().st_size < 1_000_000
    assert resume(tmp_path / "run").records == run.records


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_planner_that_hangs_is_stopped(tmp_path: Path, executor: str) -> None:
    names = ("Hangs", "Good")
    run = run_suite(suite(*names, executor=executor, limit=1.0, count=2), tmp_path / "run")
    found = by_planner(run)
    assert found["hangs"] == [(Status.TIMEOUT, "PlannerTimeout", 10)] * 2
    assert [status for status, _, _ in found["good"]] == [Status.OK] * 2


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("HangsInNativeCode", Status.TIMEOUT, "PlannerTimeout"),
        ("Crashes", Status.PLANNER_ERROR, "WorkerDied"),
        ("Vanishes", Status.PLANNER_ERROR, "WorkerDied"),
        ("TenGigabytes", Status.PLANNER_ERROR, "MemoryError"),
        ("Interrupts", Status.PLANNER_ERROR, "KeyboardInterrupt"),
        ("ClosesFiles", Status.PLANNER_ERROR, "WorkerDied"),
        ("WritesToFiles", Status.PLANNER_ERROR, "WorkerDied"),
    ],
)
def test_what_only_a_process_survives(
    tmp_path: Path, name: str, status: Status, error: str
) -> None:
    run = run_suite(suite(name, "Good", executor="process", limit=1.0, count=2), tmp_path / "run")
    from roadworthy.plugins.localfile import kebab

    found = by_planner(run)
    assert [(s, e) for s, e, _ in found[kebab(name)]] == [(status, error)] * 2
    assert [s for s, _, _ in found["good"]] == [Status.OK] * 2


def test_a_batch_planner_that_fails_on_one_scene_loses_that_scene_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadworthy.plugins import registry

    scenes = registry().create("sources", "procedural", {"seed": 5, "count": 6}).scenarios()
    counts = [len(scene.agents) for scene in scenes]
    worst = max(counts)
    monkeypatch.setenv("ROADWORTHY_TEST_AGENTS", str(worst))
    chosen = suite("FailsOnOneScene", executor="process", count=6)
    run = run_suite(chosen, tmp_path / "run")
    wanted = [Status.PLANNER_ERROR if n == worst else Status.OK for n in counts]
    assert [r.status for r in run.records] == wanted
    assert Status.OK in wanted
