"""`roadworthy view`, `show` and `report`."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from report_data import HOSTILE_PLANNER, make_run
from roadworthy.cli import main
from roadworthy.exit_codes import ExitCode
from roadworthy.store import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("show") / "run", cases=18)


@pytest.fixture(autouse=True)
def headless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_view_prints_the_address(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(run.path)]) == ExitCode.OK
    assert capsys.readouterr().out.strip() == (run.path / "report.html").as_uri()
    assert (run.path / "report.html").is_file()
    assert main(["view", str(run.path), "--case", "scene-009"]) == ExitCode.OK
    assert "#case=" in capsys.readouterr().out


def test_show_draws_a_picture(run: Run, tmp_path: Path) -> None:
    assert main(["show", str(run.path), "scene-009", "--out", "case.png"]) == ExitCode.OK
    with Image.open(tmp_path / "case.png") as picture:
        assert picture.size == (960, 480)
        colours = np.asarray(picture)[:, 480:].reshape(-1, 3).astype(int)
    marked = abs(colours - (200, 32, 26)).max(axis=1) < 30
    assert marked.sum() > 20  # where the second planner collides
    assert main(["show", str(run.path), "scene-009", "--step", "0", "--out", "a.png"]) == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "case.png").read_bytes()


def test_show_draws_a_film(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["show", str(run.path), "scene-009", "--planner", "careful", "--out", "case.gif"]
    assert main(arguments) == ExitCode.OK
    assert capsys.readouterr().out.strip() == "case.gif"
    with Image.open(tmp_path / "case.gif") as film:
        assert film.size == (720, 480)
        assert film.n_frames == 31


def test_show_writes_mp4(run: Run, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert main(["show", str(run.path), "scene-009", "--out", "case.mp4"]) == ExitCode.OK
    with av.open(str(tmp_path / "case.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 61


def test_show_says_what_mp4_takes(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["show", str(run.path), "scene-009", "--out", "case.mp4"]) == ExitCode.USAGE
    assert 'pip install -c constraints.txt ".[video]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scene-0o9", "--out", "case.gif"], "Did you mean"),
        (["scene-009", "--out", "case.gif", "--planner", "nobody"], "has no planner 'nobody'"),
        (["scene-009", "--out", "case.bmp"], ".png, .gif, .mp4 or .mcap"),
        (["scene-013", "--out", "case.gif"], "no rollout of"),
        (["scene-009"], "--out case.gif"),
        (["scene-009", "--out", "no/such/folder/case.png"], "cannot be written"),
    ],
)
def test_show_helps(
    run: Run, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(run.path), *arguments]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_report_of_several_runs(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", planners=("careful",), cases=18)
    arguments = ["report", str(run.path), str(other.path), "--out", "board", "--latex", "--svg"]
    assert main(arguments) == ExitCode.OK
    text = (tmp_path / "board" / "report.html").read_text()
    assert "A range\n  of ranks is a tie" in text
    assert "1–3" in text  # the two careful ones cannot be told apart
    table = (tmp_path / "board" / "table.tex").read_text()
    assert r"\textless{}img src=x onerror=alert(1)\textgreater{}" in table
    assert r"total.collision $\downarrow$" in table
    drawn = (tmp_path / "board" / "plots" / "total.svg").read_text()
    assert drawn.startswith("<svg xmlns=")
    assert "&lt;img src=x" in ElementTree.tostring(ElementTree.fromstring(drawn)).decode()


def test_a_leaderboard_has_its_scores(run: Run, tmp_path: Path) -> None:
    older = make_run(tmp_path / "older", planners=("careful",), cases=18)
    text = (older.path / "run.json").read_text()
    (older.path / "run.json").write_text(text.replace('"version": "3"', '"version": "2"'))
    assert main(["report", str(run.path), str(older.path), "--out", "board"]) == ExitCode.OK
    with (tmp_path / "board" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 18
    now, before = "total.total (version 3)", "total.total (version 2)"
    for row in rows:
        given = [name for name in (now, before) if row[name]]
        old = row["planner"] == "older/careful"
        assert given == ([] if row["status"] != "ok" else [before] if old else [now])
    page = (tmp_path / "board" / "report.html").read_text()
    assert "Not compared:" in page
    assert "metric total has version" in page
    assert main(["report", str(run.path)]) == ExitCode.OK
    assert not (run.path / "scores.csv").exists()  # a run's own, which this one lacks


def test_plots_for_a_paper_as_pdf(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("svglib")
    pdfium = pytest.importorskip("pypdfium2")
    assert main(["report", str(run.path), "--pdf", "--out", "paper"]) == ExitCode.OK
    folder = tmp_path / "paper" / "plots"
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.pdf" for name in ("total", "total.collision", "total.top_speed", "total.sometimes")
    }
    file = folder / "total.top_speed.pdf"
    [page] = pdfium.PdfDocument(str(file))
    assert 200 < page.get_width() < 400 < 4 * page.get_height()
    text = page.get_textpage().get_text_range()
    for words in ("total.top_speed [m/s]", "careful", HOSTILE_PLANNER, "% of cases"):
        assert words in text
    fonts = re.findall(rb"/BaseFont /(\S+)", file.read_bytes())
    assert fonts
    assert all(b"Vera" in font for font in fonts)
    assert file.read_bytes().count(b"/FontFile2") == len(fonts)  # they are in the file
    pixels = np.asarray(page.render(scale=2).to_pil().convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((11, 92, 173), (194, 84, 0)):
        assert (abs(pixels - colour).max(axis=1) < 8).sum() > 200


def test_report_says_what_pdf_takes(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "svglib.fonts", None)
    assert main(["report", str(run.path), "--pdf", "--out", "paper"]) == ExitCode.USAGE
    assert 'pip install -c constraints.txt ".[paper]"' in capsys.readouterr().err
    assert not Path("paper").exists()
