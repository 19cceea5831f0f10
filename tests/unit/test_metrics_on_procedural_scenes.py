"""On procedural scenes the log is flawless, and driving on blindly is what NeuroNCAP expects."""

from dataclasses import replace

import numpy as np
import pytest
from roadworthy.scenario import Scenario
from roadworthy.testing.scenes import logged_rollouts
from roadworthy_metrics.neuroncap import NeuroNCAP
from roadworthy_metrics.safety import GROUPS, Safety
from roadworthy_metrics.success import Success
from roadworthy_sources.procedural.source import Procedural


@pytest.fixture(scope="module")
def logged():
    scenes = [s for s in Procedural(seed=1, count=20).scenarios() if isinstance(s, Scenario)]
    return logged_rollouts(scenes)


@pytest.fixture(scope="module")
def blind(logged):
    """The ego goes straight on at its first velocity; everyone else does what they did."""
    ego, now = logged.ego.copy(), logged.now
    start = ego[:, now]
    path = start[:, 3, None] * 0.1 * np.arange(ego.shape[1] - now)
    ego[:, now:] = start[:, None]
    ego[:, now:, 0] += path * np.cos(start[:, 2, None])
    ego[:, now:, 1] += path * np.sin(start[:, 2, None])
    ego[:, now:, 5:] = 0.0
    return replace(logged, ego=ego)


def test_the_log_succeeds_everywhere(logged):
    values = Success().score(logged).values
    assert (values["success_strict"] == 1.0).all()
    assert values["progress_ratio"] == pytest.approx(np.ones(len(logged)))
    assert (NeuroNCAP().score(logged).values["neuroncap"] == 5.0).all()


def test_driving_on_blindly_has_no_stars_wherever_it_collides(blind):
    values = NeuroNCAP().score(blind).values
    assert (values["collision"] == values["reference_collision"]).all()
    assert 0.0 < values["collision"].mean() < 1.0
    hit = values["collision"] == 1.0
    assert values["impact_speed"][hit] == pytest.approx(values["reference_speed"][hit])
    assert values["neuroncap"] == pytest.approx(np.where(hit, 0.0, 5.0))


def test_groups_of_procedural_scenes(blind):
    values = Safety().score(blind).values
    tags = [case.scenario.tags for case in blind.cases]
    for group in GROUPS:
        members = np.array(["rare" in t and group in t for t in tags])
        assert members.any()
        assert (np.isfinite(values[f"{group}_collision"]) == members).all()
    common = np.array(["common" in t for t in tags])
    assert (np.isfinite(values["dynamic_collision"]) == common).all()
    assert (values["collision_any"] >= values["collision_at_fault"]).all()
    assert (values["min_ttc"][values["collision_at_fault"] == 1.0] == 0.0).all()
