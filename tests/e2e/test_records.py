"""What those who operate a run get: a log for machines, a log for Foxglove, a page on GitHub."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from mcap.reader import make_reader
from roadworthy.cli import cli
from roadworthy.replay import load_replay
from roadworthy.report.showing import show_case
from roadworthy.runner import Progress, run_suite
from roadworthy.signoff import fingerprint
from roadworthy.store import read_run
from roadworthy.suite import parse_suite
from roadworthy.vehicle import VehicleIndex

BAD = Path(__file__).parents[1] / "planners" / "bad.py"

SUITE = f"""
name = "records"
seed = 5
metrics = ["success", "safety"]
sources = [{{name = "procedural", seed = 5, count = 3}}]
simulator = {{name = "closed-loop", replan_hz = 2, duration_s = 4.0}}
planners = ["constant-velocity", "{BAD}:Raises"]
[run]
executor = "inline"
[[gate]]
metric = "success"
planner = "constant-velocity"
at_least = 0.0
min_scenarios = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    (folder / "suite.toml").write_text(SUITE)
    run_suite(parse_suite(SUITE, str(folder / "suite.toml")), folder / "run")
    return folder / "run"


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_bytes().splitlines()]


def test_the_log_says_what_happened_in_order(run: Path) -> None:
    lines = log_of(run)
    events = [line["event"] for line in lines]
    assert [e for e in events if e != "plan"] == ["start", *["case"] * 6, "end"]
    times = [datetime.datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)
    assert lines[0]["planners"] == ["constant-velocity", "raises"]
    bad = [line for line in lines if line["level"] == "warning"]
    assert len(bad) == 3
    assert all(b["planner"] == "raises" and b["error"]["type"] == "KeyError" for b in bad)
    assert lines[-1] == lines[-1] | {"cases": 6, "errors": 3, "fingerprint": fingerprint(run)}


def test_a_run_that_is_stopped_says_so_and_goes_on_in_the_same_log(tmp_path: Path) -> None:
    suite = parse_suite(SUITE + "", str(tmp_path / "suite.toml"))

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path / "run", progress=stop)
    run_suite(suite, tmp_path / "run")
    lines = log_of(tmp_path / "run")
    events = [line["event"] for line in lines]
    assert events.index("stopped") < events.index("end")
    assert events.count("start") == 2
    assert [
        line["key"] for line in lines if line["event"] == "case" and line["planner"] == "raises"
    ]
    second = [line for line in lines if line["event"] == "start"][1]
    assert second["done"] == events[: events.index("stopped")].count("case")


def test_the_log_is_no_part_of_what_is_signed_off(run: Path) -> None:
    assert "log.jsonl" not in json.loads((run / "hashes.json").read_text())["files"]


def test_foxglove_gets_what_was_driven(run: Path, tmp_path: Path) -> None:
    found = read_run(run)
    record = next(r for r in found.records if r.planner == "constant-velocity")
    show_case(found, record.scenario, tmp_path / "case.mcap")
    data = (tmp_path / "case.mcap").read_bytes()
    reader = make_reader(io.BytesIO(data), validate_crcs=True)
    summary = reader.get_summary()
    assert summary is not None
    assert {schema.name for schema in summary.schemas.values()} == {
        "foxglove.SceneUpdate",
        "foxglove.FrameTransform",
        "foxglove.Log",
    }
    by_topic: dict[str, list[tuple[int, Any]]] = {}
    for schema, channel, message in reader.iter_messages():
        assert schema is not None
        assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
        value = json.loads(message.data)
        jsonschema.validate(value, json.loads(schema.data))
        by_topic.setdefault(channel.topic, []).append((message.log_time, value))
    replay = load_replay(run, "constant-velocity", record.key)
    steps = len(replay.ego)

    transforms = by_topic["/constant-velocity/tf"]
    assert [time for time, _ in transforms] == [100_000_000 * i for i in range(steps)]
    driven = np.array([[t["translation"]["x"], t["translation"]["y"]] for _, t in transforms])
    np.testing.assert_array_equal(driven, replay.ego[:, :2])
    turned = [2 * np.arctan2(t["rotation"]["z"], t["rotation"]["w"]) for _, t in transforms]
    np.testing.assert_allclose(np.exp(1j * np.array(turned)), np.exp(1j * replay.ego[:, 2]))

    scenes = by_topic["/constant-velocity/scene"]
    assert len(scenes) == steps
    for step, (_, scene) in enumerate(scenes):
        entities = {e["id"]: e for e in scene["entities"]}
        (ego,) = entities["ego"]["cubes"]
        x, y, yaw = replay.ego[step, :3]
        vehicle = replay.vehicle
        ahead = (vehicle[VehicleIndex.FRONT] - vehicle[VehicleIndex.REAR]) / 2
        assert ego["pose"]["position"]["x"] == pytest.approx(x + ahead * np.cos(yaw))
        assert ego["pose"]["position"]["y"] == pytest.approx(y + ahead * np.sin(yaw))
        assert ego["size"]["x"] == pytest.approx(vehicle[1] + vehicle[2])
        assert len(entities["agents"]["cubes"]) == replay.agents_valid[:, step].sum()
        assert len(entities["plan"]["lines"]) == 1
    plan = {e["id"]: e for e in scenes[0][1]["entities"]}["plan"]["lines"][0]["points"]
    assert plan[0] == {"x": replay.ego[0, 0], "y": replay.ego[0, 1], "z": 0.0}
    length = np.hypot(plan[-1]["x"] - plan[0]["x"], plan[-1]["y"] - plan[0]["y"])
    assert length == pytest.approx(np.hypot(*replay.plan_poses[0, -1, :2]))

    log = [value for _, value in by_topic["/raises/log"]]
    assert log
    assert {value["level"] for value in log} == {4}
    ((time, road),) = by_topic["/map"]
    assert time == 0
    assert road["entities"][0]["lines"]


def test_a_job_on_github_shows_the_summary_and_the_verdicts(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    for arguments in (["resume", str(run)], ["gate", str(run)]):
        result = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert result.exception is None, result.output
    text = page.read_text()
    assert (run / "summary.md").read_text() in text
    assert "| verdict | rule | reason |" in text
    assert "| pass | " in text


def test_elsewhere_nothing_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["gate", str(run)], standalone_mode=False).exception is None
    assert list(tmp_path.iterdir()) == []
