"""What happens to a run while it runs: nothing finished is lost, and the end is the same bytes.

Every fault is real. Those that need a file system of their own run in a mount namespace, and are
skipped where the kernel does not give one.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fault_table import Fault, finished, kept_through, results
from roadworthy.errors import RunError
from roadworthy.exit_codes import ExitCode
from roadworthy.rollout import Status
from roadworthy.runner import resume, run_suite
from roadworthy.store import RunDirectory, read_run
from roadworthy.suite import Suite, override, parse_suite

BAD = Path(__file__).parents[1] / "planners" / "bad.py"
CASES = 8
SUITE = f"""
name = "faults"
seed = 4
metrics = ["safety", "success"]
sources = [{{name = "procedural", seed = 4, count = {CASES}}}]
simulator = {{name = "closed-loop", replan_hz = 2, duration_s = 3.0}}
planners = [{{name = "PLANNER", label = "planner"}}]
[run]
executor = "process"
workers = 1
batch_size = 2
plan_time_limit_s = 20.0
save_rollouts = false
"""


def suite(planner: str = "Good", **run: object) -> Suite:
    text = SUITE.replace("PLANNER", f"{BAD}:{planner}")
    more = "".join(f"{key} = {value!r}\n" for key, value in run.items())
    for key in run:
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{key} ="))
    return parse_suite(f"{text}\n{more}", str(BAD.parent / "suite.toml"))


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "faults.toml"
    path.write_text(SUITE.replace("PLANNER", f"{BAD}:Good"))
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The run in which nothing happens."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    run = run_suite(override(suite(), executor="inline"), folder)
    assert [r.status for r in run.records] == [Status.OK] * CASES
    return results(folder)


def started(suite_file: Path, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "roadworthy", "run", str(suite_file), "--out", str(folder)]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | environment,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < limit
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.002)


def has_begun(folder: Path) -> bool:
    journal = folder / "cases.jsonl"
    return journal.exists() and journal.stat().st_size > 0


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [c for c in children if "spawn_main" in " ".join(c.cmdline())]


def test_a_worker_is_killed(suite_file: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = started(suite_file, folder)
    wait_until(lambda: has_begun(folder), process)
    before, victims = finished(folder), workers_of(process)
    assert victims
    os.kill(victims[0].pid, signal.SIGKILL)
    assert process.wait(180) == ExitCode.OK
    fault = Fault("worker killed (SIGKILL)", "tried again")
    kept_through(fault, CASES, read_run(folder), reference, folder, before)


@pytest.mark.parametrize(
    ("planner", "name", "outcome"),
    [
        ("CrashesOnce", "planner segfaults, once", "tried again"),
        ("Forks", "planner forks, and the copy goes on", "driven; the copy is stopped"),
        ("Leaks", "planner leaks until memory is out", "tried again"),
    ],
)
def test_a_planner_harms_its_worker_but_not_the_scores(
    reference: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planner: str,
    name: str,
    outcome: str,
) -> None:
    monkeypatch.setenv("ROADWORTHY_TEST_ONCE", str(tmp_path / "once"))
    faulty = suite(planner, memory_limit_gb=1.5)
    folder = tmp_path / "run"
    run = run_suite(faulty, folder)
    assert [r.status for r in run.records] == [Status.OK] * CASES
    assert (tmp_path / "once").exists()  # the fault did happen
    kept_through(Fault(name, outcome), CASES, run, reference, folder)


@pytest.mark.parametrize(
    ("planner", "name", "status"),
    [
        ("HangsInNativeCode", "planner hangs in native code", Status.TIMEOUT),
        ("Crashes", "planner segfaults", Status.PLANNER_ERROR),
        ("TenGigabytes", "planner runs out of memory", Status.PLANNER_ERROR),
    ],
)
def test_a_planner_fails_in_some_cases_until_it_is_mended(
    reference: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planner: str,
    name: str,
    status: Status,
) -> None:
    rows = csv.DictReader(reference["scores.csv"].decode().splitlines())
    faulty = [row["seed"] for row in rows][1::4]  # in a batch with one that is not
    seeds = tmp_path / "seeds"
    seeds.write_text("\n".join(faulty))
    monkeypatch.setenv("ROADWORTHY_TEST_SEEDS", str(seeds))
    folder = tmp_path / "run"
    run = run_suite(suite(planner, plan_time_limit_s=2.0, memory_limit_gb=1.5), folder)
    wanted = [status if str(r.seed) in faulty else Status.OK for r in run.records]
    assert [r.status for r in run.records] == wanted
    assert wanted.count(status) == len(faulty) == 2
    before = finished(folder)
    assert before.count(b"\n") == CASES - 2
    seeds.write_text("")
    again = resume(folder, retry_errors=True)
    fault = Fault(name, f"marked `{status.value}`; driven by the mended planner")
    kept_through(fault, CASES, again, reference, folder, before)


def test_the_user_presses_ctrl_c_twice(
    suite_file: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = started(suite_file, folder)
    wait_until(lambda: has_begun(folder), process)
    crew = workers_of(process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    assert process.wait(60) == ExitCode.INTERRUPTED
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    psutil.wait_procs(crew, timeout=20)
    assert not [w for w in crew if w.is_running()]
    before = finished(folder)
    assert 0 < before.count(b"\n") < CASES
    run = resume(folder)
    kept_through(Fault("Ctrl-C twice", "driven on resume"), CASES, run, reference, folder, before)


def test_two_runs_in_one_directory(
    suite_file: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with RunDirectory(folder):
        second = started(suite_file, folder)
        assert second.wait(120) == ExitCode.USAGE
        assert second.stderr is not None
        assert b"another run is writing here" in second.stderr.read()
        with pytest.raises(RunError, match="another run"):
            run_suite(suite(), folder)
    assert not (folder / "cases.jsonl").exists()
    run = run_suite(override(suite(), executor="inline"), folder)
    fault = Fault("two runs in one directory", "the second is refused")
    kept_through(fault, CASES, run, reference, folder)


def test_a_cache_entry_is_damaged(
    suite_file: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """The cache of one kernel, and the remembered pace, hold garbage; both are made again."""
    import roadworthy.admission.tracks as module

    # A copy, because other tests use the real one at this moment.
    cache, pace = tmp_path / "numba", tmp_path / "cache" / "roadworthy" / "pace.json"
    source = Path(module.__file__).parent / "__pycache__"
    entries = list(source.glob("tracks._plain*.nb*"))
    assert {e.suffix for e in entries} == {".nbi", ".nbc"}
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from roadworthy.execution import compiled\n"
        "from roadworthy.admission import tracks\n"
        "from roadworthy.admission import admit\n"
        "from roadworthy.testing.scenes import straight_road_scenario\n"
        "folder = Path(sys.argv[1])\n"
        "tracks._plain._cache._cache_file._cache_path = str(folder)\n"
        "tracks._plain._cache._cache_file._index_path = str(folder / Path("
        "tracks._plain._cache._cache_file._index_path).name)\n"
        "print(admit(straight_road_scenario(agents=2)).hash)\n"
    )
    hashes = set()
    damages = {("", ""), (".nbi", "cut"), (".nbi", "empty"), (".nbc", "garbage")}
    for ending, damage in sorted(damages):
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        for entry in entries:
            data = entry.read_bytes()
            if entry.suffix == ending:
                cut = data[: len(data) // 2]
                data = {"cut": cut, "garbage": b"\x80\x05garbage." * 9, "empty": b""}[damage]
            (cache / entry.name).write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", program, str(cache)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert all((cache / e.name).stat().st_size > 1000 for e in entries)  # whole again
        hashes.add(done.stdout)
    assert len(hashes) == 1
    pace.parent.mkdir(parents=True)
    pace.write_bytes(b"\xff{not json")
    folder = tmp_path / "run"
    process = started(suite_file, folder, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert process.wait(180) == ExitCode.OK
    assert pace.read_bytes().startswith(b"{")
    fault = Fault("corrupted cache entry", "made again")
    kept_through(fault, CASES, read_run(folder), reference, folder)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
/* The wall clock jumps back by ten days once the file JUMP_WHEN is there. */
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, now);
    const char *when = getenv("JUMP_WHEN");
    if (id == CLOCK_REALTIME && when && access(when, F_OK) == 0) now->tv_sec -= 864000;
    return rc;
}
"""


