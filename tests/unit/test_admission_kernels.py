"""The quick yes of admission is never given where the long way says no, or changes something."""

from __future__ import annotations

import numpy as np
import pytest
from roadworthy import admission
from roadworthy.admission import ego as ego_checks
from roadworthy.admission.checks import Report
from roadworthy.errors import ScenarioError


def _drive(rng: np.random.Generator) -> np.ndarray:
    """A drive at 10 Hz along a bend, now and then with a fault of a size about the limits."""
    yaw = np.cumsum(rng.normal(0.0, 0.02, 40))
    speed = rng.uniform(0.0, 30.0)
    ego = np.zeros((40, 11))
    ego[:, 2], ego[:, 3] = yaw, speed
    ego[1:, 0] = np.cumsum(0.1 * speed * np.cos(yaw[:-1]))
    ego[1:, 1] = np.cumsum(0.1 * speed * np.sin(yaw[:-1]))
    at = rng.integers(1, 40)
    fault = rng.integers(5)
    if fault == 1:
        ego[at:, 0] += rng.uniform(-2.0, 2.0)
    elif fault == 2:
        ego[at:, 2] += rng.uniform(-2.0, 2.0)
    elif fault == 3:
        ego[at, rng.integers(11)] = rng.choice([np.nan, np.inf, 1e9])
    return ego


def test_an_ego_that_passes_quickly_passes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    drives = [_drive(rng) for _ in range(400)]
    quick = [bool(ego_checks._moves_well(ego)) for ego in drives]
    monkeypatch.setattr(ego_checks, "_moves_well", lambda ego: False)
    passes = []
    for ego in drives:
        try:
            ego_checks.check_ego(ego, Report("x"))
            passes.append(True)
        except ScenarioError:
            passes.append(False)
    assert quick == passes
    assert 50 < sum(passes) < 350


def test_a_plain_route_is_what_mending_makes_of_it() -> None:
    rng = np.random.default_rng(6)
    plain = 0
    for _ in range(400):
        line = np.column_stack([np.cumsum(rng.uniform(0.0, 1.0, (20, 2)), axis=0), np.zeros(20)])
        line[:, 2] = rng.normal(0.0, rng.choice([0.1, 2.0]), 20)
        spoil = rng.integers(5)
        if spoil == 1:
            line[7] = line[6]
        elif spoil == 2:
            line[3, 2] = -0.0
        elif spoil == 3:
            line[3, 2] += 2.0 * np.pi
        if admission._is_plain(line):
            plain += 1
            assert admission._mended_route(line, Report("x")).tobytes() == line.tobytes()
        else:
            assert spoil or np.abs(np.diff(line[:, 2])).max() >= 3.0
    assert 50 < plain < 300
