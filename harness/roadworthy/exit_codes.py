"""What the command's exit status means."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit status of `roadworthy`, the same for every subcommand."""

    OK = 0
    """Done, and good."""
    GATE_FAILED = 1
    """Done, and the answer is no: a gate, a conformance check or a comparison failed."""
    INTERRUPTED = 2
    """Stopped by the user, or by a full disk (or a reader of the output that has gone); `roadworthy
    resume` goes on from there."""
    INCOMPLETE = 3
    """Done, but something could not be judged: errored cases, or a plugin that fails its check."""
    USAGE = 4
    """Nothing was done: the command line, a suite, a plugin or a file is not usable as given."""
    NO_SCENARIOS = 5
    """Nothing was done: no scenario was found."""
    INTERNAL = 70
    """A fault of roadworthy itself, with a traceback (sysexits' EX_SOFTWARE)."""