def test_the_clock_jumps(suite_file: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux, to stand between a process and its clock")
    (tmp_path / "clock.c").write_text(CLOCK)
    shim, when = tmp_path / "clock.so", tmp_path / "jump"
    command = [compiler, "-shared", "-fPIC", "-o", shim, tmp_path / "clock.c", "-ldl"]
    subprocess.run(command, check=True)
    environment = {"LD_PRELOAD": str(shim), "JUMP_WHEN": str(when)}
    ask = [sys.executable, "-c", "import time; print(time.time())"]
    folder = tmp_path / "run"
    process = started(suite_file, folder, **environment)
    wait_until(lambda: has_begun(folder), process)
    before = finished(folder)
    when.touch()
    seen = subprocess.run(ask, env=os.environ | environment, capture_output=True, check=True)
    assert time.time() - float(seen.stdout) > 800_000
    assert process.wait(180) == ExitCode.OK
    fault = Fault("clock jumps back ten days", "driven as ever")
    kept_through(fault, CASES, read_run(folder), reference, folder, before)


def test_the_machine_sleeps(suite_file: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    """Everything stands still for longer than a planner may take; nobody is blamed for it."""
    text = suite_file.read_text().replace("plan_time_limit_s = 20.0", "plan_time_limit_s = 0.5")
    short = tmp_path / "short.toml"
    short.write_text(text)
    folder = tmp_path / "run"
    process = started(short, folder)
    wait_until(lambda: has_begun(folder), process)
    crew = workers_of(process)
    for pid in (process.pid, *(w.pid for w in crew)):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4.0)
    for pid in (process.pid, *(w.pid for w in crew)):
        os.kill(pid, signal.SIGCONT)
    assert process.wait(180) in (ExitCode.OK, ExitCode.INCOMPLETE)
    before = finished(folder)
    run = resume(folder, retry_errors=True)
    fault = Fault("machine sleeps longer than the time limit", "driven, or tried again")
    kept_through(fault, CASES, run, reference, folder, before)


def in_own_mounts(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount; skips the test where it may not."""
    probe = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0"']
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    with_root = [] if os.geteuid() == 0 else ["-r"]
    if subprocess.run([*probe[:2], *with_root, *probe[2:], "/mnt"], capture_output=True).returncode:
        pytest.skip("the kernel gives no mount namespace here")
    return subprocess.run(
        ["unshare", "-m", *with_root, "sh", "-uc", script, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


DISK = """
mount -t tmpfs -o size=$3 none "$2" || exit 99
"$1" -m roadworthy run "$4" --out "$2/run" --executor inline; echo "first $?"
mkdir "$5"
cp "$2/run/cases.jsonl" "$5"; echo "kept $?"
mount -o remount,size=64m "$2" || exit 99
"$1" -m roadworthy resume "$2/run" > /dev/null; echo "second $?"
cp -r "$2/run" "$5"
"""


@pytest.mark.parametrize(("size", "all_judged"), [("20k", False), ("28k", True)])
def test_the_disk_is_full(
    suite_file: Path, reference: dict[str, bytes], tmp_path: Path, size: str, all_judged: bool
) -> None:
    """By the journal half way, or by what is written at the end."""
    (tmp_path / "disk").mkdir()
    kept = tmp_path / "kept"
    done = in_own_mounts(DISK, sys.executable, tmp_path / "disk", size, suite_file, kept)
    wanted = ["first", str(int(ExitCode.INTERRUPTED)), "kept", "0", "second", "0"]
    assert done.stdout.split() == wanted, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    before = finished(kept)
    assert before
    assert (before.count(b"\n") == CASES) is all_judged
    fault = Fault("disk full", "driven on resume")
    run = read_run(kept / "run")
    kept_through(fault, CASES, run, reference, kept / "run", before)


READ_ONLY = """
mount -t tmpfs -o size=64m none "$2" || exit 99
cp -r "$3" "$2/run"
mount -o remount,ro "$2" || exit 99
"$1" -m roadworthy resume "$2/run"; echo "first $?"
"$1" -m roadworthy run "$4" --out "$2/new"; echo "new $?"
mount -o remount,rw "$2" || exit 99
"$1" -m roadworthy resume "$2/run" > /dev/null; echo "second $?"
cp -r "$2/run" "$5"
"""


def test_the_disk_is_read_only(
    suite_file: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    half = tmp_path / "half"
    whole = run_suite(override(suite(), executor="inline"), half)
    lines = (half / "cases.jsonl").read_bytes().splitlines(keepends=True)
    before = b"".join(lines[: CASES // 2])
    (half / "cases.jsonl").write_bytes(before)
    for name in ("scores.csv", "summary.json"):
        (half / name).unlink()
    assert len(whole.records) == CASES
    (tmp_path / "disk").mkdir()
    kept = tmp_path / "kept"
    done = in_own_mounts(READ_ONLY, sys.executable, tmp_path / "disk", half, suite_file, kept)
    usage = str(int(ExitCode.USAGE))
    wanted = ["first", usage, "new", usage, "second", "0"]
    assert done.stdout.split() == wanted, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    fault = Fault("run directory on a read-only disk", "driven on resume")
    kept_through(fault, CASES, read_run(kept), reference, kept, before)
