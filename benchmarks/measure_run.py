"""What one run of a suite costs: CPU time of all its processes, wall time, and memory.

    python benchmarks/measure_run.py suites/10k.toml --out reports/10k
    python benchmarks/measure_run.py --table cost.md suites/10k.toml --out reports/10k

The second also writes a table. Everything counts, from the
start of the interpreter to the written report. Memory is the largest sum over the
processes of the run of what each has alone (USS), and of what each has resident with files mapped
into memory counted in full in each (RSS), looked at five times a second.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil


def memory_mb(root: psutil.Process) -> tuple[float, float]:
    """USS and RSS of a process and its descendants, now [MiB]."""
    own = resident = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            info = process.memory_full_info()
        except psutil.Error:
            continue
        own, resident = own + info.uss / 2**20, resident + info.rss / 2**20
    return own, resident


def table(figures: dict[str, float]) -> str:
    """The figures in Markdown."""
    rows = [
        ("CPU time of all processes", f"{figures['cpu_seconds']:g} s"),
        ("wall time", f"{figures['wall_seconds']:g} s"),
        ("memory of all processes, their own", f"{figures['peak_own_mib'] / 1024:.1f} GiB"),
        ("the same, resident with mapped files", f"{figures['peak_resident_mib'] / 1024:.1f} GiB"),
        ("largest process", f"{figures['largest_process_mib'] / 1024:.1f} GiB"),
        ("load average before", f"{figures['load_before']:.1f} on {psutil.cpu_count()} cores"),
    ]
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main(arguments: list[str]) -> int:
    out = None
    if arguments[:1] == ["--table"]:
        out, arguments = Path(arguments[1]), arguments[2:]
    load, begin = psutil.getloadavg()[0], time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "roadworthy", "run", *arguments])
    root = psutil.Process(process.pid)
    own = resident = 0.0
    while process.poll() is None:
        try:
            now = memory_mb(root)
            own, resident = max(own, now[0]), max(resident, now[1])
        except psutil.Error:
            pass
        time.sleep(0.2)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "wall_seconds": round(time.monotonic() - begin, 1),
        "peak_own_mib": round(own),
        "peak_resident_mib": round(resident),
        "largest_process_mib": round(used.ru_maxrss / 1024),
        "load_before": round(load, 1),
    }
    print(json.dumps(figures))
    if out is not None:
        out.write_text(table(figures))
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
