"""Fixtures that several of these tests use."""

from __future__ import annotations

from pathlib import Path

import pytest
from flywheel_sets import write_sets


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets of a small flywheel."""
    return write_sets(tmp_path_factory.mktemp("sets"))
