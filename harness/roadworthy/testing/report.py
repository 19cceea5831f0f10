"""What a review of a plugin found: one finding per check."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from roadworthy.deadline import deadline
from roadworthy.errors import PlannerTimeout, RoadworthyError
from roadworthy.foreign import message_of
from roadworthy.interrupts import pass_interrupt

__all__ = ["TIME_LIMIT_S", "Finding", "Outcome", "Report", "Review", "Watch", "unwatched"]

TIME_LIMIT_S = 180.0
"""For one check, unless another is given: the first may compile kernels for two minutes."""


class Outcome(StrEnum):
    """How a check went. Only `FAIL` makes a plugin unfit."""

    PASS = "pass"
    WARN = "warn"
    NOTE = "note"
    FAIL = "fail"
    SKIP = "skip"


SIGNS = {
    Outcome.PASS: "✓",
    Outcome.WARN: "!",
    Outcome.NOTE: "·",
    Outcome.FAIL: "✗",
    Outcome.SKIP: "-",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, how it went, and one sentence of what was found and how to mend it."""

    check: str
    outcome: Outcome
    sentence: str

    def __str__(self) -> str:
        return f"{SIGNS[self.outcome]} {self.check}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Report:
    """A review of one plugin object.

    Attributes:
        kind: `planner` or `metric`.
        name: of what was reviewed.
        findings: in the order of the checks.
    """

    kind: str
    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not any(f.outcome is Outcome.FAIL for f in self.findings)

    def __str__(self) -> str:
        return "\n".join([f"{self.kind} {self.name}", *(f"  {f}" for f in self.findings)])

    def assert_ok(self) -> None:
        """For tests.

        Raises:
            AssertionError: with the whole review, if a check failed.
        """
        if not self.ok:
            raise AssertionError(f"\n{self}")


Watch = Callable[[str, str, Finding | None], None]
"""Told of what is reviewed, of a check, and of its finding, or None as it begins."""


def unwatched(subject: str, check: str, finding: Finding | None) -> None:
    """A `Watch` that does nothing."""


class Fault(Exception):
    """Raised inside a check: it failed, for the reason said."""


class Remark(Exception):
    """Raised inside a check: it ended with something other than a pass or a failure."""

    def __init__(self, outcome: Outcome, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = outcome


class Review:
    """Runs checks one after the other; an error in one is its finding, and the rest go on.

    A check that does not end is stopped, and is the last: the others would hang as well.

    Args:
        kind: `planner` or `metric`.
        name: of what is reviewed.
        time_limit_s: wall-clock limit for one check.
        watch: told of each check.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        time_limit_s: float = TIME_LIMIT_S,
        watch: Watch = unwatched,
    ) -> None:
        self._kind, self._name = kind, name
        self._limit, self._watch = time_limit_s, watch
        self._hangs = False
        self._findings: list[Finding] = []

    def check(self, name: str, examine: Callable[[], str]) -> bool:
        """Runs one check.

        Args:
            name: of the check.
            examine: returns the sentence of a pass; raises `Fault`, `Remark`, or anything.

        Returns:
            Whether it did not fail.
        """
        if self._hangs:
            return False
        self._tell(name, None)
        try:
            with deadline(self._limit, ""):
                finding = Finding(name, Outcome.PASS, examine())
        except Remark as remark:
            finding = Finding(name, remark.outcome, str(remark))
        except Fault as fault:
            finding = Finding(name, Outcome.FAIL, str(fault))
        except PlannerTimeout as error:
            self._hangs = True
            finding = Finding(name, Outcome.FAIL, _stopped(error, self._limit))
        except RoadworthyError as error:
            joint = "\n    " if "\n" in error.message else ". "
            text = joint.join(filter(None, (error.message.rstrip(), error.hint)))
            finding = Finding(name, Outcome.FAIL, text)
        except BaseException as error:  # what is reviewed may raise anything
            pass_interrupt(error)
            finding = Finding(name, Outcome.FAIL, told(error))
        self._findings.append(finding)
        self._tell(name, finding)
        return finding.outcome is not Outcome.FAIL

    def _tell(self, check: str, finding: Finding | None) -> None:
        self._watch(f"{self._kind} {self._name}", check, finding)

    def report(self) -> Report:
        """What was found so far."""
        return Report(self._kind, self._name, tuple(self._findings))


def told(error: BaseException) -> str:
    """An unexpected error in one sentence, with the line of the reviewed code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"it raised {type(error).__name__}: {message_of(error)} ({last.filename}:{last.lineno})."


def _stopped(error: PlannerTimeout, limit: float) -> str:
    """What was running when the time was up: the frame below the alarm's own."""
    last = traceback.extract_tb(error.__traceback__)[-2]
    return (
        f"it had not ended after {limit:g} s, in {last.name} ({last.filename}:{last.lineno}); "
        "the review stops here. If it is slow and does end, give it a longer time limit."
    )
