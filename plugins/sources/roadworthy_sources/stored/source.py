"""The source: what any source gave once, out of a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roadworthy.scenario import Rejected, Scenario
from roadworthy.scenario_store import ScenarioStore, is_store

__all__ = ["Stored"]


class Stored:
    """Scenarios of a store, in the order of writing, each compared with the hash it had then.

    They keep the name of the source that they first came from.

    Args:
        path: the store's folder.
        split: only scenes of this split, such as `test`.
        tags: only scenes that have all of these.

    Raises:
        DataError: it is no store, or its header is damaged.
    """

    def __init__(self, path: str, split: str | None = None, tags: tuple[str, ...] = ()) -> None:
        self.split = split
        self.tags = tags
        self._store = ScenarioStore(Path(path))

    def __len__(self) -> int:
        """How many scenes there are; of a filtered store, at most."""
        return len(self._store)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is the folder of a store; see `roadworthy.recognition`."""
        return is_store(path)

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Scenarios; one that is damaged, or was refused before it was stored, is `Rejected`."""
        return self._store.scenarios(self.split, self.tags)
