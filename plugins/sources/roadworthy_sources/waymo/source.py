"""The source: every record of every file is a scenario."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario import Rejected, Scenario

from roadworthy_sources.reading.files import find_files
from roadworthy_sources.scenarionet.source import scenario_of
from roadworthy_sources.waymo.schema import description_of
from roadworthy_sources.waymo.tfrecord import read_records
from roadworthy_sources.waymo.wire import WireError

__all__ = ["Waymo"]


class Waymo:
    """Waymo Open Motion Dataset scenarios, in the order of files and records.

    No TensorFlow is needed: files and messages are read here, within bounds. The road graph
    has no lane outlines and no drivable area, so all are tagged `no_drivable_area`.

    Args:
        path: a file of `Scenario` records, or a folder of such at any depth, whose names hold
            `.tfrecord`.
        limit: read at most this many scenarios.

    Raises:
        DataError: nothing of the kind at `path`.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        self.limit = limit
        what = "a TFRecord file of Waymo scenarios (*.tfrecord*)"
        self._files = find_files(
            path, ("",), what, None, lambda name: ".tfrecord" not in name.lower()
        )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is a file of TFRecords; see `roadworthy.recognition`."""
        return path.is_file() and ".tfrecord" in path.name.lower()

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a record that cannot be read is a `Rejected`."""
        found = 0
        for file in self._files:
            for k, record in enumerate(read_records(file)):
                if found == self.limit:
                    return
                found += 1
                yield _read(file, k, record)


def _read(file: Path, k: int, record: bytes | DataError) -> Scenario | Rejected:
    name = f"{file.name}:{k}"
    try:
        if isinstance(record, DataError):
            raise record
        try:
            content = description_of(record)
        except WireError as error:
            raise DataError(
                f"{file}: record {k} is no Waymo scenario: {error}",
                hint="Wanted: the motion dataset's `scenario` files, not `tf_example`.",
            ) from error
        name = content["id"]
        return admit(scenario_of(file, content, "waymo"))
    except DataError as error:
        return Rejected(name, "waymo", type(error).__name__, str(error))
