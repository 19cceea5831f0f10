"""What the cameras showed, in the report: the pictures of the drive, as a film that plays."""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
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
    assert "roadworthy[video]" in page
    assert "<video" not in page


@pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs the Debian packages chromium, chromium-driver"
)
def test_the_film_plays(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.support.ui import WebDriverWait

    page = (run / "report.html").read_text()
    (film,) = (run / "films" / "keeps").glob("*.mp4")
    (data,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert base64.b64decode(data) == film.read_bytes()
    film.unlink()
    assert data in write_reports(read_run(run)).read_text()  # made again: the same bytes

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
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
