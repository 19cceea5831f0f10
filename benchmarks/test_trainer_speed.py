"""Speed of training: against a raw PyTorch loop, and IQL against d3rlpy's, in the same run.

    pytest benchmarks/test_trainer_speed.py --benchmark-columns=min,median

Goals: at most 1.1 times the CPU time of a raw loop on the same network, loss and batches; IQL at
least 1.3 times d3rlpy's updates per second, with networks of the same sizes on the same
transitions, both drawing their batches.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from roadworthy_planners.anchor.features import ANCHOR_FEATURES, FEATURES
from roadworthy_planners.anchor.network import AnchorNetwork, NetworkConfig, one_thread
from roadworthy_trainers.fit import Schedule, batches, fit
from roadworthy_trainers.iql import IQL
from roadworthy_trainers.policy_gradient import PolicyGradient
from torch import nn

MOMENTS, ANCHORS, STEPS = 2000, 126, 30
SEEN, WIDTH, BATCH, UPDATES = 17, 256, 256, 150


@pytest.fixture(scope="module")
def moments() -> dict:
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.standard_normal((MOMENTS, *shape)).astype(np.float32)
        for name, shape in FEATURES.items()
    }
    for name in ("agents_mask", "lanes_mask"):
        inputs[name] = (inputs[name] > 0.0).astype(np.float32)
    shape = (MOMENTS, ANCHORS, ANCHOR_FEATURES)
    inputs["anchors"] = rng.standard_normal(shape, np.float32).astype(np.float16)
    return {
        "inputs": inputs,
        "rewards": rng.random((MOMENTS, ANCHORS), np.float32),
        "reference": rng.standard_normal((MOMENTS, ANCHORS), np.float32),
        "labels": np.full((MOMENTS, ANCHORS), 1.0 / ANCHORS, np.float32),
        "keep": rng.random(MOMENTS) < 0.5,
        "scores": rng.integers(0, 256, (MOMENTS, ANCHORS, 9)).astype(np.uint8),
    }


def _network() -> AnchorNetwork:
    torch.manual_seed(0)
    return AnchorNetwork(NetworkConfig())


def _raw(arrays: dict, schedule: Schedule) -> None:
    """What one would write by hand."""
    network = _network().train()
    loss_of = PolicyGradient().loss(network, 0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.lr, fused=True)
    for batch in batches(arrays, np.ones(MOMENTS), schedule)():
        optimiser.zero_grad()
        loss, _ = loss_of(network, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        optimiser.step()


def test_overhead_over_a_raw_loop(benchmark, moments) -> None:
    schedule = Schedule(STEPS, 96, 1e-3, 1e-2, 1.0, 0)

    def ours() -> None:
        network = _network()
        fit(network, PolicyGradient().loss(network, 0), moments, np.ones(MOMENTS), schedule)

    ratios = []
    with one_thread():
        _raw(moments, schedule)
        for _ in range(3):
            begin = time.process_time()
            _raw(moments, schedule)
            middle = time.process_time()
            ours()
            ratios.append((time.process_time() - middle) / (middle - begin))
        benchmark.pedantic(ours, rounds=1)
    benchmark.extra_info["times_raw_loop"] = float(np.median(ratios))
    assert np.median(ratios) <= 1.1


class _Perceptron(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SEEN, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, outputs),
        )  # fmt: skip

    def forward(self, inputs: dict) -> torch.Tensor:
        return self.layers(inputs["seen"])


def test_iql_against_d3rlpy(benchmark) -> None:
    d3rlpy = pytest.importorskip("d3rlpy", reason="the comparison needs d3rlpy")
    rng, actions = np.random.default_rng(0), 6
    seen = rng.standard_normal((4000, SEEN), np.float32)
    reward = rng.random(4000).astype(np.float32)
    ends = np.arange(4000) % 100 == 99
    after = np.where(ends, np.arange(4000), np.arange(4000) + 1)
    after = np.minimum(after, 3999)

    dataset = d3rlpy.dataset.MDPDataset(
        observations=seen,
        actions=rng.uniform(-1, 1, (4000, actions)).astype(np.float32),
        rewards=reward,
        terminals=ends.astype(np.float32),
    )
    config = d3rlpy.algos.IQLConfig(batch_size=BATCH, n_critics=1)
    theirs_algo = config.create(device=False)
    theirs_algo.build_with_dataset(dataset)
    arrays = {
        "inputs": {"seen": seen},
        "next": {"seen": seen[after]},
        "action": rng.integers(0, actions, 4000),
        "reward": reward,
        "ends": ends,
    }
    trainer = IQL()

    def ours() -> float:
        network = _Perceptron(actions)
        module, loss = trainer.module(network), trainer.loss(network, 0)
        begin = time.process_time()
        fit(module, loss, arrays, np.ones(4000), Schedule(UPDATES, BATCH, 3e-4, 0.0, 1.0, 0))
        return UPDATES / (time.process_time() - begin)

    def theirs() -> float:
        begin = time.process_time()
        for _ in itertools.repeat(None, UPDATES):
            theirs_algo.update(dataset.sample_transition_batch(BATCH))
        return UPDATES / (time.process_time() - begin)

    with one_thread():
        theirs()
        ours()
        rates = [(ours(), theirs()) for _ in range(3)]
        benchmark.pedantic(ours, rounds=1)
    ratio = float(np.median([a / b for a, b in rates]))
    benchmark.extra_info["updates_per_second"] = float(np.median([a for a, _ in rates]))
    benchmark.extra_info["times_d3rlpy"] = ratio
    assert ratio >= 1.3
