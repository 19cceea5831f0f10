"""Writes a store: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np

from roadworthy.errors import DataError
from roadworthy.scenario import Rejected, RoadMap, Scenario
from roadworthy.scenario_store.files import HEADER, INDEX, shard_name
from roadworthy.scenario_store.layout import RAGGED, TRACKS, Slot, map_slots, padded, scene_slots
from roadworthy.scenario_store.records import (
    FORMAT,
    VERSION,
    FileRecord,
    Header,
    MapRecord,
    RejectedRecord,
    SceneRecord,
    lineage_text,
)
from roadworthy.vehicle import Vehicle

__all__ = ["SHARD_BYTES", "StoreWriter", "encode_header", "require_free"]

SHARD_BYTES = 256 * 2**20
"""A file of arrays is closed before it grows beyond this, unless one scene alone is larger."""


def require_free(path: Path) -> None:
    """Refuse a folder that is there already, unless it is empty.

    Raises:
        DataError: it is taken.
    """
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise DataError(f"{path}: is there already", hint="Name another folder, or remove it.")


class StoreWriter:
    """Writes scenarios into a new store. Equal scenarios in equal order give equal bytes.

        with StoreWriter(Path("town.store")) as store:
            for scenario in source.scenarios():
                store.add(scenario, split="train")

    Everything is written beside `path` and moved there at the end; if the block is left by an
    exception, nothing stays.

    Args:
        path: the folder to make; it must not exist, or be empty.
        shard_bytes: size at which the next file of arrays is begun.

    Raises:
        DataError: `path` is taken, or cannot be written.
    """

    def __init__(self, path: Path, shard_bytes: int = SHARD_BYTES) -> None:
        require_free(path)
        self.path = path
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._shard_bytes = shard_bytes
        self._maps: dict[str, MapRecord] = {}
        self._names: set[tuple[str, str]] = set()
        self._counts = {"scenarios": 0, "rejected": 0}
        self._shards: list[_Hashed] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part.mkdir()
            self._index = _Hashed(self._part / INDEX)
        except OSError as error:
            raise _unwritable(path, error) from error

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for file in (self._index, *self._shards):
                file.close()
            if error is None:
                self._finish()
        except OSError as problem:
            raise _unwritable(self.path, problem) from problem
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def add(self, scenario: Scenario, split: str = "") -> None:
        """Append an admitted scenario.

        Args:
            scenario: what to store.
            split: the part of the data that it belongs to; "" for none.

        Raises:
            DataError: it cannot be stored exactly (a type or shape that admission would have
                mended, a name that is no text), has the name of an earlier one, or the disk is
                full. After the last the store cannot be gone on with.
        """
        name = (scenario.source, scenario.id)
        if name in self._names:
            raise self._refused(scenario, "id", "an earlier scene of the source has that id")
        try:
            lineage = lineage_text(scenario.lineage)
        except ValueError as error:
            raise self._refused(scenario, "lineage", str(error)) from error
        agents, route, signals = scenario.agents, scenario.route, scenario.signals
        ids = self._names_text(scenario, "agents.id", agents.id)
        record = SceneRecord(
            id=scenario.id,
            source=scenario.source,
            split=split,
            tags=scenario.tags,
            hash=scenario.hash,
            start=int(scenario.start),
            shard=0,
            offset=0,
            steps=scenario.steps,
            agents=len(agents),
            route_lanes=len(route.lanes),
            route_points=len(route.centreline),
            signals=len(signals.lane),
            id_bytes=len(ids),
            map=self._map(scenario),
            vehicle=_vehicle_numbers(scenario.vehicle),
            lineage=lineage,
            repairs=scenario.repairs,
        )
        arrays = {
            "ego": scenario.ego,
            "agents.id": np.frombuffer(ids, np.uint8),
            **{f"agents.{name}": getattr(agents, name) for name in TRACKS},
            **{f"route.{n}": getattr(route, n) for n in ("lanes", "centreline")},
            **{f"signals.{n}": getattr(signals, n) for n in ("lane", "state")},
        }
        data = self._block(scenario, scene_slots(record), arrays)
        line = self._line(scenario, record)
        shard, offset = self._place(data)
        if (shard, offset) != (0, 0):
            line = self._line(scenario, msgspec.structs.replace(record, shard=shard, offset=offset))
        self._write(self._index, [line])
        self._names.add(name)
        self._counts["scenarios"] += 1

    def reject(self, scene: Rejected) -> None:
        """Append a scene that its source refused.

        Raises:
            DataError: the disk is full.
        """
        words = (scene.id, scene.source, scene.error, scene.reason)
        id_, source, error, reason = (w.encode("utf-8", "replace").decode() for w in words)
        record = RejectedRecord(id=id_, source=source, error=error, reason=reason)
        self._write(self._index, [msgspec.json.encode(record) + b"\n"])
        self._counts["rejected"] += 1

    def _map(self, scenario: Scenario) -> MapRecord:
        """The map's record; the map is written unless it was before."""
        road_map = scenario.map
        known = self._maps.get(road_map.hash)
        if known is not None:
            return known
        ids = self._names_text(scenario, "map.lane_id", road_map.lane_id)
        record = MapRecord(
            hash=road_map.hash,
            shard=0,
            offset=0,
            lanes=len(road_map.lane_id),
            centreline_points=len(road_map.lane_centreline.values),
            polygon_points=len(road_map.lane_polygon.values),
            successors=len(road_map.lane_successors.values),
            areas=len(road_map.area_kind),
            area_points=len(road_map.area_polygon.values),
            stop_lines=len(road_map.stop_line_lane),
            id_bytes=len(ids),
        )
        arrays = {"lane_id": np.frombuffer(ids, np.uint8)} | _map_arrays(road_map)
        data = self._block(scenario, map_slots(record), arrays)
        shard, offset = self._place(data)
        record = msgspec.structs.replace(record, shard=shard, offset=offset)
        self._maps[road_map.hash] = record
        return record

    def _block(
        self, scenario: Scenario, slots: Sequence[Slot], arrays: dict[str, Any]
    ) -> list[bytes]:
        out = []
        for slot in slots:
            array = arrays[slot.name]
            if not slot.fits(array):
                what = f"{array.dtype} {list(array.shape)}, wanted {slot.dtype} {list(slot.shape)}"
                raise self._refused(scenario, slot.name, f"is {what}: admit the scenario first")
            data = array.astype(slot.dtype, copy=False).tobytes()
            out += [data, bytes(padded(len(data)) - len(data))]
        return out

    def _place(self, data: list[bytes]) -> tuple[int, int]:
        """Write a block; number of its file and its first byte there."""
        size = sum(map(len, data))
        if not self._shards or (
            self._shards[-1].size and self._shards[-1].size + size > self._shard_bytes
        ):
            try:
                self._shards.append(_Hashed(self._part / shard_name(len(self._shards))))
            except OSError as error:
                raise _unwritable(self.path, error) from error
        offset = self._shards[-1].size
        self._write(self._shards[-1], data)
        return len(self._shards) - 1, offset

    def _write(self, file: _Hashed, data: list[bytes]) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _line(self, scenario: Scenario, record: SceneRecord) -> bytes:
        try:
            return msgspec.json.encode(record) + b"\n"
        except (TypeError, ValueError, OverflowError) as error:
            raise self._refused(scenario, "id, tags or repairs", str(error)) from error

    def _names_text(self, scenario: Scenario, field: str, names: tuple[str, ...]) -> bytes:
        try:
            return msgspec.json.encode(names)
        except (TypeError, ValueError) as error:
            raise self._refused(scenario, field, str(error)) from error

    def _refused(self, scenario: Scenario, field: str, reason: str) -> DataError:
        return DataError(f"scenario {scenario.id!r} cannot be stored: {field}: {reason}")

    def _finish(self) -> None:
        header = Header(
            format=FORMAT,
            version=VERSION,
            index=self._index.record(),
            shards=tuple(shard.record() for shard in self._shards),
            **self._counts,
        )
        file = _Hashed(self._part / HEADER)
        file.write([encode_header(header)])
        file.close()
        os.replace(self._part, self.path)


