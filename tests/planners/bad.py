"""Planners that do what planners must not; each drives well enough until `FAIL_STEP`."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from roadworthy import Brief, Observation, ObservationBatch, Trajectory, TrajectoryBatch

FAIL_STEP = 10


def _misbehaves(brief: Brief) -> bool:
    """Whether this is a case to fail in: any, unless ROADWORTHY_TEST_SEEDS names a file; then those
    whose seeds stand in it. So a planner is mended, and its code stays what it was."""
    file = os.environ.get("ROADWORTHY_TEST_SEEDS")
    return file is None or str(brief.seed) in Path(file).read_text().split()


class _Cruise:
    """Straight ahead at the present speed; from `FAIL_STEP` on, where it `_misbehaves`: `fail`."""

    def reset(self, brief: Brief) -> None:
        self.brief = brief

    def plan(self, observation: Observation) -> Trajectory:
        if observation.step >= FAIL_STEP and _misbehaves(self.brief):
            return self.fail(observation)
        return self.cruise(observation)

    def cruise(self, observation: Observation) -> Trajectory:
        times = np.arange(1, 9) * 0.5
        poses = np.zeros((8, 3))
        poses[:, 0] = observation.ego_state[-1, 3] * times
        return Trajectory(poses, 0.5)

    def fail(self, observation: Observation) -> Trajectory:
        raise NotImplementedError


class Raises(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise KeyError("no such lane")


class RaisesInReset(_Cruise):
    def reset(self, brief: Brief) -> None:
        raise RuntimeError("cannot start")


class RaisesInInit(_Cruise):
    def __init__(self) -> None:
        if os.environ.get("ROADWORTHY_TEST_INIT") == "raise":
            raise OSError("no weights")


class Exits(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise SystemExit(0)


class ReturnsNone(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return None  # type: ignore[return-value]


class ReturnsText(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.array([["a", "b", "c"]]), 0.5)


class ReturnsNaN(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        plan = self.cruise(observation)
        plan.poses[3, 1] = np.nan
        return plan


class ReturnsInfinity(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.full((8, 3), np.inf), 0.5)


class WrongShape(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.zeros((8, 2)), 0.5)


class NoPoses(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.zeros((0, 3)), 0.5)


class BareArray(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return np.zeros((8, 3))  # type: ignore[return-value]


class ZeroDt(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.zeros((8, 3)), 0.0)


class WorldFrame(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.full((8, 3), 5.0e5), 0.5)


class SaysWhatIsNoText(_Cruise):
    """As the error of a file whose name is not UTF-8."""

    def fail(self, observation: Observation) -> Trajectory:
        raise FileNotFoundError("weights-\udcff.bin")


class SaysTooMuch(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise ValueError("x" * 10_000_000)


class CannotSay(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        raise Mute


class Cancels(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise asyncio.CancelledError


class RaisesItsOwnBase(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        class Halt(BaseException):
            pass

        raise Halt


class Interrupts(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise KeyboardInterrupt


class InterruptsInAGroup(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("x")])


class ReturnsComplex(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(self.cruise(observation).poses + 1j, 0.5)  # type: ignore[arg-type]


class ReturnsNumbersAsText(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(self.cruise(observation).poses.astype(str), 0.5)  # type: ignore[arg-type]


class ReturnsMasked(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.ma.masked_all_like(self.cruise(observation).poses), 0.5)


class ReturnsDurations(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.zeros((8, 3), "m8[s]"), 0.5)  # type: ignore[arg-type]


class ReturnsTruth(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.ones((8, 3), np.bool_), 0.5)  # type: ignore[arg-type]


class TrueDt(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(self.cruise(observation).poses, True)


class Spins(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        poses = self.cruise(observation).poses
        poses[:, 2] = 1e308
        return Trajectory(poses, 0.5)


class LiesAboutItsShape(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        class Liar:
            shape = (8, 3)

            def __array__(self, *args: object, **more: object) -> np.ndarray:
                return np.zeros((5, 7))

        return Trajectory(Liar(), 0.5)  # type: ignore[arg-type]


class WholeSeconds(_Cruise):
    """Plans at steps of a NumPy integer, which is as good as any."""

    def plan(self, observation: Observation) -> Trajectory:
        poses = self.cruise(observation).poses
        return Trajectory(poses[1::2], np.int64(1))  # type: ignore[arg-type]


class Exchanges(_Cruise):
    """Takes away from the map, which others are shown too."""

    def fail(self, observation: Observation) -> Trajectory:
        object.__setattr__(observation.brief.map, "lane_centreline", None)
        object.__setattr__(observation.brief.vehicle, "width", None)
        return self.cruise(observation)


class ClosesFiles(_Cruise):
    """All of the process that it sits in."""

    def fail(self, observation: Observation) -> Trajectory:
        os.closerange(3, 256)
        return self.cruise(observation)


class WritesToFiles(_Cruise):
    """To all that the process has open."""

    def fail(self, observation: Observation) -> Trajectory:
        for number in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(number, b"\xff" * 64)
        return self.cruise(observation)


class Prints(_Cruise):
    def plan(self, observation: Observation) -> Trajectory:
        print("at step", observation.step, flush=True)
        return self.cruise(observation)


class TenGigabytes(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        return Trajectory(np.ones((10 * 2**30 // 24, 3)), 0.5)


class Hangs(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        while True:
            time.sleep(0.01)


class HangsInNativeCode(_Cruise):
    """OpenSSL does not look at Python's signals."""

    def fail(self, observation: Observation) -> Trajectory:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        return self.cruise(observation)


