"""What the pages for newcomers say is done to the letter: their files, their commands."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from roadworthy.store import read_run

ROOT = Path(__file__).resolve().parents[2]
PLANNER = ROOT / "docs" / "bring-your-own-planner.md"
METRIC = ROOT / "docs" / "bring-your-own-metric.md"
TRAINING = ROOT / "docs" / "post-training.md"
INSTALL = "pip install -c constraints.txt ."


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, body) of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def write_files(found: list[tuple[str, str]], folder: Path) -> list[str]:
    """Writes the blocks whose first line is a comment with a file's name; these names."""
    named = [(re.match(r"# ([\w-]+\.(?:py|toml))\n", body), body) for _, body in found]
    for name, body in named:
        if name:
            (folder / name[1]).write_text(body)
    return [name[1] for name, _ in named if name]


def commands(found: list[tuple[str, str]]) -> list[str]:
    """The lines of the shell blocks, without comments."""
    bodies = [body.replace("\\\n", " ") for kind, body in found if kind == "sh"]
    lines = [line for body in bodies for line in body.splitlines()]
    return [stripped for line in lines if (stripped := line.partition("  #")[0].strip())]


def run_all(lines: list[str], folder: Path) -> str:
    """Runs roadworthy's commands in a folder that has the suites; all that they print."""
    shutil.copytree(ROOT / "suites", folder / "suites", dirs_exist_ok=True)
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "ROADWORTHY_DATA")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment["PATH"] = sysconfig.get_path("scripts") + os.pathsep + environment["PATH"]
    said = ""
    for line in lines:
        assert line.startswith("roadworthy "), line
        done = subprocess.run(
            shlex.split(line), cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    return said


def rows_of(run: Path) -> list[dict[str, str]]:
    """The rows of `scores.csv`."""
    with (run / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def scored(run: Path) -> set[str]:
    """The planners of `scores.csv`, none of which had an error."""
    rows = rows_of(run)
    assert {row["status"] for row in rows} == {"ok"}
    return {row["planner"] for row in rows}


def test_a_report_on_ones_own_planner(tmp_path: Path) -> None:
    found = blocks(PLANNER.read_text())
    assert write_files(found, tmp_path) == ["mine.py", "follower.py", "own.toml"]
    first, then = found[:2], found[2:]
    lines = commands(first)
    assert lines[0] == INSTALL
    assert (ROOT / "constraints.txt").is_file()
    code = [line for line in first[0][1].splitlines() if line.strip()]
    assert len(code) + len(lines) <= 20

    said = run_all(lines[1:], tmp_path)
    assert "Fit to be run." in said
    assert said.strip().endswith("/reports/mine/report.html")
    assert scored(tmp_path / "reports" / "mine") == {"mine", "idm"}
    page = (tmp_path / "reports" / "mine" / "report.html").read_text()
    assert '<bdi>mine</bdi> <span class="better">' in " ".join(page.split())

    said = run_all(commands(then), tmp_path)
    assert "options: cruise: float = 10.0" in said
    assert re.search(r"^mine\tfollower\tpdms\t10\t", said, re.MULTILINE)
    assert scored(tmp_path / "reports" / "own") == {"cautious"}
    own = read_run(tmp_path / "reports" / "own").manifest
    assert own.planners["cautious"]["options"] == {"cruise": 6.0}
    pdms: dict[str, list[float]] = {}
    for row in rows_of(tmp_path / "reports" / "both"):
        pdms.setdefault(row["planner"], []).append(float(row["pdms.pdms"]))
    assert sum(pdms["follower"]) > sum(pdms["mine"])  # "a better one"


def test_a_metric_of_ones_own(tmp_path: Path) -> None:
    found = blocks(METRIC.read_text())
    assert write_files(found, tmp_path) == ["clearance.py", "close.toml"]
    assert len([line for line in found[0][1].splitlines() if line.strip()]) <= 35
    said = run_all(commands(found), tmp_path)
    assert "Fit to be run." in said
    assert re.search(r"^idm\tconstant-velocity\tclearance.kept\t4\t", said, re.MULTILINE)
    run = tmp_path / "reports" / "close"
    nearest = [float(row["clearance.nearest"]) for row in rows_of(run)]
    assert all(0.0 < value < 100.0 for value in nearest)
    assert "clearance.<wbr>kept" in (run / "report.html").read_text()
    events = [e for r in read_run(run).records for e in r.events.get("clearance", [])]
    assert {e["kind"] for e in events} == {"too_near"}


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    """With fewer steps than a training takes."""
    section = TRAINING.read_text().partition("## Your own network")[2].partition("\n## ")[0]
    found = blocks(section)
    assert write_files(found, tmp_path) == ["mine.py"]
    scenes = "roadworthy scenarios convert procedural -o count=6 --split train --out train.store"
    lines = [f"{line} --set steps=5" if " train " in line else line for line in commands(found)]
    assert sum("steps=5" in line for line in lines) == 2
    assert "Fit to be run." in run_all([scenes, *lines], tmp_path)


def test_packages_begun_by_different_pages_go_side_by_side() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    begun = set(re.findall(r"plugins new (\w+) ([a-z-]+)`", text))
    assert {kind for kind, _ in begun} == {"planner", "metric"}
    assert len({name for _, name in begun}) == len(begun)


def test_extras_are_named_as_they_can_be_installed() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    files += [f for top in ("harness", "plugins") for f in (ROOT / top).rglob("*.py")]
    text = "\n".join(file.read_text() for file in files)
    assert not re.search(r"pip install .?roadworthy", text)  # it is on no index
    named = re.findall(r"pip install -c constraints\.txt (?:\"|&quot;)\.\[([\w,]+)\]", text)
    assert {extra for group in named for extra in group.split(",")} <= set(known)
    assert "gym" in named


@pytest.mark.parametrize("page", [PLANNER, METRIC], ids=lambda path: path.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert targets
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_planner_of_the_readme(tmp_path: Path) -> None:
    """With the smoke suite in the place of the safety suite, which takes minutes."""
    text = (ROOT / "README.md").read_text()
    found = blocks(text.partition("## Your planner in five minutes")[2].partition("\n## ")[0])
    assert write_files(found, tmp_path) == ["mine.py"]
    lines = commands(found)
    assert lines[0] == INSTALL
    assert any(line.startswith("roadworthy run suites/safety.toml ") for line in lines)
    smaller = [line.replace("suites/safety.toml", "suites/smoke.toml") for line in lines[1:]]
    assert "Fit to be run." in run_all(smaller, tmp_path)
    assert scored(tmp_path / "reports" / "smoke") == {"mine", "idm"}
