"""What a second thread gains, beside what it can gain on this machine at this moment."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

__all__ = ["gains"]


def gains(make: Callable[[int], Callable[[], object]], rounds: int = 7) -> tuple[float, float]:
    """Wall time of one thread over that of two: of the work that `make(threads)` gives, and of
    hashes in C, which share nothing. All four take turns, and the least of each counts."""
    best = np.full(4, np.inf)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            turns: list[Callable[[], object]] = [
                make(1),
                make(2),
                lambda: list(map(_hashes, range(2))),
                lambda: list(pool.map(_hashes, range(2))),
            ]
            for i, turn in enumerate(turns):
                begin = time.perf_counter()
                turn()
                best[i] = min(best[i], time.perf_counter() - begin)
    return float(best[0] / best[1]), float(best[2] / best[3])


def _hashes(_: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
