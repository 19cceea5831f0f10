"""What `store.json` and the lines of `index.jsonl` hold."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

from roadworthy.scenario import Lineage

__all__ = [
    "FORMAT",
    "VERSION",
    "FileRecord",
    "Header",
    "MapRecord",
    "RejectedRecord",
    "SceneRecord",
    "lineage_of",
    "lineage_text",
]

FORMAT = "roadworthy-scenarios"
VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class FileRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the store: its size in bytes and the BLAKE2b (128 bit) of its content."""

    bytes: Count
    hash: Hash


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `store.json` holds.

    Attributes:
        format: always `FORMAT`.
        version: of the layout.
        scenarios, rejected: how many lines of either kind the index has.
        index: of `index.jsonl`.
        shards: of `arrays-00000.bin` and its successors.
    """

    format: str
    version: int
    scenarios: Count
    rejected: Count
    index: FileRecord
    shards: tuple[FileRecord, ...]


class MapRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a map lies, and how much there is of everything.

    Attributes:
        hash: `RoadMap.hash`.
        shard, offset: number of the file, and first byte in it.
        lanes, areas, stop_lines: how many of each.
        centreline_points, polygon_points, successors, area_points: rows of the ragged arrays.
        id_bytes: length of the lanes' names, a JSON array.
    """

    hash: Hash
    shard: Count
    offset: Count
    lanes: Count
    centreline_points: Count
    polygon_points: Count
    successors: Count
    areas: Count
    area_points: Count
    stop_lines: Count
    id_bytes: Count


class SceneRecord(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="scenario",
):
    """A stored scenario: everything but its arrays.

    Attributes:
        id, source, tags, start, repairs: as in `Scenario`.
        split: `train`, `validation`, or any other word; "" for none.
        hash: `Scenario.hash`.
        shard, offset: number of the file, and first byte in it.
        steps, agents, route_lanes, route_points, signals: how many of each.
        id_bytes: length of the agents' names, a JSON array.
        map: the map's place.
        vehicle: width, front, rear, wheelbase, cog, height [m].
        lineage: the `Lineage` as a JSON object in a string; None for a scene not generated.
    """

    id: Word
    source: Word
    split: Annotated[str, msgspec.Meta(max_length=256)] = ""
    tags: tuple[Word, ...] = ()
    hash: Hash
    start: Count
    shard: Count
    offset: Count
    steps: Count
    agents: Count
    route_lanes: Count
    route_points: Count
    signals: Count
    id_bytes: Count
    map: MapRecord
    vehicle: tuple[int | float, int | float, int | float, int | float, int | float, int | float]
    lineage: str | None = None
    repairs: tuple[str, ...] = ()


class RejectedRecord(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="rejected",
):
    """A scene that its source refused; the fields are those of `Rejected`."""

    id: str
    source: str
    error: str
    reason: str


def lineage_text(lineage: Lineage | None) -> str | None:
    """A lineage as JSON that gives it back with an equal hash.

    Raises:
        ValueError: its parameters are not JSON, or have keys that JSON would reorder.
    """
    if lineage is None:
        return None
    fields = {name: getattr(lineage, name) for name in Lineage.__slots__}
    try:
        text = json.dumps(fields)
        same = json.dumps(json.loads(text), sort_keys=True) == json.dumps(fields, sort_keys=True)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not same:
        raise ValueError("its keys are not all strings")
    return text


def lineage_of(text: str | None) -> Lineage | None:
    """The lineage that `lineage_text` wrote.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    try:
        fields: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    kinds = {"parent": str, "generator": str, "seed": int, "parameters": dict}
    if not isinstance(fields, dict) or fields.keys() != kinds.keys():
        raise ValueError(f"wanted an object of {', '.join(kinds)}")
    for name, kind in kinds.items():
        if not isinstance(fields[name], kind):
            raise ValueError(f"{name} is a {type(fields[name]).__name__}")
    return Lineage(**fields)
