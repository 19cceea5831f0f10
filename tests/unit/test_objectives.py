"""Losses of the trainers against closed forms, and optima of bandits with known rewards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from roadworthy_trainers import objectives
from roadworthy_trainers.awr import AWR
from roadworthy_trainers.base import check_rewards, policy_logits
from roadworthy_trainers.errors import TrainingError
from roadworthy_trainers.fit import Schedule, fit
from roadworthy_trainers.grpo import GRPO
from roadworthy_trainers.importance_weighted import ImportanceWeighted
from roadworthy_trainers.iql import IQL
from roadworthy_trainers.policy_gradient import PolicyGradient
from torch import nn

STATES, ACTIONS = 4, 5


class Table(nn.Module):
    """Logits by state: a tabular policy."""

    def __init__(self, states=STATES, actions=ACTIONS, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.logits = nn.Parameter(0.3 * torch.randn(states, actions))

    def forward(self, inputs):
        return self.logits[inputs["state"].long()]


@pytest.fixture
def rewards():
    return np.random.default_rng(1).random((STATES, ACTIONS)).astype(np.float32)


@pytest.fixture
def logits():
    return torch.randn(3, ACTIONS, dtype=torch.float64, requires_grad=True)


def _gradient(value, logits):
    return torch.autograd.grad(value, logits)[0].numpy()


def test_the_gradient_of_the_expected_reward_is_the_policy_gradient(logits):
    r = torch.rand(3, ACTIONS, dtype=torch.float64)
    p = logits.softmax(-1).detach()
    advantage = r - (p * r).sum(-1, keepdim=True)
    found = _gradient(objectives.expected_reward(logits, r), logits)
    np.testing.assert_allclose(found, (p * advantage / 3.0).numpy(), atol=1e-12)


def test_divergence_and_entropy_and_their_gradients(logits):
    other = torch.randn(3, ACTIONS, dtype=torch.float64)
    p, q = logits.softmax(-1).detach(), other.softmax(-1)
    kl = objectives.kl_divergence(logits, other)
    each = (p * (p / q).log()).sum(-1, keepdim=True)
    assert kl.item() == pytest.approx(each.mean().item(), abs=1e-12)
    wanted = p * ((p / q).log() - each) / 3.0
    np.testing.assert_allclose(_gradient(kl, logits), wanted.numpy(), atol=1e-12)
    h = -(p * p.log()).sum(-1, keepdim=True)
    wanted = -p * (p.log() + h) / 3.0
    np.testing.assert_allclose(_gradient(objectives.entropy(logits), logits), wanted, atol=1e-12)
    assert float(objectives.kl_divergence(logits, logits.detach())) == pytest.approx(0.0, abs=1e-12)


def test_imitation_keeps_only_what_is_kept(logits):
    y = torch.rand(3, ACTIONS, dtype=torch.float64).softmax(-1)
    keep = torch.tensor([True, False, True])
    found = _gradient(objectives.imitation(logits, y, keep), logits)
    wanted = (logits.softmax(-1).detach() - y) / 2.0
    wanted[1] = 0.0
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-12)
    nobody = objectives.imitation(logits, y, torch.zeros(3, dtype=torch.bool))
    assert float(nobody) == 0.0


def test_a_group_is_judged_against_itself(logits):
    r = torch.rand(3, ACTIONS, dtype=torch.float64)
    chosen = torch.arange(ACTIONS).expand(3, -1)
    loss = objectives.group_relative(logits, logits.detach(), r, chosen, 0.2)
    p = logits.softmax(-1).detach()
    a = (r - r.mean(-1, keepdim=True)) / (r.std(-1, keepdim=True) + 1e-4)
    wanted = -(a - p * a.sum(-1, keepdim=True)) / (3 * ACTIONS)
    np.testing.assert_allclose(_gradient(loss, logits), wanted.numpy(), atol=1e-12)
    # Beyond the clip there is nothing more to gain.
    far = logits.detach().clone()
    far[:, 0] -= 5.0
    best = torch.zeros_like(r)
    best[:, 0] = 1.0
    only = torch.stack([torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)], 1)
    gone = _gradient(objectives.group_relative(logits, far, best, only[:, :1].repeat(1, 2), 0.2),
                     logits)  # fmt: skip
    np.testing.assert_allclose(gone, 0.0, atol=1e-12)


def test_importance_weights_at_the_behaviour_policy(logits):
    r = torch.rand(3, ACTIONS, dtype=torch.float64)
    chosen = torch.arange(ACTIONS).expand(3, -1)
    loss = objectives.importance_weighted(logits, logits.detach(), r, chosen, 5.0)
    a = r - r.mean(-1, keepdim=True)
    wanted = -a / (3 * ACTIONS)  # the sum of A over the group is 0
    np.testing.assert_allclose(_gradient(loss, logits), wanted.numpy(), atol=1e-12)


def test_weights_by_advantage(logits):
    action, a = torch.tensor([0, 3, 1]), torch.tensor([0.1, -0.4, 9.0], dtype=torch.float64)
    loss = objectives.advantage_weighted(logits, action, a, 0.5, 20.0)
    w = torch.tensor([np.exp(0.2), np.exp(-0.8), 20.0], dtype=torch.float64)[:, None]
    onehot = nn.functional.one_hot(action, ACTIONS)
    wanted = w * (logits.softmax(-1).detach() - onehot) / 3.0
    np.testing.assert_allclose(_gradient(loss, logits), wanted.numpy(), atol=1e-12)


def test_an_expectile_is_where_its_loss_is_least():
    sample = torch.tensor([0.0, 1.0, 2.0, 10.0], dtype=torch.float64)
    for tau in (0.5, 0.9):
        v = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([v], max_iter=100)

        def closure(v=v, tau=tau, optimiser=optimiser):
            optimiser.zero_grad()
            loss = objectives.expectile(sample - v, tau)
            loss.backward()
            return loss

        optimiser.step(closure)
        above = (sample - v.detach()).clamp(min=0.0).sum() * tau
        below = (v.detach() - sample).clamp(min=0.0).sum() * (1 - tau)
        assert float(above - below) == pytest.approx(0.0, abs=1e-6)
    assert float(v) > float(sample.mean())


def _fit(trainer, network, arrays, steps=300, lr=0.1):
    schedule = Schedule(steps, 32, lr, 0.0, 10.0, 0)
    weight = np.ones(len(arrays["inputs"]["state"]))
    return fit(trainer.module(network), trainer.loss(network, 0), arrays, weight, schedule)


def _bandit(network, rewards):
    state = np.arange(STATES, dtype=np.float32)
    arrays = {"inputs": {"state": state}, "rewards": rewards}
    return arrays | {"reference": policy_logits(network, arrays["inputs"])}


def test_policy_gradient_finds_the_closed_form_optimum_of_a_bandit(rewards):
    network = Table()
    trainer = PolicyGradient(kl=0.2, entropy=0.1, imitation=0.0)
    arrays = _bandit(network, rewards) | {
        "labels": np.full((STATES, ACTIONS), 0.2, np.float32),
        "keep": np.zeros(STATES, bool),
        "scores": np.zeros((STATES, ACTIONS, 9), np.uint8),
    }
    _fit(trainer, network, arrays)
    optimum = torch.softmax(
        torch.from_numpy((0.2 * arrays["reference"] + rewards) / 0.3), dim=-1
    ).numpy()
    np.testing.assert_allclose(network.logits.detach().softmax(-1).numpy(), optimum, atol=0.01)


@pytest.mark.parametrize("trainer", [GRPO(kl=0.0), ImportanceWeighted()])
def test_sampling_trainers_find_the_best_arm(trainer, rewards):
    network = Table()
    _fit(trainer, network, _bandit(network, rewards))
    p = network.logits.detach().softmax(-1).numpy()
    assert (p * rewards).sum(axis=1).mean() > 0.95 * rewards.max(axis=1).mean()


def test_weighted_regression_finds_the_best_arm_among_those_tried(rewards):
    network = Table()
    state = np.repeat(np.arange(STATES, dtype=np.float32), ACTIONS)
    action = np.tile(np.arange(ACTIONS), STATES)
    r = rewards.reshape(-1)
    arrays = {
        "inputs": {"state": state},
        "action": action,
        "advantage": r - np.repeat(rewards.mean(axis=1), ACTIONS),
        "rewards": np.repeat(rewards, ACTIONS, axis=0),
    }
    _fit(AWR(temperature=0.1), network, arrays)
    p = network.logits.detach().softmax(-1).numpy()
    weight = np.minimum(np.exp((rewards - rewards.mean(axis=1, keepdims=True)) / 0.1), 20.0)
    np.testing.assert_allclose(p, weight / weight.sum(axis=1, keepdims=True), atol=0.02)


def test_iql_values_are_discounted_returns_and_its_policy_takes_the_better_way():
    """Two ways from state 0: 0.2 at once, or 0 now and 1 after; all others end their log, and are
    taken to go on: a reward r for ever is worth r / (1 - 0.8)."""
    r = {(0, 0): (0.2, None), (0, 1): (0.0, 1), (1, 0): (1.0, 2), (2, 0): (0.5, None)}
    state, action, reward, nxt, ends = [], [], [], [], []
    for (s, a), (gain, after) in r.items():
        state.append(s)
        action.append(a)
        reward.append(gain)
        nxt.append(s if after is None else after)
        ends.append(after is None)
    arrays = {
        "inputs": {"state": np.array(state, np.float32)},
        "next": {"state": np.array(nxt, np.float32)},
        "action": np.array(action),
        "reward": np.array(reward, np.float32),
        "ends": np.array(ends),
    }
    trainer = IQL(expectile=0.95, discount=0.8, polyak=0.2)
    network = Table(3, 2)
    module = trainer.module(network)
    schedule = Schedule(800, 32, 0.06, 0.0, 10.0, 0)
    fit(module, trainer.loss(network, 0), arrays, np.ones(4), schedule)
    q = module["q"].logits.detach().numpy()
    wanted = {(2, 0): 2.5, (1, 0): 1.0 + 0.8 * 2.5, (0, 0): 1.0}
    for (s, a), value in wanted.items():
        assert q[s, a] == pytest.approx(value, abs=0.02)
    assert q[0, 1] == pytest.approx(0.8 * 3.0, abs=0.05)
    assert network.logits.detach().argmax(dim=-1)[0] == 1


@pytest.mark.parametrize(
    ("rewards", "words"),
    [
        (np.array([[0.1, np.nan]]), "proposal 1 of moment 0 is nan"),
        (np.array([[0.1, np.inf]]), "is inf"),
        (np.full((3, 4), 0.5), "in none of 3 moments"),
    ],
)
def test_rewards_that_teach_nothing_are_refused(rewards, words):
    with pytest.raises(TrainingError, match=words):
        check_rewards(rewards)


def test_a_loss_that_is_not_finite_leaves_the_network_as_it_was():
    network = Table()
    before = network.logits.detach().clone()

    def loss(network, batch):
        return network(batch["inputs"]).sum() * float("nan"), {}

    arrays = {"inputs": {"state": np.zeros(4, np.float32)}}
    with pytest.raises(TrainingError, match="not finite"):
        fit(network, loss, arrays, np.ones(4), Schedule(3, 4, 0.1, 0.0, 1.0, 0))
    assert torch.equal(network.logits.detach(), before)
