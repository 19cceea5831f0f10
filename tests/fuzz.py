"""`nox -s fuzz`: throws bytes at every parser for a bounded time, and counts.

    python tests/fuzz.py [--seconds N] [--out TABLE.md] [TARGET...]

Each target of `fuzz_targets` runs in a process of its own under atheris (libFuzzer, guided by
which lines of the parser an input reaches), from honest files, with limits on time and memory
per input: an input that takes more than 20 s, or more than 3 GiB, is a crash too. What crashes
is kept in `.fuzz/TARGET/`, with the traceback; the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_SLOWEST_S = 20
_MEMORY_MB = 3072
_INSTRUMENTED = [
    "roadworthy.isolation.wire",
    "roadworthy.replay",
    "roadworthy.report",
    "roadworthy.rig",
    "roadworthy.scenario_store",
    "roadworthy.signoff",
    "roadworthy.solvability.certificate",
    "roadworthy.store",
    "roadworthy.suite",
    "roadworthy_generators.behaviour.weights",
    "roadworthy_planners.anchor.checkpoint",
    "roadworthy_simulators.splat.formats",
    "roadworthy_simulators.splat.reconstruct.readers",
    "roadworthy_simulators.splat.reconstruct.recording",
    "roadworthy_simulators.splat.scenes.folder",
    "roadworthy_sources.argoverse2",
    "roadworthy_sources.commonroad",
    "roadworthy_sources.lanelet2",
    "roadworthy_sources.opendrive",
    "roadworthy_sources.reading",
    "roadworthy_sources.scenarionet",
    "roadworthy_sources.waymo",
]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz every parser.")
    parser.add_argument("--seconds", type=int, default=30, help="per target [30]")
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    chosen = parser.parse_args()
    if chosen.one:
        fuzz(chosen.one, chosen.seconds)
        return 0
    from fuzz_targets import TARGETS

    names = chosen.targets or list(TARGETS)
    rows = [campaign(name, chosen.seconds) for name in names]
    lines = ["| parser | inputs tried | crashes |", "|---|--:|--:|"]
    lines += [f"| {name} | {tried:,} | {crashes} |" for name, tried, crashes in rows]
    tried, crashes = sum(r[1] for r in rows), sum(r[2] for r in rows)
    lines.append(f"| **all** | **{tried:,}** | **{crashes}** |")
    table = "\n".join(lines)
    print(table)
    if chosen.out:
        chosen.out.write_text(table + "\n")
    return 1 if crashes or not all(r[1] for r in rows) else 0


def campaign(name: str, seconds: int) -> tuple[str, int, int]:
    """Fuzz one target: (name, inputs tried, crashes)."""
    from fuzz_targets import TARGETS

    folder = Path(".fuzz") / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed{i}").write_bytes(seed)
    before = set(folder.glob("crash-*")) | set(folder.glob("timeout-*")) | set(folder.glob("oom-*"))
    ran = subprocess.run(
        [sys.executable, __file__, "--one", name, "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    said = ran.stdout + ran.stderr
    tried = max((int(n) for n in re.findall(r"^#(\d+)\s", said, re.M)), default=0)
    tried = max([tried, *(int(n) for n in re.findall(r"Done (\d+) in", said))])
    after = set(folder.glob("crash-*")) | set(folder.glob("timeout-*")) | set(folder.glob("oom-*"))
    crashes = len(after - before)
    print(f"{name}: {tried} inputs, {crashes} crashes", file=sys.stderr, flush=True)
    if ran.returncode:
        print(said[-6000:], file=sys.stderr, flush=True)
    return name, tried, max(crashes, int(ran.returncode != 0))


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED, exclude=list(compiled())):
        from fuzz_targets import TARGETS, accepts

    target = TARGETS[name]
    target.seeds()  # makes what is made once, before the clock of the first input runs
    folder = Path(".fuzz") / name
    longest = max(len(seed) for seed in target.seeds())
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={_SLOWEST_S}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-max_len={2 * longest + 64}",
        f"-artifact_prefix={folder}/",
        "-seed=1",
        "-print_final_stats=1",
        str(folder / "corpus"),
    ]
    atheris.Setup([sys.argv[0], *options], lambda data: accepts(target, data) and None)
    atheris.Fuzz()


def compiled() -> Iterator[str]:
    """Modules with kernels: numba cannot compile what atheris has instrumented."""
    roots = (Path(root) for root in sys.path if root)
    for package in (p for root in roots for p in root.glob("roadworthy*") if p.is_dir()):
        for file in package.rglob("*.py"):
            if "njit" in file.read_text():
                module = file.parent if file.name == "__init__.py" else file.with_suffix("")
                yield ".".join(module.relative_to(package.parent).parts)


if __name__ == "__main__":
    sys.exit(main())
