"""Work on many things in several processes."""

from __future__ import annotations

import math
import os
import signal

import pytest
from roadworthy.errors import RunError
from roadworthy.execution.devices import share_of
from roadworthy.execution.pool import in_order


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers: int) -> None:
    assert list(in_order(int, divmod, [], workers)) == []
    found = list(in_order(os.getpid, divmod, range(1, 9), workers))
    made = [whole * k + rest for k, (whole, rest) in enumerate(found, 1)]
    assert len(set(made)) <= workers  # each made what it works with once
    assert (os.getpid() in made) is (workers == 1)
    steps = list(in_order(float, math.nextafter, range(-4, 5), workers))
    assert steps == sorted(steps)


def test_errors_come_through_and_a_process_that_dies_is_said_to() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(int, divmod, [1, 2, 0, 4], 2))
    with pytest.raises(RunError, match="died") as raised:
        list(in_order(os.getpid, os.kill, [signal.SIGKILL] * 4, 2))
    assert "--workers" in raised.value.hint


def test_gpus_are_shared_out_whole_and_by_place() -> None:
    def shares(count: int, workers: int) -> list[str | None]:
        return [share_of(tuple(map(str, range(count))), place, workers) for place in range(workers)]

    assert shares(5, 2) == ["0,1", "2,3,4"]
    assert shares(4, 4) == ["0", "1", "2", "3"]
    assert shares(2, 3) == ["0", "1", "0"]
    assert shares(1, 3) == shares(0, 3) == [None, None, None]
