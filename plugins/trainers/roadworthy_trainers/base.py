"""What all trainers do alike: from cases to moments, through a fit, to a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.errors import RunError
from roadworthy.rollout import Case
from roadworthy.scenario import Scenario, content_hash
from roadworthy.seeding import derive_seed
from roadworthy_planners.anchor import Anchor, learn_vocabulary
from roadworthy_planners.anchor.network import one_thread
from torch import nn

from .errors import TrainingError
from .fit import Loss, Schedule, fit, outputs, write_curve
from .frames import Frames, Look, collect, grouped
from .reward import Reward, reward_of
from .scores import ScoreCache

__all__ = [
    "CURVE",
    "PRETRAINED",
    "Cases",
    "OfflineTrainer",
    "check_rewards",
    "policy_logits",
    "pretrained",
    "starting_point",
]

CURVE = "training.json"
PRETRAINED = "pretrained"
"""Folder in a checkpoint: the planner before its first training by rewards."""
Cases = Iterable[Case | Scenario] | Mapping[str, Iterable[Case | Scenario]]
_CHUNK = 512
_FLOOR = 0.05


@dataclass(frozen=True, kw_only=True)
class OfflineTrainer:
    """Options that all trainers have. A subclass adds its own, and its loss.

    Attributes:
        steps: updates of the network.
        batch_size: moments in each.
        lr, weight_decay, clip: of AdamW and of the gradient's norm.
        every: steps of 0.1 s between the moments that are taken from a scenario.
        shares: how often moments of a named set are drawn, relative to each other; sets that are
            not named share the rest by their size. Without it, all moments count alike.
        focus: how much more often moments are drawn at which the planner has more to gain; see
            `focused`.
        reward: weights of the reward that differ from `roadworthy_trainers.reward.Reward`.
        cache: folder where scores of proposals are kept; none by default.
        logs: whether to write TensorBoard's files beside the checkpoint.
    """

    steps: int = 1000
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-3
    clip: float = 1.0
    every: int = 10
    shares: Mapping[str, float] = field(default_factory=dict)
    focus: float = 0.0
    reward: Mapping[str, float] = field(default_factory=dict)
    cache: Path | None = None
    logs: bool = True

    name: ClassVar[str] = ""
    needs_scores: ClassVar[bool] = True
    needs_base: ClassVar[bool] = True
    withholds: ClassVar[bool] = True
    """Whether layers that act in training alone, such as the planner's state dropout, do so. They
    must not where a loss compares the policy with a copy of itself."""
    kind: ClassVar[type[Anchor]] = Anchor
    """The planner that it makes of a checkpoint, or of nothing."""

    def train(self, planner: Any, cases: Cases, out: Path, seed: int) -> Path:
        """Train, and write a checkpoint.

        Args:
            planner: a checkpoint's folder; or a planner with `propose` and a `network` (see
                `frames.ProposalPlanner`), which is left as it is; or None, to begin afresh.
            cases: scenarios or cases; or sets of them by name, see `shares`.
            out: folder of the checkpoint; it must not exist, or be empty.
            seed: fixes everything.

        Returns:
            `out`.

        Raises:
            TrainingError: nothing to learn from, rewards that tell nothing apart or are not
                finite, an unknown option; `out` is not written.
            DataError: the checkpoint is damaged, or of another version or vocabulary.
            RunError: `out` is taken or cannot be written.
        """
        out = Path(out)
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise RunError(f"{out}: is there already", hint="Name another folder, or remove it.")
        sets = grouped(cases)
        schedule = Schedule(
            self.steps, self.batch_size, self.lr, self.weight_decay, self.clip,
            derive_seed(seed, self.name, "batches"),
        )  # fmt: skip
        reward = Reward.of(self.reward)
        if planner is None and self.needs_base:
            raise TrainingError(
                f"{self.name} improves a planner, and none was given",
                hint="Train one by imitation first, and name it with --checkpoint.",
            )
        everything = [s for members in sets.values() for s in members]
        trained = starting_point(planner, everything, seed, self.kind)
        cache = ScoreCache(Path(self.cache) if self.cache else None) if self.needs_scores else None
        frames = collect(trained, sets, self.every, cache, self.look(seed))
        rewards, driven = (None, None) if cache is None else rewards_of(frames, reward)
        arrays = self.arrays(trained.network, frames, rewards, driven)
        weight = weights(frames, self.shares)
        before = pretrained(trained)
        if self.focus > 0.0 and rewards is not None:
            weight *= focused(before.network, frames, rewards, self.focus)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{out}: cannot be made: {error.strerror}") from error
        loss = self.loss(trained.network, seed)
        module = self.module(trained.network)
        logs = out if self.logs else None
        curve = fit(module, loss, arrays, weight, schedule, logs, withholds=self.withholds)
        if (mix := self.mix()) is not None:
            trained.mix = dict(mix)
        write_curve(out / CURVE, {self.name: curve})
        provenance = {
            "trainer": self.name,
            "options": {
                f.name: _plain(getattr(self, f.name))
                for f in fields(self)
                if f.name not in ("cache", "logs")
            },
            "seed": seed,
            "parent": dict(getattr(trained, "provenance", {})),
            "sets": {name: len(members) for name, members in sets.items()},
            "moments": len(frames),
            "data_hash": content_hash(sorted(s.hash for m in sets.values() for s in m)),
            "versions": {p: metadata.version(p) for p in ("roadworthy", "torch", "numpy")},
        }
        trained.save(out, provenance)
        if self.needs_scores:
            before.save(out / PRETRAINED, dict(getattr(before, "provenance", {})))
        return out

    def arrays(
        self,
        network: nn.Module,
        frames: Frames,
        rewards: NDArray[np.float32] | None,
        driven: NDArray[np.float32] | None,
    ) -> dict[str, Any]:
        """What `loss` reads of each moment; `inputs` are the network's."""
        raise NotImplementedError

    def look(self, seed: int) -> Look | None:
        """What shows a planner the scenes; None for one that needs no cameras."""
        return None

    def module(self, network: nn.Module) -> nn.Module:
        """What is fitted: the network, or it and others (critics) that are not kept."""
        return network

    def mix(self) -> Mapping[str, float] | None:
        """How the heads are combined after training; None: as before."""
        return None

    def loss(self, network: nn.Module, seed: int) -> Loss:
        """The loss of `module`; called once per training."""
        raise NotImplementedError


