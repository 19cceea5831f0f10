"""`roadworthy scenarios`: finding, listing, showing, converting and validating."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from roadworthy import cli
from roadworthy.exit_codes import ExitCode
from roadworthy.overview import describe, scored_on, traffic_of
from roadworthy.recognition import LeftOut, find_sources, read_numbered, read_scenes
from roadworthy.report.scenes import scene_page, scene_picture
from roadworthy.scenario import Rejected, Scenario, SignalState
from roadworthy.scenario_store import ScenarioStore
from roadworthy.testing.scenes import straight_road_scenario
from stored_scenes import scenes, write

PROCEDURAL = ("procedural", "-o", "count=3", "-o", "seed=5", "-o", 'families=["straight"]')


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "a.store")


def run(*args: object) -> int:
    return cli.main(["scenarios", *map(str, args)])


def listed(capsys: pytest.CaptureFixture[str], *args: object) -> list[dict[str, object]]:
    assert run("list", *args, "--json") == ExitCode.OK
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_lists_what_a_source_gives(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, *PROCEDURAL)
    assert len(rows) == 3
    for row in rows:
        assert row["source"] == "procedural"
        assert row["traffic"] == "generated"
        assert row["refused"] == ""
        assert float(row["seconds"]) > 10  # type: ignore[arg-type]


def test_lists_tab_separated(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", store) == ExitCode.OK
    said = capsys.readouterr()
    head, *rows = (line.split("\t") for line in said.out.splitlines())
    assert head[:4] == ["source", "scenario", "seconds", "agents"]
    assert len(rows) == 4
    assert all(len(row) == len(head) for row in rows)
    assert rows[2][-1] == "DataError: broken.xml: no map Mend it."
    assert "3 scenarios" in said.err
    assert "1 refused" in said.err


def test_says_what_a_scene_may_be_scored_on() -> None:
    red = straight_road_scenario(agents=2, signal=SignalState.RED)
    assert all(scored_on(red).values())
    alone = straight_road_scenario(agents=0, signal=None)
    assert {k for k, good in scored_on(alone).items() if not good} == {"collisions", "signals"}
    unheld = replace(alone, tags=("real", "no_drivable_area"))
    assert not scored_on(unheld)["drivable area"]
    assert traffic_of(unheld) == "none"
    assert traffic_of(replace(red, tags=("real",))) == "recorded"
    assert traffic_of(replace(red, tags=("simulated_traffic",))) == "simulated"
    before = red.agents.valid.copy()
    before[:, red.start :] = False
    gone = replace(red, agents=replace(red.agents, valid=before))
    assert not scored_on(gone)["collisions"]
    limits = np.full(len(red.map.lane_id), np.nan)
    assert not scored_on(replace(red, map=replace(red.map, lane_speed_limit=limits)))[
        "speed limits"
    ]
    assert describe(red)["layers"]["signals"] == 2


def test_searches_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stores and files of several formats, good, damaged and foreign, at several depths."""
    write(tmp_path / "data" / "deep" / "deeper" / "a.store")
    (tmp_path / "data" / "README.md").write_text("About")
    (tmp_path / "data" / "photos").mkdir()
    (tmp_path / "data" / "photos" / "x.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "data" / "half.xml").write_text("<commonRoad")
    (tmp_path / "data" / "code.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    (tmp_path / "data" / ".hidden").mkdir()
    os.symlink(tmp_path, tmp_path / "data" / "round")
    assert run("list", "--data", tmp_path / "data", "--json") == ExitCode.OK
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert {(r["source"], r["id"], bool(r["refused"])) for r in rows} == {
        ("scenarionet", "code", True),
        ("commonroad", "half", True),
        *(("roadworthy.testing", s.id, isinstance(s, Rejected)) for s in scenes()),
    }
    assert "photos: no source reads x.jpg" in said.err
    assert "README" not in said.err
    assert not (Path.cwd() / "owned").exists()


def test_a_link_to_itself_is_left_out_and_the_rest_is_read(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.parent / "loop").symlink_to("loop")
    assert run("list", store.parent) == ExitCode.OK
    said = capsys.readouterr()
    assert "3 scenarios" in said.err
    assert "loop: cannot be read (Too many levels of symbolic links)" in said.err


def test_a_damaged_store_is_refused_not_passed_over(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "arrays-00000.bin").unlink()
    assert run("list", store) == ExitCode.NO_SCENARIOS
    assert "arrays-00000.bin: cannot be read" in capsys.readouterr().out
    os.truncate(store / "index.jsonl", 10)
    assert run("list", store.parent) == ExitCode.NO_SCENARIOS
    assert "has 10 bytes" in capsys.readouterr().out


def test_reads_a_suite(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_text(
        f"""
        name = "s"
        metrics = ["comfort"]
        [simulator]
        name = "open-loop"
        [[sources]]
        name = "store"
        path = "{store.name}"
        split = "test"
        [[sources]]
        name = "argoverse2"
        path = "not_here"
        optional = true
        """
    )
    rows = listed(capsys, tmp_path / "s.toml")
    assert [row["id"] for row in rows] == ["broken", scenes()[3].id]
    found = list(find_sources(str(tmp_path / "s.toml"), {}, None))
    assert isinstance(found[1], LeftOut)
    text = (tmp_path / "s.toml").read_text().replace("optional = true", "")
    (tmp_path / "s.toml").write_text(text)
    assert run("list", tmp_path / "s.toml") == ExitCode.USAGE
    assert "not_here" in capsys.readouterr().err


def test_finds_paths_in_the_data_folder(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROADWORTHY_DATA", str(store.parent))
    assert len(listed(capsys, store.name)) == 4
    assert len(listed(capsys, "store", "-o", f"path={store.name}", "-o", "split=test")) == 2
    assert len(listed(capsys)) == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["list"], "Name a SUBJECT"),
        (["list", "procedurel"], "Did you mean 'procedural'"),
        (["list", "procedural", "-o", "cuont=3"], "Did you mean 'count'"),
        (["list", "./absent.py:Mine"], "there is no file"),
        (["show", "procedural", "-o", "count=2", "nobody", "--out", "x.png"], "no scene 'nobody'"),
        (["show", "procedural", "-o", "count=1", "--out", "x.pdf"], "Name a .html or a .png"),
        (["convert", "procedural", "-o", "count=1", "--out", "."], "is there already"),
    ],
)
def test_mistakes_are_explained(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_a_source_that_breaks_off_is_a_refused_scene(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("class Bad:\n def scenarios(self):\n  yield 1 / 0\n")
    (spec,) = find_sources(f"{tmp_path}/bad.py:Bad", {}, None)
    assert not isinstance(spec, LeftOut)
    (scene,) = read_scenes(spec)
    assert isinstance(scene, Rejected)
    assert "ZeroDivisionError" in scene.reason


def test_converts_and_reads_back_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.store"
    assert run("convert", *PROCEDURAL, "--out", out, "--split", "mining") == ExitCode.OK
    assert "3 scenarios, 0 refused" in capsys.readouterr().out
    assert listed(capsys, out) == listed(capsys, *PROCEDURAL)
    assert {r.split for r in ScenarioStore(out).records()} == {"mining"}  # type: ignore[union-attr]
    assert run("convert", out, "--out", tmp_path / "again") == ExitCode.OK
    same = [(d / "arrays-00000.bin").read_bytes() for d in (out, tmp_path / "again")]
    assert same[0] == same[1]


def test_convert_takes_splits_from_tags_and_keeps_refusals(store: Path, tmp_path: Path) -> None:
    assert run("convert", store, "--out", tmp_path / "b") == ExitCode.OK
    records = list(ScenarioStore(tmp_path / "b").records())
    assert [getattr(r, "split", "refused") for r in records] == ["", "", "refused", "test"]


def test_convert_says_what_it_could_not_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", store, store, "--out", tmp_path / "b") == ExitCode.INCOMPLETE
    said = capsys.readouterr()
    assert "an earlier scene of the source has that id" in said.err
    assert "3 scenarios, 5 refused" in said.out


def test_validates(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", *PROCEDURAL) == ExitCode.OK
    assert run("validate", store) == ExitCode.INCOMPLETE  # it holds a refused scene
    assert "broken.xml" in capsys.readouterr().out
    data = bytearray((store / "arrays-00000.bin").read_bytes())
    data[-100] ^= 1
    (store / "arrays-00000.bin").write_bytes(data)
    assert run("validate", store, "--json") == ExitCode.INCOMPLETE
    said = json.loads(capsys.readouterr().out)
    assert any("arrays-00000.bin: its hash is" in problem for problem in said["problems"])
    (store / "store.json").write_text('{"format": "roadworthy-scenarios", "version": 9}')
    assert run("validate", store) == ExitCode.INCOMPLETE
    assert "version 9" in capsys.readouterr().out


def test_shows_a_picture(tmp_path: Path, store: Path) -> None:
    out = tmp_path / "x.png"
    assert run("show", store, "again", "--out", out) == ExitCode.OK
    with Image.open(out) as image:
        assert image.size == (1080, 720)
        assert len(image.getcolors(10**6) or ()) > 20
    first = scenes()[0]
    assert isinstance(first, Scenario)
    assert scene_picture(first, 0).tobytes() != scene_picture(first, 30).tobytes()
    assert scene_picture(first, 10**6).size == (1080, 720)


def test_shows_a_page(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert run("show", store, "again") == ExitCode.OK
    page = (tmp_path / "again.html").read_text()
    assert "A point was removed." in page
    assert "perturb, seed 18446744073709551615, from parent" in page


def test_a_page_is_inert_against_names(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    scene = replace(straight_road_scenario(agents=1), id=evil, tags=(evil,), repairs=(evil,))
    assert evil not in scene_page(scene)
    assert scene_page(scene).count("<script>") == 1


def test_a_stranger_s_words_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "\x1b[2Jdata"
    folder.mkdir()
    (folder / "\x1b]0;x.xml").write_text("<")
    run("list", tmp_path)
    run("validate", tmp_path)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


@pytest.mark.real_logs
def test_lists_all_the_real_data(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, data_dir / "av2_logs", data_dir / "nuscenes_mini_scenarionet")
    assert len(rows) == 10
    assert all(row["traffic"] == "recorded" and not row["refused"] for row in rows)


def test_workers_end_with_a_killed_command(tmp_path: Path) -> None:
    options = ("-o", "count=100000", "--workers", "2", "--out", str(tmp_path / "a.store"))
    command = [sys.executable, "-m", "roadworthy", "scenarios", "convert", "towns", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        started = time.monotonic()
        workers: list[psutil.Process] = []
        while len(workers) < 2 and time.monotonic() < started + 60:
            time.sleep(0.1)
            children = psutil.Process(process.pid).children()
            workers = [c for c in children if c.cpu_times().user > 1.0]  # past its imports
        assert len(workers) == 2
    finally:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(workers, timeout=20)
    assert not left


def test_workers_write_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    towns = ("towns", *(f"-o{o}" for o in ("count=25", "seed=3", "towns=2", "split=mining")))
    for workers in (1, 2):
        out = tmp_path / f"{workers}.store"
        assert run("convert", *towns, "--out", out, "--workers", workers) == ExitCode.OK
        assert "25 scenarios, 0 refused" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "1.store").iterdir())
    for name in names:
        one, two = ((tmp_path / f"{k}.store" / name).read_bytes() for k in (1, 2))
        assert one == two, name
    records = list(ScenarioStore(tmp_path / "2.store").records())
    assert {record.split for record in records} == {"mining"}  # type: ignore[union-attr]


def test_an_unfit_scene_costs_no_other_whatever_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "six_scenes.py").write_text(
        "from dataclasses import replace\n"
        "from roadworthy.testing.scenes import straight_road_scenario\n"
        "class Six:\n"
        "    def __len__(self): return 6\n"
        "    def scenario(self, i):\n"
        "        scene = replace(straight_road_scenario(seconds=2.0, seed=i), id=f's{i}')\n"
        "        if i == 2: scene = replace(scene, ego=scene.ego * float('nan'))\n"
        "        return scene if i != 4 else 1 / 0\n"
        "    def scenarios(self): return map(self.scenario, range(6))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (spec,) = find_sources("six_scenes:Six", {}, None)
    assert not isinstance(spec, LeftOut)
    found = [list(read_numbered(spec, workers)) for workers in (1, 2)]
    assert found[0] == found[1] or [s.id for s in found[0]] == [s.id for s in found[1]]
    assert [type(scene) for scene in found[0]] == [type(scene) for scene in found[1]]
    good = [scene.id for scene in found[1] if isinstance(scene, Scenario)]
    assert good == ["s0", "s1", "s3", "s5"]


def test_workers_do_not_run_the_script_that_asks_for_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from roadworthy.recognition import find_sources, read_numbered\n"
        "print('begun', flush=True)\n"
        "(spec,) = find_sources('procedural', {'count': 3}, None)\n"
        "for scene in read_numbered(spec, 2):\n"
        "    print(scene.hash, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120
    )
    (spec,) = find_sources("procedural", {"count": 3}, None)
    assert not isinstance(spec, LeftOut)
    hashes = [scene.hash for scene in read_scenes(spec) if isinstance(scene, Scenario)]
    assert len(hashes) == 3
    assert done.stdout.split() == ["begun", *hashes]
