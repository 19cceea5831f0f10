"""What the commands that export scenes have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from roadworthy.errors import RoadworthyError
from roadworthy.exit_codes import ExitCode
from roadworthy.recognition import scenes_named
from roadworthy.scenario import Scenario

__all__ = ["export_scenes"]


def export_scenes(description: str, write: Callable[[Scenario, Path, str], Path]) -> None:
    """Write every scene that the command line names into the folder that it names.

    Ends the process with code 4 and the reason if that cannot be done.

    Args:
        description: of the command.
        write: takes a scene, the folder, and a name that any file system has; returns the file.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("subject", nargs="+", help="a store, suite, source, file or folder")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        for scene in scenes_named(given.subject, None):
            name = "".join(c if c.isalnum() or c in "-_" else "_" for c in scene.id)
            print(write(scene, given.out, name))
    except RoadworthyError as error:
        parser.exit(ExitCode.USAGE, f"error: {error}\n")