def starting_point(
    planner: Any, scenarios: list[Scenario], seed: int, kind: type[Anchor] = Anchor
) -> Any:
    """The planner to train, in a copy of its own; of that kind where it is none yet."""
    if planner is None:
        try:
            # The same for all seeds and orders of the scenes, so that they share their scores.
            ordered = sorted(scenarios, key=lambda s: s.hash)
            vocabulary = learn_vocabulary(ordered, derive_seed(0, "vocabulary"))
        except ValueError as error:
            raise TrainingError(str(error), hint="Give more, or longer, scenarios.") from error
        return kind.untrained(vocabulary, derive_seed(seed, "weights"))
    if isinstance(planner, (str, Path)):
        return kind(checkpoint=Path(planner))
    for name in ("propose", "network", "reset_batch", "save"):
        if not hasattr(planner, name):
            raise TrainingError(
                f"{type(planner).__name__} has no {name!r}: it cannot be trained",
                hint="See docs/post-training.md: a planner proposes plans, a network scores them, "
                "and `roadworthy_trainers.modules.save_module` writes any network.",
            )
    return copy.deepcopy(planner)


def pretrained(planner: Any) -> Any:
    """The planner before it learned from any rewards, in a copy of its own: a checkpoint that was
    trained by rewards keeps it beside its own weights (`PRETRAINED`)."""
    folder = getattr(planner, "checkpoint", None)
    if folder is not None and (Path(folder) / PRETRAINED).is_dir():
        return type(planner)(checkpoint=Path(folder) / PRETRAINED)
    return copy.deepcopy(planner)


