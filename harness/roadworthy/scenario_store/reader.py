"""Reads a store: streams its scenes, mapped into memory."""

from __future__ import annotations

import mmap
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.scenario import Ragged, Rejected, RoadMap, Route, Scenario, Signals, Tracks
from roadworthy.scenario_store.files import (
    HEADER,
    INDEX,
    MAX_SHARDS,
    map_file,
    open_file,
    shard_name,
)
from roadworthy.scenario_store.layout import (
    ALIGNMENT,
    RAGGED,
    TRACKS,
    Slot,
    map_slots,
    padded,
    scene_slots,
)
from roadworthy.scenario_store.records import (
    FORMAT,
    VERSION,
    Header,
    MapRecord,
    RejectedRecord,
    SceneRecord,
    lineage_of,
)
from roadworthy.scenario_store.writer import encode_header
from roadworthy.vehicle import Vehicle

__all__ = ["ScenarioStore", "StoredAt", "is_store", "read_stored", "stored_at"]

_MAX_HEADER = 16 * 2**20
_MAX_LINE = 4 * 2**20
_MAX_ID_BYTES = 64 * 2**20
_SHARDS_OPEN = 4
_MAPS_KEPT = 64
_AGAIN = "The store is damaged: copy it again, or `roadworthy scenarios convert` its source anew."

_K = TypeVar("_K")
_V = TypeVar("_V")


def is_store(path: Path) -> bool:
    """Whether a path is a folder that says it is a store."""
    header = path / HEADER
    if not header.is_file() or header.is_symlink():
        return False
    try:
        with open_file(header) as file:
            start = file.read(200)
    except DataError:
        return False
    return re.match(rb'\s*\{\s*"format"\s*:\s*"%s"' % FORMAT.encode(), start) is not None


class StoredAt(NamedTuple):
    """Where a scenario lies: enough to read it again in another process.

    Attributes:
        store: the store's folder.
        line: of its index.
    """

    store: Path
    line: bytes


_places: WeakKeyDictionary[Scenario, StoredAt] = WeakKeyDictionary()


def stored_at(scenario: Scenario) -> StoredAt | None:
    """Where a scenario was read from, None for one that is not in a store as it is."""
    return _places.get(scenario)


def read_stored(store: Path, line: bytes, *, verify: bool) -> Scenario:
    """The scenario of a place; without `verify`, the hash in `line` is believed.

    Raises:
        DataError: as `ScenarioStore.read`.
    """
    opened = _open_store(store)
    record = opened.decode(0, line)
    if isinstance(record, RejectedRecord):
        raise DataError(f"{store}: scenario {record.id!r} was refused", hint=record.reason)
    scenario = opened.read(record, verify=verify)
    scenario.__dict__["hash"] = record.hash
    return scenario


@lru_cache(maxsize=8)
def _open_store(path: Path) -> ScenarioStore:
    return ScenarioStore(path)


