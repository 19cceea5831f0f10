"""The flywheel, turned for real with a planner of one parameter."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flywheel_sets import PLUGIN, load_file, search, wheel_file
from roadworthy.errors import PluginError, RoadworthyError, RunError
from roadworthy.exit_codes import ExitCode
from roadworthy.failures import find_failures
from roadworthy.flywheel import (
    StageEvent,
    load_flywheel,
    read_results,
    run_flywheel,
)
from roadworthy.flywheel.config import Rule
from roadworthy.flywheel.hindsight import read_lookbacks
from roadworthy.flywheel.judging import judge_round
from roadworthy.flywheel.report import write_flywheel_report
from roadworthy.flywheel.scenes import cut_parts, read_store
from roadworthy.rollout import Status
from roadworthy.scenario import Scenario, content_hash
from roadworthy.scenario_store import ScenarioStore
from roadworthy.splits import root_of
from roadworthy.store import read_run
from roadworthy_sources.towns.rare import KINDS


@pytest.fixture(scope="module")
def turned(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished flywheel: an arm that helps, and one whose rounds are planted to harm."""
    folder = tmp_path_factory.mktemp("turned")
    planted = {
        "name": "planted",
        "trainer": search(objective="harm", step=0.3),
        "data": {"mined": 1},
        "smaller": {"step": 0.5},
        "rounds": 2,
    }
    file = wheel_file(folder / "wheel.toml", sets)
    arms = load_file(file)["arms"]
    start = search(objective="safety", step=0.7)  # careful enough to be harmed
    file = wheel_file(
        folder / "wheel.toml",
        sets,
        arms=[*arms, planted],
        pretrain={"trainer": start},
        generation={"generator": "perturb", "variants": 4},
    )
    run_flywheel(load_flywheel(file), folder / "out")
    return folder / "out"


def made(out: Path) -> dict[str, bytes]:
    """Everything that must be the same bytes, by name."""
    names = ["results.json", *(f"stages/{p.name}/stage.json" for p in (out / "stages").iterdir())]
    return {name: (out / name).read_bytes() for name in names}


def test_a_bad_round_is_rolled_back_and_the_next_takes_smaller_steps(turned: Path) -> None:
    results = json.loads((turned / "results.json").read_bytes())
    planted = [r for r in results["rounds"] if r["arm"] == "planted"]
    assert [r["accepted"] for r in planted] == [False, False]
    assert [r["options"]["step"] for r in planted] == [0.3, 0.15]
    assert all(any(v["judged"] and not v["passed"] for v in r["verdicts"]) for r in planted)
    checkpoints = results["checkpoints"]
    assert checkpoints["planted/1"] == checkpoints["base/1"]  # as if nothing had happened
    harmed = turned / "stages" / planted[0]["trained"]
    assert harmed.is_dir()  # what was rolled back is kept to be looked at
    for before, after in ((c["mean"], c["against"]["base"]) for c in results["table"]
                          if c["arm"] == "planted"):  # fmt: skip
        assert after[:3] == [0.0, 0.0, 0.0]
        assert before[0] is not None


def test_a_good_round_is_accepted(sets: Path, tmp_path: Path) -> None:
    results = run_flywheel(load_flywheel(wheel_file(tmp_path / "w.toml", sets)), tmp_path / "out")
    assert any(r.accepted for r in results.rounds)
    assert results.checkpoints["whole/1"] != results.checkpoints["base/1"]
    base = results.cell("base", "test", "rare", "success")
    whole = results.cell("whole", "test", "rare", "success")
    assert base is not None
    assert whole is not None
    assert whole.mean[0] > base.mean[0]  # type: ignore[operator]
    assert whole.against["base"][0] == pytest.approx(whole.mean[0] - base.mean[0])  # type: ignore[operator]
    first = results.rounds[0]
    assert first.scenes["train"] * 2 == first.scenes["driven-variants"]
    assert [r.options["step"] for r in results.rounds] == pytest.approx([1.0, 0.7])


