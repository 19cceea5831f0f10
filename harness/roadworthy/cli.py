"""The `roadworthy` command. Each subcommand is a file in `roadworthy.commands`.

A subcommand's module holds a `command` (a click command or group) and imports what it needs
inside its functions, so that `roadworthy --help` stays fast. It returns an `ExitCode`, or
None for OK, and raises `RoadworthyError` for whatever the user can mend.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import click

from roadworthy import __version__, commands
from roadworthy.errors import RoadworthyError, RunStopped, did_you_mean
from roadworthy.execution.garbage import collect_rarely
from roadworthy.exit_codes import ExitCode

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
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = cli.main(args, prog_name="roadworthy", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes a file's early end for Ctrl-D
            traceback.print_exception(error.__cause__)
            return ExitCode.INTERNAL
        return _interrupted(ends=argv is None)
    except RoadworthyError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        return ExitCode.INTERRUPTED if isinstance(error, RunStopped) else ExitCode.USAGE
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit):
            if isinstance(error.__context__, KeyboardInterrupt):  # as Lightning ends on Ctrl-C
                return _interrupted(ends=argv is None)
            if not isinstance(error.__context__, BrokenPipeError):
                raise
        # The reader of our output has gone (click exits with 1 then); so do we, without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.INTERRUPTED
    except Exception:
        traceback.print_exc()
        return ExitCode.INTERNAL
    return int(code or ExitCode.OK)


def _interrupted(*, ends: bool) -> ExitCode:
    """Says so; `ends` tells that the process does too, and a second Ctrl-C changes nothing."""
    if ends:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    click.echo("interrupted", err=True)
    return ExitCode.INTERRUPTED


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
