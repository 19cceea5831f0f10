r"""Training: predict what everyone did, from noisy guesses of it.

The loss of one token at noise level $t_i$ is

$$\lVert \hat x_i - x_i \rVert^2 / 48 + w\,\mathrm{Huber}(p(\hat x_i) - p(x_i)),$$

where p are positions every half second of the rolled-out actions, in units of 2 m. In half of the
scenes all agents share a level, in the others each has its own; a tenth of the agents are clean,
and the ego is clean (its plan is a condition) in all but a fifth (J. Ho and T. Salimans,
"Classifier-free diffusion guidance", 2022, drop theirs alike). Per-agent levels: Y. Zhou et al.,
"Decoupled diffusion sparks adaptive scene generation" (Nexus), ICCV 2025.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from roadworthy import __version__
from roadworthy.errors import DataError
from roadworthy.interrupts import held_back
from roadworthy.scenario import Scenario
from roadworthy.seeding import derive_seed
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from roadworthy_generators.behaviour.diffusion import LEVELS, noised
from roadworthy_generators.behaviour.examples import PATH_STEPS, Examples, pack
from roadworthy_generators.behaviour.kinematics import SCALES, rollout
from roadworthy_generators.behaviour.network import Denoiser, Scenes, Shape
from roadworthy_generators.behaviour.sampling import surprise
from roadworthy_generators.behaviour.scene import KIND_COLUMN
from roadworthy_generators.behaviour.threads import one_thread
from roadworthy_generators.behaviour.weights import SURPRISE_PERCENTILES, Card, save_model

__all__ = ["BehaviourTrainer", "Behaviours", "surprise_percentiles", "train"]

_PLAN_DROPPED = 0.2
_CLEAN = 0.1
_PATH_WEIGHT = 0.1
_PATH_UNIT = 2.0


class _Moments(Dataset[dict[str, Tensor]]):
    """Examples, fetched a batch at a time."""

    def __init__(self, examples: Examples) -> None:
        self._arrays = {name: torch.from_numpy(a) for name, a in vars(examples).items()}
        self._count = len(examples)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[index] for name, value in self._arrays.items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        return {name: value[indices] for name, value in self._arrays.items()}


def batch_of(examples: Examples, rows: slice | list[int]) -> dict[str, Tensor]:
    """Examples as tensors by name."""
    return {name: torch.from_numpy(value[rows]) for name, value in vars(examples).items()}


def scenes_in(batch: dict[str, Tensor]) -> Scenes:
    """A batch as the network takes it."""
    return Scenes(
        batch["features"], batch["polylines"].float(), batch["near"], batch["pose"],
        batch["speed"], batch["limits"], batch["scales"], batch["there"],
    )  # fmt: skip


class Behaviours(lightning.LightningModule):
    """The network with its loss and optimiser.

    Args:
        shape: of the network.
        steps: of the whole training, for the learning rate.
        rate: the largest learning rate.
    """

    def __init__(self, shape: Shape, steps: int, rate: float = 1e-3) -> None:
        super().__init__()
        self.network = Denoiser(shape)
        self._steps = steps
        self._rate = rate

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        level = drawn_levels(batch["there"], batch["still"])
        loss = self.loss(batch, level, torch.randn(batch["actions"].shape))
        self.log("loss", loss, prog_bar=True)
        return loss

    def loss(self, batch: dict[str, Tensor], level: Tensor, noise: Tensor) -> Tensor:
        """Mean loss over the agents that are not clean."""
        scenes = scenes_in(batch)
        clean = batch["actions"].float()
        sample = noised(clean.flatten(-2), noise.flatten(-2), level).unflatten(-1, (-1, 2))
        guess = self.network(self.network.context(scenes), sample, level)
        asked = (level >= 0) & batch["there"]
        known = (batch["known"] & asked.unsqueeze(-1)).unsqueeze(-1)
        actions = ((guess - clean).square() * known).sum() / (2 * known.sum()).clamp(min=1)
        start = torch.zeros_like(scenes.pose)
        path = rollout(guess * scenes.scales.unsqueeze(-2), start, scenes.speed, scenes.limits)
        off = (path[..., PATH_STEPS, :2] - batch["path"].float()) / _PATH_UNIT
        along = (batch["along"] & asked.unsqueeze(-1)).unsqueeze(-1)
        far = functional.smooth_l1_loss(off, torch.zeros_like(off), reduction="none") * along
        total: Tensor = actions + _PATH_WEIGHT * far.sum() / (2 * along.sum()).clamp(min=1)
        return total

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, with a warm-up and a cosine down to a hundredth."""
        optimiser = torch.optim.AdamW(self.network.parameters(), self._rate, weight_decay=0.01)
        warm = min(200, max(1, self._steps // 10))

        def factor(step: int) -> float:
            share = min(1.0, max(0.0, (step - warm) / max(1, self._steps - warm)))
            return min(1.0, (step + 1) / warm) * (
                0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))
            )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Stopping(Callback):
    """Ends the training, with a checkpoint, after a step in which Ctrl-C was pressed."""

    def __init__(self, asked: Callable[[], bool], path: Path) -> None:
        self._asked, self._path = asked, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        if self._asked():
            trainer.save_checkpoint(self._path)
            raise KeyboardInterrupt


