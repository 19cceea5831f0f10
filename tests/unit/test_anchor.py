"""The learned planner: vocabulary, anchors, features, checkpoints."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import sample_plans, simulate_references
from roadworthy.errors import DataError
from roadworthy.scenario import AgentKind
from roadworthy.testing import brief_of, check_planner, moved, observe
from roadworthy.trajectory import TrajectoryBatch
from roadworthy.vehicle import EgoIndex
from roadworthy_planners.anchor import Anchor, learn_vocabulary
from roadworthy_planners.anchor.network import TERMS, Scored
from roadworthy_planners.anchor.planner import GUIDED, HYDRA, combine
from roadworthy_planners.anchor.vocabulary import INTERVAL
from roadworthy_sources.procedural import Procedural


@pytest.fixture(scope="module")
def logs():
    return list(Procedural(seed=3, count=12).scenarios())


@pytest.fixture(scope="module")
def vocabulary(logs):
    return learn_vocabulary(logs, 0)


@pytest.fixture(scope="module")
def checkpoint(vocabulary, tmp_path_factory):
    return Anchor.untrained(vocabulary, 0).save(tmp_path_factory.mktemp("anchor") / "c", {})


def test_conformance(checkpoint):
    check_planner(partial(Anchor, checkpoint), "anchor").assert_ok()


def test_the_vocabulary_is_what_a_car_can_do(vocabulary):
    assert len(vocabulary) == 126
    steps = np.diff(vocabulary.profiles, axis=1, prepend=0.0) / INTERVAL
    assert steps.min() >= -7.5 - 1e-9
    assert steps.max() <= 3.0 + 1e-9


def test_equal_logs_and_seed_give_an_equal_vocabulary(logs, vocabulary):
    assert learn_vocabulary(logs, 0).hash == vocabulary.hash
    assert learn_vocabulary(logs, 1).hash != vocabulary.hash


def test_anchors_follow_their_profile_and_end_at_their_target(logs, vocabulary):
    log = next(s for s in logs if "straight" in s.id)
    planner = Anchor.untrained(vocabulary, 0)
    planner.reset_batch([brief_of(log)])
    seen = observe([log], 0, [brief_of(log)])
    plans = planner.propose(seen).plans[0].reshape(18, 7, 40, 3)
    v0 = log.ego[log.start, EgoIndex.VX]
    speed = np.maximum(0.0, v0 + np.column_stack([np.zeros(18), vocabulary.profiles]))
    length = (0.5 * INTERVAL * (speed[:, 1:] + speed[:, :-1])).sum(axis=1)
    driven = np.hypot(*np.diff(plans[:, 3, :, :2], axis=1, prepend=0.0).transpose(2, 0, 1))
    stops = (speed == 0.0).any(axis=1)  # within a knot the speed reaches 0 a little sooner
    np.testing.assert_allclose(driven.sum(axis=1)[~stops], length[~stops], atol=0.3)
    fast = plans[-1, :, -1, 1] - plans[-1, 3, -1, 1]
    np.testing.assert_allclose(fast, vocabulary.targets, atol=0.2)


def test_a_tracker_follows_anchors_to_the_side(logs, vocabulary):
    planner = Anchor.untrained(vocabulary, 0)
    briefs = [brief_of(s) for s in logs]
    planner.reset_batch(briefs)
    plans = planner.propose(observe(logs, 10, briefs)).plans
    for log, anchors in zip(logs, plans, strict=True):
        ego = log.ego[log.start + 10]
        wanted = sample_plans(ego, anchors, 0.1)
        driven = simulate_references(ego, wanted, log.vehicle)
        yaw = wanted[:, -1, 2]
        gap = driven[:, -1, :2] - wanted[:, -1, :2]
        aside = np.abs(np.cos(yaw) * gap[:, 1] - np.sin(yaw) * gap[:, 0])
        assert np.median(aside) < 0.4
        assert np.quantile(aside, 0.9) < 1.0


def test_what_is_read_does_not_depend_on_where_the_world_begins(logs, vocabulary):
    planner = Anchor.untrained(vocabulary, 0)
    found = []
    for scene in (logs[0], moved(logs[0], 2000.0, -700.0, 1.3)):
        briefs = [brief_of(scene)]
        planner.reset_batch(briefs)
        found.append(planner.propose(observe([scene], 5, briefs)))
    for name, values in found[0].inputs.items():
        here, there = values[0], found[1].inputs[name][0]
        if name == "lanes":  # pieces at equal distances may change places
            here, there = (np.array(sorted(v.round(2).tolist())) for v in (here, there))
        np.testing.assert_allclose(here, there, atol=1.1e-2, err_msg=name)
    np.testing.assert_allclose(found[0].plans, found[1].plans, atol=1e-6)


def test_a_gap_told_of_an_anchor_is_that_of_its_box_at_constant_velocity(logs, vocabulary):
    """Straight road: the told gap is the distance of boxes that are parallel to the road."""
    log = next(s for s in logs if "straight" in s.id and len(s.agents))
    planner = Anchor.untrained(vocabulary, 0)
    briefs = [brief_of(log)]
    planner.reset_batch(briefs)
    seen = observe([log], 0, briefs)
    found = planner.propose(seen)
    here = seen.agents_valid[0, :, -1]
    state, size = seen.agents_state[0, here, -1], seen.agents_size[0, here]
    x, y, yaw = seen.ego_state[0, -1, :3]
    c, s = np.cos(yaw), np.sin(yaw)
    pose = found.plans[0, :, 9]  # after 1 s
    centre = pose[:, :2] + log.vehicle.rear_axle_to_centre * np.array([1.0, 0.0])
    ahead = state[:, :2] + state[:, 3:5] - (x, y)
    there = np.stack([c * ahead[:, 0] + s * ahead[:, 1], c * ahead[:, 1] - s * ahead[:, 0]], 1)
    turn = state[:, 2] - yaw
    half = 0.5 * size[:, :1] * np.abs(np.stack([np.cos(turn), np.sin(turn)], 1))
    half += 0.5 * size[:, 1:2] * np.abs(np.stack([np.sin(turn), np.cos(turn)], 1))
    own = np.array([0.5 * log.vehicle.length, 0.5 * log.vehicle.width])
    gap = (np.abs(there[None] - centre[:, None]) - half - own).max(axis=2).min(axis=1)
    told = 3.0 * found.inputs["anchors"][0, :, [16, 20]].min(axis=0)  # smallest of 0.5 and 1 s
    assert (told <= np.clip(gap, -2.0, 6.0) + 0.1).all()


def test_no_thing_in_the_way_is_so_small_that_it_is_passed_between_two_looks(logs, vocabulary):
    """A crate of 0.4 m on the route, before an ego that drives straight on at 15 m/s."""
    log = next(s for s in logs if "straight" in s.id)
    planner = Anchor.untrained(vocabulary, 0)
    planner.reset_batch(briefs := [brief_of(log)])
    x, y, yaw = log.ego[log.start, :3]
    steady = np.abs(vocabulary.profiles).max(axis=1).argmin() * len(vocabulary.targets) + 3
    for ahead in np.arange(8.0, 50.0, 0.7):
        seen = observe([log], 0, briefs)
        seen.ego_state[0, :, 3] = 15.0
        seen.agents_valid[0] = False
        seen.agents_valid[0, 0] = True
        seen.agents_kind[0, 0] = AgentKind.GENERIC_OBJECT
        seen.agents_size[0, 0, :2] = 0.4
        seen.agents_state[0, 0] = 0.0
        seen.agents_state[0, 0, :, :3] = x + ahead * np.cos(yaw), y + ahead * np.sin(yaw), yaw
        told = planner.propose(seen).inputs
        assert told["anchors"][0, steady, 16:20].min() < 0.0
        assert told["agents"][0, 0, 11:15].tolist() == [1.0, 0.0, 0.0, 1.0]  # as a standing car


def test_gaps_tell_who_is_on_foot_and_who_brakes(logs, vocabulary):
    """Somebody 15 m ahead of a standing ego comes towards it at 6 m/s."""
    log = next(s for s in logs if "straight" in s.id)
    x, y, yaw = log.ego[log.start, :3]
    c, s = np.cos(yaw), np.sin(yaw)

    def gaps(kind: AgentKind, before: float) -> NDArray[np.float32]:
        seen = observe([log], 0, briefs := [brief_of(log)])
        seen.ego_state[0, :, 3] = 0.0
        seen.agents_valid[0] = False
        seen.agents_valid[0, 0] = True
        seen.agents_kind[0, 0] = kind
        seen.agents_size[0, 0, :2] = 1.0
        seen.agents_state[0, 0, :, :3] = x + 15.0 * c, y + 15.0 * s, yaw + np.pi
        seen.agents_state[0, 0, :, 3:5] = -before * c, -before * s
        seen.agents_state[0, 0, -1, 3:5] = -6.0 * c, -6.0 * s
        planner = Anchor.untrained(vocabulary, 0)
        planner.reset_batch(briefs)
        stands = vocabulary.profiles.mean(axis=1).argmin() * len(vocabulary.targets) + 3
        return 3.0 * planner.propose(seen).inputs["anchors"][0, stands, 16:24]

    others, on_foot = np.split(gaps(AgentKind.PEDESTRIAN, 6.0), 2)
    assert (others == 6.0).all()
    assert (on_foot[1:] < 0.1).any()
    others, on_foot = np.split(gaps(AgentKind.VEHICLE, 6.0), 2)
    assert (on_foot == 6.0).all()
    assert (others[1:] < 0.1).any()
    braking, _ = np.split(gaps(AgentKind.VEHICLE, 9.0), 2)  # 6 m/s2: it stands after 3 m
    assert braking[1:].min() > others[1:].min() + 3.0


def test_the_score_of_an_anchor_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    logits, terms = rng.normal(size=(2, 5)), rng.normal(size=(2, 5, len(TERMS)))
    p = dict(zip(TERMS, np.moveaxis(1.0 / (1.0 + np.exp(-terms)), -1, 0), strict=True))
    weighted = (5 * p["ttc"] + 5 * p["ep"] + 2 * p["lk"] + 2 * p["comfort"]) / 14
    rest = 2 * np.log(p["nc"] * p["dac"] * weighted) + 0.5 * np.log(p["ddc"] * p["tlc"])
    policy = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    scored = Scored(torch.from_numpy(logits), torch.from_numpy(terms))
    for mix, wanted in (
        (HYDRA, 0.05 * policy + rest),
        (GUIDED, 0.2 * policy + rest + 0.5 * np.log(p["ep"])),
    ):
        np.testing.assert_allclose(combine(scored, mix).numpy(), wanted, atol=1e-5)


def test_unsure_heads_alone_are_timid_and_the_policy_is_not():
    """An anchor that makes half the way, surely harmless, against one that makes all of it and
    whose harmlessness the heads are not sure of yet."""
    likely = torch.full((1, 2, len(TERMS)), 6.0)
    likely[0, 0, TERMS.index("ep")] = 0.0
    likely[0, 1, TERMS.index("nc")] = likely[0, 1, TERMS.index("dac")] = 2.0
    scored = Scored(torch.tensor([[0.0, 1.0]]), likely)
    assert combine(scored, HYDRA).argmax() == 0
    assert combine(scored, GUIDED).argmax() == 1


def test_checkpoints_come_back_bit_by_bit(checkpoint, vocabulary, logs, tmp_path):
    planner = Anchor(checkpoint)
    assert planner.vocabulary.hash == vocabulary.hash
    planner.save(tmp_path / "again", {})
    for name in ("checkpoint.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (checkpoint / name).read_bytes()
    briefs = [brief_of(s) for s in logs]
    planner.reset_batch(briefs)
    plans = planner.plan_batch(observe(logs, 0, briefs))
    assert isinstance(plans, TrajectoryBatch)
    assert plans.poses.shape == (12, 40, 3)


def _edit(checkpoint, folder, change):
    planner = Anchor(checkpoint)
    planner.save(folder, {})
    text = json.loads((folder / "checkpoint.json").read_text())
    change(text)
    (folder / "checkpoint.json").write_text(json.dumps(text))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=99), "format = 99"),
        (lambda c: c["profiles"][0].__setitem__(0, 0.25), "vocabulary_hash"),
        (lambda c: c["network"].update(width=32), "do not fit"),
        (lambda c: c["network"].update(width=7), "make no network"),
        (lambda c: c["profiles"][0].append(1.0), "damaged"),
        (lambda c: c.pop("targets"), "damaged"),
        (lambda c: c.update(planner="other"), "'other'"),
        (lambda c: c.update(weights_hash="00"), "not the weights"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint, tmp_path, change, words):
    folder = _edit(checkpoint, tmp_path / "c", change)
    with pytest.raises(DataError, match=words):
        Anchor(folder)


def test_weights_that_are_not_finite_or_not_there_are_refused(vocabulary, tmp_path):
    planner = Anchor.untrained(vocabulary, 0)
    with torch.no_grad():
        planner.network.policy[1].weight[0, 0] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        Anchor(planner.save(tmp_path / "c", {}))
    with pytest.raises(DataError, match=r"checkpoint\.json.*cannot be read"):
        Anchor(tmp_path / "nowhere")
