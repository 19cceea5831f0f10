"""Fixtures that any test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, so that a test run says something of the code; `nox -s fuzz` draws
# others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """A shell lets its background jobs ignore Ctrl-C, and so would every run that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real logs: `ROADWORTHY_DATA`, or `../shared/data` beside the checkout.

    Tests that ask for it are skipped where there is none.
    """
    named = os.environ.get("ROADWORTHY_DATA")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real logs: set ROADWORTHY_DATA ({path} is not a folder)")
    return path
