"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["MOST_WORKERS", "OutPath", "data_option"]

MOST_WORKERS = 1024
"""As `run.workers` of a suite."""

_F = TypeVar("_F", bound=Callable[..., Any])


class OutPath(click.Path):
    """What a command makes: a path that is not empty, which would be the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("it is empty; `.` is the working directory", param, ctx)
        return super().convert(value, param, ctx)


def data_option(default: str = "") -> Callable[[_F], _F]:
    """`--data DIR`, or else ROADWORTHY_DATA: a folder that is there.

    Args:
        default: where logs are looked for without either, for the help.
    """
    return click.option(
        "--data",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        envvar="ROADWORTHY_DATA",
        show_envvar=True,
        help=f"Folder with real logs{f' [{default}]' if default else ''}.",
    )