def drawn_levels(there: Tensor, still: Tensor) -> Tensor:
    """Noise levels [B, A] for training; see the module's docstring."""
    shape = there.shape
    shared = torch.randint(LEVELS, (shape[0], 1)).expand(shape)
    own = torch.randint(LEVELS, shape)
    level = torch.where(torch.rand(shape[0], 1) < 0.5, shared, own)
    level = torch.where(torch.rand(shape) < _CLEAN, -1, level)
    ego = torch.where(torch.rand(shape[0]) < _PLAN_DROPPED, level[:, 0], -1)
    level = torch.cat([ego[:, None], level[:, 1:]], 1)
    return torch.where(still | ~there, -1, level)


def train(
    scenarios: Iterable[Scenario],
    out: Path,
    seed: int,
    *,
    shape: Shape | None = None,
    steps: int = 4000,
    batch: int = 24,
    rate: float = 1e-3,
    moments: int = 4,
    stop: int | None = None,
    command: str = "",
    resume: Path | None = None,
) -> Path:
    """Train a model from logs, on the CPU; equal arguments give equal weights.

    Args:
        scenarios: to learn from.
        out: folder for `behaviour.safetensors`, `behaviour.json` and the last checkpoint.
        seed: of everything.
        shape: of the network.
        steps, batch, rate: of the optimiser; the rate falls over `steps`.
        moments: drawn of each scene.
        stop: the step to end at, if sooner.
        command: for the card.
        resume: a checkpoint (`last.ckpt` of an interrupted training with the same arguments).

    Returns:
        The weights file.

    Raises:
        DataError: no scene is long enough.
        KeyboardInterrupt: Ctrl-C; `last.ckpt` is of the step that was under way.
    """
    digest, count = hashlib.sha256(), 0
    sources: dict[str, int] = {}

    def counted() -> Iterable[Scenario]:
        nonlocal count
        for scenario in scenarios:
            count += 1
            digest.update(scenario.hash.encode())
            sources[scenario.source] = sources.get(scenario.source, 0) + 1
            yield scenario

    examples = pack(counted(), moments, seed)
    lightning.seed_everything(derive_seed(seed, "behaviour") % 2**32, verbose=False)
    module = Behaviours(shape or Shape(), steps, rate)
    loader = DataLoader(
        _Moments(examples), batch, shuffle=True, drop_last=len(examples) >= batch,
        collate_fn=_same,
        generator=torch.Generator().manual_seed(derive_seed(seed, "order") % 2**63),
    )  # fmt: skip
    average = EMAWeightAveraging(decay=0.999, update_starting_at_step=min(200, steps // 4))
    keep = ModelCheckpoint(out, save_last=True, save_top_k=1, every_n_train_steps=500)
    with one_thread(), held_back() as asked, redirect_stdout(sys.stderr):
        trainer = lightning.Trainer(
            accelerator="cpu", max_steps=stop or steps, max_epochs=-1, gradient_clip_val=1.0,
            logger=False, callbacks=[average, _Stopping(asked, out / "last.ckpt"), keep],
            enable_model_summary=False, deterministic=True,
            enable_progress_bar=sys.stderr.isatty(), default_root_dir=out,
        )  # fmt: skip
        trainer.fit(module, loader, ckpt_path=resume, weights_only=True if resume else None)
    with one_thread():
        surprises = surprise_percentiles(module.network, examples, seed)
    card = Card(
        shape={},
        data={
            "scenes": count, "sources": sources, "moments": len(examples),
            "hash": digest.hexdigest()[:32],
        },
        training={
            "seed": seed, "steps": steps, "stop": stop or steps, "batch": batch, "rate": rate,
            "moments": moments,
        },
        code=__version__,
        command=command, surprise=surprises,
    )  # fmt: skip
    path = out / "behaviour.safetensors"
    save_model(path, module.network, card)
    return path


def surprise_percentiles(
    network: Denoiser, examples: Examples, seed: int, most: int = 400
) -> dict[str, tuple[float, ...]]:
    """Percentiles (`SURPRISE_PERCENTILES`) of the surprise of logged agents that move, by kind.

    Args:
        network: trained.
        examples: of which the first `most`, evenly spread, are used.
        seed: of the noise.
    """
    rows = torch.linspace(0, len(examples) - 1, min(most, len(examples))).long().tolist()
    moments = _Moments(examples)
    draws = torch.Generator().manual_seed(derive_seed(seed, "surprise") % 2**63)
    found: dict[str, list[Tensor]] = {kind.name.lower(): [] for kind in SCALES}
    network = network.eval()
    for first in range(0, len(rows), 16):
        batch = moments.__getitems__(rows[first : first + 16])
        scenes = scenes_in(batch)
        actions = batch["actions"].float()
        noise = torch.randn((3, *actions.shape), generator=draws)
        with torch.no_grad():
            odd = surprise(network, network.context(scenes), actions, noise)
        fit = batch["known"].all(-1) & ~batch["still"] & batch["there"]
        fit[:, 0] = False
        for kind in SCALES:
            column = KIND_COLUMN + int(kind)
            mine = fit & (batch["features"][..., column] > 0.5)
            found[kind.name.lower()].append(odd[mine])
    return {
        kind: tuple(np.percentile(values, SURPRISE_PERCENTILES).round(6).tolist())
        for kind, parts in found.items()
        if len(values := torch.cat(parts).numpy()) >= 20
    }


def _same(batch: Any) -> Any:
    return batch


class BehaviourTrainer:
    """Trains the behaviour model from scenes: `roadworthy train behaviour --scenes STORE`.

    Args:
        steps, batch, rate, moments: see `train`.
        stop: the step to end at, if sooner; 0 for `steps`.
    """

    def __init__(
        self,
        steps: int = 4000,
        batch: int = 20,
        rate: float = 1e-3,
        moments: int = 4,
        stop: int = 0,
    ) -> None:
        self._settings: dict[str, Any] = {
            "steps": steps, "batch": batch, "rate": rate, "moments": moments, "stop": stop or None,
        }  # fmt: skip

    def train(
        self, planner: Any, cases: Mapping[str, Iterable[Any]] | Iterable[Any], out: Path, seed: int
    ) -> Path:
        """Train and return the weights file.

        Args:
            planner: the checkpoint to go on from (`last.ckpt` of a training so far, same settings),
                or None to begin.
            cases: cases or scenes, or sets of them by name.
            out: folder to make.
            seed: of everything.

        Raises:
            DataError: no scene is long enough, or no such checkpoint.
        """
        resume = None if planner is None else Path(planner)
        if resume is not None and not resume.is_file():
            raise DataError(
                f"{resume}: no such checkpoint", hint="Name the last.ckpt of a training before."
            )
        sets: list[Iterable[Any]] = list(cases.values()) if isinstance(cases, Mapping) else [cases]
        scenes = (
            one if isinstance(one, Scenario) else one.scenario for some in sets for one in some
        )
        told = " ".join(f"--set {k}={v}" for k, v in self._settings.items() if v is not None)
        command = f"roadworthy train behaviour --scenes STORE... --seed {seed} {told}"
        return train(scenes, out, seed, command=command, resume=resume, **self._settings)
