"""Trainers from scenarios to checkpoints: same bytes, scores kept, and what is refused."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from roadworthy.admission import admit
from roadworthy.cli import main
from roadworthy.driven import scene_of_rollout
from roadworthy.errors import DataError, RunError
from roadworthy.host import PlannerHost
from roadworthy.plugins import registry
from roadworthy.rollout import Case
from roadworthy.scenario_store import StoreWriter
from roadworthy.splits import LeakError, require_disjoint
from roadworthy.testing import brief_of, observe
from roadworthy_metrics.pdm.evaluate import Term
from roadworthy_metrics.plans import prepare, score_plans
from roadworthy_planners.anchor import Anchor, learn_vocabulary
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_sources.procedural import Procedural
from roadworthy_trainers.base import (
    PRETRAINED,
    focused,
    policy_logits,
    rewards_of,
    starting_point,
)
from roadworthy_trainers.errors import TrainingError
from roadworthy_trainers.frames import collect, grouped, scores_at
from roadworthy_trainers.imitation import Imitation
from roadworthy_trainers.iql import IQL
from roadworthy_trainers.plugin import roadworthy_trainers
from roadworthy_trainers.policy_gradient import PolicyGradient
from roadworthy_trainers.reward import Reward, reward_of, taught
from roadworthy_trainers.scores import COLLISION_STEP, NEVER, SCORES, ScoreCache

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def logs():
    return list(Procedural(seed=3, count=8).scenarios())


@pytest.fixture(scope="module")
def base(logs, tmp_path_factory):
    out = tmp_path_factory.mktemp("base") / "c"
    return Imitation(steps=25, batch_size=32, logs=False).train(None, logs, out, 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("scores")


def _train(name, cache, **options):
    given = {"steps": 3, "batch_size": 16, "every": 40, "cache": str(cache), "logs": False}
    return registry().create("trainers", name, given | options)


def test_seeds_share_their_vocabulary_whatever_the_order_of_scenes(base, logs):
    other = starting_point(None, logs[::-1], 7)
    assert other.vocabulary.hash == Anchor(base).vocabulary.hash


def test_imitation_comes_nearer_to_the_log(base):
    curve = json.loads((base / "training.json").read_text())["imitation"]
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.3
    told = json.loads((base / "checkpoint.json").read_text())["provenance"]
    assert told["trainer"] == "imitation"
    assert told["options"]["steps"] == 25
    assert told["moments"] == 8 * 12  # one a second, while 4 s are left


@pytest.mark.parametrize(
    "name", [n for n in sorted(roadworthy_trainers()) if not n.startswith("camera-")]
)
def test_every_trainer_gives_the_same_bytes_twice_and_the_base_is_left(
    name, base, logs, cache, tmp_path
):
    before = (base / "weights.safetensors").read_bytes()
    found = [
        _train(name, cache).train(base, logs, tmp_path / str(k), 1) / "weights.safetensors"
        for k in range(2)
    ]
    weights = [path.read_bytes() for path in found]
    assert weights[0] == weights[1]
    assert weights[0] != before
    assert (base / "weights.safetensors").read_bytes() == before
    Anchor(found[0].parent)


def test_a_policy_gradient_earns_more(base, logs, cache, tmp_path):
    trainer = _train("policy-gradient", cache, steps=60, lr=2e-3)
    out = trainer.train(base, logs, tmp_path / "c", 0)
    curve = json.loads((out / "training.json").read_text())["policy-gradient"]
    assert curve[-1]["expected_reward"] > curve[0]["expected_reward"] + 0.05
    assert curve[-1]["kl"] > curve[0]["kl"]


def test_focus_draws_moments_by_what_the_first_policy_loses_there(base, logs, cache, tmp_path):
    planner = Anchor(base)
    frames = collect(planner, {"a": logs[:3], "b": logs[3:]}, 40, ScoreCache(cache))
    rewards, _ = rewards_of(frames, Reward())
    policy = np.exp(policy_logits(planner.network, frames.inputs))
    regret = rewards.max(axis=1) - (policy * rewards).sum(axis=1)
    drawn = focused(planner.network, frames, rewards, 1.0)
    for group in (frames.group == 0, frames.group == 1):
        np.testing.assert_allclose(drawn[group].mean(), 1.0)
        order = np.argsort(regret[group])
        assert (np.diff(drawn[group][order]) >= 0.0).all()
        assert drawn[group].max() > 1.2
    first, second = tmp_path / "first", tmp_path / "second"
    _train("policy-gradient", cache, focus=1.0).train(base, logs, first, 0)
    _train("policy-gradient", cache, focus=1.0).train(Anchor(first), logs, second, 0)
    weights = (base / "weights.safetensors").read_bytes()
    for out in (first, second):
        assert (out / "weights.safetensors").read_bytes() != weights
        assert (out / PRETRAINED / "weights.safetensors").read_bytes() == weights


def test_scores_are_those_of_the_scorer_and_are_made_once(logs, tmp_path):
    planner = Anchor.untrained(learn_vocabulary(logs, 0), 0)
    cache = ScoreCache(tmp_path / "scores")
    frames = collect(planner, grouped(logs[:3]), 40, cache)
    assert cache.made == 3
    row = int(np.flatnonzero((frames.scene == 1) & (frames.step == 40))[0])
    briefs = [brief_of(logs[1])]
    planner.reset_batch(briefs)
    plans = planner.propose(observe([logs[1]], 40, briefs)).plans[0]
    wanted = score_plans(prepare(logs[1], 2, 40, human_filter=False), plans, 0.1)
    kept = frames.scores[row].astype(float) / 255.0
    np.testing.assert_allclose(kept[:, 0], wanted.value[:, Term.NC], atol=0.003)
    np.testing.assert_allclose(kept[:, SCORES.index("ep")], wanted.ep, atol=0.003)
    first = wanted.evaluation.first_step[:, Term.NC]
    assert (frames.scores[row][:, COLLISION_STEP] == np.where(first < 0, NEVER, first)).all()
    alone = scores_at(planner, logs[1], 40, ScoreCache(None))
    assert np.array_equal(alone, np.concatenate([frames.scores[row], frames.driven[row, None]]))
    again = ScoreCache(tmp_path / "scores")
    same = collect(planner, grouped(logs[:3]), 40, again)
    assert again.made == 0
    assert np.array_equal(same.scores, frames.scores)
    damaged = next((tmp_path / "scores").glob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    third = ScoreCache(tmp_path / "scores")
    assert np.array_equal(collect(planner, grouped(logs[:3]), 40, third).scores, frames.scores)
    assert third.made == 1


def test_other_plans_are_other_scores_whatever_their_planner_is_called(logs):
    planner, cache = Anchor.untrained(learn_vocabulary(logs, 0), 0), ScoreCache(None)
    planner.reset_batch(briefs := [brief_of(logs[0])])
    plans = planner.propose(observe([logs[0]], 0, briefs)).plans[0]
    key = cache.key(logs[0], [(0, plans)], 0.1)
    assert key == cache.key(logs[0], [(0, plans.copy())], 0.1)
    bent = plans.copy()
    bent[-1, -1, 0] = np.nextafter(bent[-1, -1, 0], np.inf)
    others = [
        cache.key(logs[0], [(0, bent)], 0.1), cache.key(logs[0], [(1, plans)], 0.1),
        cache.key(logs[0], [(0, plans)], 0.2), cache.key(logs[1], [(0, plans)], 0.1),
    ]  # fmt: skip
    assert len({key, *others}) == 5


def test_scenes_too_short_for_a_plan_are_passed_over(base, logs, cache, tmp_path):
    end = logs[0].start + 30
    short = [
        replace(
            log, id=f"{log.id}-short", ego=log.ego[:end],
            agents=replace(
                log.agents, state=log.agents.state[:, :end], valid=log.agents.valid[:, :end]
            ),
            signals=replace(log.signals, state=log.signals.state[:, :end]),
        )
        for log in logs[:2]
    ]  # fmt: skip
    both = collect(Anchor(base), {"logs": logs[:2], "short": short}, 40, ScoreCache(cache))
    assert set(both.group.tolist()) == {0}
    with pytest.raises(TrainingError, match="4 s after its present"):
        _train("policy-gradient", cache).train(base, short, tmp_path / "c", 0)


def test_a_policy_is_compared_with_itself_as_it_is(base, logs, cache, tmp_path):
    """Before the first update, the policy is the one that samples, and what it began with."""
    for name, sample in (("grpo", "kl"), ("importance-weighted", "kl")):
        trainer = _train(name, cache, steps=1)
        out = trainer.train(base, logs, tmp_path / name, 0)
        (curve,) = json.loads((out / "training.json").read_text())[name]
        assert curve[sample] == pytest.approx(0.0, abs=1e-5)


def test_the_end_of_a_log_is_no_end_of_driving(base, logs, cache):
    """Where every moment earns the same, its value is the same too, in the last one as well."""
    trainer = IQL(steps=1, batch_size=8, every=40, logs=False)
    planner = Anchor(base)
    frames = collect(planner, grouped(logs), 40, ScoreCache(cache))
    flat = np.full(len(frames), 0.5, np.float32)
    arrays = trainer.arrays(planner.network, frames, None, flat)
    assert 0 < arrays["ends"].sum() < len(frames)
    value = 0.5 / (1.0 - trainer.discount)

    class Known(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.tensor(value))

        def forward(self, inputs):
            return self.value.expand(len(inputs["anchors"]), inputs["anchors"].shape[1])

    module = trainer.module(Known())
    batch = {
        "inputs": {"anchors": torch.from_numpy(frames.inputs["anchors"]).float()},
        "next": {"anchors": torch.from_numpy(arrays["next"]["anchors"]).float()},
        "ends": torch.from_numpy(arrays["ends"]), "action": torch.from_numpy(arrays["action"]),
        "reward": torch.from_numpy(arrays["reward"]),
    }  # fmt: skip
    _, parts = trainer.loss(module, 0)(module, batch)
    assert parts["q"].item() == pytest.approx(0.0, abs=1e-10)


def _bytes(nc=1.0, lawful=1.0, ttc=1.0, lk=1.0, hc=1.0, ep=1.0, step=NEVER):
    value = np.array([nc, lawful, 1.0, 1.0, ttc, lk, hc, ep])
    return np.append(np.rint(255 * value), step).astype(np.uint8)


def test_the_reward_is_epdms_but_for_stalls_and_late_collisions():
    rows = np.stack([
        _bytes(ep=0.6), _bytes(ep=0.6, ttc=0.0), _bytes(nc=0.0, step=8),
        _bytes(nc=0.0, step=32), _bytes(ep=0.0), _bytes(lawful=0.0),
    ])[None]  # fmt: skip
    r = reward_of(rows, Reward(delay=0.1))[0]
    assert r[0] == pytest.approx((5 * 0.6 + 9) / 14, abs=0.002)
    assert r[1] == pytest.approx((5 * 0.6 + 4) / 14, abs=0.002)
    assert r[2] == pytest.approx(0.1 * 8 / 40, abs=1e-6)
    assert r[3] == pytest.approx(0.1 * 32 / 40, abs=1e-6)
    assert r[4] == pytest.approx(0.5 * 9 / 14, abs=0.002)  # a stall: others could drive
    assert r[5] == 0.0
    blocked = reward_of(np.stack([_bytes(ep=0.0), _bytes(nc=0.0, step=9)])[None], Reward())[0]
    assert blocked[0] == pytest.approx(9 / 14, abs=0.002)  # nobody could: no stall
    crate = np.stack([_bytes(nc=0.5, step=20)])[None]  # EPDMS calls it half a collision
    assert reward_of(crate, Reward())[0] == pytest.approx(0.5 + 0.1 * 0.5 * 20 / 40, abs=0.002)
    assert reward_of(crate, Reward(objects=1.0))[0] == pytest.approx(0.1 * 20 / 40, abs=1e-6)
    assert (taught(crate, Reward()) == crate).all()
    assert taught(crate, Reward(objects=1.0))[0, 0].tolist() == [0, *crate[0, 0, 1:]]


def test_rollouts_are_scenarios_that_nobody_imitates(base, logs, tmp_path):
    cases = [Case(log, 0, 0) for log in logs[:3]]
    rollouts = ClosedLoop(traffic="idm").run(cases, PlannerHost(partial(Anchor, base)))
    found = [admit(scene_of_rollout(rollouts, row)) for row in range(3)]
    for log, driven in zip(logs, found, strict=False):
        assert driven.lineage.parent == log.hash
        assert driven.steps == log.steps
        assert not np.array_equal(driven.ego[driven.start + 10 :], log.ego[log.start + 10 :])
        with pytest.raises(LeakError):
            require_disjoint([driven], [log], "rollouts", "logs")
    planner = Anchor(base)
    frames = collect(planner, {"logs": logs[:3], "rollouts": found}, 40, None)
    assert frames.expert.tolist() == (frames.group == 0).tolist()
    with pytest.raises(TrainingError, match="nobody to imitate"):
        Imitation(steps=1).train(base, found, tmp_path / "c", 0)


@pytest.mark.parametrize(
    ("cases", "options", "words"),
    [
        ([], {}, "nothing to train on"),
        ({"hard": []}, {}, "'hard' is empty"),
        ("logs", {"shares": {"hrd": 1.0}}, "shares.hrd"),
        ("logs", {"reward": {"sped": 1.0}}, "reward.sped"),
        ("logs", {"reward": {"safety": 2.0}}, "reward.safety"),
        ("logs", {"steps": 0}, "steps = 0"),
        ("both", {"shares": {"hard": 1.0}}, "nothing is left for the set 'easy'"),
        ("logs", {"lr": float("nan")}, "lr = nan"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(cases, options, words, base, logs, cache, tmp_path):
    known = {"logs": logs, "both": {"hard": logs[:2], "easy": logs[2:]}}
    given = known[cases] if isinstance(cases, str) else cases
    with pytest.raises(TrainingError, match=re.escape(words)):
        _train("policy-gradient", cache, **options).train(base, given, tmp_path / "c", 0)
    assert not (tmp_path / "c" / "checkpoint.json").exists()


def test_equal_rewards_everywhere_are_refused(base, logs, cache):
    frames = collect(Anchor(base), grouped(logs), 40, ScoreCache(cache))
    flat = np.full_like(frames.scores, 255)
    object.__setattr__(frames, "scores", flat)
    with pytest.raises(TrainingError, match="does one proposal earn more"):
        rewards_of(frames, Reward())


def test_a_disk_that_is_full_is_said_so_and_nothing_finished_is_lost(
    base, logs, cache, tmp_path, monkeypatch
):
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    kept = sorted(p.name for p in cache.glob("*.npy"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        _train("policy-gradient", cache).train(base, logs, tmp_path / "c", 0)
    assert not (tmp_path / "c" / "checkpoint.json").exists()
    assert set(kept) <= {p.name for p in cache.glob("*.npy")}


def test_a_taken_folder_and_a_foreign_checkpoint_are_refused(base, logs, cache, tmp_path):
    with pytest.raises(RunError, match="is there already"):
        _train("policy-gradient", cache).train(base, logs, base, 0)
    with pytest.raises(TrainingError, match="improves a planner"):
        _train("policy-gradient", cache).train(None, logs, tmp_path / "c", 0)
    with pytest.raises(DataError):
        _train("policy-gradient", cache).train(tmp_path / "none", logs, tmp_path / "c", 0)


def test_the_command_trains_by_name_and_refuses_leaks(base, logs, tmp_path, capsys):
    with StoreWriter(tmp_path / "logs") as store:
        for log in logs[:4]:
            store.add(log)
    words = ["train", "policy-gradient", "--checkpoint", str(base), "--seed", "3",
             "--scenes", f"hard={tmp_path / 'logs'}", "--out", str(tmp_path / "c"),
             "--set", "steps=2", "--set", "batch_size=8", "--set", "every=40",
             "--set", "shares={hard=1.0}"]  # fmt: skip
    assert main(words) == 0
    assert (tmp_path / "c" / "checkpoint.json").exists()
    assert list((tmp_path / "c" / "tensorboard").glob("events*"))
    words[words.index(str(tmp_path / "c"))] = str(tmp_path / "d")
    assert main([*words, "--against", str(tmp_path / "logs")]) == 4
    assert "would leak" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_ctrl_c_leaves_no_checkpoint_and_is_no_failed_gate(
    base, logs, cache, tmp_path, monkeypatch, capsys
):
    with StoreWriter(tmp_path / "logs") as store:
        for log in logs[:4]:
            store.add(log)
    rate = torch.optim.AdamW.step

    def pressed(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return rate(*args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", pressed)
    words = ["train", "policy-gradient", "--checkpoint", str(base), "--out", str(tmp_path / "c"),
             "--scenes", str(tmp_path / "logs"), "--set", "steps=5", "--set", "every=40",
             "--set", f"cache={cache}"]  # fmt: skip
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not list((tmp_path / "c").iterdir())
    monkeypatch.undo()
    assert main(words) == 0


def test_a_network_of_ones_own_is_trained_by_the_same_trainers(logs, cache, tmp_path):
    text = (DOCS / "post-training.md").read_text()
    code = re.search(r"```python\n# mine\.py\n(.*?)```", text, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) < 60
    scope: dict[str, object] = {"__name__": "mine"}
    exec(compile(code, "mine.py", "exec"), scope)
    mine = scope["Mine"]
    torch.manual_seed(0)
    first = Imitation(steps=20, lr=3e-3, logs=False).train(mine(), logs, tmp_path / "0", 0)
    trainer = PolicyGradient(steps=60, batch_size=32, lr=3e-3, every=40, logs=False, cache=cache)
    second = trainer.train(mine(checkpoint=first), logs, tmp_path / "1", 0)
    curve = json.loads((second / "training.json").read_text())["policy-gradient"]
    assert curve[-1]["expected_reward"] > curve[0]["expected_reward"] + 0.05
    planner = mine(checkpoint=second)
    briefs = [brief_of(s) for s in logs]
    planner.reset_batch(briefs)
    assert planner.plan_batch(observe(logs, 0, briefs)).poses.shape == (8, 8, 3)
