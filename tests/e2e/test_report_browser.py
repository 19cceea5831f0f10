"""The report in a real browser: opened from a file, used by mouse and by keyboard alone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_data import HOSTILE_PLANNER, make_run
from roadworthy.report import write_reports

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs the Debian packages chromium, chromium-driver"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
PHONE = (390, 844)
DESKTOP = (1280, 900)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reports(make_run(tmp_path_factory.mktemp("report") / "run"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    driver.set_script_timeout(120)  # of axe, on a busy machine
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any, page: Path) -> Iterator[Any]:
    """The page, freshly opened on a desktop; afterwards, no complaint in the console."""
    resize(chromium, DESKTOP)
    chromium.get_log("browser")
    open_page(chromium, page)
    yield chromium
    assert chromium.get_log("browser") == []


def open_page(driver: Any, page: Path, fragment: str = "") -> None:
    driver.get("about:blank")
    driver.get(f"{page.as_uri()}{fragment}")
    until(driver, "document.documentElement.dataset.ready === 'yes'")


def resize(driver: Any, size: tuple[int, int], dark: bool = False) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})


def until(driver: Any, condition: str) -> None:
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(f"return {condition}"), condition)


def shown_names(driver: Any) -> list[str]:
    cells = driver.find_elements(By.CSS_SELECTOR, "#table tbody th a")
    return [cell.text for cell in cells]


def failing_case(driver: Any) -> dict[str, Any]:
    """The first case that a collision ends, and that has a replay."""
    found: dict[str, Any] = driver.execute_script(
        "return rw.data.cases.find(c => rw.data.replays[c.id] && "
        "c.results.some(r => r.r.some(([level, , step]) => level === 'fail' && step > 0)))"
    )
    return found


def open_case(driver: Any, case: dict[str, Any], more: str = "") -> None:
    driver.execute_script("location.hash = arguments[0]", f"#case={case['id']}{more}")
    until(driver, "document.getElementById('case').open")
    until(driver, "!document.getElementById('player').hidden")


def picture(driver: Any, index: int = 0) -> str:
    """The pixels of a replay's picture."""
    text: str = driver.execute_script(
        "return document.querySelectorAll('.picture canvas')[arguments[0]].toDataURL()", index
    )
    return text


def colours(driver: Any, selector: str) -> int:
    count: int = driver.execute_script(
        """const canvas = document.querySelector(arguments[0]);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size;""",
        selector,
    )
    return count


def test_it_opens_without_a_request(chromium: Any, page: Path) -> None:
    resize(chromium, DESKTOP)
    chromium.get("about:blank")
    chromium.get_log("performance")
    chromium.get_log("browser")
    open_page(chromium, page)
    case = failing_case(chromium)
    open_case(chromium, case)
    messages = [json.loads(e["message"])["message"] for e in chromium.get_log("performance")]
    asked = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [f"{page.as_uri()}"]
    assert chromium.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert chromium.get_log("browser") == []


def test_it_opens_fast(tmp_path: Path, chromium: Any) -> None:
    run = make_run(
        tmp_path / "run",
        planners=("careful", "rushing"),
        cases=300,
        hostile=False,
        agents=30,
        seconds=15.0,
        noise=0.03,
    )
    page = write_reports(run)
    taken = []
    for _ in range(5):  # other work on the machine may slow a few
        open_page(chromium, page)
        taken.append(
            chromium.execute_script(
                "return performance.getEntriesByType('navigation')[0].loadEventEnd"
            )
        )
    assert 0 < min(taken) < 2000


def test_no_hostile_name_runs(browser: Any) -> None:
    assert browser.find_elements(By.CSS_SELECTOR, "img, iframe, object, embed") == []
    heads = browser.find_elements(By.CSS_SELECTOR, "table.headline thead bdi")
    assert [head.text for head in heads] == ["careful", HOSTILE_PLANNER]
    for case in browser.execute_script("return rw.data.cases.slice(0, 8)"):
        browser.execute_script("location.hash = arguments[0]", f"#case={case['id']}")
        until(browser, f"document.getElementById('case').dataset.id === '{case['id']}'")
        title = browser.find_element(By.ID, "case-title").get_property("textContent")
        assert title == case["name"]
    assert browser.find_elements(By.CSS_SELECTOR, "img, iframe, object, embed, [onerror]") == []


