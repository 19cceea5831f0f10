"""The page that `roadworthy scenarios show` makes, in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from roadworthy.report.scenes import scene_page
from roadworthy.scenario import SignalState
from roadworthy.testing.scenes import straight_road_scenario

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs the Debian packages chromium, chromium-driver"
)


def test_plays(tmp_path: Path) -> None:
    page = tmp_path / "scene.html"
    page.write_text(scene_page(straight_road_scenario(signal=SignalState.GREEN)), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        driver.get(page.as_uri())
        wait = WebDriverWait(driver, 20)
        wait.until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
        clock = driver.find_element("id", "clock")
        assert clock.text == "1.5 / 7.5 s"
        assert "8.0 m/s" in driver.find_element("id", "readout").text
        still = driver.find_element("css selector", "canvas").screenshot_as_png
        driver.find_element("id", "play").click()
        wait.until(lambda d: clock.text > "1.9")
        driver.find_element("id", "play").click()
        assert driver.find_element("css selector", "canvas").screenshot_as_png != still
        assert driver.get_log("browser") == []
    finally:
        driver.quit()
