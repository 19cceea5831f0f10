"""An isolated planner drives as it would outside, and can do nothing else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from roadworthy import resolved
from roadworthy.errors import PluginError
from roadworthy.isolation.process import Confinement
from roadworthy.isolation.sandbox import carve
from roadworthy.rollout import Status
from roadworthy.runner import run_suite
from roadworthy.store import Run
from roadworthy.suite import Suite, override, parse_suite

PLANNERS = Path(__file__).parents[1] / "planners"

OUTSIDE = {
    "memory_of_another_process",
    "signals_to_the_harness",
    "future_among_the_objects",
    "environment",
    "run_directory",
    "logs",
    "files_elsewhere",
    "writing_into_the_run",
    "writing_elsewhere",
    "filling_the_disk",
    "tcp",
    "udp",
    "abstract_unix_socket",
}
"""What the same planner does without isolation: the attacks are real."""


def suite(*planners: str, folder: Path = PLANNERS, extra: str = "", count: int = 2) -> Suite:
    text = f"""
    name = "isolated"
    seed = 5
    metrics = ["success"]
    sources = [{{name = "procedural", seed = 5, count = {count}}}]
    simulator = {{name = "closed-loop", replan_hz = 2, duration_s = 2.0}}
    planners = [{", ".join(f'"{name}"' for name in planners)}]
    [run]
    executor = "inline"
    batch_size = 2
    memory_limit_gb = 3.0
    file_limit_mb = 32
    save_rollouts = false
    {extra}
    """
    return parse_suite(text, str(folder / "suite.toml"))


def isolated(*planners: str, folder: Path = PLANNERS, extra: str = "", count: int = 2) -> Suite:
    return override(suite(*planners, folder=folder, extra=extra, count=count), isolation="process")


@pytest.fixture
def scene_of_crime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A planner's folder with a run, a suite and logs in it, a secret file elsewhere, and servers.

    The planner may read its own folder: so what it must not see is put just there.
    """
    monkeypatch.setenv("ROADWORTHY_TEST_SECRET", "the future")
    folder = tmp_path / "planner"
    folder.mkdir()
    (folder / "cheat.py").write_bytes((PLANNERS / "cheat.py").read_bytes())
    (folder / "suite.toml").write_text("")
    (folder / "logs").mkdir()
    (folder / "logs" / "scene").write_text("the future")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("the future")
    tcp, udp, unix = (socket.socket(*kind) for kind in _SOCKETS)
    with tcp, udp, unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        unix.bind(f"\0roadworthy-test-{tcp.getsockname()[1]}")
        unix.listen()
        threading.Thread(target=_echo, args=(udp,), daemon=True).start()
        (folder / "targets.py").write_text(
            f"RUN = {str(folder / 'run')!r}\n"
            f"LOGS = {str(folder / 'logs' / 'scene')!r}\n"
            f"SECRET_FILE = {str(tmp_path / 'elsewhere' / 'secret')!r}\n"
            f"PORT, UDP_PORT = {tcp.getsockname()[1]}, {udp.getsockname()[1]}\n"
            f"HARNESS_PID = {os.getpid()}\n"
        )
        yield folder


_SOCKETS = (
    (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_UNIX, socket.SOCK_STREAM),
)


def _echo(udp: socket.socket) -> None:
    while True:
        try:
            data, sender = udp.recvfrom(100)
            udp.sendto(data[:10], sender)
        except OSError:
            return


def worked(run: Run) -> set[str]:
    """Which attacks the planner says did work."""
    found: set[str] = set()
    for record in run.records:
        if record.error is not None:
            assert record.error.message.startswith("worked: "), record.error.message
            found |= set(record.error.message.removeprefix("worked: ").split())
    return found


def drive(folder: Path, chosen: Suite) -> Run:
    return run_suite(chosen, folder / "run", data=folder / "logs")


def means(run: Run, planner: str) -> dict[str, object]:
    found: dict[str, object] = run.manifest.provenance["isolation"][planner]
    return found


def test_the_attacks_work_where_nothing_stops_them(scene_of_crime: Path) -> None:
    planner = f"{scene_of_crime}/cheat.py:Cheat"
    assert worked(drive(scene_of_crime, suite(planner, folder=scene_of_crime))) >= OUTSIDE


def test_an_isolated_planner_cannot_cheat_and_its_honest_part_drives(scene_of_crime: Path) -> None:
    planner = f"{scene_of_crime}/cheat.py:Cheat"
    run = drive(scene_of_crime, isolated(planner, folder=scene_of_crime))
    found = means(run, "cheat")
    if found["missing"]:
        pytest.skip(f"this kernel does not offer it all: {found['missing']}")
    assert worked(run) == set()
    assert {r.status for r in run.records} == {Status.OK}
    assert all(r.steps == 20 for r in run.records)