def test_click_through_a_failing_case(browser: Any) -> None:
    Select(browser.find_element(By.NAME, "outcome")).select_by_value("failed")
    browser.find_element(By.CSS_SELECTOR, "#table tbody th a").click()
    until(browser, "document.getElementById('case').open")
    until(browser, "!document.getElementById('player').hidden")
    until(browser, "location.hash.startsWith('#case=')")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".picture canvas")) == 2
    assert colours(browser, ".picture canvas") > 20
    assert browser.find_element(By.ID, "case-scores").text.count("total") >= 1
    for button in browser.find_elements(By.CSS_SELECTOR, "#events button"):
        button.click()
        second = float(button.text.split(" s ")[0])
        assert browser.find_element(By.ID, "clock").text.startswith(f"{second:.1f} ")
    browser.find_element(By.ID, "case-close").click()
    until(browser, "!document.getElementById('case').open")
    until(browser, "location.hash === ''")  # a dialog tells that it closed a moment after it did


def test_a_case_opened_while_another_closes_stays(browser: Any) -> None:
    open_case(browser, failing_case(browser))
    other = browser.execute_script(
        """const [id] = Object.keys(rw.data.replays).filter((id) => !location.hash.includes(id));
        location.hash = `#case=${id}`;
        document.getElementById('case').close();
        return id;"""
    )
    until(browser, f"document.getElementById('case').dataset.id === '{other}'")
    time.sleep(0.2)  # the news that the first one closed is there by now
    assert browser.execute_script("return document.getElementById('case').open")
    assert browser.find_element(By.ID, "clock").is_displayed()
    assert browser.execute_script("return location.hash").startswith(f"#case={other}")


def test_scrub_step_and_play(browser: Any) -> None:
    open_case(browser, failing_case(browser), "&step=5")
    clock = browser.find_element(By.ID, "clock")
    assert clock.text == "0.5 / 6.0 s"
    before = picture(browser)
    scrub = browser.find_element(By.ID, "scrub")
    browser.execute_script(
        "arguments[0].value = 40; arguments[0].dispatchEvent(new Event('input'))", scrub
    )
    assert clock.text == "4.0 / 6.0 s"
    assert picture(browser) != before
    assert scrub.get_attribute("aria-valuetext") == "4.0 of 6.0 seconds"
    browser.find_element(By.ID, "forward").click()
    assert clock.text == "4.1 / 6.0 s"
    browser.find_element(By.ID, "back").click()
    browser.find_element(By.ID, "back").click()
    assert clock.text == "3.9 / 6.0 s"
    Select(browser.find_element(By.ID, "speed")).select_by_value("4")
    browser.find_element(By.ID, "play").click()
    until(browser, "document.getElementById('play').textContent === 'Play'")
    assert clock.text == "6.0 / 6.0 s"


def test_toggle_planners_and_layers(browser: Any) -> None:
    open_case(browser, failing_case(browser), "&step=20")
    figures = browser.find_elements(By.CSS_SELECTOR, ".picture")
    toggles = browser.find_elements(By.CSS_SELECTOR, "#shown input")
    assert len(toggles) == len(figures) == 2
    toggles[0].click()
    assert [f.is_displayed() for f in figures] == [False, True]
    assert len(browser.find_elements(By.CSS_SELECTOR, ".trace .line")) == 2
    toggles[0].click()
    assert [f.is_displayed() for f in figures] == [True, True]
    for name in ("show-plan", "show-log", "follow"):
        before = picture(browser, 1)
        browser.find_element(By.ID, name).click()
        assert picture(browser, 1) != before, name
    before = picture(browser)
    browser.find_element(By.ID, "zoom-in").click()
    assert picture(browser) != before


def test_sort_and_filter(browser: Any) -> None:
    def head(key: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, f"#table [data-sort='{key}']")

    def values() -> list[float]:
        cells = browser.find_elements(By.CSS_SELECTOR, "#table tbody td:nth-of-type(1)")
        words = [cell.text.split("\n")[0].split()[0] for cell in cells]
        return [float(word) for word in words if word != "–"]

    head("0").click()
    assert values() == sorted(values())
    assert browser.find_element(By.CSS_SELECTOR, "#table th[aria-sort='ascending']").text
    head("0").click()
    assert values() == sorted(values(), reverse=True)
    assert browser.switch_to.active_element.get_attribute("data-sort") == "0"
    head("name").click()
    assert len(shown_names(browser)) == 24

    find = browser.find_element(By.NAME, "text")
    find.send_keys("scene-01")
    assert shown_names(browser) == [f"scene-{i:03d}" for i in range(10, 20)]
    assert browser.find_element(By.ID, "count").text == "10 of 24 cases"
    find.clear()
    find.send_keys("no such case")
    assert shown_names(browser) == []
    find.clear()
    find.send_keys(" ")
    for outcome, count in (("error", 5), ("failed", 12), ("differ", 7), ("passed", 12)):
        Select(browser.find_element(By.NAME, "outcome")).select_by_value(outcome)
        assert len(shown_names(browser)) == count, outcome


