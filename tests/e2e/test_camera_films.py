"""What the cameras showed: as a film that plays in the report, and in the viewer."""

from __future__ import annotations

import base64
import io
import re
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from roadworthy.cli import main
from roadworthy.report import write_reports
from roadworthy.store import read_run
from roadworthy_simulators.splat.playback import playbacks

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

PLANNER = """
import numpy as np
from roadworthy import Trajectory

class Keeps:
    def reset(self, brief):
        self.seen = 0

    def plan(self, observation):
        np.savez(f"{FOLDER}/{observation.step}.npz", **observation.images)
        poses = np.zeros((40, 3))
        poses[:, 0] = 0.1 * np.arange(1, 41) * observation.ego_state[-1, 3]
        return Trajectory(poses, 0.1)
"""
SUITE = """
name = "films"
seed = 3
metrics = ["success", "camera-validity"]
run.executor = "inline"

[[sources]]
name = "procedural"
seed = 5
count = 1
families = ["curve"]

[simulator]
name = "splat"
duration_s = 1.5
rig = [{name = "left", width = 96, height = 54, yaw_deg = 55.0},
       {name = "front", width = 96, height = 54},
       {name = "right", width = 96, height = 54, yaw_deg = -55.0}]

[[planners]]
name = "./keeps.py:Keeps"
label = "keeps"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "seen").mkdir()
    (folder / "keeps.py").write_text(f"FOLDER = {str(folder / 'seen')!r}\n{PLANNER}")
    (folder / "films.toml").write_text(SUITE)
    assert main(["run", str(folder / "films.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def chromium(folder: Path) -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                 "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                 "--window-size=900,600"):  # fmt: skip
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))


def test_shows_what_the_planner_saw(run: Path) -> None:
    found = read_run(run)
    (playback,) = playbacks(found, found.records)
    assert playback.steps == 15
    seen = sorted((run.parent / "seen").glob("*.npz"))
    assert len(seen) == 3
    for path in seen:
        with np.load(path) as images:
            shot = playback.shot(int(path.stem))
            for name in ("left", "front", "right"):
                # The replay keeps the others' places in 32 bits.
                off = np.abs(images[name].astype(int) - shot.images[name])
                assert off.max() <= 2
                assert (off > 0).mean() < 0.01


def test_without_pyav_the_page_says_what_is_missing(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "av", None)
    page = write_reports(read_run(tmp_path / "run")).read_text()
    assert "pip install -c constraints.txt &quot;.[video]&quot;" in page
    assert "<video" not in page


@pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs the Debian packages chromium, chromium-driver"
)
def test_the_film_plays(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    pytest.importorskip("selenium", reason="selenium is not installed")
    from selenium.webdriver.support.ui import WebDriverWait

    page = (run / "report.html").read_text()
    (film,) = (run / "films" / "keeps").glob("*.mp4")
    (data,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert base64.b64decode(data) == film.read_bytes()
    film.unlink()
    assert "<video" in write_reports(read_run(run)).read_text()
    assert film.is_file()  # made again

    driver = chromium(tmp_path)
    try:
        driver.get((run / "report.html").as_uri())
        wait = WebDriverWait(driver, 20)
        wait.until(lambda d: d.execute_script("return document.querySelector('video').readyState"))
        driver.execute_script("document.querySelector('video').play()")
        wait.until(
            lambda d: d.execute_script("return document.querySelector('video').currentTime") > 0.3
        )
        colours = driver.execute_script(
            "const v = document.querySelector('video'), c = document.createElement('canvas');"
            "c.width = v.videoWidth; c.height = v.videoHeight;"
            "const p = c.getContext('2d'); p.drawImage(v, 0, 0);"
            "const d = new Uint32Array(p.getImageData(0, 0, c.width, c.height).data.buffer);"
            "return [c.width, c.height, v.duration, new Set(d).size]"
        )
        assert colours[0] > 900
        assert colours[1] == 406
        assert colours[2] == pytest.approx(1.6, abs=0.05)
        assert colours[3] > 1000
        assert driver.get_log("browser") == []
    finally:
        driver.quit()


def test_the_viewer_shows_the_drive(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    from roadworthy_simulators.splat.viewer import Viewer

    found = read_run(run)
    (playback,) = playbacks(found, found.records)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    viewer = Viewer(playback.stage, playback, port)
    try:
        camera = playback.stage.rig.cameras[1]
        ego = playback.replay.ego[0, :3]
        origin = playback.stage.scene.alignment.to_scene(ego[:2])
        c, s = np.cos(ego[2]), np.sin(ego[2])
        vehicle = np.eye(4)
        vehicle[:2, :2] = [[c, s], [-s, c]]
        vehicle[:2, 3] = -vehicle[:2, :2] @ origin
        fov = 2.0 * np.arctan(0.5 * camera.height / camera.intrinsics[0, 0])
        image, depth = viewer.picture(camera.from_vehicle @ vehicle, fov, 96, 54)
        off = np.abs(image.astype(int) - playback.shot(0).images["front"])
        assert off.max() <= 2
        assert 1.0 < depth[50, 48] < 10.0  # the road before the bonnet
        if not (CHROMIUM and CHROMEDRIVER):
            return
        pytest.importorskip("selenium", reason="selenium is not installed")
        from selenium.webdriver.support.ui import WebDriverWait

        threading.Thread(target=viewer.run, daemon=True).start()
        driver = chromium(tmp_path)
        try:
            driver.get(viewer.address)

            def colours(d: Any) -> bool:
                shot = np.asarray(Image.open(io.BytesIO(d.get_screenshot_as_png())).convert("RGB"))
                return len(np.unique(shot[:, :500].reshape(-1, 3), axis=0)) > 2000

            WebDriverWait(driver, 240, 1.0).until(colours)  # WebGL in software
            assert "keeps in" in driver.find_element("tag name", "body").text
            assert not [e for e in driver.get_log("browser") if e["level"] == "SEVERE"]
        finally:
            driver.quit()
    finally:
        viewer.close()
