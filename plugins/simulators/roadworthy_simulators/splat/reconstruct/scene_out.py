"""What a reconstruction leaves: a scene folder, and `reconstruction.json` beside `scene.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import AgentKind

from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.model import FIRST_ACTOR, SKY, STATIC
from roadworthy_simulators.splat.scenes.folder import write_scene
from roadworthy_simulators.splat.scenes.scene import (
    Actor,
    Part,
    SplatScene,
    Track,
    Traversal,
    View,
)

__all__ = ["scene_of", "write_reconstruction"]

_BESIDE, _LEAST_POINTS = 3.0, 10  # [m], and points there, to tell the ground from

_KINDS = {
    "pedestrian": AgentKind.PEDESTRIAN,
    "bicycle": AgentKind.BICYCLE,
    "cyclist": AgentKind.BICYCLE,
}


def _kind(name: str) -> AgentKind:
    return next((k for word, k in _KINDS.items() if word in name.lower()), AgentKind.VEHICLE)


def _grounded(gaussians: Gaussians, height: float) -> Gaussians:
    """From the box's middle to the ground below it."""
    return replace(gaussians, means=gaussians.means + np.float32([0, 0, height / 2]))


def scene_of(fit: Fit) -> SplatScene:
    """The scene as far as it is fitted: one traversal for each that was, in the recording's frame.

    The exposure of a traversal is the mean of its images'. Actors keep their tracks' names.
    """
    model, rec = fit.model, fit.recording
    fitted = [int(t) for t in np.unique(rec.traversal[fit.train])]
    weights = np.zeros(len(rec.traversals), np.float32)
    weights[fitted] = 1.0 / len(fitted)
    actors, shown = [], []
    for a, actor in enumerate(model.actors):
        found = model.gaussians(FIRST_ACTOR + a, weights)
        if len(found):
            part = Part(_grounded(found, actor.size[2]))
            actors.append(
                Actor(actor.name, _kind(actor.kind), actor.size, (part,), False, actor.name)
            )
            shown.append(a)
    traversals = []
    for t in fitted:
        frames = fit.train[rec.traversal[fit.train] == t]
        sky = model.gaussians(SKY, t)
        traversals.append(
            Traversal(
                rec.traversals[t],
                sky=sky if len(sky) else None,
                appearance=model.gaussians(STATIC, t).sh if len(fitted) > 1 else None,
                exposure=model.exposure[frames].mean(axis=0).astype(np.float64),
                tracks=tuple(track for a in shown for track in _tracks(fit, a, t)),
            )
        )
    views = []
    for f in fit.train:
        k = rec.Ks[f]
        views.append(
            View(
                rec.traversals[int(rec.traversal[f])],
                tuple(float(x) for x in rec.viewmats[f].reshape(-1)),
                *(float(x) for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])),
                rec.width,
                rec.height,
            )
        )
    order = fit.train[np.lexsort((rec.times[fit.train], rec.traversal[fit.train]))]
    return SplatScene(
        name=Path(rec.name).name,
        background=model.gaussians(STATIC, weights),
        traversals=tuple(traversals),
        actors=tuple(actors),
        views=tuple(views),
        path=rec.centres_world[order, :2],
        ground=_ground(fit),
    )


def _tracks(fit: Fit, a: int, traversal: int) -> list[Track]:
    """The refined poses of actor `a` at the instants of a drive's images, held-out ones too: a
    track for every stretch of instants at which its box is known."""
    rec, actor = fit.recording, fit.model.actors[a]
    of = np.flatnonzero(rec.traversal == traversal)
    instants, first = np.unique(rec.times[of], return_index=True)
    out = []
    frames = of[first]
    breaks = np.flatnonzero(np.diff(actor.present[frames].astype(np.int8))) + 1
    for stretch in np.split(np.arange(len(instants)), breaks):
        if actor.present[frames[stretch[0]]]:
            poses = np.stack([_refined(fit, a, int(f)) for f in frames[stretch]])
            poses[:, 2] -= actor.size[2] / 2
            out.append(Track(actor.name, np.column_stack([instants[stretch], poses])))
    return out


def _refined(fit: Fit, a: int, frame: int) -> NDArray[np.float64]:
    """[4] x, y, z of a box's middle and yaw at the instant of an image."""
    moved = fit.model.delta_at(frame, fit.model.deltas)[a]
    return np.asarray(fit.model.actors[a].poses_world[frame] + moved, np.float64)


def _ground(fit: Fit) -> NDArray[np.float64]:
    """[G, 3] points of the road under the cameras, smoothed along the way: a plane under what lies
    within 3 m of each, of the recording's points or, where it has none, of the fitted Gaussians."""
    rec = fit.recording
    solid = fit.model.rows["logits"][fit.model.owner == STATIC] > 0.0
    places = rec.points_world
    if not len(places):
        places = fit.model.rows["means"][fit.model.owner == STATIC][solid].astype(np.float64)
    order = np.lexsort((rec.times, rec.traversal))
    centres = rec.centres_world[order]
    apart = np.r_[True, np.linalg.norm(np.diff(centres[:, :2], axis=0), axis=1) > 0.2]
    found = []
    for x, y, z in centres[apart]:
        near = ((places[:, :2] - (x, y)) ** 2).sum(axis=1) < _BESIDE**2
        below = places[near & (places[:, 2] < z)] - (x, y, 0.0)
        if len(below) >= _LEAST_POINTS:
            found.append((x, y, _floor(below)))
    ground = np.array(found).reshape(-1, 3)
    if len(ground) > 2:
        middle = [np.median(ground[max(i - 3, 0) : i + 4, 2]) for i in range(len(ground))]
        ground[:, 2] = middle
    return ground


def _floor(points: NDArray[np.float64]) -> float:
    """Height at x = y = 0 of the plane that nearly all points [N, 3] lie on or above: the
    regression of their 0.02 expectile (Newey and Powell 1987)."""
    a = np.column_stack([np.ones(len(points)), points[:, :2]])
    weight = np.ones(len(points))
    for _ in range(20):
        scaled = a * weight[:, None]
        plane = np.linalg.solve(scaled.T @ a + 1e-6 * np.eye(3), scaled.T @ points[:, 2])
        weight = np.where(points[:, 2] > a @ plane, 0.02, 0.98)
    return float(plane[0])


def write_reconstruction(fit: Fit, folder: Path, figures: dict[str, Any]) -> None:
    """Writes the scene (see `scenes.folder.write_scene`), and what is known of its making.

    `reconstruction.json` holds the options, the figures and each image's exposure.

    Args:
        fit: finished or not.
        folder: is made; files in it are replaced.
        figures: of `evaluate`.

    Raises:
        DataError: it cannot be written.
    """
    write_scene(scene_of(fit), folder)
    rec = fit.recording
    rows = zip(rec.frames, rec.traversal, rec.times, fit.test, strict=True)
    images = [
        {
            "name": name,
            "traversal": rec.traversals[int(t)],
            "time_s": float(s),
            "test": bool(held),
            "exposure": fit.exposure_of(f).tolist(),
        }
        for f, (name, t, s, held) in enumerate(rows)
    ]
    about = {
        "version": 2,
        "recording": Path(rec.name).name,
        "gaussians": len(fit.model),
        "steps": fit.step,
        "options": fit.options.as_dict(),
        "figures": figures,
        "images": images,
    }
    (folder / "reconstruction.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