def test_a_reason_leads_to_its_cases(browser: Any) -> None:
    browser.find_element(By.LINK_TEXT, "collision: active front").click()
    assert len(shown_names(browser)) == 7
    assert Select(browser.find_element(By.NAME, "reason")).first_selected_option.text == (
        "collision: active front"
    )


def test_a_mark_in_the_scatter_opens_its_case(browser: Any) -> None:
    marks = browser.find_elements(By.CSS_SELECTOR, ".scatter a")
    assert len(marks) == 19
    browser.execute_script("arguments[0].focus()", marks[0])
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    focused = browser.switch_to.active_element
    assert focused == marks[1]
    focused.send_keys(Keys.ENTER)
    until(browser, "document.getElementById('case').open")


def test_deep_link(browser: Any, page: Path) -> None:
    case = failing_case(browser)
    open_page(browser, page, f"#case={case['id']}&step=31")
    until(browser, "!document.getElementById('player').hidden")
    assert browser.find_element(By.ID, "case-title").get_property("textContent") == case["name"]
    assert browser.find_element(By.ID, "clock").text.startswith("3.1 ")
    browser.find_element(By.ID, "forward").click()
    until(browser, f"location.hash === '#case={case['id']}&step=32'")


def test_a_case_with_an_error_says_so(browser: Any) -> None:
    case = browser.execute_script("return rw.data.cases.find(c => c.results[0].s !== 'ok')")
    browser.execute_script("location.hash = arguments[0]", f"#case={case['id']}")
    until(browser, "document.getElementById('case').open")
    fault = browser.find_element(By.CSS_SELECTOR, ".fault")
    assert "<script>alert(" in fault.text
    fault.find_element(By.TAG_NAME, "summary").click()
    assert "ValueError: </script>" in fault.find_element(By.TAG_NAME, "pre").text


def test_keyboard_alone(browser: Any) -> None:
    def press(*keys: str) -> None:
        webdriver.ActionChains(browser).send_keys(*keys).perform()

    press(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the results"
    press(Keys.ENTER)
    for _ in range(200):
        press(Keys.TAB)
        if browser.execute_script("return document.activeElement.matches('#table tbody a')"):
            break
    name = browser.switch_to.active_element.text
    press(Keys.ENTER)
    until(browser, "document.getElementById('case').open")
    until(browser, "!document.getElementById('player').hidden")
    assert browser.switch_to.active_element.get_attribute("id") == "case-title"
    clock = browser.find_element(By.ID, "clock")
    press(Keys.HOME)
    assert clock.text.startswith("0.0 ")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert clock.text.startswith("0.1 ")
    press(" ")
    until(browser, "!document.getElementById('clock').textContent.startsWith('0.1 ')")
    press(" ")
    assert browser.find_element(By.ID, "play").text == "Play"
    press(Keys.END)
    assert clock.text == "6.0 / 6.0 s"
    press(Keys.ESCAPE)
    until(browser, "!document.getElementById('case').open")
    assert browser.switch_to.active_element.text == name


def test_nothing_scrolls_sideways_on_a_phone(browser: Any) -> None:
    resize(browser, PHONE)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wide = (
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
    )
    assert browser.execute_script(wide) == []
    cells = browser.find_elements(By.CSS_SELECTOR, "table.headline tbody tr:first-child td.number")
    places = [cell.rect for cell in cells]
    assert [place["x"] for place in places] == [places[0]["x"]] * 2
    assert places[1]["y"] >= places[0]["y"] + places[0]["height"] - 1
    shown = "return getComputedStyle(arguments[0], '::before').content"
    assert browser.execute_script(shown, cells[0]) == '"careful (privileged)"'
    browser.find_element(By.CSS_SELECTOR, "#table [data-sort='0']").click()
    assert browser.find_element(By.CSS_SELECTOR, "#table th[aria-sort='ascending']").text
    roles = "return [...new Set([...document.querySelectorAll('#table td')].map(c => c.role))]"
    assert browser.execute_script(roles) == ["cell"]
    open_case(browser, failing_case(browser))
    assert browser.execute_script(wide) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_accessible_and_readable(
    browser: Any, size: tuple[int, int], dark: bool, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    resize(browser, size, dark)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for place in ("page", "case"):
        if place == "case":
            open_case(browser, failing_case(browser), "&step=31")
        faults = [
            (fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]][:3])
            for fault in axe.run(browser)["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert faults == []
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= size[0]
        picture_of_page = tmp_path / f"{place}.png"
        assert browser.save_screenshot(str(picture_of_page))
        assert picture_of_page.stat().st_size > 10_000
    assert colours(browser, ".card canvas") > 10
