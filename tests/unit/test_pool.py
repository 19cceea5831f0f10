"""Work on many things in several processes."""

from __future__ import annotations

import math
import os
import signal

import pytest
from roadworthy.errors import RunError
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
