"""Fixtures that any test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
