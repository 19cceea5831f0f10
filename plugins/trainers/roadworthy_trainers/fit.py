"""One fit: batches of moments, a loss, an optimiser; by Lightning, the same bytes every time."""

from __future__ import annotations

import copy
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from roadworthy.errors import RunError
from roadworthy.interrupts import held_back
from roadworthy.seeding import derive_seed
from roadworthy.store import write_file
from roadworthy_planners.anchor.network import one_thread
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from .errors import TrainingError

__all__ = ["Batch", "Loss", "Outputs", "Schedule", "batches", "fit", "outputs", "write_curve"]

Batch = Mapping[str, Any]
Loss = Callable[[nn.Module, Batch], "tuple[Tensor, dict[str, Tensor]]"]
"""(network, batch) -> loss, and its parts by name."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: updates.
        batch_size: moments in each.
        lr: peak learning rate of AdamW; a cosine takes it to zero after a short warm-up.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        seed: of the batches.
    """

    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    clip: float
    seed: int

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} = {getattr(self, name)}", hint="At least 1.")
        if not (np.isfinite(self.lr) and self.lr > 0.0):
            raise TrainingError(f"lr = {self.lr!r}", hint="Give a positive number.")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network said: logits [N, K], and sub-score logits [N, K, M] or None."""

    logits: Tensor
    terms: Tensor | None


def outputs(network: nn.Module, inputs: Mapping[str, Tensor]) -> Outputs:
    """Run a network that returns logits, or a tuple that begins with logits and sub-scores."""
    found = network(inputs)
    if isinstance(found, Tensor):
        return Outputs(found, None)
    return Outputs(found[0], found[1] if len(found) > 1 else None)


class _Batches(IterableDataset[Batch]):
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __iter__(self) -> Any:
        return self._make()


def batches(
    arrays: Mapping[str, Any], weight: NDArray[np.float64], schedule: Schedule
) -> Callable[[], Any]:
    """Makes an endless iterator of batches, drawn by weight; equal seeds give equal batches.

    Args:
        arrays: arrays [N, ...] and, one level down, dicts of them.
        weight: [N], how often a moment is drawn, relative to others.
        schedule: batch size, steps and seed.
    """
    if not (np.isfinite(weight).all() and weight.min(initial=0.0) >= 0.0 and weight.sum() > 0.0):
        raise TrainingError("no moment has a positive weight", hint="Look at `shares`.")
    edges = np.cumsum(weight / weight.sum())

    def make() -> Any:
        rng = np.random.Generator(np.random.Philox(schedule.seed))
        for _ in range(schedule.steps):
            # Evenly spread over the weights, so that rare groups are in every batch.
            spread = (np.arange(schedule.batch_size) + rng.random(schedule.batch_size)) / (
                schedule.batch_size
            )
            rows = np.minimum(np.searchsorted(edges, spread), len(weight) - 1)
            yield _rows(arrays, rng.permutation(rows) if schedule.batch_size > 1 else rows)

    return make


def _rows(arrays: Mapping[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    return {
        key: _rows(value, rows) if isinstance(value, Mapping) else _tensor(value[rows])
        for key, value in arrays.items()
    }


def _tensor(values: NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.float() if tensor.dtype == torch.float16 else tensor


class _Module(lightning.LightningModule):
    def __init__(
        self, network: nn.Module, loss: Loss, schedule: Schedule, asked: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.network, self._loss, self._schedule, self._asked = network, loss, schedule, asked
        self.curve: list[tuple[Tensor, dict[str, Tensor]]] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if self._asked():
            raise KeyboardInterrupt
        loss, parts = self._loss(self.network, batch)
        self.curve.append((loss.detach(), {k: v.detach() for k, v in parts.items()}))
        return loss

    def configure_optimizers(self) -> Any:
        s = self._schedule
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=s.lr, weight_decay=s.weight_decay, fused=True)
        warm = max(1, s.steps // 20)

        def rate(step: int) -> float:
            rest = max(0.0, (step - warm) / max(1, s.steps - warm))
            return min(1.0, (step + 1) / warm) * 0.5 * (1.0 + float(np.cos(np.pi * rest)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


@one_thread()
def fit(
    network: nn.Module,
    loss: Loss,
    arrays: Mapping[str, Any],
    weight: NDArray[np.float64],
    schedule: Schedule,
    logs: Path | None = None,
    *,
    withholds: bool = True,
) -> list[dict[str, float]]:
    """Train a network in place.

    Args:
        network: its parameters are changed.
        loss: what to minimise.
        arrays: moments, see `batches`.
        weight: [N], how often each is drawn.
        schedule: how long and how fast.
        logs: folder for TensorBoard's files; None: none are written.
        withholds: whether layers that act in training alone, such as dropout, act here.

    Returns:
        The training curve: per twentieth of the steps, their last step and the mean of the loss
        and its parts.

    Raises:
        TrainingError: a loss is not finite; the network has the weights that it came with.
        KeyboardInterrupt: Ctrl-C, after the step that was under way.
    """
    data = DataLoader(_Batches(batches(arrays, weight, schedule)), batch_size=None)
    torch.manual_seed(derive_seed(schedule.seed, "dropout"))
    before = copy.deepcopy(network.state_dict())
    with warnings.catch_warnings(), redirect_stdout(sys.stderr), held_back() as asked:
        warnings.simplefilter("ignore")
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        trainer = lightning.Trainer(
            max_steps=schedule.steps,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            gradient_clip_val=schedule.clip,
            accelerator="auto",
            devices=1,
        )
        module = _Module(network, loss, schedule, asked)
        network.train(withholds)
        trainer.fit(module, data)
    network.eval().cpu()
    curve = _curve(module.curve)
    finite = all(torch.isfinite(p).all() for p in network.parameters())
    if not finite or not all(np.isfinite(v) for row in curve for v in row.values()):
        network.load_state_dict(before)
        raise TrainingError(
            "the loss is not finite", hint="Lower lr, or look for numbers that are not finite."
        )
    if logs is not None:
        _tensorboard(logs, curve)
    return curve


def _curve(steps: list[tuple[Tensor, dict[str, Tensor]]]) -> list[dict[str, float]]:
    if not steps:
        return []
    names = list(steps[0][1])
    values = torch.stack([torch.stack([l, *(p[n] for n in names)]) for l, p in steps])
    values = values.double().cpu().numpy()
    out, begin = [], 0
    for end in np.unique(np.linspace(0, len(steps), 21).round().astype(int))[1:]:
        mean = values[begin:end].mean(axis=0)
        out.append({"step": float(end), "loss": float(mean[0])} | dict(
            zip(names, map(float, mean[1:]), strict=True)
        ))  # fmt: skip
        begin = end
    return out


def _tensorboard(folder: Path, curve: list[dict[str, float]]) -> None:
    try:
        logger = TensorBoardLogger(str(folder), name="", version="tensorboard")
        for row in curve:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, int(row["step"]))
        logger.finalize("success")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from error


def write_curve(path: Path, curves: Mapping[str, list[dict[str, float]]]) -> None:
    """Training curves by stage, as JSON.

    Raises:
        RunError: it cannot be written.
    """
    write_file(path, json.dumps(curves, indent=1).encode() + b"\n")