@pytest.mark.parametrize(
    ("use", "residue"),
    [(("landlock",), {"udp"}), (("namespaces",), {"files_elsewhere", "linking_out"})],
)
def test_half_of_the_means_leave_what_is_documented(
    scene_of_crime: Path, monkeypatch: pytest.MonkeyPatch, use: tuple[str], residue: set[str]
) -> None:
    whole = resolved._confinement

    def half(suite: Suite, hidden: tuple[Path, ...]) -> Confinement:
        full = whole(suite, hidden)
        return Confinement(full.cpu_s, full.memory_gb, full.file_mb, full.hidden, use)

    monkeypatch.setattr(resolved, "_confinement", half)
    planner = f"{scene_of_crime}/cheat.py:Cheat"
    run = drive(scene_of_crime, isolated(planner, folder=scene_of_crime))
    found = means(run, "cheat")
    if not found["namespaces"] and found["landlock"] != 7 and int(str(found["landlock"])) < 6:
        pytest.skip(f"this kernel does not offer it: {found}")
    assert worked(run) == residue
    assert any("isolated without" in notice for notice in run.manifest.notices)


def test_the_log_goes_to_who_declared_its_need_before_the_run(scene_of_crime: Path) -> None:
    planner = f"{scene_of_crime}/cheat.py:Changeling"
    run = drive(scene_of_crime, isolated(planner, folder=scene_of_crime))
    assert run.manifest.planners["changeling"]["privileged"] is False
    assert "the log" not in " ".join(r.error.message for r in run.records if r.error)


def test_bytes_that_are_no_reply_are_the_planners_fault(scene_of_crime: Path) -> None:
    planner = f"{scene_of_crime}/cheat.py:Impostor"
    run = drive(scene_of_crime, isolated(planner, folder=scene_of_crime))
    assert [r.status for r in run.records] == [Status.PLANNER_ERROR] * 2
    assert "no reply" in next(r.error.message for r in run.records if r.error)


def test_cpu_time_is_limited(scene_of_crime: Path) -> None:
    planner = f"{scene_of_crime}/cheat.py:Hog"
    chosen = isolated(planner, folder=scene_of_crime, extra="cpu_limit_s = 1\n", count=1)
    run = drive(scene_of_crime, chosen)
    assert [r.status for r in run.records] == [Status.TIMEOUT]
    assert "CPU-seconds" in run.records[0].error.message  # type: ignore[union-attr]


def test_honest_planners_score_the_same_bytes(tmp_path: Path) -> None:
    names = ("constant-velocity", "idm", "log-replay")
    plain = run_suite(suite(*names, count=5), tmp_path / "plain")
    apart = run_suite(isolated(*names, count=5), tmp_path / "apart")
    scores = [(run.path / "scores.csv").read_bytes() for run in (plain, apart)]
    assert scores[0] == scores[1]
    assert apart.manifest.config_hash == plain.manifest.config_hash
    in_workers = override(isolated(*names, count=5), executor="process", workers=1)
    run_suite(in_workers, tmp_path / "workers")
    assert (tmp_path / "workers" / "scores.csv").read_bytes() == scores[0]


def test_faults_stay_with_their_cases(tmp_path: Path) -> None:
    names = ["Crashes", "Vanishes", "TenGigabytes", "Raises", "Good"]
    chosen = isolated(*(f"{PLANNERS}/bad.py:{name}" for name in names))
    run = run_suite(chosen, tmp_path / "run")
    outcome = {r.planner: (r.status, r.error.type if r.error else "") for r in run.records}
    assert outcome == {
        "crashes": (Status.PLANNER_ERROR, "PlannerDied"),
        "vanishes": (Status.PLANNER_ERROR, "PlannerDied"),
        "ten-gigabytes": (Status.PLANNER_ERROR, "MemoryError"),
        "raises": (Status.PLANNER_ERROR, "KeyError"),
        "good": (Status.OK, ""),
    }
    crash = next(r.error.message for r in run.records if r.planner == "crashes" and r.error)
    assert "SIGSEGV" in crash


def test_mistakes_are_found_before_the_run_starts(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(PluginError, match="nothing_of_this_name"):
        run_suite(isolated(f"{tmp_path}/mine.py:Mine"), tmp_path / "run")


def test_what_is_hidden_is_cut_out_of_what_is_readable(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    root = str(tmp_path)
    kept = carve([root], [f"{root}/a/b"])
    assert sorted(kept) == [f"{root}/a/d", f"{root}/e"]
    assert carve([f"{root}/a/b/c"], [f"{root}/a/b"]) == []
    assert carve([root], [root]) == []


def test_isolation_is_recorded_in_the_suite(tmp_path: Path) -> None:
    chosen = isolated("idm", count=1)
    assert msgspec.to_builtins(chosen)["planners"][0]["isolation"] == "process"
