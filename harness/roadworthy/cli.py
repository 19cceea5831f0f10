"""The `roadworthy` command. Each subcommand is a file in `roadworthy.commands`.

A subcommand's module holds a `command` (a click command or group) and imports what it needs
inside its functions, so that `roadworthy --help` stays fast. It returns an `ExitCode`, or
None for OK, and raises `RoadworthyError` for whatever the user can mend. A file that the system
will not open, of a command that does not say so itself, is told here.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import pkgutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import TextIO

import click

from roadworthy import __version__, commands
from roadworthy.errors import RoadworthyError, RunStopped, did_you_mean
from roadworthy.execution.garbage import collect_rarely
from roadworthy.exit_codes import ExitCode
from roadworthy.interrupts import noting_interrupts

__all__ = ["cli", "main"]


class _Commands(click.Group):
    """Finds subcommands among the modules of `roadworthy.commands` when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = (m.name for m in pkgutil.iter_modules(commands.__path__))
        return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"roadworthy.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = did_you_mean(args[0], self.list_commands(ctx))
            ctx.fail(f"There is no command {args[0]!r}. {near}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="roadworthy", message="%(prog)s %(version)s")
def cli() -> None:
    """Finds out whether a driving planner is roadworthy, and makes it more so.

    \b
    Exit codes: 0 ok, 1 gate failed, 2 interrupted, 3 incomplete, 4 usage, 5 no scenarios.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; nothing a user can mend ends in a traceback."""
    args = list(sys.argv[1:] if argv is None else argv)
    collect_rarely()
    try:
        _check_surroundings(args)
        with warnings.catch_warnings(), noting_interrupts():
            warnings.showwarning = _show_warning
            code = cli.main(args, prog_name="roadworthy", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _tell(error.show)
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(cause := error.__cause__, EOFError):  # click takes it for Ctrl-D
            _tell(functools.partial(traceback.print_exception, cause))
            return ExitCode.INTERNAL
        return _interrupted(ends=argv is None)
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit):
            if isinstance(error.__context__, KeyboardInterrupt):  # as Lightning ends on Ctrl-C
                return _interrupted(ends=argv is None)
            if not isinstance(error.__context__, BrokenPipeError):
                _tell(traceback.print_exc)  # a plugin that ends the program has not done its work
                return ExitCode.INTERNAL
        # The reader of our output has gone (click exits with 1 then); so do we, without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.INTERRUPTED
    except BaseException as error:
        mendable = error if isinstance(error, RoadworthyError) else _of_a_file(error)
        if mendable is None:
            _tell(traceback.print_exc)
            return ExitCode.INTERNAL
        _say(f"error: {mendable.message}")
        if mendable.hint:
            _say(f"  {mendable.hint}")
        return ExitCode.INTERRUPTED if isinstance(mendable, RunStopped) else ExitCode.USAGE
    return int(code or ExitCode.OK)


def _interrupted(*, ends: bool) -> ExitCode:
    """Says so; `ends` tells that the process does too, and a second Ctrl-C changes nothing."""
    if ends:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say("interrupted")
    return ExitCode.INTERRUPTED


def _check_surroundings(args: Sequence[str]) -> None:
    """Refuse what no command can work with.

    Raises:
        RoadworthyError: an argument is not text, or there is no standard output.
    """
    for number in range(3):
        if not _is_open(number):  # else a file that is opened later would get its number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (it lives as long as the process)
    if sys.stdout is None:
        sys.stdout = sys.stderr
        raise RoadworthyError("standard output is closed", hint="Send it to a file or /dev/null.")
    for arg in args:
        _check_text(arg)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise RoadworthyError(
            f"{_short(text)!r}: this name is not UTF-8",
            hint="Rename it: a record could not say it.",
        )


def _of_a_file(error: BaseException) -> RoadworthyError | None:
    """What the system said of a file, in a sentence; None for any other error, which is ours."""
    if isinstance(error, UnicodeEncodeError):
        try:
            _check_text(error.object)
        except RoadworthyError as named:
            return named
    loop = "Symlink loop from "  # what `Path.resolve` makes of ELOOP
    if isinstance(error, RuntimeError) and str(error).startswith(loop):
        name = str(error).removeprefix(loop).strip("'")
        return RoadworthyError(f"{_short(name)}: {os.strerror(errno.ELOOP)}")
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        name = "the output" if error.filename is None else _short(os.fsdecode(error.filename))
        return RunStopped(f"{name}: {error.strerror}", hint="Make room, and do it again.")
    if not isinstance(error.filename, (str, bytes)):
        return None
    return RoadworthyError(f"{_short(os.fsdecode(error.filename))}: {error.strerror}")


def _short(name: str) -> str:
    return name if len(name) <= 300 else f"{name[:120]}...{name[-120:]} ({len(name)} characters)"


def _say(text: str) -> None:
    _tell(lambda: click.echo(text, err=True))


def _tell(words: Callable[[], object]) -> None:
    """Say how it ended, as far as there is someone to be told."""
    with contextlib.suppress(OSError):
        words()
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # it is full: what it holds must not be tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A plugin's warning is a sentence; any other keeps its place in the code."""
    from roadworthy.plugins import PluginWarning

    own = issubclass(category, PluginWarning)
    place = "" if own else f"{filename}:{lineno}: {category.__name__}: "
    click.echo(f"warning: {place}{message}", err=True)
