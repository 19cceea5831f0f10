"""A planner with one parameter and its trainer: small, but it truly learns and truly drives.

The planner is IDM with a checkpoint of one number. The trainer drives the cases that it is
given with each of a few candidates, in closed loop, and keeps the one that its objective likes
best.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from roadworthy import Case
from roadworthy.host import PlannerHost
from roadworthy_metrics.success import Success
from roadworthy_planners.idm import IDM
from roadworthy_simulators.closed_loop import ClosedLoop


class Style(msgspec.Struct, frozen=True):
    """How careful a driver is, from 0 to 1."""

    caution: float


class Headway(IDM):
    """IDM between a reckless driver and a careful one, as a checkpoint says."""

    def __init__(self, checkpoint: Path) -> None:
        self.style = msgspec.json.decode((checkpoint / "style.json").read_bytes(), type=Style)
        c = self.style.caution
        super().__init__(
            headway=0.05 + 1.45 * c,
            min_gap=0.1 + 0.9 * c,
            max_accel=5.0 - 4.0 * c,
            max_decel=8.0 - 5.0 * c,
            max_lateral_accel=6.0 - 4.5 * c,
        )


class Search:
    """Tries styles around the present one.

    Args:
        objective: `safety` wants success, `haste` the most progress, `harm` the least success.
        step: how far the candidates are from the present style.
        fault: what goes wrong, for tests of that: `disk` has no room left, `raise` is a bug,
            `killed` is what the kernel does where memory is short.
    """

    def __init__(
        self,
        objective: Literal["safety", "haste", "harm"] = "safety",
        step: float = 0.5,
        fault: Literal["", "disk", "raise", "killed"] = "",
    ) -> None:
        self.objective = objective
        self.step = step
        self.fault = fault

    def train(self, planner: Headway | None, cases: Iterable[Case], out: Path, seed: int) -> Path:
        if self.fault == "disk":
            raise OSError(28, "No space left on device", str(out / "style.json"))
        if self.fault == "raise":
            raise ZeroDivisionError(
                f"loss is NaN on GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')};"
            )
        if self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        kept = Style(0.0) if planner is None else planner.style
        cases = list(cases)
        curve = ["epoch,success,progress"]
        best: tuple[float, ...] = ()
        start = kept
        for epoch, change in enumerate((0.0, self.step, -self.step)):
            style = Style(min(1.0, max(0.0, start.caution + change)))
            tried = out / f"try-{epoch}"
            tried.mkdir()
            (tried / "style.json").write_bytes(msgspec.json.encode(style))
            rollouts = ClosedLoop().run(cases, PlannerHost(lambda at=tried: Headway(at)))
            values = Success().score(rollouts).values
            success = float(np.mean(values["success"]))
            progress = float(np.nanmean(values["route_completion"]))
            curve.append(f"{epoch},{success},{progress}")
            score = {
                "safety": (success, progress),
                "haste": (progress, -success),
                "harm": (-success, progress),
            }[self.objective]
            if not best or score > best:
                best, kept = score, style
        made = out / "best"
        made.mkdir()
        (made / "style.json").write_bytes(msgspec.json.encode(kept))
        (made / "curves.csv").write_text("\n".join(curve) + "\n")
        return made
