"""Does the units of a flywheel, in this process or in several."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import RoadworthyError, RunError
from roadworthy.execution import processes
from roadworthy.execution.devices import share_of, visible_gpus
from roadworthy.flywheel.config import Flywheel
from roadworthy.flywheel.named import Named
from roadworthy.flywheel.sets import Sets
from roadworthy.flywheel.stages import KEPT, StageEvent, Stages
from roadworthy.flywheel.training import Trained
from roadworthy.flywheel.turning import Wheel
from roadworthy.flywheel.units import Outcome, Unit, next_unit, units_of

__all__ = ["do_alone", "do_together"]


@dataclass(frozen=True)
class Job:
    """What all workers are given.

    Attributes:
        flywheel: what is turned.
        root: the folder.
        sets: its sets.
        data: where what was mined finds its data.
        helpers: processes that make variants for a worker.
    """

    flywheel: Flywheel
    root: Path
    sets: Sets
    data: Path | None
    helpers: int


def do_alone(wheel: Wheel) -> dict[Unit, Outcome]:
    """Do every unit in this process, in order."""
    outcomes: dict[Unit, Outcome] = {}
    for unit in units_of(wheel.flywheel):
        outcomes[unit] = wheel.do(unit, _planner_for(unit, outcomes))
    return outcomes


def do_together(job: Job, workers: int, tell: Callable[[StageEvent], None]) -> dict[Unit, Outcome]:
    """Do every unit, in so many processes as there is work for at once, at most `workers`.

    The first error ends all of them; stages that were finished are kept.

    Args:
        job: what they are given.
        workers: at most how many.
        tell: told of each stage, in the order in which it happens.

    Raises:
        RunError: a worker died.
        RoadworthyError: what was raised in one.
    """
    waiting = list(units_of(job.flywheel))
    outcomes: dict[Unit, Outcome] = {}
    crew: list[_Worker] = []
    devices = visible_gpus()
    events, told = processes.CONTEXT.Pipe(duplex=False)
    lock = processes.CONTEXT.Lock()
    try:
        while True:
            going = {worker.unit: worker for worker in crew if worker.unit is not None}
            unit = next_unit(job.flywheel, waiting, outcomes, going)
            if unit is not None and len(going) < workers:
                idle = next((worker for worker in crew if worker.unit is None), None)
                if idle is None:
                    gpus = share_of(devices, len(crew), workers)
                    idle = _Worker(job, told, lock, gpus)
                    crew.append(idle)
                waiting.remove(unit)
                idle.give(unit, _planner_for(unit, outcomes))
                continue
            if not going:
                return outcomes
            multiprocessing.connection.wait(
                [events, *(x for w in going.values() for x in (w.pipe, w.process.sentinel))]
            )
            answers = {unit: worker.answer() for unit, worker in going.items()}
            while events.poll():  # what a worker told comes before its answer
                tell(events.recv())
            for unit, answer in answers.items():
                if isinstance(answer, BaseException):
                    raise answer
                if answer is not None:
                    outcomes[unit] = answer
    finally:
        for worker in crew:
            processes.end(worker.process)


def _planner_for(unit: Unit, outcomes: dict[Unit, Outcome]) -> Trained | None:
    return None if unit.after is None else outcomes[unit.after].planner


class _Worker:
    """A worker process, and the unit that it does."""

    def __init__(self, job: Job, events: Connection, lock: Any, gpus: str | None) -> None:
        self.unit: Unit | None = None
        self.pipe, theirs = processes.CONTEXT.Pipe()
        self.process = processes.start(_serve, (theirs, events, lock, job), gpus=gpus, daemon=False)
        theirs.close()

    def give(self, unit: Unit, planner: Trained | None) -> None:
        """Have it do a unit with the planner that it takes."""
        self.unit = unit
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed by `answer`
            self.pipe.send((unit, planner))

    def answer(self) -> Outcome | Exception | None:
        """What came of its unit, why nothing did, or None while it works."""
        alive = self.process.is_alive()  # asked first: it may answer and end in between
        with contextlib.suppress(EOFError, ConnectionResetError):
            if self.pipe.poll():
                answer: Outcome | Exception = self.pipe.recv()
                self.unit = None
                return answer
            if alive:
                return None
        self.process.join(5.0)
        assert self.unit is not None
        what = f"{self.unit.label}, evaluation" if self.unit.evaluation else self.unit.label
        return RunError(
            f"seed {self.unit.seed}, {what}: the worker process died "
            f"({processes.how_it_died(self.process)})",
            hint="SIGKILL comes mostly from lack of memory: give fewer workers (--workers). "
            "SIGSEGV or SIGABRT come from native code. " + KEPT,
        )


def _serve(pipe: Connection, events: Connection, lock: Any, job: Job) -> None:
    """Main function of a worker process."""
    processes.settle()

    def tell(event: StageEvent) -> None:
        with lock:
            events.send(event)

    wheel: Wheel | None = None
    with contextlib.suppress(EOFError):  # nobody is left to work for
        while True:
            unit, planner = pipe.recv()
            try:
                wheel = wheel or _wheel_of(job, tell)
                answer: Any = wheel.do(unit, planner)
            except RoadworthyError as error:
                answer = error
            except Exception:
                answer = RunError(f"a worker failed:\n{traceback.format_exc()}", hint=KEPT)
            pipe.send(answer)


def _wheel_of(job: Job, tell: Callable[[StageEvent], None]) -> Wheel:
    """The wheel of a worker. Its evaluations have one process: others work beside it."""
    run = msgspec.structs.replace(job.flywheel.run, workers=1)
    named = Named(msgspec.structs.replace(job.flywheel, run=run), job.data)
    return Wheel(named, Stages(job.root, tell), job.sets, job.data, job.helpers)
