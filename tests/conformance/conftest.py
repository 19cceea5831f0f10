"""Where the reference vectors are: ROADWORTHY_CONFORMANCE, or shared/conformance beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def vectors(name: str) -> Path:
    """The folder of one set of vectors; skips the test where there is none."""
    told = os.environ.get("ROADWORTHY_CONFORMANCE")
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"
    folder = (Path(told) if told else beside) / name
    if not folder.is_dir():
        pytest.skip(f"no reference vectors at {folder}; set ROADWORTHY_CONFORMANCE")
    return folder


@pytest.fixture(scope="session")
def pdms_vectors() -> Path:
    return vectors("pdms")


@pytest.fixture(scope="session")
def render_vectors() -> Path:
    return vectors("render")