class Crashes(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        ctypes.string_at(0)
        return self.cruise(observation)


class Vanishes(_Cruise):
    def fail(self, observation: Observation) -> Trajectory:
        os._exit(0)


class Vandal(_Cruise):
    """Overwrites everything that it is shown, and so must harm nobody but itself."""

    def plan(self, observation: Observation) -> Trajectory:
        plan = self.cruise(observation)
        for name in ("ego_state", "agents_state", "agents_valid", "agents_size"):
            array = getattr(observation, name)
            if array.flags.writeable:
                array[...] = 0
        return plan


class FailsOnOneScene:
    """A batch planner that raises whenever the scene with the most agents is in its batch."""

    worst = int(os.environ.get("ROADWORTHY_TEST_AGENTS", "-1"))

    def reset_batch(self, briefs: tuple[Brief, ...]) -> None:
        self.briefs = briefs

    def plan_batch(self, observations: ObservationBatch) -> TrajectoryBatch:
        if (observations.agents_count == self.worst).any():
            raise IndexError("too many agents")
        poses = np.zeros((len(observations), 8, 3))
        poses[:, :, 0] = observations.ego_state[:, -1, 3][:, None] * np.arange(1, 9) * 0.5
        return TrajectoryBatch(poses, 0.5)


class Good(_Cruise):
    def plan(self, observation: Observation) -> Trajectory:
        return self.cruise(observation)


class NeedsGPU(_Cruise):
    """Drives only where it was given a GPU, and that is what it may see of them."""

    def plan(self, observation: Observation) -> Trajectory:
        if not os.environ.get("CUDA_VISIBLE_DEVICES", "").isdigit():
            raise RuntimeError(f"devices: {os.environ.get('CUDA_VISIBLE_DEVICES')!r}")
        return self.cruise(observation)


def _first_time() -> bool:
    """Whether nobody has been here before, in any process: makes the file that remembers it."""
    try:
        os.close(os.open(os.environ["ROADWORTHY_TEST_ONCE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class CrashesOnce(_Cruise):
    """A segmentation fault that does not come again."""

    def fail(self, observation: Observation) -> Trajectory:
        if _first_time():
            ctypes.string_at(0)
        return self.cruise(observation)


class Forks(_Cruise):
    """From some step on there are two of it, and both go on."""

    def fail(self, observation: Observation) -> Trajectory:
        if _first_time():
            os.fork()
        return self.cruise(observation)


class Leaks(_Cruise):
    """Keeps 300 MB for each case that it has ever driven in this process."""

    kept: ClassVar[list[np.ndarray]] = []

    def fail(self, observation: Observation) -> Trajectory:
        if observation.step == FAIL_STEP:
            _first_time()
            self.kept.append(np.ones(300 * 2**20 // 8))
        return self.cruise(observation)