def test_a_round_trains_on_what_the_rounds_before_it_made_too(sets: Path, tmp_path: Path) -> None:
    arm = {"name": "whole", "trainer": search(step=1.0), "data": ["driven-mined"], "rounds": 2,
           "gated": False}  # fmt: skip
    file = wheel_file(
        tmp_path / "w.toml", sets, arms=[arm], mining={"parts": 2}, metrics=["success"]
    )
    results = run_flywheel(load_flywheel(file), tmp_path / "out")
    driven = {s.hash for p in (tmp_path / "out").glob("stages/driven-*") for s in read_store(p)}
    mined = [len(read_store(p)) for p in (tmp_path / "out").glob("stages/mined-*")]
    first, second = (r.scenes["driven-mined"] for r in results.rounds)
    assert first in mined
    assert second == len(driven) == first + sum(mined)  # the first round's by both planners


def test_driven_scenes_are_what_the_planner_did(turned: Path) -> None:
    stages = turned / "stages"
    mined = {root_of(s) for p in stages.glob("mined-*") for s in read_store(p)}
    driven = [s for p in stages.glob("driven-*") for s in read_store(p)]
    varied = {s.hash: s for p in stages.glob("varied-*") for s in read_store(p)}
    assert driven
    for scene in driven:
        assert scene.lineage is not None
        assert scene.lineage.generator == "rollout"
        parent = varied[scene.lineage.parent]
        assert root_of(scene) == root_of(parent)
        assert root_of(scene) in mined
        at, was = scene.start, parent.start
        assert (scene.ego[: at + 1] == parent.ego[was - at : was + 1]).all()  # one past ...
        assert (scene.ego[at + 1 :] != parent.ego[was + 1 :][: scene.horizon]).any()  # two futures


def test_interrupted_before_every_stage_it_goes_on_to_the_same_bytes(
    sets: Path, tmp_path: Path
) -> None:
    flywheel = load_flywheel(wheel_file(tmp_path / "w.toml", sets))
    run_flywheel(flywheel, tmp_path / "whole")
    stops = 0

    def stop_at_work() -> Callable[[StageEvent], None]:
        begun = 0

        def progress(event: StageEvent) -> None:
            nonlocal begun
            begun += event.state == "started"
            if begun == 2:  # one stage is made per try
                raise KeyboardInterrupt

        return progress

    while True:
        try:
            run_flywheel(flywheel, tmp_path / "torn", progress=stop_at_work())
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 10
    assert made(tmp_path / "torn") == made(tmp_path / "whole")


