"""What a run was of, by its own record: its suite, its folder of data, and its scenes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from roadworthy.errors import RunError
from roadworthy.recognition import read_scenes
from roadworthy.resolved import find_source
from roadworthy.scenario import Rejected, Scenario
from roadworthy.store import Run
from roadworthy.suite import Suite

__all__ = ["data_of", "scenes_of_run", "suite_beside", "suite_of"]


def suite_of(run: Run) -> Suite:
    """The suite that a run is of. Its `path` is found from the run's folder where both are still as
    they were, and else is as it was typed.

    Raises:
        RunError: its record is damaged.
    """
    try:
        suite = msgspec.convert(run.manifest.suite, Suite)
    except msgspec.ValidationError as error:
        raise RunError(f"{run.path / 'run.json'}: suite: {error}") from error
    beside = run.manifest.provenance.get("suite_beside")
    if isinstance(beside, str) and beside and (found := run.path.resolve() / beside).is_file():
        return msgspec.structs.replace(suite, path=os.path.normpath(found))
    return suite


def suite_beside(suite: Suite, folder: Path) -> str:
    """Where the suite's file is from a run's folder; "" if it is no file."""
    file = Path(suite.path)
    return os.path.relpath(file.resolve(), folder.resolve()) if file.is_file() else ""


def data_of(run: Run) -> Path | None:
    """Where relative source paths were looked up first."""
    recorded = run.manifest.provenance.get("data")
    return Path(recorded) if recorded else None


def scenes_of_run(suite: Suite, data: Path | None) -> Iterator[Scenario | Rejected]:
    """The scenes of a suite's sources, admitted, as a run reads them.

    Args:
        suite: as parsed.
        data: where relative source paths are looked up first.

    Raises:
        SuiteError: a path is gone. PluginError: a source cannot be made.
    """
    home = Path(suite.path).parent
    for config in suite.sources:
        source = find_source(config, data, home)
        if not isinstance(source, str):
            yield from read_scenes(source)
