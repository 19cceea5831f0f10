"""How long the command line takes to start, beside the interpreter with what it is made of."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

ROUNDS = 10


def seconds(*args: str) -> float:
    """The shortest of several starts."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begin)
    return min(taken)


@pytest.mark.parametrize("args", ["--help", "plugins list"])
def test_start_up(benchmark: Any, args: str) -> None:
    """The goal of half a second is reported; what can fail is the ratio."""
    plain = seconds("-c", "import click")
    found = benchmark.pedantic(seconds, args=("-m", "roadworthy", *args.split()), rounds=1)
    benchmark.extra_info.update(goal_s=0.5, found_s=round(found, 3), ratio=round(found / plain, 2))
    assert found < 4.0 * plain
