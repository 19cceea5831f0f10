"""The Lightning loop around a fit: progress bar, checkpoints, stopping."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from roadworthy.interrupts import held_back
from torch.utils.data import DataLoader

from roadworthy_simulators.splat.reconstruct.checkpoint import save_fit
from roadworthy_simulators.splat.reconstruct.fit import Fit

__all__ = ["run_fit"]


class _Module(lightning.LightningModule):
    """A step of the loop is a step of the fit, which optimises by itself."""

    def __init__(self, fit: Fit) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.fit = fit

    def configure_optimizers(self) -> None:
        return None

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = self.fit.advance()
        if self.fit.step % 10 == 0:
            self.log("loss", loss, prog_bar=True, batch_size=1)
            self.log("gaussians", float(len(self.fit.model)), prog_bar=True, batch_size=1)


class _Keeping(Callback):
    """Writes checkpoints, and ends the loop after a step in which Ctrl-C was pressed."""

    def __init__(
        self, fit: Fit, folder: Path | None, every: int, last: int, asked: Callable[[], bool]
    ) -> None:
        self.fit, self.folder, self.every, self.last, self.asked = fit, folder, every, last, asked

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        step, stops = self.fit.step, self.asked()
        if self.folder is not None and (stops or step % self.every == 0 or step == self.last):
            save_fit(self.fit, self.folder)
        if stops:
            raise KeyboardInterrupt


def run_fit(
    fit: Fit,
    folder: Path | None = None,
    *,
    every: int = 1000,
    until: int | None = None,
    progress: bool = False,
    trainer: Callable[..., Any] = lightning.Trainer,
) -> None:
    """Carries a fit on to its last step.

    Args:
        fit: is changed.
        folder: checkpoints go there; None: none are written.
        every: steps between checkpoints.
        until: a step to stop at before; a checkpoint is written there.
        progress: whether to show a bar, on the standard error.
        trainer: makes the `Trainer`; for other loggers or callbacks.

    Raises:
        KeyboardInterrupt: Ctrl-C; the step under way was done and a checkpoint written.
    """
    last = fit.options.steps if until is None else min(until, fit.options.steps)
    if fit.step >= last:
        return
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of workers and loggers, that a fit of images has not
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # its share is small, and waiting threads cost more than they do
        try:
            with held_back() as asked, redirect_stdout(sys.stderr):
                callbacks: list[Callback] = [_Keeping(fit, folder, every, last, asked)]
                if progress:
                    callbacks.append(TQDMProgressBar(refresh_rate=10))
                trainer(
                    max_epochs=1,
                    accelerator="cpu",
                    devices=1,
                    logger=False,
                    callbacks=callbacks,
                    enable_checkpointing=False,
                    enable_progress_bar=progress,
                    enable_model_summary=False,
                ).fit(_Module(fit), DataLoader(torch.arange(fit.step, last), batch_size=1))  # type: ignore[arg-type]
        finally:
            torch.set_num_threads(threads)
