"""The page of a set of hard cases: what it counts, and that it plays, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roadworthy.cli import main
from roadworthy.errors import DataError
from roadworthy.exit_codes import ExitCode
from roadworthy.report.hard_cases import write_hard_cases
from roadworthy.report.severity import dial_of, dial_rows
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.solvability import read_certificates
from roadworthy.variants import generate_set, read_trials
from roadworthy_generators.perturb import Perturb
from roadworthy_sources.towns import Towns

EVIL = "</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`parents` and `variants`: of towns, and one parent with a hostile name."""
    folder = tmp_path_factory.mktemp("hard")
    towns = Towns(split="train", distribution="rare", count=4, towns=2)
    parents = [scene for scene in towns.scenarios() if isinstance(scene, Scenario)]
    parents[0] = replace(parents[0], id=EVIL, tags=(*parents[0].tags, EVIL))
    with StoreWriter(folder / "parents") as store:
        for scene in parents:
            store.add(scene)
    generate_set(parents, Perturb, "perturb", 3, 1, folder / "variants", reference="idm")
    return folder


def scenes(store: Path) -> list[Scenario]:
    return [scene for scene in ScenarioStore(store).scenarios() if isinstance(scene, Scenario)]


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_it_counts_what_the_certificates_say(stores: Path, tmp_path: Path) -> None:
    assert main(["report", str(stores / "variants"), "--parents", str(stores / "parents"),
                 "--out", str(tmp_path)]) == ExitCode.OK  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    certificates = read_certificates(stores / "variants").values()
    start = page.index("By kind of attack")
    row = re.search(r"<tr><th scope=\"row\"><bdi>all</bdi>(.*?)</tr>", page[start:], re.DOTALL)
    assert row is not None
    cells = dict(re.findall(r'data-label="([^"]+)">\s*([\d.]+)', row[1]))
    labels = Counter(one.label.replace("_", " ") for one in certificates)
    assert int(cells["certified"]) == len(certificates)
    assert {name: int(cells[name]) for name in labels} == labels
    tried = [met["idm"] for met in read_trials(stores / "variants").values()]
    assert float(cells["idm survives"]) == pytest.approx(np.mean(tried), abs=5e-4)
    late = [one.latest_reaction_s for one in certificates if one.latest_reaction_s is not None]
    if late:
        assert float(cells["latest reaction, median [s]"]) == pytest.approx(np.median(late))
    assert page.count('<tr><th scope="row"><a href="#case=') == len(certificates)
    for case in payload(page)["cases"]:
        drives = payload(page)["replays"][case["id"]]["runs"]
        assert drives[0] is not None
        assert drives[1] is not None, "the parent plays beside it"


def test_without_parents_the_variants_play_alone(stores: Path, tmp_path: Path) -> None:
    page = write_hard_cases([stores / "variants"], tmp_path, plays=2).read_text()
    found = payload(page)
    assert len(found["cases"]) == len(found["replays"]) == 2
    assert all(entry["runs"][1] is None for entry in found["replays"].values())
    assert "--parents" in page
    assert "Realism" not in page


def test_a_run_and_a_set_are_not_mixed(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = str(stores / "variants")
    assert main(["report", variants, str(tmp_path)]) == ExitCode.USAGE
    assert "not both" in capsys.readouterr().err
    assert main(["report", variants, "--latex"]) == ExitCode.USAGE
    with pytest.raises(DataError, match=r"generation\.json"):
        write_hard_cases([stores / "parents"], tmp_path)


def test_figures_of_the_generator_are_shown(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "figures.jsonl").write_text(
        "".join(json.dumps({"scene": s, "seed": 0} | row) + "\n" for s in "abcdef"
                for row in ({}, {"severity": 0.0, "fit": 4, "fails": 1, "certified_1.0": 2,
                                 "fails_1.0": 1}, {"severity": 1.0, "fit": 4, "fails": 3,
                                                   "certified_1.0": 2, "fails_1.0": 2}))
    )  # fmt: skip
    (tmp_path / "figures.md").write_text(
        f"6 scenes.\n\n| what | figure | goal |\n|---|---|---|\n| {EVIL} | 0.5 | 1 |\n\n| x |\n"
    )
    page = write_hard_cases([stores / "variants"], tmp_path, figures=tmp_path).read_text()
    assert EVIL not in page
    assert '<td data-label="goal">1</td>' in page
    assert '<th scope="row">x' not in page
    for words in (
        "the planner aimed at fails, of all that is fit",
        "it fails, of what is certified at 1.0 s",
    ):
        assert f"Share in which {words}" in page


def test_the_dial_is_the_share_of_each_severity(tmp_path: Path) -> None:
    rows = [{"scene": f"s{i}", "seed": 0, "raw": 9} for i in range(20)]
    dials = [{"severity": s, "fit": 8, "fails": int(8 * s) - i % 2 * (s == 0.5)}
             for i in range(20) for s in (0.0, 0.5, 1.0)]  # fmt: skip
    lines = [row for i in range(20) for row in (rows[i], *dials[3 * i : 3 * i + 3])]
    (tmp_path / "figures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    read = dial_rows(tmp_path)
    assert [row["scene"] for row in read[:4]] == ["s0", "s0", "s0", "s1"]
    dial = dial_of(read, "fails", "fit", "x")
    assert [severity for severity, _ in dial.points] == [0.0, 0.5, 1.0]
    assert [share.value for _, share in dial.points] == pytest.approx([0.0, 3.5 / 8, 1.0])
    (_, half) = dial.points[1]
    assert half.low < half.value < half.high
    assert (half.clusters, half.scenarios) == (20, 160)
    assert dial.monotone
    assert not dial_of(
        [{**r, "severity": -r["severity"]} for r in read], "fails", "fit", ""
    ).monotone
    with pytest.raises(DataError, match=r"figures\.jsonl"):
        dial_rows(tmp_path / "nowhere")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("needs the Debian packages chromium, chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()


def test_it_plays_and_no_hostile_name_runs(stores: Path, tmp_path: Path, browser: Any) -> None:
    waiting = pytest.importorskip("selenium.webdriver.support.wait")
    page = write_hard_cases(
        [stores / "variants"], tmp_path, parents=scenes(stores / "parents"), title=f"Hard {EVIL}"
    )
    browser.get(page.as_uri())
    wait = waiting.WebDriverWait(browser, 30)
    wait.until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
    assert browser.title == f"Hard {EVIL} – roadworthy"
    evil = [case for case in payload(page.read_text())["cases"] if EVIL in case["name"]]
    assert evil
    assert browser.find_elements("css selector", "img") == []
    link = browser.find_element("css selector", f'#all ~ * a[href="#case={evil[0]["id"]}"]')
    browser.execute_script("arguments[0].click()", link)
    wait.until(lambda d: not d.find_element("id", "player").get_property("hidden"))
    assert browser.find_element("id", "case-title").get_property("textContent") == evil[0]["name"]
    shown = browser.find_elements("css selector", "#pictures figure:not([hidden])")
    assert [f.find_element("tag name", "bdi").text for f in shown] == ["drives on", "parent"]
    assert browser.find_elements("css selector", "#case-scores:not([hidden])") == []
    clock = browser.find_element("id", "clock")
    before = clock.text
    browser.find_element("id", "play").click()
    wait.until(lambda _: clock.text != before)
    for control in browser.find_elements("css selector", "button, input, select"):
        name = control.accessible_name
        assert name.strip(), control.get_attribute("outerHTML")
    browser.set_window_size(390, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 500
    assert browser.get_log("browser") == []
