"""`roadworthy verify RUN`: what was signed off is found again, and nothing else passes for it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from roadworthy.admission import admit
from roadworthy.commands.verify import command
from roadworthy.exit_codes import ExitCode
from roadworthy.runner import run_suite
from roadworthy.scenario_store import StoreWriter
from roadworthy.signoff import compare_records, fingerprint, write_hashes
from roadworthy.store import read_run, scores_csv
from roadworthy.suite import load_suite
from roadworthy.testing.scenes import straight_road_scenario

BAD = Path(__file__).parents[1] / "planners" / "bad.py"

SUITE = """
name = "signed"
seed = 5
metrics = ["success"]
sources = [{name = "procedural", seed = 5, count = 3}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 2.0}
planners = ["constant-velocity", "./mine.py:Mine"]
[run]
executor = "inline"
"""

MINE = """
import json
from pathlib import Path
import bad

class Mine(bad.Good):
    def __init__(self, weights: str = "") -> None:
        pass
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, a planner of two files, and the run of both."""
    home = tmp_path_factory.mktemp("home")
    (home / "bad.py").write_bytes(BAD.read_bytes())
    (home / "mine.py").write_text(MINE)
    (home / "weights.bin").write_bytes(b"trained")
    text = SUITE.replace(
        '"./mine.py:Mine"',
        f'{{name = "./mine.py:Mine", label = "mine", weights = "{home}/weights.bin"}}',
    ).replace('"constant-velocity"', '{name = "constant-velocity"}')
    (home / "suite.toml").write_text(text)
    run_suite(load_suite(home / "suite.toml"), home / "run")
    return home


@pytest.fixture
def home(signed: Path, tmp_path: Path) -> Path:
    """The same on another machine: everything elsewhere, and what was here is gone."""
    return Path(shutil.copytree(signed, tmp_path / "elsewhere"))


def verify(home: Path, *options: str) -> tuple[int, str]:
    arguments = [str(home / "run"), "--suite", str(home / "suite.toml"), *options]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    return result.return_value, result.output


def trusting(home: Path) -> str:
    return f"--planner=mine={home}/mine.py:Mine"


def test_a_run_verifies_on_another_machine(home: Path) -> None:
    mark = fingerprint(home / "run")
    code, output = verify(home, trusting(home), "--sample", "0", "--fingerprint", mark)
    assert code == ExitCode.OK, output
    assert "6 cases driven again: 6 in the same bits" in output


def test_code_that_a_run_names_is_run_only_if_the_user_vouches_for_it(home: Path) -> None:
    code, output = verify(home)
    assert code == ExitCode.INCOMPLETE
    assert "mine: not driven again" in output
    assert "3 cases driven again" in output


def test_a_stranger_cannot_make_verify_run_a_function(home: Path) -> None:
    manifest = json.loads((home / "run" / "run.json").read_text())
    marker = home / "pwned"
    manifest["suite"]["metrics"][0] |= {
        "name": "pathlib:Path.touch",
        "options": {"self": str(marker)},
    }
    (home / "run" / "run.json").write_text(json.dumps(manifest))
    write_hashes(home / "run")
    code, output = verify(home, trusting(home))
    assert code == ExitCode.GATE_FAILED
    assert "no registered plugin" in output
    assert not marker.exists()


def _edit_scores(run: Path) -> None:
    path = run / "scores.csv"
    path.write_text(path.read_text().replace(",1.0", ",0.5", 1))


def _edit_records(run: Path) -> None:
    path = run / "cases.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0].replace(b'"steps":20', b'"steps":21') + b"".join(lines[1:]))


def _drop_a_replay(run: Path) -> None:
    next(run.rglob("rollouts/*/*.npz")).unlink()


def _add_a_replay(run: Path) -> None:
    (run / "rollouts" / "mine" / "more.npz").write_bytes(b"")


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_edit_scores, "scores.csv: was changed"),
        (_edit_records, "cases.jsonl: was changed"),
        (_drop_a_replay, "is gone"),
        (_add_a_replay, "more.npz: was not there"),
    ],
)
def test_changed_files_are_named(home: Path, tamper: object, said: str) -> None:
    tamper(home / "run")  # type: ignore[operator]
    code, output = verify(home, trusting(home))
    assert code == ExitCode.GATE_FAILED
    assert said in output


def test_a_forger_who_makes_the_hashes_afresh_is_found_by_driving_again(home: Path) -> None:
    mark = fingerprint(home / "run")
    _edit_records(home / "run")
    run = read_run(home / "run")
    (home / "run" / "scores.csv").write_text(scores_csv(run))
    write_hashes(home / "run")
    code, output = verify(home, trusting(home), "--sample", "0")
    assert code == ExitCode.GATE_FAILED
    assert "differs in steps" in output
    code, output = verify(home, "--no-drive", "--fingerprint", mark)
    assert code == ExitCode.GATE_FAILED
    assert f"{mark} was signed off" in output


def test_other_code_weights_or_scenes_are_not_what_was_judged(home: Path) -> None:
    (home / "bad.py").write_text((home / "bad.py").read_text() + "\n# tuned\n")
    assert "mine: its code is not what was judged" in verify(home, trusting(home))[1]

    manifest = json.loads((home / "run" / "run.json").read_text())
    weights = Path(manifest["suite"]["planners"][1]["options"]["weights"])
    before = weights.read_bytes()
    try:
        weights.write_bytes(b"trained a little more")
        assert "such as a checkpoint, differs" in verify(home, trusting(home))[1]
    finally:
        weights.write_bytes(before)

    manifest["suite"]["sources"][0]["options"]["seed"] = 6
    (home / "run" / "run.json").write_text(json.dumps(manifest))
    write_hashes(home / "run")
    code, output = verify(home)
    assert code == ExitCode.GATE_FAILED
    assert "this scenario is not to be had here as it was" in output


def test_a_last_bit_is_another_processor_but_a_point_of_score_is_not(signed: Path) -> None:
    record = read_run(signed / "run").records[0]
    value = record.values["success"]["route_completion"] or 1.0

    def with_value(other: float) -> object:
        values = {"success": record.values["success"] | {"route_completion": other}}
        return msgspec.structs.replace(record, values=values, seconds={"total": 99.0})

    assert compare_records(record, with_value(value)).places == ()  # type: ignore[arg-type]
    near = compare_records(record, with_value(value * (1 + 1e-15)))  # type: ignore[arg-type]
    assert near.places == ("values.success.route_completion",)
    assert 0 < near.worst < 1e-14
    assert compare_records(record, with_value(value - 0.01)).worst > 0.009  # type: ignore[arg-type]


def test_run_json_says_what_was_judged_by_what(signed: Path) -> None:
    manifest = read_run(signed / "run").manifest
    found = manifest.provenance
    assert found["packages"].keys() >= {"roadworthy", "numpy", "numba", "torch", "llvmlite"}
    installed = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
    extras = {"ray", "av", "mcap", "gymnasium", "viser"} & installed.keys()
    assert extras
    assert {name: found["packages"][name] for name in extras} == {n: installed[n] for n in extras}
    assert "pytest" not in found["packages"]
    assert found.keys() >= {"git", "processor", "cores", "memory_gb", "gpus", "determinism"}
    assert len(found["suite_file_hash"]) == 32
    assert len(manifest.data_hash) == 32
    mine = manifest.planners["mine"]
    assert len(mine["content_hash"]) == 64
    trained = hashlib.blake2b(b"trained", digest_size=16).hexdigest()
    assert mine["files"] == {f"{signed}/weights.bin": trained}
    assert manifest.suite["seed"] == 5


def test_a_run_of_stored_scenes_verifies_on_an_older_processor(tmp_path: Path) -> None:
    """numpy and the C library without the instructions of the last ten years, another home, and
    other numbers of threads: what rounds otherwise stays within the tolerance."""
    store = tmp_path / "store"
    with StoreWriter(store) as writer:
        for seed in range(2):
            scene = admit(straight_road_scenario(agents=6, seconds=4.0, seed=seed))
            writer.add(replace(scene, id=f"scene-{seed}"))
    (tmp_path / "suite.toml").write_text(
        'name = "stored"\nmetrics = ["pdms", "success"]\nplanners = ["idm"]\n'
        f'sources = [{{name = "store", path = "{store}"}}]\n'
        'simulator = {name = "closed-loop", duration_s = 3.0}\nrun = {executor = "inline"}\n'
    )
    run_suite(load_suite(tmp_path / "suite.toml"), tmp_path / "run")
    older = {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-FMA4",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512F AVX2 FMA3",  # of numpy 2.4, and before
        "HOME": str(tmp_path / "home"),
        "NUMBA_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "2",
    }
    program = "import sys\nfrom roadworthy.cli import main\nsys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "verify", "run", "--sample", "0"],
        cwd=tmp_path, env=os.environ | older, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == ExitCode.OK, ran.stdout + ran.stderr
    assert "2 cases driven again" in ran.stdout + ran.stderr
