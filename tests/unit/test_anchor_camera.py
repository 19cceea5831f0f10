"""The planner `anchor-camera`: others reach it as pictures alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from roadworthy.errors import DataError
from roadworthy.testing import brief_of, observe
from roadworthy_planners.anchor import Anchor, learn_vocabulary
from roadworthy_planners.anchor.camera import AnchorCamera
from roadworthy_planners.anchor.eyes import CameraNetwork, EyesConfig, shrunk
from roadworthy_planners.anchor.network import NetworkConfig
from roadworthy_sources.procedural.source import Procedural
from roadworthy_trainers.base import PRETRAINED
from roadworthy_trainers.by_camera import CameraDistillation, CameraImitation
from roadworthy_trainers.errors import TrainingError

NAMES = ("left", "front", "right")


@pytest.fixture(scope="module")
def scenes():
    return list(Procedural(seed=3, count=3, families=["straight", "curve"]).scenarios())


@pytest.fixture(scope="module")
def seen(scenes):
    briefs = [brief_of(s) for s in scenes]
    rng = np.random.default_rng(0)
    images = {n: rng.integers(0, 256, (3, 108, 192, 3), dtype=np.uint8) for n in NAMES}
    return briefs, replace(observe(scenes, 0, briefs), images=images)


@pytest.fixture(scope="module")
def planner(scenes):
    return AnchorCamera.untrained(learn_vocabulary(scenes, 0), 0)


def logits(planner, observations):
    inputs = {k: torch.from_numpy(v) for k, v in planner.propose(observations).inputs.items()}
    with torch.inference_mode():
        return planner.network(inputs).logits.numpy()


def test_pictures_are_shrunk_by_areas():
    image = np.zeros((1, 108, 192, 3), np.uint8)
    image[0, ::2, :, 0] = 200
    image[0, :, ::2, 2] = 100
    small = shrunk({"one": image}, EyesConfig(cameras=("one",)))
    assert small.shape == (1, 1, 3, 54, 96)
    assert np.unique(small[0, 0, 0]).tolist() == [100]
    assert np.unique(small[0, 0, 2]).tolist() == [50]


def test_what_it_knows_of_others_it_knows_from_pictures(planner, seen):
    briefs, observations = seen
    planner.reset_batch(briefs)
    first = logits(planner, observations)
    empty = replace(
        observations,
        agents_valid=np.zeros_like(observations.agents_valid),
        signal_state=np.full_like(observations.signal_state, 3),
    )
    assert observations.agents_valid.any()
    assert np.array_equal(first, logits(planner, empty))
    for name in NAMES:
        other = dict(observations.images) | {name: 255 - observations.images[name]}
        assert np.abs(first - logits(planner, replace(observations, images=other))).max() > 1e-6


def test_a_rig_without_its_cameras_is_a_typed_error(planner, seen):
    briefs, observations = seen
    planner.reset_batch(briefs)
    with pytest.raises(DataError, match="there is no 'right'"):
        planner.propose(replace(observations, images={
            n: observations.images[n] for n in ("left", "front")}))  # fmt: skip
    with pytest.raises(DataError, match="splat"):
        planner.propose(replace(observations, images={}))


def test_a_checkpoint_there_and_back(planner, seen, tmp_path):
    briefs, observations = seen
    planner.save(tmp_path / "eyes", {"trainer": "none"})
    again = AnchorCamera(tmp_path / "eyes")
    for one in (planner, again):
        one.reset_batch(briefs)
    assert np.array_equal(logits(planner, observations), logits(again, observations))
    assert again.eyes == planner.eyes
    with pytest.raises(DataError, match="anchor-camera"):
        Anchor(tmp_path / "eyes")


def test_a_checkpoint_of_anchor_gets_new_eyes(scenes, seen, tmp_path):
    base = Anchor.untrained(learn_vocabulary(scenes, 0), 5)
    base.save(tmp_path / "base", {})
    eyed = AnchorCamera(tmp_path / "base")
    own, given = eyed.network.anchor.state_dict(), base.network.state_dict()
    assert all(torch.equal(own[name], given[name]) for name in given)


def test_eyes_learn_a_place_by_its_colour():
    """A red patch to the left or to the right of the front camera: told apart after a few steps."""
    torch.manual_seed(0)
    network = CameraNetwork(NetworkConfig(width=16, heads=2), EyesConfig(cameras=("front",)))
    head = torch.nn.Linear(16, 1)
    some = [*network.eyes.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(some, 1e-2)
    rng = np.random.default_rng(0)

    def batch():
        side = rng.integers(0, 2, 32)
        pictures = rng.integers(60, 120, (32, 1, 3, 54, 96)).astype(np.uint8)
        for i, s in enumerate(side):
            x = int(rng.integers(0, 32)) + 54 * int(s)
            pictures[i, 0, 0, 20:32, x : x + 10] = 255
        return torch.from_numpy(pictures), torch.from_numpy(side).float()

    def say(pictures):
        return head(network.eyes(pictures).amax(dim=1))[:, 0]

    for _ in range(100):
        pictures, side = batch()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(say(pictures), side)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pictures, side = batch()
    with torch.inference_mode():
        assert ((say(pictures) > 0) == (side > 0.5)).float().mean() > 0.9


@pytest.mark.parametrize("kind", [CameraImitation, CameraDistillation])
def test_it_is_trained_on_rendered_scenes(kind, planner, scenes, tmp_path):
    trainer = kind(steps=3, batch_size=2, every=40, logs=False)
    first = trainer.train(planner, scenes[:1], tmp_path / "a", 4)
    again = trainer.train(planner, scenes[:1], tmp_path / "b", 4)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (first, again)]
    assert weights[0] == weights[1]
    with pytest.raises(TrainingError, match="speed profiles"):
        trainer.train(None, scenes[:1], tmp_path / "c", 4)
    assert AnchorCamera(first).provenance["trainer"] == trainer.name
    if kind is CameraDistillation:
        kept, given = AnchorCamera(first / PRETRAINED), planner.network.state_dict()
        own = AnchorCamera(first).network.state_dict()
        assert all(torch.equal(v, given[k]) for k, v in kept.network.state_dict().items())
        assert any(not torch.equal(v, given[k]) for k, v in own.items())
        third = trainer.train(AnchorCamera(first), scenes[:1], tmp_path / "d", 4)
        kept = AnchorCamera(third / PRETRAINED)
        assert all(torch.equal(v, given[k]) for k, v in kept.network.state_dict().items())


def test_each_scene_is_shown_as_itself(planner, scenes):
    """Two scenes of one route, of which one has nobody in it."""
    alone = replace(
        scenes[0], agents=replace(scenes[0].agents, valid=np.zeros_like(scenes[0].agents.valid))
    )
    look = CameraImitation().look(4)
    briefs = [brief_of(s) for s in (scenes[0], alone)]
    seen = look([scenes[0], alone], observe([scenes[0], alone], 0, briefs))
    here = look([scenes[0]], observe([scenes[0]], 0, briefs[:1]))
    there = look([alone], observe([alone], 0, briefs[1:]))
    for name in NAMES:
        assert (seen.images[name][0] == here.images[name][0]).all()
        assert (seen.images[name][1] == there.images[name][0]).all()
    assert any((here.images[name] != there.images[name]).any() for name in NAMES)


def test_the_checkpoint_that_comes_with_it(seen):
    briefs, observations = seen
    planner = AnchorCamera()
    assert planner.eyes.cameras == NAMES
    planner.reset_batch(briefs)
    plans = planner.plan_batch(observations)
    assert plans.poses.shape == (3, 40, 3)
    assert np.isfinite(plans.poses).all()
