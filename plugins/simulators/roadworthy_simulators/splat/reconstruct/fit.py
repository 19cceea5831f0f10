"""`Fit`: one reconstruction under way. A step looks at one image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.errors import DataError, did_you_mean
from torch import Tensor

from roadworthy_simulators.splat.reconstruct.density import Growth, relocate, shake
from roadworthy_simulators.splat.reconstruct.depth import depth_loss, seen_depth
from roadworthy_simulators.splat.reconstruct.model import ROWS, SKY, SplatModel
from roadworthy_simulators.splat.reconstruct.options import FitOptions
from roadworthy_simulators.splat.reconstruct.photometric import photometric_loss
from roadworthy_simulators.splat.reconstruct.recording import Recording

__all__ = ["Fit"]

_MEANS_RATE = 1.6e-4  # times the extent, falling to a hundredth
_RATES = {"log_scales": 5e-3, "quats": 1e-3, "logits": 5e-2}
_COLOR_RATE, _REST = 5e-3, 1 / 20
_LOOK_RATE = 5e-3
_EXPOSURE_RATE, _EXPOSURE_PULL = 1e-3, 0.02  # pull to the identity, so that the looks keep it
_POSE_RATE, _POSE_PULL = 2e-3, 1e-3
_MCMC_WEIGHT = 0.01  # of opacity and of size in the loss (Kheradmand et al. 2024)


def _split(recording: Recording, options: FitOptions) -> NDArray[np.bool_]:
    """[F] images that are kept for testing."""
    test = recording.test.copy()
    for t in range(len(recording.traversals)):
        of = np.flatnonzero(recording.traversal == t)
        if options.holdout_every:
            test[of[options.holdout_every // 2 :: options.holdout_every]] = True
    name = options.holdout_traversal
    if name is not None:
        if name not in recording.traversals:
            raise DataError(
                f"{recording.name}: there is no traversal {name!r}",
                hint=did_you_mean(name, recording.traversals),
            )
        test[recording.traversal == recording.traversals.index(name)] = True
    if test.all():
        raise DataError(
            f"{recording.name}: every image is kept for testing",
            hint="Keep fewer: lower what is held out.",
        )
    return test


class Fit:
    """A model, its data, and where it is.

    Equal recordings and options give equal bits after equal steps, however often the fit was
    stopped and taken up again, and for any number of threads.

    Attributes:
        recording, options: what is fitted, and how.
        test: bool [F] images that are never looked at.
        train: [n] indices of the others.
        model: what has been found.
        growth: what densification watches.
        step: steps done.
        loss: of the last step.
    """

    def __init__(self, recording: Recording, options: FitOptions) -> None:
        """
        Raises:
            DataError: a held-out traversal that is not there, or nothing left to fit.
        """
        self.recording = recording
        self.options = options
        self.test = _split(recording, options)
        self.train = np.flatnonzero(~self.test)
        self.model = SplatModel(recording, options, self.train)
        self.growth = Growth(len(self.model) if options.strategy == "default" else 0)
        self.step = 0
        self.loss = float("nan")
        self._depths: dict[int, Tensor] = {}

    @property
    def degree(self) -> int:
        """Harmonics in use by now."""
        return min(self.options.degree, self.step // self.options.degree_every)

    def frame_of(self, step: int) -> int:
        """The image of a step: every image once in a random order, then again in another."""
        epoch, place = divmod(step, len(self.train))
        order = np.random.default_rng((self.options.seed, 5, epoch)).permutation(len(self.train))
        return int(self.train[order[place]])

    def advance(self) -> float:
        """One step; returns its loss."""
        options, model, rec = self.options, self.model, self.recording
        frame = self.frame_of(self.step)
        traversal = int(rec.traversal[frame])
        tensors = model.tensors(gradient=True)
        exposure = torch.from_numpy(model.exposure[frame]).requires_grad_(options.exposure)
        sh = model.sh_of(tensors["sh"], traversal)
        rgb, alpha, depth = model.draw(frame, tensors, sh, self.degree, options.threads)
        if options.exposure:
            rgb = (rgb.reshape(-1, 3) @ exposure[:, :3].T + exposure[:, 3]).reshape(rgb.shape)
        target = torch.from_numpy(rec.images[frame].astype(np.float32) / np.float32(255))
        loss = photometric_loss(rgb, target, options.ssim_weight)
        if options.depth_weight and len(rec.points_world):
            if frame not in self._depths:
                self._depths[frame] = seen_depth(rec, frame)
            loss = loss + options.depth_weight * depth_loss(depth, alpha, self._depths[frame])
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(frame, traversal, tensors, exposure)
        self.step += 1
        self.loss = float(loss.detach())
        if not np.isfinite(self.loss):
            raise DataError(f"{rec.name}: the fit has run away at step {self.step}")
        return self.loss

    def _update(
        self, frame: int, traversal: int, tensors: dict[str, Tensor], exposure: Tensor
    ) -> None:
        options, model = self.options, self.model
        grads: dict[str, NDArray[np.float32]] = {}
        for name in ROWS:
            found = tensors[name].grad
            assert found is not None
            grads[name] = np.ascontiguousarray(found.numpy())
        touched = (grads["means"] != 0).any(axis=1)
        fall = 0.01 ** (self.step / options.steps)
        means_rate = _MEANS_RATE * model.extent * fall
        if options.strategy == "default":
            self.growth.watch(model, frame, grads["means"], touched)
        elif options.strategy == "mcmc":
            self._keep_small(grads, touched)
        # The shell stays where it is, and an actor's colour is that of every side.
        grads["means"][model.owner == SKY] = 0
        grads["sh"][model.fixed :, 1:] = 0
        columns = np.full(grads["sh"].shape[1:], _REST, np.float32)
        columns[0] = 1.0
        model.moments["means"].step(model.rows["means"], grads["means"], touched, means_rate)
        for name, rate in _RATES.items():
            model.moments[name].step(model.rows[name], grads[name], touched, rate)
        moments = model.moments
        moments["sh"].step(
            model.rows["sh"], grads["sh"], touched, _COLOR_RATE * columns.reshape(-1)
        )
        look = f"look_{traversal}"
        if look in model.rows:
            moments[look].step(
                model.rows[look], grads["sh"], touched, _LOOK_RATE * columns.reshape(-1)
            )
        if options.exposure:
            assert exposure.grad is not None
            gradient = np.zeros_like(model.exposure)
            pull = model.exposure[frame] - np.eye(3, 4, dtype=np.float32)
            gradient[frame] = exposure.grad.numpy() + _EXPOSURE_PULL * pull
            only = np.arange(len(gradient)) == frame
            moments["exposure"].step(model.exposure, gradient, only, _EXPOSURE_RATE)
        moved = tensors["deltas"].grad
        if options.refine_poses and moved is not None:
            only = (moved.numpy() != 0).any(axis=2)
            gradient = moved.numpy() + np.float32(_POSE_PULL) * model.deltas
            moments["deltas"].step(
                model.deltas, np.ascontiguousarray(gradient), only.reshape(-1), _POSE_RATE
            )
        self._refine(touched, means_rate)

    def _keep_small(
        self, grads: dict[str, NDArray[np.float32]], touched: NDArray[np.bool_]
    ) -> None:
        """Adds the gradients of the mean opacity and the mean size to those of the image."""
        rows = self.model.rows
        opacity = 1 / (1 + np.exp(-rows["logits"]))
        weight = np.where(touched & (self.model.owner != SKY), _MCMC_WEIGHT / len(self.model), 0)
        grads["logits"] += (weight * opacity * (1 - opacity)).astype(np.float32)
        grads["log_scales"] += (weight[:, None] / 3 * np.exp(rows["log_scales"])).astype(np.float32)

    def _refine(self, touched: NDArray[np.bool_], means_rate: float) -> None:
        options, done = self.options, self.step + 1
        share = done / options.steps
        due = done % options.refine_every == 0
        within = options.refine_from <= share <= options.refine_until
        if options.strategy == "mcmc":
            shake(self.model, touched, means_rate, options.seed, done)
            if due and within:
                relocate(self.model, options, done)
        elif options.strategy == "default" and due:
            if within:
                self.growth.refine(self.model, options, done)
            else:
                self.growth = Growth(len(self.model))

    def look_of(self, frame: int) -> int | NDArray[np.float32]:
        """The look to show an image in: its traversal's, or, where nothing of that was fitted, the
        mean of the others' [T]."""
        traversal = int(self.recording.traversal[frame])
        fitted = np.bincount(self.recording.traversal[self.train],
                             minlength=len(self.recording.traversals)) > 0  # fmt: skip
        if fitted[traversal]:
            return traversal
        return (fitted / fitted.sum()).astype(np.float32)

    def exposure_of(self, frame: int) -> NDArray[np.float32]:
        """[3, 4] its own, or, of an image that was not fitted, interpolated in time between the
        fitted ones of its camera and traversal; where there is none, the mean of all."""
        exposure, rec = self.model.exposure, self.recording
        if not self.test[frame]:
            return exposure[frame]
        alike = (rec.traversal == rec.traversal[frame]) & (rec.camera == rec.camera[frame])
        known = self.train[alike[self.train]]
        if not len(known):
            return np.asarray(exposure[self.train].mean(axis=0), np.float32)
        known = known[np.argsort(rec.times[known], kind="stable")]
        columns = exposure[known].reshape(len(known), 12).T
        found = [np.interp(rec.times[frame], rec.times[known], column) for column in columns]
        return np.array(found, np.float32).reshape(3, 4)

    def image(
        self, frame: int, look: int | NDArray[np.float32] | None = None, *, exposed: bool = True
    ) -> NDArray[np.float32]:
        """What the fit makes of an image [H, W, 3], clipped to [0, 1].

        Args:
            frame: which.
            look: see `SplatModel.sh_of`; None: `look_of`.
            exposed: whether in `exposure_of` it.
        """
        look = self.look_of(frame) if look is None else look
        with torch.no_grad():
            tensors = self.model.tensors(gradient=False)
            sh = self.model.sh_of(tensors["sh"], look)
            rgb, _, _ = self.model.draw(frame, tensors, sh, self.degree, self.options.threads)
        image = rgb.numpy()
        if exposed:
            e = self.exposure_of(frame)
            image = image @ e[:, :3].T + e[:, 3]
        return np.clip(image, 0, 1)