class _Hashed:
    """A file being written, its size and hash."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb")
        self._digest = hashlib.blake2b(digest_size=16)
        self.size = 0

    def write(self, data: list[bytes]) -> None:
        for part in data:
            self._file.write(part)
            self._digest.update(part)
            self.size += len(part)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def record(self) -> FileRecord:
        return FileRecord(bytes=self.size, hash=self._digest.hexdigest())


def encode_header(header: Header) -> bytes:
    """The one way in which a header is written."""
    return msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n"


def _map_arrays(road_map: RoadMap) -> dict[str, Any]:
    names = ("lane_kind", "lane_speed_limit", "lane_left", "lane_right", "area_kind", "stop_line")
    arrays = {name: getattr(road_map, name) for name in (*names, "stop_line_lane")}
    for name in RAGGED:
        rows = getattr(road_map, name)
        arrays |= {f"{name}.values": rows.values, f"{name}.offsets": rows.offsets}
    return arrays


def _vehicle_numbers(vehicle: Vehicle) -> Any:
    """Whole numbers stay whole, for they hash differently."""
    values = (getattr(vehicle, name) for name in Vehicle.__slots__)
    return tuple(float(v) if isinstance(v, float) else int(v) for v in values)


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be written: {error.strerror or error}",
        hint="Make room, or name another folder.",
    )
