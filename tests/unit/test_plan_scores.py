"""Open-loop scores of plans from one moment of a log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from metric_scenes import NOSE, Box, rollout, straight_ego
from roadworthy_metrics.pdm.evaluate import Term
from roadworthy_metrics.pdm.scene import FAR
from roadworthy_metrics.plans import prepare, score_plans

STEPS = 60


def scenario(boxes=(), speed=10.0, ego=None):
    """Sixty logged steps after the present."""
    batch = rollout(straight_ego(speed, STEPS) if ego is None else ego, boxes)
    return batch.cases[0].scenario


def straight_plan(speed, y=0.0):
    t = 0.5 * np.arange(1, 9)
    return np.stack([speed * t, np.linspace(0.0, y, 8), np.zeros(8)], axis=1)


@pytest.mark.parametrize("version", [1, 2])
def test_plans_are_ranked_by_progress_and_safety(version):
    moment = prepare(scenario((Box(x=60.0, y=0.0),)), version)
    plans = np.stack([straight_plan(v) for v in (10.0, 5.0, 20.0)])
    scores = score_plans(moment, plans, 0.5)
    assert scores.states.shape == (3, 41, 11)
    assert scores.value[2, Term.NC] == 0.0
    assert scores.evaluation.collision_agent.tolist() == [-1, -1, 0]
    assert scores.total[2] == 0.0
    assert scores.ep[0] > scores.ep[1]
    assert scores.total[0] > scores.total[1] > 0.0


@pytest.mark.parametrize("version", [1, 2])
def test_each_plan_is_scored_alone(version):
    moment = prepare(scenario((Box(x=60.0, y=0.0),)), version)
    plans = np.stack([straight_plan(v) for v in (10.0, 5.0, 20.0, 9.0)])
    whole = score_plans(moment, plans, 0.5).total
    for k in range(4):
        assert score_plans(moment, plans[k][None], 0.5).total[0] == whole[k]


def test_the_reference_slows_for_what_is_ahead():
    free, held = (prepare(scenario(boxes), 2) for boxes in ((), (Box(x=38.0, y=0.0),)))
    assert free.reference.poses[-1, 0] > 35.0
    assert held.reference.poses[-1, 0] < 38.0 - 2.3 - NOSE
    assert held.reference_terms.value[0, Term.NC] == 1.0


def test_what_the_human_fails_is_forgiven_to_the_plan():
    ego = straight_ego(10.0, STEPS, y=1.5)
    log = scenario(ego=ego)
    plan = straight_plan(10.0)[None]
    strict = score_plans(prepare(log, 2, human_filter=False), plan, 0.5)
    kind = score_plans(prepare(log, 2), plan, 0.5)
    assert strict.value[0, Term.LK] == 0.0
    assert kind.value[0, Term.LK] == 1.0
    assert kind.evaluation.value[0, Term.LK] == 0.0
    assert kind.total[0] == pytest.approx(strict.total[0] + 2.0 / 14.0)


def test_agents_that_overlap_the_ego_are_removed_in_version_2_only():
    log = scenario((Box(x=1.5, y=0.0), Box(x=50.0, y=0.0)))
    assert (prepare(log, 1).scene.agents.x < FAR).all(axis=0).tolist() == [True, True]
    assert (prepare(log, 2).scene.agents.x < FAR).all(axis=0).tolist() == [False, True]


def test_who_was_hit_is_named_by_the_scenarios_rows():
    log = scenario((Box(x=1.5, y=0.0), Box(x=30.0, y=0.0)))
    hit = score_plans(prepare(log, 2), straight_plan(10.0)[None], 0.5).evaluation
    assert hit.collision_agent.tolist() == [1]


def test_a_log_too_short_is_refused():
    log = scenario()
    with pytest.raises(ValueError, match="step 21 has 39 logged steps after it"):
        prepare(log, 2, step=21)
    assert prepare(log, 2, step=20).ego[0] == pytest.approx(20.0)


def test_a_version_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="version must be 1 or 2, got 3"):
        prepare(scenario(), 3)


def test_a_route_off_the_map_is_refused():
    log = scenario()
    nowhere = replace(log.route, lanes=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="route"):
        prepare(replace(log, route=nowhere), 2)
