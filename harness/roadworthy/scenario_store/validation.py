"""Looks for everything that can be wrong with a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario_store.files import HEADER, INDEX, open_file, shard_name
from roadworthy.scenario_store.reader import ScenarioStore
from roadworthy.scenario_store.records import FileRecord, RejectedRecord, SceneRecord

__all__ = ["validate_store"]

_CHUNK = 2**20


def validate_store(path: Path) -> Iterator[DataError]:
    """Everything that is wrong with a store, as errors that name file and field.

    Every byte is compared with what was written, by the hashes of the files; every scene is
    read, its hash is computed, and it is admitted again. A scene that its source had refused
    is no fault of the store.

    Raises:
        DataError: it is no store, or its header is damaged: nothing can be said of the rest.
    """
    store = ScenarioStore(path)
    files = {INDEX: store.header.index}
    files |= {shard_name(i): record for i, record in enumerate(store.header.shards)}
    for name, record in files.items():
        yield from _check_file(path / name, record)
    seen: set[tuple[str, str]] = set()
    scenarios = lines = 0
    try:
        for lines, line in enumerate(store.lines(), 1):
            try:
                found = store.decode(lines, line)
                if isinstance(found, RejectedRecord):
                    continue
                scenarios += 1
                _check_scene(store, found)
            except DataError as error:
                yield error
                continue
            if (found.source, found.id) in seen:
                yield DataError(f"{path / INDEX}:{lines}: a second scenario {found.id!r}")
            seen.add((found.source, found.id))
    except DataError as error:
        yield error
    counted = (scenarios, lines - scenarios)
    if counted != (store.header.scenarios, store.header.rejected):
        yield DataError(
            f"{path / HEADER}: scenarios = {store.header.scenarios}, "
            f"rejected = {store.header.rejected}, but {INDEX} has {counted[0]} and {counted[1]}"
        )


def _check_file(path: Path, record: FileRecord) -> Iterator[DataError]:
    try:
        with open_file(path, record.bytes) as file:
            digest = hashlib.blake2b(digest_size=16)
            while data := file.read(_CHUNK):
                digest.update(data)
    except DataError as error:
        yield error
        return
    except OSError as error:
        yield DataError(f"{path}: cannot be read ({error.strerror})")
        return
    found = digest.hexdigest()
    if found != record.hash:
        yield DataError(
            f"{path}: its hash is {found}, {HEADER} says {record.hash}",
            hint="The file was changed after it was written: copy the store again.",
        )


def _check_scene(store: ScenarioStore, record: SceneRecord) -> None:
    """Raise a `DataError` unless the scene is what was written, and fit to be driven."""
    scenario = store.read(record)
    admitted = admit(scenario)
    if admitted.hash != scenario.hash:
        fresh = [s for s in admitted.repairs if s not in scenario.repairs]
        raise DataError(
            f"{store.path}: scenario {record.id!r} is not as admission leaves it: "
            + (" ".join(fresh) or "its arrays would be changed."),
            hint="`roadworthy scenarios convert` writes admitted scenarios alone.",
        )
