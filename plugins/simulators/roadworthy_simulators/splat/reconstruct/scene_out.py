"""What a reconstruction leaves: Gaussians as `.ply`, looks, and `reconstruction.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from roadworthy_simulators.splat.formats import write_gaussians
from roadworthy_simulators.splat.reconstruct.fit import Fit
from roadworthy_simulators.splat.reconstruct.model import FIRST_ACTOR, SKY, STATIC

__all__ = ["write_scene"]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def write_scene(fit: Fit, folder: Path, figures: dict[str, Any]) -> None:
    """Writes the folder.

    `background.ply` and `sky.ply` in the world frame, in the mean look of the fitted traversals;
    `actors/NNN.ply` in the frame of its box (x along the length, z up, origin in the middle);
    `looks.safetensors`: for traversal t `background_t` and `sky_t` [N, K, 3], what the harmonics
    are in its light; `reconstruction.json`: names, refined poses, exposures, options, figures.

    Args:
        fit: finished or not.
        folder: is made; files in it are replaced.
        figures: of `evaluate`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, rec = fit.model, fit.recording
    fitted = np.unique(rec.traversal[fit.train])
    mean = np.zeros(len(rec.traversals), np.float32)
    mean[fitted] = 1.0 / len(fitted)
    parts = {"background": STATIC, "sky": SKY}
    for name, owner in parts.items():
        write_gaussians(folder / f"{name}.ply", model.gaussians(owner, mean))
    shared = torch.from_numpy(model.rows["sh"])
    looks = {
        f"{name}_{t}": np.ascontiguousarray(
            model.sh_of(shared, int(t)).numpy()[model.owner == owner]
        )
        for name, owner in parts.items() for t in fitted
    }  # fmt: skip
    save_file(looks, folder / "looks.safetensors")
    (folder / "actors").mkdir(exist_ok=True)
    actors = []
    for a, actor in enumerate(model.actors):
        name = f"actors/{a:03d}-{_file_name(actor.kind)}.ply"
        write_gaussians(folder / name, model.gaussians(FIRST_ACTOR + a, mean))
        frames = np.flatnonzero(actor.present)
        poses = [actor.poses_world[f] + fit.deltas_of(int(f))[a, f] for f in frames]
        actors.append(
            {
                "name": actor.name, "kind": actor.kind, "file": name, "size_m": list(actor.size),
                "times_s": rec.times[frames].tolist(),
                "poses_world_xyz_yaw": [p.tolist() for p in poses],
            }
        )  # fmt: skip
    about = {
        "version": 1,
        "recording": rec.name,
        "frame": "world: right-handed, z up, metres",
        "traversals": [
            {"name": rec.traversals[t], "look": int(t)} if t in fitted
            else {"name": rec.traversals[t], "look": None}
            for t in range(len(rec.traversals))
        ],
        "images": [
            {"name": n, "traversal": int(t), "time_s": float(s), "test": bool(k),
             "exposure": fit.exposure_of(f).tolist()}
            for f, (n, t, s, k) in enumerate(
                zip(rec.frames, rec.traversal, rec.times, fit.test, strict=True)
            )
        ],
        "actors": actors,
        "gaussians": len(model),
        "steps": fit.step,
        "options": fit.options.as_dict(),
        "figures": figures,
    }  # fmt: skip
    (folder / "reconstruction.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
