"""The source: maps have no traffic, so an expert drives them alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from roadworthy.scenario import Rejected, Scenario

from roadworthy_sources.lanelet2.road_map import read_map_and_notes
from roadworthy_sources.reading.drive import map_scenarios
from roadworthy_sources.reading.files import each, find_files, stem_of

__all__ = ["Lanelet2"]


class Lanelet2:
    """Lanelet2 maps (`.osm`), in the order of their names: drives alone on their lanes.

    Args:
        path: a file, or a folder of files at any depth.
        count: scenarios per map, at most.
        limit: read at most this many maps.

    Raises:
        DataError: nothing of the kind at `path`.
    """

    def __init__(self, path: str, count: int = 4, limit: int | None = None) -> None:
        self.count = count
        self._files = find_files(path, (".osm",), "a Lanelet2 map (.osm)", limit)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is a Lanelet2 map; see `roadworthy.recognition`."""
        return path.is_file() and path.name.lower().endswith(".osm")

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a map that cannot be read is a `Rejected`."""
        return each(self._files, "lanelet2", self._read)

    def _read(self, path: Path) -> Iterable[Scenario]:
        road_map, notes = read_map_and_notes(path)
        yield from map_scenarios(str(path), stem_of(path), "lanelet2", road_map, self.count, notes)
