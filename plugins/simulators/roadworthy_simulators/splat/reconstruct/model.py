"""`SplatModel`: the Gaussians while they are fitted, and what an image makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roadworthy_simulators.splat.autograd import rasterize
from roadworthy_simulators.splat.cameras import RenderOptions
from roadworthy_simulators.splat.gaussians import Gaussians, terms_of_degree
from roadworthy_simulators.splat.reconstruct.adam import Moments
from roadworthy_simulators.splat.reconstruct.options import FitOptions
from roadworthy_simulators.splat.reconstruct.recording import Recording
from roadworthy_simulators.splat.reconstruct.start import (
    apparent_pixels,
    colors_from_images,
    hull_colors,
    hull_points,
    neighbour_distance,
    pick_points,
    sky_points,
)

__all__ = ["ROWS", "SKY", "STATIC", "SplatModel"]

STATIC, SKY, FIRST_ACTOR = 0, 1, 2
ROWS = ("means", "log_scales", "quats", "logits", "sh")
_Y0 = 0.28209479177387814  # the harmonic of degree 0
_START_OPACITY = 0.5
_KNOT_SPACING = 1.0  # s


class SplatModel:
    """Everything that a step changes.

    Gaussians are kept in the order of their owner: what stands still, sky, first actor, second ...

    Attributes:
        rows: float32 arrays by name, one row a Gaussian: means [N, 3] (world; of an actor in its
            box's frame) [m], log_scales [N, 3], quats [N, 4], logits [N] of the opacity, sh
            [N, K, 3], and `look_0` ... [N, K, 3]: what each traversal adds to sh.
        owner: int64 [N] 0: stands still, 1: sky, 2 + a: actor a.
        exposure: float32 [F, 3, 4] by image: colour = e[:, :3] rendered + e[:, 3].
        deltas: float32 [A, K, 4] what is added to the poses of the boxes (x, y, z, yaw), at knots a
            second apart in each drive, straight in between: a box's error changes slowly.
        moments: Adam's, by the names above.
        extent: size of the driven area [m], which rates and sizes are relative to.
    """

    def __init__(
        self, recording: Recording, options: FitOptions, frames: NDArray[np.int64]
    ) -> None:
        """Begins from the recording's points and the colours of the images `frames`."""
        rng = np.random.default_rng((options.seed, 1))
        self.recording = recording
        centres = recording.centres_world[frames]
        spread = np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
        self.extent = float(max(1.1 * spread, 5.0))
        self.actors = recording.actors if options.actors else ()
        points, colors = pick_points(recording, frames, options.points, rng)
        size = np.maximum(neighbour_distance(points), 1e-3) * 0.7
        parts = [(points, colors, size, STATIC)]
        if options.sky:
            shell, between = sky_points(recording, points, options.sky)
            tint = colors_from_images(recording, frames, shell)
            parts.append((shell, tint, np.full(len(shell), 0.7 * between), SKY))
        for a, actor in enumerate(self.actors):
            box, between = hull_points(actor, apparent_pixels(recording, frames, actor), rng)
            tint = hull_colors(recording, frames, actor, box)
            parts.append((box, tint, np.full(len(box), 0.7 * between), FIRST_ACTOR + a))
        self.owner = np.concatenate([np.full(len(p[0]), p[3], np.int64) for p in parts])
        n = len(self.owner)
        terms = terms_of_degree(options.degree)
        sh = np.zeros((n, terms, 3), np.float32)
        sh[:, 0] = (np.concatenate([p[1] for p in parts]) - 0.5) / _Y0
        scales = np.log(np.concatenate([p[2] for p in parts]))
        logit = np.log(_START_OPACITY / (1 - _START_OPACITY))
        self.rows: dict[str, NDArray[np.float32]] = {
            "means": np.concatenate([p[0] for p in parts]).astype(np.float32),
            "log_scales": np.repeat(scales[:, None], 3, axis=1).astype(np.float32),
            "quats": np.tile(np.float32([1, 0, 0, 0]), (n, 1)),
            "logits": np.full(n, logit, np.float32),
            "sh": sh,
        }
        if options.appearance and len(recording.traversals) > 1:
            for t in range(len(recording.traversals)):
                self.rows[f"look_{t}"] = np.zeros_like(sh)
        self.exposure = np.tile(np.eye(3, 4, dtype=np.float32), (len(recording), 1, 1))
        self._knot, self._share, knots = _knots(recording)
        self.deltas = np.zeros((len(self.actors), knots, 4), np.float32)
        self.moments = {name: Moments(array.shape) for name, array in self.rows.items()}
        self.moments["exposure"] = Moments((len(recording), 12))
        if self.actors:
            self.moments["deltas"] = Moments((len(self.actors) * knots, 4))

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def fixed(self) -> int:
        """How many Gaussians belong to no actor; they come first."""
        return int(np.searchsorted(self.owner, FIRST_ACTOR))

    def rearrange(self, source: NDArray[np.int64], fresh: NDArray[np.bool_]) -> NDArray[np.int64]:
        """New rows from old ones, sorted by owner again.

        Args:
            source: [M] the old row of each new one.
            fresh: [M] those that start without moments.

        Returns:
            [M] where in `source` each row of the result was.
        """
        order = np.argsort(self.owner[source], kind="stable")
        source, fresh = source[order], fresh[order]
        self.owner = self.owner[source]
        for name in self.rows:
            self.rows[name] = self.rows[name][source]
            self.moments[name].rearrange(source, fresh)
        return order

    def tensors(self, gradient: bool) -> dict[str, Tensor]:
        """The arrays as torch tensors over the same memory, without the looks."""
        out = {name: torch.from_numpy(self.rows[name]) for name in ROWS}
        out["deltas"] = torch.from_numpy(self.deltas)
        for tensor in out.values():
            tensor.requires_grad_(gradient)
        return out

    def sh_of(self, sh: Tensor, look: int | NDArray[np.float32] | None) -> Tensor:
        """Harmonics in the look of a traversal, or of a mixture of them.

        Args:
            sh: [N, K, 3] shared.
            look: a traversal; or weights of all [T]; None: shared alone.
        """
        if look is None or "look_0" not in self.rows:
            return sh
        if isinstance(look, int):
            return sh + torch.from_numpy(self.rows[f"look_{look}"])
        for t, weight in enumerate(look):
            if weight:
                sh = sh + float(weight) * torch.from_numpy(self.rows[f"look_{t}"])
        return sh

    def draw(
        self, frame: int, tensors: dict[str, Tensor], sh: Tensor, degree: int, threads: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the camera of an image sees: rgb [H, W, 3], alpha [H, W], depth [H, W]."""
        means, quats = tensors["means"], tensors["quats"]
        log_scales, logits = tensors["log_scales"], tensors["logits"]
        fixed = self.fixed
        if fixed < len(self):
            who = self.owner[fixed:] - FIRST_ACTOR
            present = np.array([a.present[frame] for a in self.actors])
            chosen = np.flatnonzero(present[who])
            rows = torch.from_numpy(fixed + chosen)
            place, turn = self._placed(frame, tensors["deltas"], who[chosen], means[rows])
            means = torch.cat([means[:fixed], place])
            quats = torch.cat([quats[:fixed], _multiply(turn, quats[rows])])
            log_scales = torch.cat([log_scales[:fixed], log_scales[rows]])
            logits = torch.cat([logits[:fixed], logits[rows]])
            sh = torch.cat([sh[:fixed], sh[rows]])
        rec = self.recording
        out = rasterize(
            means, quats, torch.exp(log_scales), torch.sigmoid(logits), sh,
            torch.from_numpy(rec.viewmats[frame : frame + 1].astype(np.float32)),
            torch.from_numpy(rec.Ks[frame : frame + 1].astype(np.float32)),
            rec.width, rec.height, RenderOptions(sh_degree=degree), backend="cpu", threads=threads,
        )  # fmt: skip
        return out[0][0], out[1][0], out[2][0]

    def delta_at(self, frame: int, deltas: Any) -> Any:
        """[A, 4] at an image's instant, of `deltas` [A, K, 4], an array or a tensor."""
        knot, share = int(self._knot[frame]), float(self._share[frame])
        return (1.0 - share) * deltas[:, knot] + share * deltas[:, knot + 1]

    def _placed(
        self, frame: int, deltas: Tensor, who: NDArray[np.int64], local: Tensor
    ) -> tuple[Tensor, Tensor]:
        """World means [n, 3] and rotations [n, 4] of actors' Gaussians at an image's instant."""
        poses = np.stack([a.poses_world[frame] for a in self.actors]).astype(np.float32)
        refined = (torch.from_numpy(poses) + self.delta_at(frame, deltas))[torch.from_numpy(who)]
        cos, sin = torch.cos(refined[:, 3]), torch.sin(refined[:, 3])
        x, y = local[:, 0], local[:, 1]
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y, local[:, 2]], dim=1)
        half, zero = refined[:, 3] / 2, torch.zeros_like(cos)
        turn = torch.stack([torch.cos(half), zero, zero, torch.sin(half)], dim=1)
        return turned + refined[:, :3], turn

    def gaussians(self, owner: int, look: int | NDArray[np.float32] | None = None) -> Gaussians:
        """One owner's Gaussians, in its own frame, in the look of a traversal."""
        mask = self.owner == owner
        sh = self.sh_of(torch.from_numpy(self.rows["sh"]), look).numpy()
        logits = self.rows["logits"][mask].astype(np.float64)
        return Gaussians(
            self.rows["means"][mask], self.rows["quats"][mask],
            np.exp(self.rows["log_scales"][mask]), (1 / (1 + np.exp(-logits))).astype(np.float32),
            sh[mask],
        )  # fmt: skip


def _knots(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Per image the knot before it [F] and how far it is on the way to the next [F], and how many
    knots there are in all."""
    knot, share = np.zeros(len(recording), np.int64), np.zeros(len(recording))
    total = 0
    for t in range(len(recording.traversals)):
        of = np.flatnonzero(recording.traversal == t)
        if not len(of):
            continue
        since = (recording.times[of] - recording.times[of].min()) / _KNOT_SPACING
        # However long a drive says that it is, there are no more knots than images.
        since *= min(1.0, len(of) / max(float(since.max()), 1.0))
        whole = np.floor(since)
        knot[of], share[of] = total + whole.astype(np.int64), since - whole
        total += int(whole.max()) + 2
    return knot, share, total


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Product of quaternions w, x, y, z [n, 4]: first b, then a."""
    aw, ax, ay, az = a.unbind(1)
    bw, bx, by, bz = b.unbind(1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=1,
    )