class ScenarioStore:
    """A store open for reading.

    Files are checked as they are first used, each scene's place as it is read. That the values
    are fit to be driven is for `roadworthy.admission` to say, as of any source; that they are
    those written is for `verify`.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        header: what `store.json` says.

    Raises:
        DataError: it is no store, of another version, or its header is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = _read_header(path / HEADER)
        self._shards: OrderedDict[int, mmap.mmap] = OrderedDict()
        self._maps: OrderedDict[tuple[int, int], tuple[MapRecord, RoadMap]] = OrderedDict()

    def __len__(self) -> int:
        """How many scenes there are, the rejected included."""
        return self.header.scenarios + self.header.rejected

    def records(self) -> Iterator[SceneRecord | RejectedRecord]:
        """What the index says, in order; no array is touched.

        Raises:
            DataError: naming line and field; or the index has fewer or more lines than it must.
        """
        return (record for _, record in self._entries())

    def _entries(self) -> Iterator[tuple[bytes, SceneRecord | RejectedRecord]]:
        count = 0
        for count, line in enumerate(self.lines(), 1):
            yield line, self.decode(count, line)
        if count != len(self):
            raise DataError(
                f"{self.path / INDEX}: {count} lines, {HEADER} says {len(self)}", hint=_AGAIN
            )

    def lines(self) -> Iterator[bytes]:
        """The lines of the index as they are.

        Raises:
            DataError: the file has another size than the header says, or an endless line.
        """
        path = self.path / INDEX
        with open_file(path, self.header.index.bytes) as file:
            number = 0
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE or not line.endswith(b"\n"):
                    raise DataError(f"{path}:{number}: the line does not end", hint=_AGAIN)
                yield line

    def decode(self, number: int, line: bytes) -> SceneRecord | RejectedRecord:
        """A line of the index.

        Args:
            number: which, from 1, for messages.
            line: the bytes.

        Raises:
            DataError: naming line and field.
        """
        where = f"{self.path / INDEX}:{number}"
        try:
            record: SceneRecord | RejectedRecord = _DECODER.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DataError(f"{where}: {error}", hint=_AGAIN) from error
        if isinstance(record, SceneRecord):
            words = {"id": record.id, "source": record.source, "split": record.split}
            words |= {f"tags[{i}]": tag for i, tag in enumerate(record.tags)}
            for field, word in words.items():
                if not word.isprintable():
                    raise DataError(
                        f"{where}: {field} is {ascii(word)[:80]}",
                        hint="Wanted: printable characters.",
                    )
        return record

    def scenarios(
        self, split: str | None = None, tags: Iterable[str] = (), *, verify: bool = True
    ) -> Iterator[Scenario | Rejected]:
        """The scenes in order, one in memory at a time.

        Args:
            split: only scenes of this split.
            tags: only scenes that have all of these.
            verify: compute each scene's content hash and refuse a scene that has another one
                than was written. The hash is then known, and whoever asks for it gets it free.

        Returns:
            Scenarios; what the source had refused, or what is damaged in its arrays, is
            `Rejected`. Refused scenes have neither split nor tags: they come with all.

        Raises:
            DataError: header, index or a whole file is damaged.
        """
        wanted = set(tags)
        where = self.path.absolute()
        for line, record in self._entries():
            if isinstance(record, RejectedRecord):
                yield Rejected(record.id, record.source, record.error, record.reason)
            elif (split is None or record.split == split) and wanted <= set(record.tags):
                try:
                    scenario = self.read(record, verify=verify)
                    _places[scenario] = StoredAt(where, line)
                    yield scenario
                except DataError as error:
                    yield Rejected(record.id, record.source, type(error).__name__, str(error))

    def read(self, record: SceneRecord, *, verify: bool = True) -> Scenario:
        """The scenario of a record; its arrays are read only.

        Raises:
            DataError: a place outside its file, names that are none, or, with `verify`,
                another hash.
        """
        where = f"{self.path}: scenario {record.id!r}"
        arrays = self._arrays(where, record.shard, record.offset, scene_slots(record))
        for name, array in arrays.items():
            if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
                raise DataError(f"{where}: {name} holds {array.view(np.uint8).max()}", hint=_AGAIN)
        try:
            vehicle = Vehicle(*record.vehicle)
            lineage = lineage_of(record.lineage)
        except ValueError as error:
            raise DataError(f"{where}: vehicle or lineage: {error}", hint=_AGAIN) from error
        scenario = Scenario(
            id=record.id,
            source=record.source,
            map=self._map(where, record.map, verify),
            ego=arrays["ego"],
            agents=Tracks(
                _names(f"{where}: agents.id", arrays["agents.id"], record.agents),
                *(arrays[f"agents.{name}"] for name in TRACKS),
            ),
            route=Route(arrays["route.lanes"], arrays["route.centreline"]),
            signals=Signals(arrays["signals.lane"], arrays["signals.state"]),
            start=record.start,
            vehicle=vehicle,
            tags=record.tags,
            lineage=lineage,
            repairs=record.repairs,
        )
        if verify and scenario.hash != record.hash:
            raise DataError(
                f"{where}: its hash is {scenario.hash}, {INDEX} says {record.hash}", hint=_AGAIN
            )
        return scenario

    def _map(self, where: str, record: MapRecord, verify: bool) -> RoadMap:
        """The map; scenes of one place get the same object while it is kept."""
        place = (record.shard, record.offset)
        known = self._maps.get(place)
        if known is not None and known[0] == record:
            self._maps.move_to_end(place)
            road_map = known[1]
        else:
            road_map = self._read_map(f"{where}: map", record)
            _keep(self._maps, place, (record, road_map), _MAPS_KEPT)
        if verify and road_map.hash != record.hash:
            raise DataError(
                f"{where}: the map's hash is {road_map.hash}, {INDEX} says {record.hash}",
                hint=_AGAIN,
            )
        return road_map

    def _read_map(self, where: str, record: MapRecord) -> RoadMap:
        arrays = self._arrays(where, record.shard, record.offset, map_slots(record))
        parts: dict[str, Any] = {}
        for name, array in arrays.items():
            field, _, part = name.partition(".")
            if part == "offsets":
                values = arrays[f"{field}.values"]
                if array[0] != 0 or array[-1] != len(values) or (array[1:] < array[:-1]).any():
                    raise DataError(
                        f"{where}: {name} does not run from 0 to {len(values)}", hint=_AGAIN
                    )
                parts[field] = Ragged(values, array)
            elif not part:
                parts[field] = array
        parts["lane_id"] = _names(f"{where}: lane_id", arrays["lane_id"], record.lanes)
        assert all(isinstance(parts[name], Ragged) for name in RAGGED)
        return RoadMap(**parts)

    def _arrays(
        self, where: str, shard: int, offset: int, slots: Sequence[Slot]
    ) -> dict[str, NDArray[Any]]:
        """Views of a block's arrays.

        Raises:
            DataError: the block does not lie within its file.
        """
        sizes = self.header.shards
        if shard >= len(sizes):
            raise DataError(f"{where}: shard is {shard}, there are {len(sizes)}", hint=_AGAIN)
        if offset % ALIGNMENT:
            raise DataError(f"{where}: offset {offset} is no multiple of 8", hint=_AGAIN)
        end = offset + sum(padded(slot.bytes) for slot in slots)
        if end > sizes[shard].bytes:
            at = offset
            for slot in slots:
                at += padded(slot.bytes)
                if at > sizes[shard].bytes:
                    raise DataError(
                        f"{where}: {slot.name} of shape {list(slot.shape)} ends at byte {at} of "
                        f"{sizes[shard].bytes} in {shard_name(shard)}",
                        hint=_AGAIN,
                    )
        mapped = self._shard(shard)
        found = {}
        for slot in slots:
            found[slot.name] = np.ndarray(slot.shape, slot.dtype, mapped, offset)
            offset += padded(slot.bytes)
        return found

    def _shard(self, number: int) -> mmap.mmap:
        mapped = self._shards.get(number)
        if mapped is None:
            path = self.path / shard_name(number)
            mapped = map_file(path, self.header.shards[number].bytes)
            for other in self._shards.values():  # what is used of it again is mapped again
                other.madvise(mmap.MADV_DONTNEED)
            _keep(self._shards, number, mapped, _SHARDS_OPEN)
        else:
            self._shards.move_to_end(number)
        return mapped


_DECODER = msgspec.json.Decoder(SceneRecord | RejectedRecord)
_NAMES = msgspec.json.Decoder(tuple[str, ...])


def _keep(cache: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Remember a value, and forget the one that was used longest ago."""
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)


