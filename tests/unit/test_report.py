"""Reports: escaped, the same bytes for the same run, small, and well-formed."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pyarrow.parquet as pq
import pytest
from report_data import ERRORS, HOSTILE_NAMES, HOSTILE_PLANNER, make_run
from roadworthy.comparison.compare import compare
from roadworthy.comparison.pairing import contestants
from roadworthy.errors import RunError
from roadworthy.report import write_report, write_reports
from roadworthy.report.page import page_of as page_of_view
from roadworthy.report.reasons import failed, reasons_of
from roadworthy.report.replays import encode_replays
from roadworthy.report.verdicts import judge
from roadworthy.report.view import view_of
from roadworthy.rollout import Status
from roadworthy.store import Run, read_run

WRITTEN = ("report.html", "summary.md", "junit.xml", "scores.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("report") / "run")
    write_reports(made)
    return made


class Outline(HTMLParser):
    """Tags, attributes and script bodies of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.bodies: dict[str, str] = {}
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = ""
        if tag in ("script", "style"):
            self.open = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open:
            self.bodies[self.open] = self.bodies.get(self.open, "") + data


def page_of(run: Run) -> Outline:
    return Outline((run.path / "report.html").read_text())


def test_hostile_names_stay_text(run: Run) -> None:
    outline = page_of(run)
    assert not [tag for tag, _ in outline.tags if tag in ("img", "b", "i", "u", "iframe", "object")]
    assert not [
        (tag, name) for tag, names in outline.tags for name in names if name.startswith("on")
    ]
    scripts = [names for tag, names in outline.tags if tag == "script"]
    assert [s.get("type", "") for s in scripts if s.get("type") != "text/plain"] == [
        "application/json",
        "",
    ]
    data = json.loads(outline.bodies["data"])
    assert data["entries"][1]["label"] == HOSTILE_PLANNER
    names = {case["name"] for case in data["cases"]}
    assert names >= set(HOSTILE_NAMES)


def test_the_policy_allows_its_own_script_alone(run: Run) -> None:
    outline = page_of(run)
    policy = next(
        str(names["content"])
        for tag, names in outline.tags
        if tag == "meta" and names.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for body in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(outline.bodies[body].encode()).digest()).decode()
        assert f"{body}-src 'sha256-{digest}'" in policy
    fetched = [names[key] for _, names in outline.tags for key in ("src", "href") if names.get(key)]
    assert all(str(address).startswith(("#", "data:")) for address in fetched)
    assert not [names for _, names in outline.tags if "style" in names]


def test_same_run_same_bytes(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    for name in WRITTEN:
        (copy / name).unlink()
    write_reports(read_run(copy))
    for name in WRITTEN:
        assert (copy / name).read_bytes() == (run.path / name).read_bytes(), name


def test_denominators_and_errors_are_shown(run: Run) -> None:
    text = (run.path / "report.html").read_text()
    for status in ERRORS:
        assert status.value.replace("_", " ") in text
    data = json.loads(page_of(run).bodies["data"])
    ended = [case["results"][0]["s"] for case in data["cases"]]
    assert ended.count("ok") == len(ended) - len(ERRORS)


def test_junit(run: Run) -> None:
    root = ET.fromstring((run.path / "junit.xml").read_bytes())
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["careful", HOSTILE_PLANNER]
    for suite in suites:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases) == 24
        assert int(suite.get("errors", "")) == len(suite.findall("testcase/error")) == len(ERRORS)
        failures = suite.findall("testcase/failure")
        assert int(suite.get("failures", "")) == len(failures)
    assert suites[0].get("failures") == "0"
    assert "collision: active front at step 30" in str(failures[0].get("message"))


def test_markdown(run: Run) -> None:
    text = (run.path / "summary.md").read_text()
    assert "19 / 24" in text
    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for line, after in itertools.pairwise(tables):
        if set(after) <= set("|-: "):
            cells = len(re.findall(r"(?<!\\)\|", line))
            assert cells == after.count("|")


def test_parquet_has_the_exact_scores(run: Run) -> None:
    table = pq.read_table(run.path / "scores.parquet").to_pylist()
    assert len(table) == len(run.records)
    for row, record in zip(table, run.records, strict=True):
        assert row["total"] == record.values.get("total", {}).get("total")
        assert row["status"] == record.status.value


def test_reasons(run: Run) -> None:
    metrics = run.manifest.metrics
    by_index = {r.index: reasons_of(r, metrics) for r in run.records if r.planner != "careful"}
    assert [(r.level, r.text, r.step) for r in by_index[0]] == [
        ("fail", "collision: active front", 30),
        ("fail", "<b>odd</b>", 31),
        ("near", "ttc", 22),
    ]
    assert [r.text for r in by_index[4]] == ["ttc"]
    assert not failed(by_index[4])
    assert by_index[10] == ()  # its collision was not its fault
    assert by_index[23][0].level == "error"


