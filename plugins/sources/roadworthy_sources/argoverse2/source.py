"""The source: finds logs in a folder and yields them, good or bad."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario import Rejected, Scenario

from roadworthy_sources.argoverse2.forecasting import forecasting_file, read_forecasting
from roadworthy_sources.argoverse2.sensor import annotation_file, read_sensor_log

__all__ = ["Argoverse2"]

MAX_FOLDERS = 1_000_000


class Argoverse2:
    """Argoverse 2 logs, in the order of their folders' names.

    Args:
        path: one log, or a folder of logs at any depth. A sensor log is a folder with
            `annotations*.feather`, `city_SE3_egovehicle.feather` and
            `map/log_map_archive_*.json`; a motion forecasting scenario one with
            `scenario_*.parquet` and `log_map_archive_*.json`.
        limit: read at most this many logs.

    Raises:
        DataError: `path` is not a folder, or holds no log.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(
                f"{self.path}: not a folder", hint="Give a folder of Argoverse 2 logs, or one log."
            )
        self._folders = _log_folders(self.path)[:limit]
        if not self._folders:
            raise DataError(
                f"{self.path}: holds no Argoverse 2 log",
                hint="A log has annotations*.feather or city_SE3_egovehicle.feather, or "
                "scenario_*.parquet.",
            )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is the folder of one log; see `roadworthy.recognition`."""
        return path.is_dir() and _is_log(path)

    def __len__(self) -> int:
        return len(self._folders)

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a log that cannot be read is a `Rejected`."""
        for folder in self._folders:
            try:
                read = read_forecasting if forecasting_file(folder) else read_sensor_log
                yield admit(read(folder))
            except DataError as error:
                yield Rejected(folder.name, "argoverse2", type(error).__name__, str(error))


def _is_log(folder: Path) -> bool:
    return (
        annotation_file(folder) is not None
        or forecasting_file(folder) is not None
        or (folder / "city_SE3_egovehicle.feather").exists()
    )


def _log_folders(path: Path) -> list[Path]:
    """The log that a folder is, or the logs at any depth below it; none is within another."""
    found = []
    for name, below, _ in os.walk(path):
        if _is_log(Path(name)):
            found.append(Path(name))
            below.clear()
            if len(found) > MAX_FOLDERS:
                raise DataError(f"{path}: more than {MAX_FOLDERS} logs", hint="Split the folder.")
    return sorted(found)
