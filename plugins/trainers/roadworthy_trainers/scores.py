"""Dense scores: every proposal of every moment, simulated and scored once, kept as bytes.

What is kept are sub-scores, not rewards, so that another reward needs no new simulation. A row of a
proposal holds the terms of EPDMS (`SCORES`) as bytes, and the step at which it
first collides. Proposals of one moment are scored against what the log's agents did next, by
`roadworthy_metrics.plans` (version 2, without the human filter: what the human failed is failed).
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roadworthy.codehash import code_hash
from roadworthy.errors import DataError
from roadworthy.scenario import Scenario
from roadworthy.store import write_file
from roadworthy_metrics.pdm.evaluate import Term
from roadworthy_metrics.plans import prepare, score_plans

__all__ = ["COLLISION_STEP", "NEVER", "SCORES", "ScoreCache", "score_moment"]

SCORES = ("nc", "dac", "ddc", "tlc", "ttc", "lk", "comfort", "ep")
"""Columns of a row of scores: value times 255, rounded."""
COLLISION_STEP = len(SCORES)
"""The last column: the step (0.1 s) of the first at-fault collision, `NEVER` without one."""
NEVER = 255

_TERMS = [Term.NC, Term.DAC, Term.DDC, Term.TLC, Term.TTC, Term.LK, Term.COMFORT]
_VERSION = 2
_FORMAT = "2"


def score_moment(
    scenario: Scenario, step: int, plans: NDArray[np.float64], dt: float
) -> NDArray[np.uint8]:
    """Score P plans from one moment of a log.

    Args:
        scenario: with 4 s after the moment.
        step: steps after `scenario.start`.
        plans: [P, N, 3], poses in the ego frame at `dt, 2 dt, ..`.
        dt: seconds between poses.

    Returns:
        uint8 [P, 9]: `SCORES`, then the step of the first at-fault collision.

    Raises:
        ValueError: see `roadworthy_metrics.plans.prepare`.
    """
    moment = prepare(scenario, _VERSION, step, human_filter=False)
    found = score_plans(moment, plans, dt)
    rows = np.empty((len(plans), len(SCORES) + 1), np.uint8)
    values = np.concatenate([found.value[:, _TERMS], found.ep[:, None]], axis=1)
    rows[:, :COLLISION_STEP] = np.rint(255.0 * np.clip(values, 0.0, 1.0))
    first = found.evaluation.first_step[:, Term.NC]
    rows[:, COLLISION_STEP] = np.where(first >= 0, np.minimum(first, NEVER - 1), NEVER)
    return rows


@functools.cache
def _code() -> str:
    """Hash of this scorer's code: what another one found is not what this one would find."""
    return code_hash([__name__], {"roadworthy", "roadworthy_trainers", "roadworthy_metrics"})


class ScoreCache:
    """A folder of scores by content hash, shared by whoever needs them; files are memory-mapped.

    Args:
        folder: made where it is not there; None keeps nothing.

    Attributes:
        made: how many scenarios' scores were kept that were not there before.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.made = 0
        self._code = _code()  # now, and not first by several threads at once
        self._lock = threading.Lock()
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(f"{folder}: cannot be made: {error.strerror}") from error

    def key(
        self, scenario: Scenario, moments: Sequence[tuple[int, NDArray[np.float64]]], dt: float
    ) -> str:
        """Names the scores of plans [P, N, 3], `dt` seconds apart, at moments of a scenario."""
        digest = hashlib.blake2b(f"{_FORMAT}/{self._code}/{scenario.hash}/{dt!r}".encode(),
                                 digest_size=16)  # fmt: skip
        for step, plans in moments:
            digest.update(f"/{step}/{plans.shape}".encode())
            digest.update(np.ascontiguousarray(plans))
        return digest.hexdigest()

    def find(self, key: str, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
        """Scores of that key, mapped into memory; None where there are none of that shape."""
        if self.folder is None or not (path := self._path(key)).is_file():
            return None
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None  # damaged: they are made again
        return found if found.dtype == np.uint8 and found.shape == shape else None

    def keep(self, key: str, scores: NDArray[np.uint8]) -> None:
        """Write scores, whole or not at all.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        with self._lock:
            self.made += 1
        if self.folder is not None:
            header = _npy_header(scores.shape)
            write_file(self._path(key), header + np.ascontiguousarray(scores).tobytes())

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.npy"


def _npy_header(shape: tuple[int, ...]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()
