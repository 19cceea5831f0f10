"""The scenario store: exact, bounded, and unmoved by what strangers put into it."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.plugins import registry
from roadworthy.scenario import Lineage, Ragged, Rejected, RoadMap, Route, Scenario, Signals, Tracks
from roadworthy.scenario_store import ScenarioStore, StoreWriter, is_store, validate_store
from roadworthy.scenario_store.layout import map_slots, scene_slots
from roadworthy.scenario_store.records import Header, MapRecord, SceneRecord
from roadworthy.testing.scenes import straight_road_scenario
from stored_scenes import forge, reseal, scenes, write, write_header


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "a.store")


def read(path: Path, **options: Any) -> list[Scenario | Rejected]:
    return list(ScenarioStore(path).scenarios(**options))


def complaints(path: Path) -> list[str]:
    """What reading and validating say; anything but a `DataError` is let through."""
    said = []
    try:
        said += [str(problem) for problem in validate_store(path)]
        said += [s.reason for s in read(path) if isinstance(s, Rejected) and s.id != "broken"]
    except DataError as error:
        said.append(str(error))
    return said


def test_gives_back_what_was_written(store: Path) -> None:
    before, after = scenes(), read(store)
    assert len(ScenarioStore(store)) == 4
    for old, new in zip(before, after, strict=True):
        if isinstance(old, Rejected):
            assert new == old
            continue
        assert isinstance(new, Scenario)
        assert new.hash == old.hash
        assert new.map.hash == old.map.hash
        assert (new.repairs, new.tags, new.start) == (old.repairs, old.tags, old.start)
        assert new.agents.id == old.agents.id
        assert new.vehicle == old.vehicle
        assert repr(new.lineage) == repr(old.lineage)  # it holds a NaN, which equals nothing
    assert list(validate_store(store)) == []


def test_scenes_of_a_place_share_their_map(store: Path) -> None:
    first, second, _, other = read(store)
    assert isinstance(first, Scenario)
    assert isinstance(second, Scenario)
    assert isinstance(other, Scenario)
    assert first.map is second.map
    assert first.map is not other.map


def test_arrays_are_views_of_the_file_and_cannot_be_written(store: Path) -> None:
    first = read(store)[0]
    assert isinstance(first, Scenario)
    assert not first.ego.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        first.ego[0, 0] = 0.0
    assert admit(first).ego is first.ego


def test_a_scene_outlives_the_store(store: Path) -> None:
    first = read(store)[0]
    shutil.rmtree(store)
    gc.collect()
    assert isinstance(first, Scenario)
    assert first.hash == scenes()[0].hash  # type: ignore[union-attr]


def test_equal_scenes_give_equal_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    for name in ("store.json", "index.jsonl", "arrays-00000.bin"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_large_stores_are_cut_into_files(tmp_path: Path) -> None:
    path = write(tmp_path / "cut", shard_bytes=1)
    assert len(list(path.glob("arrays-*.bin"))) == 5  # two maps, three scenes
    assert list(validate_store(path)) == []


def test_split_and_tags_choose(store: Path) -> None:
    names = [s.id for s in read(store, split="test") if isinstance(s, Scenario)]
    assert names == [scenes()[3].id]
    assert [s.id for s in read(store, tags=["common", "test"]) if isinstance(s, Scenario)] == names
    assert [s.id for s in read(store, split="none")] == ["broken"]


def test_is_a_source(store: Path) -> None:
    options = {"path": str(store), "split": "train", "tags": ["common"]}
    source = registry().create("sources", "store", options)
    assert [s.id for s in source.scenarios()] == [scenes()[0].id, "again", "broken"]


def test_every_field_of_a_scenario_is_stored() -> None:
    """A new field of the nouns has to be given a place here before it can be stored."""
    counts = dict.fromkeys(SceneRecord.__struct_fields__, 0) | {"map": None}
    slots = {slot.name for slot in scene_slots(SceneRecord(**counts))}
    places = {
        f"{prefix}.{f.name}"
        for prefix, noun in (("agents", Tracks), ("route", Route), ("signals", Signals))
        for f in fields(noun)
    }
    assert slots == places | {"ego"}
    known = {"ego", "agents", "route", "signals", *SceneRecord.__struct_fields__}
    assert {f.name for f in fields(Scenario)} <= known
    slots = {s.name for s in map_slots(MapRecord(**dict.fromkeys(MapRecord.__struct_fields__, 0)))}
    assert {name.partition(".")[0] for name in slots} == {f.name for f in fields(RoadMap)}


def test_writes_nothing_if_left_by_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with StoreWriter(tmp_path / "half") as writer:
            writer.add(straight_road_scenario(agents=0))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_does_not_write_over_anything(store: Path) -> None:
    with pytest.raises(DataError, match="is there already"):
        StoreWriter(store)
    assert list(validate_store(store)) == []


def test_says_what_cannot_be_stored(tmp_path: Path) -> None:
    good = straight_road_scenario(agents=1)
    with StoreWriter(tmp_path / "s") as writer:
        writer.add(good)
        with pytest.raises(DataError, match="an earlier scene"):
            writer.add(good)
        with pytest.raises(DataError, match=r"ego: is float32 .* admit"):
            writer.add(replace(good, id="b", ego=good.ego.astype(np.float32)))
        with pytest.raises(DataError, match="lineage"):
            writer.add(replace(good, id="c", lineage=Lineage("", "g", 0, {"k": {10: 1, 9: 2}})))
        with pytest.raises(DataError, match=r"agents\.id"):
            writer.add(replace(good, id="d", agents=replace(good.agents, id=("\ud800",))))
    assert [s.id for s in read(tmp_path / "s")] == [good.id]


def test_memory_is_bounded_while_streaming(tmp_path: Path) -> None:
    """40 scenes of 4 MB, a file each: no more than a few are in memory at a time."""
    big = straight_road_scenario(agents=100, seconds=100.0, length=2000.0)
    with StoreWriter(tmp_path / "big", shard_bytes=1) as writer:
        for i in range(40):
            writer.add(replace(big, id=str(i)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in ScenarioStore(tmp_path / "big").scenarios(verify=False)) == 40
    seen = [float(s.ego.sum()) for s in ScenarioStore(tmp_path / "big").scenarios() if s]  # type: ignore[union-attr]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(seen) == 40
    assert after - before < 60_000  # kB, of 180,000 in the store


# --- damage and malice -------------------------------------------------------------------


def header(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = json.loads((path / "store.json").read_text())
        change(content)
        write_header(path, content)

    return apply


def index(change: Callable[[dict[str, Any]], None], line: int = 0) -> Callable[[Path], None]:
    return lambda path: forge(path, change, line)


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(values)


def put_map(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["map"].update(values)


def swapped(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (path / name).rename(path.parent / "aside")
        make(path / name)

    return apply


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path / name, size)


ARRAYS = "arrays-00000.bin"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "version": (header(put(version=2)), "version 2"),
    "format": (header(put(format="zip")), "format 'zip'"),
    "negative count": (header(put(scenarios=-1)), r"\$\.scenarios"),
    "count is a text": (header(put(scenarios="3")), r"\$\.scenarios"),
    "wrong count": (header(put(scenarios=2)), "lines, store.json says|scenarios = 2"),
    "huge count": (header(put(scenarios=2**63)), "scenarios"),
    "unknown field": (header(put(path="../../etc/passwd")), "unknown field"),
    "more files than there are": (
        header(lambda h: h["shards"].append({"bytes": 8, "hash": "0" * 32})),
        "arrays-00001.bin: cannot be read",
    ),
    "fewer files": (header(put(shards=[])), "shard is 0, there are 0"),
    "file size": (header(lambda h: h["shards"][0].update(bytes=2**40)), "store.json says"),
    "header is no JSON": (lambda p: (p / "store.json").write_text("{"), "store.json"),  # type: ignore[dict-item]
    "header is deep": (lambda p: (p / "store.json").write_text("[" * 10**6), "store.json"),  # type: ignore[dict-item]
    "header is empty": (cut("store.json", 0), "store.json"),
    "header is huge": (cut("store.json", 2**25), "more than"),
    "index cut": (cut("index.jsonl", 700), "has 700 bytes"),
    "arrays cut": (cut(ARRAYS, 4096), "has 4096 bytes"),
    "arrays grown": (cut(ARRAYS, 2**30), "has 1073741824 bytes"),
    "arrays missing": (swapped(ARRAYS, lambda p: None), "cannot be read"),
    "arrays are a link": (
        swapped(ARRAYS, lambda p: p.symlink_to(p.parent.parent / "aside")), "is a link"
    ),
    "index is a link": (swapped("index.jsonl", lambda p: p.symlink_to("/dev/zero")), "is a link"),
    "arrays are a pipe": (swapped(ARRAYS, lambda p: os.mkfifo(p)), "not a plain file"),
    "arrays are a folder": (swapped(ARRAYS, lambda p: p.mkdir()), "not a plain file"),
    "shard": (index(put(shard=7)), "shard is 7, there are 1"),
    "negative shard": (index(put(shard=-1)), r"\$\.shard"),
    "negative offset": (index(put(offset=-8)), r"\$\.offset"),
    "odd offset": (index(put(offset=4)), "no multiple of 8"),
    "offset past the end": (index(put(offset=2**39)), "ends at byte"),
    "negative steps": (index(put(steps=-1)), r"\$\.steps"),
    "huge steps": (index(put(steps=2**40)), r"ego of shape \[1099511627776, 11\] ends at byte"),
    "huge product": (index(put(steps=2**30, agents=2**40)), "ends at byte"),
    "more than huge": (index(put(agents=2**70)), "agents"),
    "fractional agents": (index(put(agents=1.5)), r"\$\.agents"),
    "other number of agents": (index(put(agents=2)), "names for 2|agents.valid holds|hash"),
    "huge names": (index(put(id_bytes=2**35)), "ends at byte"),
    "map past the end": (index(put_map(offset=2**39)), "map: lane_id of shape"),
    "map of huge lanes": (index(put_map(lanes=2**39)), "ends at byte"),
    "map at another place": (index(put_map(offset=64)), "map"),
    "map hash": (index(put_map(hash="0" * 32)), "the map's hash is"),
    "map hash is a path": (index(put_map(hash="../../../../../../etc/passwd")), r"map\.hash"),
    "scene hash": (index(put(hash="0" * 32)), "its hash is"),
    "start": (index(put(start=10**6)), "its hash is"),
    "escape in the id": (index(put(id="\x1b[2Jboo")), "printable"),
    "escape in a tag": (index(put(tags=["ok", "\x07"])), r"tags\[1\]"),
    "empty id": (index(put(id="")), r"\$\.id"),
    "vehicle": (index(put(vehicle=[1, 2, 3, 4, 5, -6])), "vehicle"),
    "vehicle of five": (index(put(vehicle=[1, 2, 3, 4, 5])), r"\$\.vehicle"),
    "lineage is no JSON": (index(put(lineage="{")), "lineage"),
    "lineage is deep": (index(put(lineage="[" * 10**5)), "lineage"),
    "lineage is a list": (index(put(lineage="[]")), "lineage"),
    "lineage of a text": (
        index(put(lineage='{"parent":"","generator":"","seed":"1","parameters":{}}')), "seed"
    ),
    "kind": (index(put(kind="pickle")), "pickle"),
    "second of a name": (index(put(id=scenes()[0].id), line=1), "hash"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(store: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    damage(store)
    said = complaints(store)
    assert said
    assert any(re.search(message, text) for text in said), said
    assert all(str(store) in text for text in said)


def test_a_copied_scene_is_a_second_one(store: Path) -> None:
    lines = (store / "index.jsonl").read_bytes().splitlines(keepends=True)
    (store / "index.jsonl").write_bytes(b"".join([*lines, lines[0]]))
    reseal(store)
    header(put(scenarios=4))(store)
    assert any("a second scenario" in text for text in complaints(store))


def test_forged_arrays_are_caught_without_their_hash(store: Path) -> None:
    """Whoever forges a store can forge hashes: what would crash a reader is looked at anyway."""
    record = next(ScenarioStore(store).records())
    assert isinstance(record, SceneRecord)
    for slots, offset, name, value, message in (
        (scene_slots(record), record.offset, "agents.valid", b"\x02", r"agents\.valid holds 2"),
        (scene_slots(record), record.offset, "agents.id", b"!", r"agents\.id"),
        (map_slots(record.map), record.map.offset, "lane_polygon.offsets", b"\xff" * 8,
         r"lane_polygon\.offsets does not run"),
        (map_slots(record.map), record.map.offset, "lane_id", b"\xff", "lane_id"),
    ):  # fmt: skip
        at = offset
        for slot in slots:
            if slot.name == name:
                break
            at += -(-slot.bytes // 8) * 8
        data = bytearray((store / ARRAYS).read_bytes())
        data[at : at + len(value)] = value
        other = store.with_name(f"{name}.store")
        shutil.copytree(store, other)
        (other / ARRAYS).write_bytes(data)
        reseal(other)
        with pytest.raises(DataError, match=message):
            ScenarioStore(other).read(record, verify=False)


def test_validation_admits_again(tmp_path: Path) -> None:
    """A store may be whole and hold what nobody can drive."""
    good = straight_road_scenario(agents=1)
    ego = good.ego.copy()
    ego[3, 0] += 50.0
    looped = replace(good.map, area_polygon=Ragged.of([[[0, 0], [9, 9], [9, 0], [0, 9]]], 2),
                     area_kind=np.zeros(1, np.int8))  # fmt: skip
    with StoreWriter(tmp_path / "s") as writer:
        writer.add(replace(good, id="jumps", ego=ego))
        writer.add(replace(good, id="crosses itself", map=looped))
    jumps, crosses = validate_store(tmp_path / "s")
    assert "teleports" in str(jumps)
    assert "not as admission leaves it" in str(crosses)


def test_anything_else_is_no_store(tmp_path: Path, store: Path) -> None:
    assert is_store(store)
    (tmp_path / "store.json").write_text('{"format": "another"}')
    assert not is_store(tmp_path)
    assert not is_store(tmp_path / "absent")
    assert not is_store(store / "store.json")
    with pytest.raises(DataError, match="no such folder"):
        ScenarioStore(tmp_path / "absent")


def test_header_is_as_documented(store: Path) -> None:
    assert list(json.loads((store / "store.json").read_text())) == list(Header.__struct_fields__)