def rewards_of(frames: Frames, reward: Reward) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rewards [N, K] of the proposals and [N] of what was driven.

    Raises:
        TrainingError: see `check_rewards`.
    """
    assert frames.scores is not None
    assert frames.driven is not None
    both = reward_of(np.concatenate([frames.scores, frames.driven[:, None]], axis=1), reward)
    check_rewards(both[:, :-1])
    return both[:, :-1], both[:, -1]


def check_rewards(rewards: NDArray[np.float32]) -> None:
    """Rewards must be finite, and tell proposals apart somewhere.

    Raises:
        TrainingError: they do not.
    """
    if not np.isfinite(rewards).all():
        row, k = np.argwhere(~np.isfinite(rewards))[0]
        raise TrainingError(
            f"the reward of proposal {k} of moment {row} is {rewards[row, k]}",
            hint="Rewards must be finite numbers.",
        )
    if float(np.ptp(rewards, axis=1).max(initial=0.0)) < 1e-6:
        raise TrainingError(
            f"in none of {len(rewards)} moments does one proposal earn more than another",
            hint="There is nothing to learn from these scenarios by this reward.",
        )


def weights(frames: Frames, shares: Mapping[str, float]) -> NDArray[np.float64]:
    """How often each moment is drawn: [N].

    Raises:
        TrainingError: a share of an unknown set, or no share that is positive.
    """
    for name, share in shares.items():
        if name not in frames.groups:
            raise TrainingError(
                f"shares.{name}: there is no such set", hint=f"Known: {', '.join(frames.groups)}."
            )
        if not (np.isfinite(share) and share >= 0.0):
            raise TrainingError(f"shares.{name} = {share!r}", hint="Shares are 0 or more.")
    count = np.bincount(frames.group, minlength=len(frames.groups)).astype(float)
    left = [name for name in frames.groups if name not in shares]
    if left and shares and sum(shares.values()) >= 1.0:
        raise TrainingError(
            f"shares = {dict(shares)}: nothing is left for the set {left[0]!r}",
            hint="Give it a share, which may be 0, or the others less than 1 together.",
        )
    unnamed = sum(c for c, name in zip(count, frames.groups, strict=True) if name not in shares)
    rest = 1.0 - sum(shares.values())
    each = np.array(
        [
            shares[name] / max(n, 1.0) if name in shares else (rest if shares else 1.0) / unnamed
            for name, n in zip(frames.groups, count, strict=True)
        ]
    )
    return np.asarray(each[frames.group])


def focused(
    network: nn.Module, frames: Frames, rewards: NDArray[np.float32], power: float
) -> NDArray[np.float64]:
    """How often each moment is drawn by what is at stake there: [N], mean 1 in each set.

    At most moments of most drives any policy earns nearly all that there is to earn. A moment's
    weight is (floor + regret)^power, the regret being what the best proposal earns above what the
    pre-trained policy earns. (Prioritised as by Schaul et al., 2016, arXiv 1511.05952, but by what
    does not fade as the policy learns: by the regret of the last round, the next one would forget
    what this one taught.)
    """
    policy = np.exp(policy_logits(network, frames.inputs))
    regret = rewards.max(axis=1) - (policy * rewards).sum(axis=1)
    weight = (_FLOOR + np.maximum(regret, 0.0).astype(float)) ** power
    total = np.bincount(frames.group, weight, len(frames.groups))
    count = np.bincount(frames.group, minlength=len(frames.groups))
    return np.asarray(weight * (count / np.maximum(total, 1e-12))[frames.group])


@one_thread()
@torch.inference_mode()
def policy_logits(network: nn.Module, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
    """Log-probabilities [N, K] of a network as it is now."""
    network.eval()
    count = len(next(iter(inputs.values())))
    found = []
    for begin in range(0, count, _CHUNK):
        part = {
            name: torch.from_numpy(np.ascontiguousarray(v[begin : begin + _CHUNK])).float()
            for name, v in inputs.items()
        }
        found.append(outputs(network, part).logits.log_softmax(dim=-1).numpy())
    return np.concatenate(found)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
