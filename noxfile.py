"""Everything this project does by command: `nox -l` lists it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", "constraints.txt")
"""Pins torch to a release whose wheel brings no CUDA packages where a CPU build is at hand."""


CHECKER = "asam-qc-opendrive==1.0.0"


def _install(session: nox.Session, *extras: str) -> None:
    target = f".[{','.join(extras)}]" if extras else "."
    session.install(*CONSTRAINTS, "-e", target, silent=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Unit, property, conformance and end-to-end tests."""
    _install(session, "test")
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff over everything, mypy strict over the core and the generators."""
    session.install("ruff==0.17.6", "mypy==2.4.1", *CONSTRAINTS)
    _install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed, as ratios against peers in the same run."""
    _install(session, "test")
    session.install(*CONSTRAINTS, "highway-env>=1.10", "carla-canvas>=0.2", "d3rlpy>=2.8")
    session.run(
        "pytest",
        "benchmarks",
        "-p",
        "no:xdist",
        "--benchmark-columns=min,median,rounds",
        *session.posargs,
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw damaged and hostile bytes at every parser; atheris has 30 s each (-- --seconds N).

    What was counted goes into docs/trust.md, unless only some parsers are named.
    """
    _install(session, "test")
    session.install(*CONSTRAINTS, "atheris>=3.0")
    properties = [
        "test_hostile_files.py",
        "test_parsers.py",
        "test_reader_fuzz.py",
        "test_recording_fuzz.py",
    ]
    files = (f"tests/property/{name}" for name in properties)
    session.run("pytest", "-n", "0", "--hypothesis-profile", "default", *files)
    table = f"{session.create_tmp()}/fuzz.md"
    command = ("python", "tests/fuzz.py", "--out", table, *session.posargs)
    session.run(*command, env={"PYTHONPATH": "tests"})
    if all(word.startswith("-") or word.isdigit() for word in session.posargs):
        session.run("python", "docs/tables.py", "docs/trust.md", "fuzz", table)


@nox.session(name="opendrive-check")
def opendrive_check(session: nox.Session) -> None:
    """Towns as OpenDRIVE, checked by ASAM's own checker; it wants numpy 1, so has its own venv."""
    _install(session, "test")
    folder = Path(session.create_tmp()) / "checker"
    session.run("python", "-m", "venv", str(folder), silent=True)
    session.run(str(folder / "bin" / "pip"), "install", "-q", CHECKER, external=True)
    session.run(
        "pytest", "-p", "no:xdist", "tests/unit/test_town_opendrive.py",
        env={"QC_OPENDRIVE": str((folder / "bin" / "qc_opendrive").resolve())},
    )  # fmt: skip


def _suite(session: nox.Session, name: str, *extras: str) -> None:
    """Run a suite; with `-- --baseline DIR`, judge it against that run by the suite's gate."""
    _install(session, *extras)
    options = list(session.posargs)
    baseline = []
    if "--baseline" in options:
        at = options.index("--baseline")
        baseline = options[at : at + 2]
        del options[at : at + 2]
    out = f"reports/{name}"
    session.run("roadworthy", "run", f"suites/{name}.toml", "--out", out, *options)
    if baseline:
        session.run("roadworthy", "gate", out, *baseline)


@nox.session(name="suite-smoke")
def suite_smoke(session: nox.Session) -> None:
    """A few scenes, every planner: does it all work?"""
    _suite(session, "smoke")


@nox.session(name="suite-safety")
def suite_safety(session: nox.Session) -> None:
    """Common and rare scenes, reactive traffic, all metrics; a gate with `-- --baseline DIR`."""
    _suite(session, "safety")


@nox.session(name="suite-cameras")
def suite_cameras(session: nox.Session) -> None:
    """Town scenes seen through three rendered cameras; the report shows films of them."""
    _suite(session, "cameras", "video")


@nox.session(name="suite-10k")
def suite_10k(session: nox.Session) -> None:
    """Ten thousand scenarios: makes them once, runs them, and writes what it cost in the docs."""
    _install(session)
    session.install("psutil>=5.9")
    store = Path("reports/10k.store")
    if not store.exists():
        options = ("-o", "seed=8", "-o", "count=10000", "-o", "split=test")
        make = ("scenarios", "convert", "towns", *options, "--workers", "2", "--out", str(store))
        session.run("roadworthy", *make)
    table = f"{session.create_tmp()}/cost.md"
    measure = ("python", "benchmarks/measure_run.py", "--table", table)
    for _ in ("kernels are compiled", "time is taken"):
        shutil.rmtree("reports/10k", ignore_errors=True)
        session.run(*measure, "suites/10k.toml", "--out", "reports/10k", *session.posargs)
    session.run("python", "docs/tables.py", "docs/scaling.md", "measured", table)


@nox.session
def faults(session: nox.Session) -> None:
    """Inject every fault, and write the table in docs/scaling.md."""
    _install(session, "test")
    notes = Path(session.create_tmp()) / "faults.jsonl"
    table = notes.with_suffix(".md")
    notes.unlink(missing_ok=True)
    tests = ("tests/e2e/test_faults.py", "tests/e2e/test_ray.py")
    # Ray's sockets lie in the folder for temporary files, and their paths must be short.
    noted = {"ROADWORTHY_FAULTS": str(notes.resolve()), "TMPDIR": tempfile.gettempdir()}
    session.run("pytest", "-p", "no:xdist", *tests, *session.posargs, env=noted)
    with table.open("w") as file:
        session.run("python", "tests/fault_table.py", str(notes), stdout=file)
    session.run("python", "docs/tables.py", "docs/scaling.md", "faults", str(table))


@nox.session(name="suite-hard-cases")
def suite_hard_cases(session: nox.Session) -> None:
    """Mine the mining suite, vary what `idm` failed at, test the proofs, and drive it all."""
    _install(session)
    run, mined, variants = "reports/mining", "reports/mined", "reports/variants"
    for folder in (mined, variants, f"{variants}-unsolvable"):
        shutil.rmtree(folder, ignore_errors=True)
    session.run("roadworthy", "run", "suites/mining.toml", "--out", run)
    session.run("roadworthy", "mine", run, "--planner", "idm", "--out", mined)
    session.run("roadworthy", "generate", mined, "--generator", "behaviour", "--out", variants)
    session.run("roadworthy", "verify", variants)
    session.run("roadworthy", "report", variants, "--parents", mined)
    _suite(session, "hard-cases")


@nox.session(name="figures-behaviour")
def figures_behaviour(session: nox.Session) -> None:
    """The table of docs/hard-cases.md: 200 town scenes of the split `test`, three seeds."""
    _install(session)
    store = Path(session.create_tmp()) / "test"
    if not store.exists():
        options = ("split=test", "count=250", "towns=50", "distribution=common", "seed=11")
        chosen = [part for option in options for part in ("-o", option)]
        session.run("roadworthy", "scenarios", "convert", "towns", *chosen, "--out", str(store))
    module = "roadworthy_generators.behaviour.figures"
    out = ("--out", "reports/behaviour", "--dial-scenes", "22")
    session.run("python", "-m", module, str(store), *out, *session.posargs)


def _flywheel(session: nox.Session, name: str) -> None:
    """Turn a flywheel; finished stages in reports/NAME are kept."""
    _install(session)
    session.run(
        "roadworthy", "flywheel", f"suites/{name}.toml", "--out", f"reports/{name}",
        *session.posargs,
    )  # fmt: skip


@nox.session(name="suite-flywheel")
def suite_flywheel(session: nox.Session) -> None:
    """Three seeds of base, fine-tuning, dense rewards without generation, and the whole."""
    _flywheel(session, "flywheel")


@nox.session(name="suite-paper")
def suite_paper(session: nox.Session) -> None:
    """World Engine's seven arms on common and rare scenes, open loop and closed loop."""
    _flywheel(session, "paper")


@nox.session(name="suite-scaling")
def suite_scaling(session: nox.Session) -> None:
    """Imitation at 1x to 16x the data, and post-training at 1x laid over the curve."""
    _flywheel(session, "scaling")


@nox.session(name="example-report")
def example_report(session: nox.Session) -> None:
    """Run the safety suite afresh, and keep its report in reports/examples/safety."""
    _install(session)
    run, kept = Path(session.create_tmp()) / "safety", Path("reports/examples/safety")
    shutil.rmtree(run, ignore_errors=True)
    session.run("roadworthy", "run", "suites/safety.toml", "--out", str(run), *session.posargs)
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "summary.md", "summary.json", "scores.csv", "junit.xml"):
        shutil.copyfile(run / name, kept / name)