def test_killed_in_mid_training_and_damaged_it_ends_with_the_same_bytes(
    turned: Path, sets: Path, tmp_path: Path
) -> None:
    file = turned.parent / "wheel.toml"
    out = tmp_path / "out"
    command = [sys.executable, "-m", "roadworthy", "flywheel", str(file), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stderr is not None
        for line in killed.stderr:
            event = json.loads(line)  # one line of JSON per stage where nobody watches
            if event["stage"].startswith("train-") and event["state"] == "started":
                os.kill(killed.pid, signal.SIGKILL)
                break
    scenes = next((out / "stages").glob("scenes-*/scenes/*.bin"), None) or next(
        p for p in (out / "stages").glob("scenes-*/scenes/*") if p.is_file()
    )
    scenes.write_bytes(scenes.read_bytes()[:-1] + b"?")
    events: list[StageEvent] = []
    run_flywheel(load_flywheel(file), out, progress=events.append)
    states = {e.stage: e.state for e in events}
    assert states[scenes.parents[1].name] == "made"  # a damaged stage is made anew
    assert list(states.values()).count("kept") == 3
    assert made(out) == made(turned)


def test_the_same_command_keeps_everything(turned: Path) -> None:
    before = made(turned)
    events: list[StageEvent] = []
    run_flywheel(load_flywheel(turned.parent / "wheel.toml"), turned, progress=events.append)
    assert {e.state for e in events} == {"kept"}
    assert made(turned) == before


def test_a_changed_plugin_has_its_stages_made_again(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "patience"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("")
    (package / "steps.py").write_text("STEP = 0.2\n")
    (package / "trainer.py").write_text(
        f"import sys\nsys.path.insert(0, {str(PLUGIN.parent)!r})\nfrom headway import Search\n"
        "class Patient(Search):\n    def __init__(self) -> None:\n"
        "        from .steps import STEP\n        super().__init__('haste', STEP)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    changes = {"pretrain": {"trainer": "patience.trainer:Patient"}, "arms": []}
    flywheel = load_flywheel(wheel_file(tmp_path / "w.toml", sets, metrics=["success"], **changes))

    def turn() -> dict[str, set[str]]:
        for module in [m for m in sys.modules if m.startswith(("patience", "headway"))]:
            del sys.modules[module]
        events: list[StageEvent] = []
        run_flywheel(flywheel, tmp_path / "out", progress=events.append)
        kinds: dict[str, set[str]] = {"made": set(), "kept": set()}
        for event in events:
            kinds.get(event.state, set()).add(event.stage.partition("-")[0])
        return kinds

    first = turn()
    assert not first["kept"]
    (package / "other.py").write_text("# nothing that the trainer uses\n")
    assert not turn()["made"]
    (package / "steps.py").write_text("STEP = 0.4\n")
    assert turn() == {"made": {"train", "drive", "hindsight"}, "kept": {"scenes"}}


def test_a_rule_about_scenes_that_are_not_there_is_not_met(turned: Path) -> None:
    run = read_run(next((turned / "stages").glob("drive-*")) / "run")
    rule = Rule(metric="success", margin=0.1, group="common")
    (verdict,) = judge_round(run, run, [rule], "rare")
    assert not verdict.passed
    assert not verdict.judged
    assert verdict.reason == "The validation set has no common scene."


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("disk", RunError, "No space left on device"),
        ("raise", PluginError, "ZeroDivisionError: loss is NaN"),
    ],
)
def test_a_trainer_that_fails_in_mid_round_loses_nothing(
    turned: Path, sets: Path, tmp_path: Path, fault: str, error: type[RoadworthyError], words: str
) -> None:
    out = tmp_path / "out"
    wheel = load_file(turned.parent / "wheel.toml")
    arms = [{**wheel["arms"][0], "trainer": search(step=1.0, fault=fault)}]
    same = {name: wheel[name] for name in ("pretrain", "generation")}
    broken = wheel_file(tmp_path / "b.toml", sets, arms=arms, **same)
    with pytest.raises(error, match=words) as raised:
        run_flywheel(load_flywheel(broken), out)
    assert "whole, round 1" in raised.value.message
    assert "Finished stages are kept" in raised.value.hint
    mended = wheel_file(tmp_path / "m.toml", sets, arms=wheel["arms"], **same)
    events: list[StageEvent] = []
    if fault == "disk":  # the other differs in the trainer's error alone
        run_flywheel(load_flywheel(mended), out, progress=events.append)
        kept = {e.stage.partition("-")[0] for e in events if e.state == "kept"}
        assert kept >= {"scenes", "train", "drive", "mined", "varied", "driven"}
        assert (out / "results.json").read_bytes() == (turned / "results.json").read_bytes()


def test_scaling_families_and_both_simulators(sets: Path, tmp_path: Path) -> None:
    tested = [s for s in ScenarioStore(sets / "test").scenarios() if isinstance(s, Scenario)]
    mined = [s for s in ScenarioStore(sets / "mining").scenarios() if isinstance(s, Scenario)]
    families = set(KINDS) & {t for s in tested for t in s.tags} & {t for s in mined for t in s.tags}
    family = max(sorted(families), key=lambda tag: sum(tag in s.tags for s in mined))
    arm = {"trainer": search(step=1.0), "data": ["train", "driven-mined", "variants"],
           "gated": False}  # fmt: skip
    wheel = wheel_file(
        tmp_path / "w.toml",
        sets,
        arms=[
            {"name": "whole", **arm},
            {"name": "held-out", **arm, "without": [family], "reference": "whole"},
        ],
        open_loop={"name": "open-loop"},
        open_loop_metrics=["pdms"],
        scaling={"multiples": [1, 2], "arm": "whole"},
        metrics=["success"],
    )
    results = run_flywheel(load_flywheel(wheel), tmp_path / "out")
    assert results.arms == ("base", "base-2x", "whole", "held-out")
    (first, second) = results.rounds
    of_family = sum(family in s.tags for s in mined)
    assert first.scenes["driven-mined"] - second.scenes["driven-mined"] in range(1, of_family + 1)
    (varied,) = (read_store(p) for p in (tmp_path / "out").glob("stages/varied-*"))
    assert first.scenes["variants"] == len(varied)
    assert second.scenes["variants"] == sum(family not in s.tags for s in varied) < len(varied)
    assert first.scenes["train"] == 2  # of five, the first half
    cell = results.cell("held-out", "test", family, "success")
    assert cell is not None
    assert cell.scenes == sum(family in s.tags for s in tested)
    assert set(cell.against) == {"base", "whole"}
    assert results.cell("whole", "test", "rare", "pdms", open_loop=True) is not None
    (found,) = results.equivalence
    assert (found.multiples, found.arm, found.group) == ((1, 2), "whole", "rare")
    assert found.words.count("x") >= 2
    page = write_flywheel_report(tmp_path / "out").read_text()
    for words in ("Rare families held out", "How much data is that worth?", "open loop"):
        assert words in page
    pair = (tmp_path / "out/before-after/report.html").read_text()
    assert "whole against base" in pair
    assert "held-out against base" not in pair


def test_hindsight_says_whether_the_planner_could_have_known_better(
    sets: Path, tmp_path: Path
) -> None:
    learned = {
        "planner": "anchor",
        "pretrain": {"trainer": {"name": "imitation", "steps": 20, "logs": False},
                     "data": ["train", "mining"]},
        "arms": [{"name": "whole", "data": ["train"], "gated": False,
                  "trainer": {"name": "policy-gradient", "steps": 3, "every": 40, "logs": False}}],
    }  # fmt: skip
    out = tmp_path / "out"
    wheel = load_flywheel(wheel_file(tmp_path / "w.toml", sets, **learned))
    results = run_flywheel(wheel, out)
    evaluation = next(e for e in results.evaluations if (e.arm, e.set) == ("base", "test"))
    run = read_run(out / "stages" / evaluation.stage / "run")
    failed = {case.key for case in find_failures(run).cases
              if case.findings[0].reason in ("collision", "lane_departure")}  # fmt: skip
    lookbacks = read_lookbacks(out / "stages" / results.lookbacks["base"])
    assert {one.key for one in lookbacks} == failed
    said = [(one, one.hindsight) for one in lookbacks if one.hindsight is not None]
    assert said
    for one, found in said:
        assert found.driven <= found.best
        assert (found.ways_out > 0) <= (found.best > 0.4)
        if (
            one.reason == "collision"
        ):  # scored again as a plan, the drive collides too: NC is 0 or ½
            assert found.driven <= 0.55
    made = sorted((out / "cache").iterdir())
    shutil.rmtree(out / "stages" / results.lookbacks["base"])
    events: list[StageEvent] = []
    assert run_flywheel(wheel, out, progress=events.append) == results
    assert [e.label for e in events if e.state == "made"] == ["seed 1, base, test"]
    assert sorted((out / "cache").iterdir()) == made  # the scores were there
    page = (write_flywheel_report(out).parent / "before-after" / "report.html").read_text()
    assert f"checkpoint = {results.checkpoints['base/1']}" in page
    assert str(tmp_path) not in page
    cells = re.findall(r'data-label="failures looked at">(\d+)<', page)
    assert int(cells[0]) == len(said)


def test_two_flywheels_do_not_turn_in_one_folder(turned: Path) -> None:
    def again(event: StageEvent) -> None:
        run_flywheel(flywheel, turned)

    flywheel = load_flywheel(turned.parent / "wheel.toml")
    with pytest.raises(RunError, match="another flywheel is turning here"):
        run_flywheel(flywheel, turned, progress=again)


def test_each_round_mines_the_next_part(sets: Path, tmp_path: Path) -> None:
    arm = {"name": "whole", "trainer": search(step=1.0), "data": ["mined"], "rounds": 3,
           "gated": False}  # fmt: skip
    out = tmp_path / "out"
    file = wheel_file(tmp_path / "w.toml", sets, arms=[arm], mining={"parts": 2})
    results = run_flywheel(load_flywheel(file), out)
    assert [r.accepted for r in results.rounds] == [True, True, True]
    mined: list[set[str]] = []  # of each part, whatever any round mined of it
    for part in (out / "stages").glob("part-*"):
        logs = {root_of(s) for s in read_store(part)}
        mined.append({root_of(s) for p in (out / "stages").glob("mined-*") for s in read_store(p)}
                     & logs)  # fmt: skip
    assert len(mined) == 2
    assert all(mined)
    assert not mined[0] & mined[1]
    steps = [json.loads((out / "stages" / r.trained / "stage.json").read_bytes())["inputs"]
             for r in results.rounds]  # fmt: skip
    parts = [_part_of(out, step["data"]["mined"][0][-1]) for step in steps]
    assert parts == [0, 1, 0]  # and begins again


def _part_of(out: Path, digest: str) -> int:
    """Which part of the mining set a mined set comes from."""
    stages = {}
    for path in (out / "stages").glob("*/stage.json"):
        record = json.loads(path.read_bytes())
        stages[content_hash(record["outputs"])] = record
    while "index" not in stages[digest]["inputs"]:
        inputs = stages[digest]["inputs"]
        digest = inputs.get("run") or inputs["scenes"]
    return int(stages[digest]["inputs"]["index"])


def test_parts_are_of_whole_logs(sets: Path) -> None:
    scenes = [s for s in ScenarioStore(sets / "mining").scenarios() if isinstance(s, Scenario)]
    parts = cut_parts(scenes, 2)
    assert [len(part) for part in parts] == [5, 5]
    logs = [{t for s in part for t in s.tags if t.startswith("log:")} for part in parts]
    assert not logs[0] & logs[1]


def test_the_command_prints_a_table_and_ends_well(turned: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "roadworthy", "flywheel", str(turned.parent / "wheel.toml"),
         "--out", str(turned)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert head[:4] == ["arm", "set", "group", "column"]
    assert ["planted", "test", "rare", "success"] in [row[:4] for row in rows]
    assert all(len(row) == len(head) for row in rows)
    run = read_run(next((turned / "stages").glob("drive-*")) / "run")
    assert all(r.status is Status.OK for r in run.records)


def test_the_pages_say_what_happened(turned: Path) -> None:
    page = write_flywheel_report(turned).read_text()
    assert "perturb</code>, plain variations of the logs, which stood in" in page
    for words in ("rolled back", "planted", "Training curves", "all sets were found disjoint"):
        assert words in page
    for pattern in (r'(src|href)="(https?:)?//', "<script"):
        assert not re.search(pattern, page)  # nothing is fetched, nothing runs
    detail = (turned / "before-after" / "report.html").read_text()
    for words in ("Collisions by kind", "Fixed and broken", "Training curves", "Protocol"):
        assert words in detail
    assert (turned / "summary.md").read_text().startswith("# tiny")


def test_the_counts_of_collisions_by_kind_are_those_of_the_records(turned: Path) -> None:
    detail = (turned / "before-after" / "report.html").read_text()
    start = detail.index("Collisions by kind")
    rows = re.findall(r"<tr><th scope=\"row\">all</th>.*?</tr>", detail[start:])
    counts = [int(n) for n in re.findall(r'<td class="number">(\d+)</td>', rows[0])]
    results = read_results(turned)
    for label, count in zip(("base", results.arms[-1]), counts, strict=True):
        stage = next(e.stage for e in results.evaluations if e.arm == label and e.set == "test")
        run = read_run(turned / "stages" / stage / "run")
        met = {
            (r.key, e["agent"])
            for r in run.records
            for events in r.events.values()
            for e in events
            if e["kind"] == "collision" and e["at_fault"]
        }
        assert count == len(met)


@pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs the Debian packages chromium, chromium-driver",
)
def test_the_pages_work_in_a_browser(sets: Path, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    waiting = importlib.import_module("selenium.webdriver.support.wait")
    out = tmp_path / "out"
    file = wheel_file(tmp_path / "w.toml", sets)
    arms = load_file(file)["arms"]
    arms[0] |= {"gated": False, "rounds": 1}
    wheel = wheel_file(tmp_path / "w.toml", sets, arms=arms, metrics=["success", "safety"])
    run_flywheel(load_flywheel(wheel), out)
    page = write_flywheel_report(out)
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.get(page.as_uri())
        assert driver.title == "tiny – roadworthy flywheel"
        plots = driver.find_elements("css selector", "svg.lines .line-0")
        assert plots
        assert all(float(p.value_of_css_property("stroke-width")[:-2]) > 1 for p in plots)
        driver.find_element("link text", "Before and after, case by case").click()
        driver.get(driver.current_url)
        fixed = driver.find_elements("css selector", ".stills a")
        assert fixed, "no case was fixed or broken"
        picture = driver.find_element("css selector", ".stills img")
        assert driver.execute_script("return arguments[0].naturalWidth", picture) == 880
        driver.execute_script("arguments[0].click()", fixed[0])
        wait = waiting.WebDriverWait(driver, 30)
        wait.until(lambda d: d.find_element("id", "case").get_attribute("open") is not None)
        wait.until(lambda d: len(d.find_elements("css selector", "#pictures canvas")) == 2)
        assert driver.get_log("browser") == []
