"""Every error a user can cause, each with the words that help.

A message names the file, the field and the value, and says what to do. `hint` is the
"what to do" part, kept apart so that the command line can print it on a line of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "PlannerError",
    "PlannerOutputError",
    "PlannerTimeout",
    "PluginError",
    "RoadworthyError",
    "RunError",
    "RunStopped",
    "ScenarioError",
    "SimulatorError",
    "SuiteError",
    "did_you_mean",
    "install_hint",
]


class RoadworthyError(Exception):
    """A mistake or fault with a known cause. `str()` is complete without a traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class SuiteError(RoadworthyError):
    """A suite file says something that cannot be run."""


class PluginError(RoadworthyError):
    """A plugin is missing, broken, or named twice."""


class DataError(RoadworthyError):
    """A log, map or vector file cannot be read as what it claims to be."""


class ScenarioError(DataError):
    """A scene was read but is not fit to be simulated."""


class RunError(RoadworthyError):
    """A run directory cannot be used: damaged, of another suite, or in use."""


class RunStopped(RunError):
    """A run that had begun cannot go on, for want of disk space or the like; finished cases are
    kept, and `roadworthy resume` goes on from there."""


class SimulatorError(RoadworthyError):
    """The simulator itself could not carry a case through."""


class PlannerError(RoadworthyError):
    """The planner raised, died, or ran out of memory."""


class PlannerOutputError(PlannerError):
    """The planner returned something that is not a usable trajectory."""


class PlannerTimeout(PlannerError):
    """The planner did not answer within its time limit."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence that lists the near names, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    return f"Known: {', '.join(names)}." if names else "None are known."


def install_hint(extra: str) -> str:
    """How an optional extra of this project is installed, for a sentence to end or go on."""
    return f'Install it with `pip install -c constraints.txt ".[{extra}]"` in the checkout'