def _names(where: str, data: NDArray[np.uint8], count: int) -> tuple[str, ...]:
    if len(data) > _MAX_ID_BYTES:
        raise DataError(f"{where}: {len(data)} bytes of names", hint=f"At most {_MAX_ID_BYTES}.")
    try:
        names = _NAMES.decode(data.tobytes())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}", hint=_AGAIN) from error
    if len(names) != count:
        raise DataError(f"{where}: {len(names)} names for {count}", hint=_AGAIN)
    return names


def _read_header(path: Path) -> Header:
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: no such folder", hint="Give the folder of a store.")
    with open_file(path) as file:
        data = file.read(_MAX_HEADER + 1)
    if len(data) > _MAX_HEADER:
        raise DataError(f"{path}: more than {_MAX_HEADER} bytes", hint=_AGAIN)
    try:
        kind = msgspec.json.decode(data, type=_Kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}", hint="Is the folder a scenario store?") from error
    if (kind.format, kind.version) != (FORMAT, VERSION):
        raise DataError(
            f"{path}: format {ascii(kind.format)[:60]}, version {kind.version}",
            hint=f"This version reads {FORMAT!r}, version {VERSION}.",
        )
    try:
        header = msgspec.json.decode(data, type=Header)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"{path}: {error}", hint=_AGAIN) from error
    if encode_header(header) != data:
        raise DataError(f"{path}: is not as roadworthy writes it", hint=_AGAIN)
    if len(header.shards) > MAX_SHARDS:
        raise DataError(f"{path}: {len(header.shards)} shards", hint=f"At most {MAX_SHARDS}.")
    return header


class _Kind(msgspec.Struct):
    format: str
    version: int
