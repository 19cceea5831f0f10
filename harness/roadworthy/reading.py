"""Scenarios of a suite on their way to be driven: read, admitted, counted, batched."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import Any

from roadworthy.admission import admit
from roadworthy.admission.receipts import Receipts
from roadworthy.errors import PluginError, RoadworthyError, ScenarioError
from roadworthy.execution.bench import Task
from roadworthy.foreign import drawn, off_stdout, plain, traceback_of
from roadworthy.interrupts import pass_interrupt
from roadworthy.plugins import FactorySpec
from roadworthy.resolved import ResolvedSuite
from roadworthy.rollout import Case, Status
from roadworthy.scenario import Rejected, Scenario, content_hash
from roadworthy.scenario_store.reader import stored_at
from roadworthy.seeding import derive_seed
from roadworthy.store import CaseRecord, ErrorRecord

__all__ = ["Reading"]


class Reading:
    """Reads scenarios as tasks need them, and remembers what the manifest has to say of them.

    Args:
        resolved: what to read.
        done: (planner, case key) of what has a record; may grow meanwhile.

    Attributes:
        hashes: of the scenarios read so far.
        keys: of the cases read so far, those of rejected scenes among them.
        repairs: `source/id` -> what admission changed.
        total: how many cases there are, as the sources say, None if they do not; as counted when
            `is_complete`.
        is_complete: whether every scenario has been read.
    """

    def __init__(self, resolved: ResolvedSuite, done: Container[tuple[str, str]]) -> None:
        self._suite = resolved.suite
        self._sources = resolved.sources
        self._planners = list(resolved.planners)
        self._protocol = resolved.protocol
        self._done = done
        self._rejected: list[CaseRecord] = []
        self.hashes: list[str] = []
        self.keys: set[str] = set()
        self.repairs: dict[str, tuple[str, ...]] = {}
        scenes = [_length(spec) for spec in self._sources]
        known = [n for n in scenes if n is not None]
        self.is_complete = False
        self.total: int | None = None
        if len(known) == len(scenes):
            self.total = sum(known) * self._suite.repetitions * len(self._planners)

    def tasks(self) -> Iterator[Task]:
        """Batches of cases that have no record yet, planner by planner."""
        for batch in _batched(self.cases(), self._suite.run.batch_size):
            for label in self._planners:
                todo = [(i, case) for i, case in batch if (label, case.key) not in self._done]
                if todo:
                    indexes, cases = zip(*todo, strict=True)
                    yield Task(label, indexes, cases)

    def rejects(self) -> Iterator[list[CaseRecord]]:
        """Records of the scenes rejected since the last call."""
        fresh = [r for r in self._rejected if (r.planner, r.key) not in self._done]
        self._rejected.clear()
        if fresh:
            yield fresh

    def cases(self) -> Iterator[tuple[int, Case]]:
        """Every case of the suite with its scenario's position in it."""
        index = 0
        for scene in self._scenes():
            if isinstance(scene, Rejected):
                self._reject(index, scene)
            else:
                name = f"{scene.source}/{scene.id}"
                self.hashes.append(scene.hash)
                if scene.repairs:
                    self.repairs[name] = scene.repairs
                for repetition in range(self._suite.repetitions):
                    seed = derive_seed(self._suite.seed, "case", scene.hash, repetition)
                    case = Case(scene, repetition, seed, self._protocol)
                    self.keys.add(case.key)
                    yield index, case
            index += 1
        cases = len(self.hashes) * self._suite.repetitions + index - len(self.hashes)
        self.total = cases * len(self._planners)
        self.is_complete = True

    def _scenes(self) -> Iterator[Scenario | Rejected]:
        driven: set[tuple[str, str]] = set()
        refused: Counter[tuple[str, str]] = Counter()
        receipts = Receipts()
        for spec in self._sources:
            for scene in _read(spec, receipts):
                name = (scene.source, scene.id)
                if isinstance(scene, Scenario) and name not in driven:
                    driven.add(name)
                    yield scene
                    continue
                if isinstance(scene, Scenario):
                    reason = "another scenario of this name; leave one of its sources out"
                    scene = Rejected(scene.id, scene.source, "DuplicateScenario", reason)
                refused[name] += 1
                number = (name in driven) + refused[name]
                yield replace(scene, id=f"{scene.id}#{number}") if number > 1 else scene
        receipts.keep()

    def _reject(self, index: int, scene: Rejected) -> None:
        key = content_hash(("rejected", scene.source, scene.id, self._protocol))
        self.keys.add(key)
        for label in self._planners:
            self._rejected.append(
                CaseRecord(
                    index=index,
                    planner=label,
                    key=key,
                    scenario=scene.id,
                    source=scene.source,
                    scenario_hash="",
                    repetition=0,
                    seed=0,
                    status=Status.INVALID_SCENARIO,
                    error=ErrorRecord.of(scene.error, scene.reason),
                )
            )


def _length(spec: FactorySpec) -> int | None:
    """How many scenes a source says that it has, None if it does not."""
    try:
        with off_stdout():
            return len(spec.build())
    except BaseException as error:  # what is wrong with it comes to light when it is read
        pass_interrupt(error)
        return None


def _read(spec: FactorySpec, receipts: Receipts) -> Iterator[Scenario | Rejected]:
    """A source's scenes, admitted."""

    def fault(error: BaseException) -> PluginError:
        return PluginError(
            f"{spec.where}: source {spec.entry.name!r} stopped with {traceback_of(error)}",
            hint="Finished cases are kept.",
        )

    for scene in drawn(lambda: spec.build().scenarios(), fault):
        if not isinstance(scene, (Scenario, Rejected)):
            raise PluginError(
                f"{spec.where}: source {spec.entry.name!r} gave {plain(repr(scene))}",
                hint="scenarios() has to give roadworthy.Scenario or roadworthy.Rejected.",
            )
        try:
            if isinstance(scene, Scenario) and not receipts.covers(scene):
                admitted = admit(scene)
                if admitted is scene and stored_at(scene) is not None:
                    receipts.add([scene.hash])
                scene = admitted
        except ScenarioError as error:
            scene = Rejected(scene.id, scene.source, type(error).__name__, str(error))
        except RoadworthyError:
            raise
        except Exception as error:  # a scene may be of anything
            raise fault(error) from error
        yield _plain(scene) if isinstance(scene, Rejected) else scene


def _plain(scene: Rejected) -> Rejected:
    """With names that a record can hold, whatever the source gave."""
    return replace(scene, id=plain(scene.id), source=plain(scene.source), error=plain(scene.error))


def _batched(cases: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(cases)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