def test_the_metric_that_blames_is_believed(run: Run) -> None:
    record = next(r for r in run.records if r.status is Status.OK)
    met = {"kind": "impact", "step": 7, "agent": 3}
    for at_fault, said in ((False, []), (True, ["collision"])):
        judged = {"kind": "collision", "step": 7, "agent": 3, "at_fault": at_fault}
        both = msgspec.structs.replace(record, events={"neuroncap": [met], "safety": [judged]})
        assert [r.text for r in reasons_of(both, {})] == said
    alone = msgspec.structs.replace(record, events={"neuroncap": [met]})
    assert [r.text for r in reasons_of(alone, {})] == ["impact"]


def test_a_zero_that_nothing_explains_is_a_reason(run: Run) -> None:
    record = next(r for r in run.records if r.status is Status.OK and not r.events)
    record = msgspec.structs.replace(record, values={"total": {"total": 0.0}})
    assert [r.text for r in reasons_of(record, run.manifest.metrics)] == ["total = 0"]


def test_the_budget_keeps_the_worst(run: Run) -> None:
    view = view_of(contestants([run]))
    all_of_them = encode_replays(view)
    assert all_of_them.shown == 23  # the rejected scenario has no rollout
    assert all_of_them.absent == 1
    few = encode_replays(view, budget=sum(map(len, all_of_them.blobs)) // 3)
    assert 0 < few.shown < 20
    assert few.left_out == 23 - few.shown
    kept = [case.id for case in view.worst if case.id in all_of_them.by_case][: few.shown]
    assert set(few.by_case) == set(kept)


def test_lost_and_damaged_rollouts_are_said(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "rollouts" / HOSTILE_PLANNER)
    damaged = sorted((copy / "rollouts" / "careful").iterdir())
    damaged[0].write_bytes(b"not a zip")
    found = encode_replays(view_of(contestants([read_run(copy)])))
    assert (found.shown, found.absent) == (22, 2)
    assert "is damaged" in found.problems[0]


def test_two_runs_side_by_side(run: Run, tmp_path: Path) -> None:
    second = make_run(tmp_path / "b", planners=("careful",))
    page = write_report([(run, "careful"), second], tmp_path / "both", title="Side by side")
    data = json.loads(Outline(page.read_text()).bodies["data"])
    assert [e["label"] for e in data["entries"]] == ["run/careful", "b/careful"]
    assert all(None not in case["results"] for case in data["cases"])
    assert "equal in every case" in page.read_text()


def test_a_comparison_that_was_made_is_shown(run: Run, tmp_path: Path) -> None:
    made = compare([run], confidence=0.9)
    page = write_report([run], tmp_path, comparison=made)
    text = page.read_text()
    assert "90% interval" in text
    assert ">7</strong> broken" in text


def test_runs_that_cannot_be_compared_are_still_shown(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", planners=("careful",))
    metrics = {"total": other.manifest.metrics["total"] | {"version": "4"}}
    other = msgspec.structs.replace(
        other, manifest=msgspec.structs.replace(other.manifest, metrics=metrics)
    )
    text = write_report([run, other], tmp_path / "out").read_text()
    assert "Not compared:" in text
    assert "total (version 3)" in text
    assert "total (version 4)" in text


def test_sections_of_plugins_are_shown(run: Run) -> None:
    players = contestants([run])
    view = view_of(players)
    sections = [("More & more", "<p>Something <em>else</em></p>")]
    text = page_of_view(view, judge(players), encode_replays(view, budget=0), sections)
    assert "More &amp; more</h2>" in text
    assert "<p>Something <em>else</em></p>" in text


def test_nothing_to_show() -> None:
    with pytest.raises(RunError, match="no planner to show"):
        view_of([])


def test_a_run_of_one_planner_without_rollouts(tmp_path: Path) -> None:
    made = make_run(tmp_path / "run", planners=("careful",), cases=6, hostile=False)
    shutil.rmtree(made.path / "rollouts")
    text = write_reports(made).read_text()
    assert "No case has a replay in this file." in text
    assert 'id="scatter"' not in text


def test_300_cases_of_2_planners(tmp_path: Path) -> None:
    made = make_run(
        tmp_path / "run",
        planners=("careful", "rushing"),
        cases=300,
        hostile=False,
        agents=40,
        seconds=15.0,
        noise=0.03,
    )
    begin = time.process_time()
    page = write_reports(made)
    assert time.process_time() - begin < 10.0
    assert page.stat().st_size < 15_000_000
    assert "299 of 300 cases have a replay" in page.read_text()
