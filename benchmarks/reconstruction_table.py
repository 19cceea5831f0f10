"""How good reconstructions are, as tables in Markdown; docs/cameras.md holds what it printed.

    python benchmarks/reconstruction_table.py town
    python benchmarks/reconstruction_table.py lights
    python benchmarks/reconstruction_table.py recording PATH --width 240

`town`: three clean procedural towns, every eighth image held out, by strategy. `lights`: the same
street driven in three lights, the third held out altogether, with and without looks of its own for
each drive. `recording`: a real recording, with one thing left out at a time. Time is CPU time of
one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadworthy.rig import Pinhole
from roadworthy_simulators.splat.procedural.record import record_street
from roadworthy_simulators.splat.reconstruct import (
    Fit,
    FitOptions,
    Recording,
    evaluate,
    read_recording,
    run_fit,
)
from roadworthy_sources.towns.source import Towns

FRONT = Pinhole(name="front", width=160, height=90)


def _town(number: int, lights: tuple[str, ...], moments: int) -> Recording:
    scenario = Towns(seed=1, count=20, split="validation").scenario(5 * number)
    return record_street(scenario, FRONT, moments=moments, lights=lights, threads=1)[0]


def _fitted(recording: Recording, options: FitOptions) -> tuple[dict[str, Any], int, float]:
    """Figures, Gaussians and CPU-seconds of a fit."""
    fit = Fit(recording, replace(options, threads=1))
    start = time.process_time()
    run_fit(fit)
    spent = time.process_time() - start
    return evaluate(fit), len(fit.model), spent


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    head = list(head)
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row) + " |", flush=True)


def _quality(figures: dict[str, Any]) -> tuple[str, str]:
    return f"{figures['psnr_db']:.2f}", f"{figures['ssim']:.3f}"


def town() -> None:
    def rows() -> Iterable[Iterable[Any]]:
        for number in range(3):
            recording = _town(number, ("noon",), 60)
            for strategy in ("fixed", "default", "mcmc"):
                options = FitOptions(steps=1500, strategy=strategy)  # type: ignore[arg-type]
                figures, count, spent = _fitted(recording, options)
                yield (number, strategy, count, f"{spent:.0f}", *_quality(figures["train"]),
                       *_quality(figures["held_out_views"]))  # fmt: skip

    _table(("town", "strategy", "Gaussians", "CPU s", "train PSNR [dB]", "SSIM",
            "held-out PSNR [dB]", "SSIM"), rows())  # fmt: skip


def lights() -> None:
    fits = {
        "looks and exposures": {},
        "exposures": {"appearance": False},
        "neither": {"appearance": False, "exposure": False},
    }

    def rows() -> Iterable[Iterable[Any]]:
        for number in range(3):
            recording = _town(number, ("noon", "evening", "overcast"), 40)
            for name, changes in fits.items():
                options = FitOptions(steps=2000, holdout_traversal="overcast", **changes)
                figures, _, spent = _fitted(recording, options)
                away = figures["held_out_traversal"]
                yield (number, name, f"{spent:.0f}", _quality(figures["held_out_views"])[0],
                       _quality(away["raw"])[0], *_quality(away["calibrated"]))  # fmt: skip

    _table(("town", "each drive has its own", "CPU s", "held-out views, PSNR [dB]",
            "held-out drive, as it is", "calibrated", "SSIM"), rows())  # fmt: skip


def recording(path: Path, width: int, steps: int, only: list[str] | None = None) -> None:
    fits = {
        "all": {},
        "no exposures": {"appearance": False, "exposure": False},
        "no actors": {"actors": False},
        "no refined poses": {"refine_poses": False},
        "MCMC": {"strategy": "mcmc"},
    }
    found = read_recording(path, width)
    base = FitOptions(steps=steps, points=40_000, most=80_000)

    def rows() -> Iterable[Iterable[Any]]:
        for name, changes in fits.items():
            if only and name not in only:
                continue
            figures, count, spent = _fitted(found, replace(base, **changes))
            held = figures["held_out_views"]
            yield (name, count, f"{spent:.0f}", *_quality(figures["train"]), *_quality(held),
                   f"{held.get('actors_psnr_db', float('nan')):.2f}")  # fmt: skip

    _table(("fit", "Gaussians", "CPU s", "train PSNR [dB]", "SSIM", "held-out PSNR [dB]", "SSIM",
            "of moving boxes [dB]"), rows())  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("town")
    commands.add_parser("lights")
    real = commands.add_parser("recording")
    real.add_argument("path", type=Path)
    real.add_argument("--width", type=int, default=240)
    real.add_argument("--steps", type=int, default=3000)
    real.add_argument("--only", action="append", help="Of the rows; repeatable.")
    given = parser.parse_args()
    if given.what == "recording":
        recording(given.path, given.width, given.steps, given.only)
    else:
        {"town": town, "lights": lights}[given.what]()
