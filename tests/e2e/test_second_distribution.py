"""Plugins of other distributions, really installed: listed, reviewed, benchmarked, kept apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from roadworthy.exit_codes import ExitCode
from roadworthy.store import read_run

PLUGINS = Path(__file__).parents[1] / "plugins"

SUITE = """
name = "second"
seed = 3
metrics = ["success"]
sources = [{name = "procedural", seed = 3, count = 3}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 2.0}
[[planners]]
name = "acme-stop"
deceleration = 2.5
[[planners]]
name = "constant-velocity"
[run]
executor = "process"
workers = 1
save_rollouts = false
"""


def install(target: Path, *sources: Path) -> Path:
    """Installs source folders into `target` with pip, from this machine alone."""
    copies = target.with_name(target.name + "-sources")
    for source in sources:  # a build writes beside its sources
        shutil.copytree(source, copies / source.name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--disable-pip-version-check", "--target", str(target),
         *(str(copies / source.name) for source in sources)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def roadworthy(
    site: Path, *args: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), **env},
    )


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("acme") / "site", PLUGINS / "acme_planner")


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with one broken plugin, and one that claims a name which is taken."""
    return install(
        tmp_path_factory.mktemp("troubled") / "site",
        PLUGINS / "acme_broken",
        PLUGINS / "acme_duplicate",
    )


def test_it_is_listed(acme: Path) -> None:
    listed = json.loads(roadworthy(acme, "plugins", "list", "--json").stdout)
    assert {
        "kind": "planners",
        "name": "acme-stop",
        "target": "acme_planner.stop:Stop",
        "distribution": "acme-planner",
        "version": "1.2.3",
    } in listed["entries"]
    assert not listed["broken"]


def test_it_is_reviewed_by_name_and_by_distribution(acme: Path) -> None:
    for subject in ("acme-stop", "acme-planner"):
        done = roadworthy(acme, "plugins", "check", subject)
        assert done.returncode == ExitCode.OK, done.stdout + done.stderr
        assert "from acme-planner 1.2.3, options: deceleration: float = 3.0." in done.stdout


def test_it_is_benchmarked_and_watches(acme: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    seen = tmp_path / "cases.txt"
    done = roadworthy(acme, "run", "suite.toml", "--out", "run", cwd=tmp_path, ACME_CASES=str(seen))
    assert done.returncode == ExitCode.OK, done.stderr
    run = read_run(tmp_path / "run")
    by_acme = [r for r in run.records if r.planner == "acme-stop"]
    assert len(by_acme) == 3
    assert {str(r.status) for r in run.records} == {"ok"}
    recorded = run.manifest.planners["acme-stop"]
    assert (recorded["distribution"], recorded["version"]) == ("acme-planner", "1.2.3")
    assert recorded["options"] == {"deceleration": 2.5}
    assert sorted(seen.read_text().splitlines()) == sorted(
        f"{r.planner} {r.scenario}" for r in run.records
    )
    assert "warning: acme-planner 1.2.3" in done.stderr
    assert "acme has had enough" in done.stderr


def test_a_wrong_option_names_the_suite_the_field_and_the_type(acme: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE.replace("2.5", '"hard"'))
    done = roadworthy(acme, "run", "suite.toml", "--out", "run", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "planners[0].deceleration = 'hard': expected float, got str" in done.stderr
    assert "suite.toml" in done.stderr


def test_a_broken_distribution_is_shown_and_harms_nobody(troubled: Path) -> None:
    done = roadworthy(troubled, "plugins", "list")
    assert done.returncode == ExitCode.OK
    assert "planners\tconstant-velocity\troadworthy" in done.stdout
    assert "broken: acme-broken 1.2.3" in done.stderr
    assert "acme_engine_that_nobody_has" in done.stderr
    assert roadworthy(troubled, "plugins", "check", "constant-velocity").returncode == ExitCode.OK
    review = roadworthy(troubled, "plugins", "check", "acme-broken")
    assert review.returncode == ExitCode.INCOMPLETE
    assert "acme_engine_that_nobody_has" in review.stdout


def test_a_suite_that_may_need_a_broken_plugin_ends_with_its_traceback(
    troubled: Path, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    done = roadworthy(troubled, "run", "suite.toml", "--out", "run", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "there is no planner named 'acme-stop'" in done.stderr
    assert "acme_engine_that_nobody_has" in done.stderr


def test_a_name_offered_twice_is_refused_with_both_distributions(
    troubled: Path, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    listed = roadworthy(troubled, "plugins", "list")
    assert "'idm' is offered by acme-duplicate 1.2.3 and roadworthy" in listed.stderr
    done = roadworthy(
        troubled, "run", "suite.toml", "--planner", "idm", "--out", "run", cwd=tmp_path
    )
    assert done.returncode == ExitCode.USAGE
    assert "'idm' is offered by acme-duplicate 1.2.3 and roadworthy" in done.stderr
    assert "acme_duplicate.plugin:nothing" in done.stderr


@pytest.mark.parametrize("kind", ["planner", "metric", "generator", "source"])
def test_a_new_plugin_passes_its_own_tests_once_installed(kind: str, tmp_path: Path) -> None:
    written = roadworthy(tmp_path, "plugins", "new", kind, "acme", cwd=tmp_path)
    assert written.returncode == ExitCode.OK, written.stderr
    assert written.stdout == "wrote acme\n"
    site = install(tmp_path / "site", tmp_path / "acme")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "acme",
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stdout
    again = roadworthy(tmp_path, "plugins", "new", kind, "acme", cwd=tmp_path)
    assert again.returncode == ExitCode.USAGE
    assert "nothing was written" in again.stderr
    taken = roadworthy(site, "plugins", "new", kind, "acme", "--dir", "other", cwd=tmp_path)
    assert taken.returncode == ExitCode.USAGE
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["planner", "Acme"], "kebab"),
        (["planner", "../acme"], "kebab"),
        (["planner", "class"], "grammar"),
        (["planner", "numpy"], "can already be imported"),
        (["planner", "idm"], "already the name of an installed planner"),
        (["planer", "acme"], "Did you mean 'planner'?"),
    ],
)
def test_a_bad_new_name_writes_nothing(args: list[str], words: str, tmp_path: Path) -> None:
    done = roadworthy(tmp_path, "plugins", "new", *args, cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert words in done.stderr
    assert not list(tmp_path.iterdir())
