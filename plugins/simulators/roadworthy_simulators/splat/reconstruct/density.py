"""How the number of Gaussians changes while they are fitted.

`Growth`: the adaptive density control of Kerbl et al. 2023. `relocate` and `shake`: 3DGS as
Markov chain Monte Carlo, Kheradmand et al. 2024.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from roadworthy_simulators.splat.reconstruct.model import SKY, SplatModel
from roadworthy_simulators.splat.reconstruct.options import FitOptions

__all__ = ["Growth", "relocate", "shake"]

_FAINT = 0.005  # an opacity below this is nothing
_MOST_COPIES = 51


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-x.astype(np.float64))))


def _rotate(quats: NDArray[np.float32], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors [n, 3] turned by quaternions [n, 4] of any length."""
    q = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    axis = q[:, 1:].astype(np.float64)
    twice = 2.0 * np.cross(axis, v)
    return np.asarray(v + q[:, :1] * twice + np.cross(axis, twice))


class Growth:
    """Clones what is small and splits what is large where the image still pulls; drops the faint.

    The pull is the gradient with respect to a centre's place on the image. The renderer gives it
    with respect to the place in the world, which is the same thing times focal length / depth,
    across the line of sight; what reaches the centre by way of its size and colour is in it too.

    Attributes:
        pull: float32 [N] sum over views, in half image widths.
        views: float32 [N] how many views have had an influence.
    """

    def __init__(self, count: int) -> None:
        self.pull = np.zeros(count, np.float32)
        self.views = np.zeros(count, np.float32)

    def watch(
        self, model: SplatModel, frame: int, gradient: NDArray[np.float32],
        touched: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Adds one view; actors' Gaussians are watched by their distance alone."""
        rec = model.recording
        view, k = rec.viewmats[frame], rec.Ks[frame]
        rotation = view[:3, :3].astype(np.float32)
        rows = np.flatnonzero(touched)
        means = model.rows["means"][rows]
        actors = model.owner[rows] > SKY
        if actors.any():
            centres = np.stack([a.poses_world[frame, :3] for a in model.actors])
            means[actors] += centres[model.owner[rows][actors] - SKY - 1].astype(np.float32)
        depth = means @ rotation[2] + np.float32(view[2, 3])
        g = gradient[rows]
        along = g @ rotation[2]
        across = np.sqrt(np.maximum((g * g).sum(axis=1) - along * along, 0))
        scale = np.float32(0.5 * rec.width / k[0, 0])
        self.pull[rows] += across * np.maximum(depth, 0) * scale
        self.views[rows] += 1

    def refine(self, model: SplatModel, options: FitOptions, step: int) -> None:
        """Clones, splits and drops, and starts to watch anew."""
        rng = np.random.default_rng((options.seed, 2, step))
        pull = self.pull / np.maximum(self.views, 1)
        scales = np.exp(model.rows["log_scales"])
        free = model.owner != SKY
        wanted = np.flatnonzero((pull > options.grow_gradient) & free)
        room = max(options.most - len(model), 0)
        if len(wanted) > room:
            wanted = np.sort(wanted[np.argsort(-pull[wanted], kind="stable")[:room]])
        large = scales[wanted].max(axis=1) > 0.01 * model.extent
        clone, split = wanted[~large], wanted[large]
        keep = (_sigmoid(model.rows["logits"]) > _FAINT) | ~free
        keep[split] = False
        old = np.flatnonzero(keep)
        source = np.concatenate([old, clone, split, split])
        fresh = np.arange(len(source)) >= len(old)
        halves = np.arange(len(source)) >= len(old) + len(clone)
        order = model.rearrange(source, fresh)
        rows = np.flatnonzero(halves[order])
        spread = np.exp(model.rows["log_scales"][rows]) * rng.standard_normal((len(rows), 3))
        offset = _rotate(model.rows["quats"][rows], spread)
        model.rows["means"][rows] += offset.astype(np.float32)
        model.rows["log_scales"][rows] -= np.float32(np.log(1.6))
        self.__init__(len(model))  # type: ignore[misc]


def relocate(model: SplatModel, options: FitOptions, step: int) -> None:
    """Moves the faint onto the bright, and adds 5 % more of the bright until there are `most`.

    Those that come to lie together get the opacity and size with which they look together as the
    one did: Kheradmand et al. 2024, equation 9.
    """
    rng = np.random.default_rng((options.seed, 3, step))
    opacity = _sigmoid(model.rows["logits"])
    free = model.owner != SKY
    dead = np.flatnonzero((opacity <= _FAINT) & free)
    alive = np.flatnonzero((opacity > _FAINT) & free)
    more = max(min(len(model) // 20, options.most - len(model)), 0)
    if len(alive) == 0 or len(dead) + more == 0:
        return
    chance = opacity[alive] / opacity[alive].sum()
    chosen = rng.choice(alive, len(dead) + more, p=chance)
    copies = np.minimum(np.bincount(chosen, minlength=len(model)) + 1, _MOST_COPIES)
    parents = np.flatnonzero(copies > 1)
    new = 1.0 - (1.0 - opacity[parents]) ** (1.0 / copies[parents])
    new = np.clip(new, _FAINT, 1.0 - 1e-6)
    model.rows["logits"][parents] = np.log(new / (1 - new))
    shrink = np.ones(len(parents))
    for r, (row, o) in enumerate(zip(parents, new, strict=True)):
        total = 0.0
        for i in range(1, int(copies[row]) + 1):
            for j in range(i):
                total += comb(i - 1, j) * (-1) ** j * o ** (j + 1) / np.sqrt(j + 1)
        shrink[r] = opacity[row] / total
    model.rows["log_scales"][parents] += np.log(np.clip(shrink, 0.05, 1.0))[:, None].astype(
        np.float32
    )
    stay = np.ones(len(model), bool)
    stay[dead] = False
    old = np.flatnonzero(stay)
    fresh = np.concatenate([copies[old] > 1, np.ones(len(chosen), bool)])
    model.rearrange(np.concatenate([old, chosen]), fresh)


def shake(model: SplatModel, touched: NDArray[np.bool_], rate: float, seed: int, step: int) -> None:
    """Adds noise to the centres of the faint, as wide as they are (equation 8 there)."""
    rows = np.flatnonzero(touched & (model.owner != SKY))
    faint = 1.0 / (1.0 + np.exp(-100.0 * ((1 - _sigmoid(model.rows["logits"][rows])) - 0.995)))
    # The others' noise is far below rounding.
    rows, faint = rows[faint > 1e-6], faint[faint > 1e-6]
    rng = np.random.default_rng((seed, 4, step))
    noise = rng.standard_normal((len(rows), 3)) * (faint * rate * 5e5)[:, None]
    # Covariance times noise: to the own axes, times variance, and back.
    quats = model.rows["quats"][rows]
    inverse = quats * np.float32([1, -1, -1, -1])
    variance = np.exp(2.0 * model.rows["log_scales"][rows].astype(np.float64))
    model.rows["means"][rows] += _rotate(quats, _rotate(inverse, noise) * variance).astype(
        np.float32
    )
