"""Any scenario comes back as it was; any changed byte is noticed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roadworthy.errors import DataError
from roadworthy.scenario import (
    Lineage,
    Ragged,
    Rejected,
    RoadMap,
    Route,
    Scenario,
    Signals,
    Tracks,
)
from roadworthy.scenario_store import ScenarioStore, StoreWriter, validate_store
from roadworthy.vehicle import Vehicle
from stored_scenes import scenes, write

count = st.integers(0, 4)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
printable = st.characters(categories=["L", "N", "P", "S"], include_characters=" ")
word = st.text(printable, min_size=1, max_size=8)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
metres = st.floats(0.1, 49.0) | st.integers(1, 49)


def floats(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=st.floats(width=64), fill=st.nothing())


def whole(dtype: type, *shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(dtype, shape)


@st.composite
def ragged(draw: st.DrawFn, rows: int, width: int | None, dtype: type) -> Ragged:
    shape = () if width is None else (width,)
    return Ragged.of([draw(whole(dtype, draw(count), *shape)) for _ in range(rows)], width, dtype)


@st.composite
def road_maps(draw: st.DrawFn) -> RoadMap:
    lanes, areas, stops = draw(count), draw(count), draw(count)
    return RoadMap(
        lane_id=tuple(draw(text) for _ in range(lanes)),
        lane_kind=draw(whole(np.int8, lanes)),
        lane_centreline=draw(ragged(lanes, 3, np.float64)),
        lane_polygon=draw(ragged(lanes, 2, np.float64)),
        lane_speed_limit=draw(floats(lanes)),
        lane_successors=draw(ragged(lanes, None, np.int64)),
        lane_left=draw(whole(np.int64, lanes)),
        lane_right=draw(whole(np.int64, lanes)),
        area_kind=draw(whole(np.int8, areas)),
        area_polygon=draw(ragged(areas, 2, np.float64)),
        stop_line=draw(floats(stops, 2, 2)),
        stop_line_lane=draw(whole(np.int64, stops)),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    steps, agents, signals = draw(st.integers(0, 20)), draw(count), draw(count)
    return Scenario(
        id=draw(word),
        source=draw(word),
        map=draw(road_maps()),
        ego=draw(floats(steps, 11)),
        agents=Tracks(
            id=tuple(draw(text) for _ in range(agents)),
            kind=draw(whole(np.int8, agents)),
            size=draw(floats(agents, 3)),
            state=draw(floats(agents, steps, 5)),
            valid=draw(whole(np.bool_, agents, steps)),
            reactive=draw(whole(np.bool_, agents)),
        ),
        route=Route(draw(whole(np.int64, draw(count))), draw(floats(draw(count), 3))),
        signals=Signals(draw(whole(np.int64, signals)), draw(whole(np.int8, signals, steps))),
        start=draw(st.integers(0, 10**6)),
        vehicle=Vehicle(*(draw(metres) for _ in range(6))),
        tags=tuple(draw(st.lists(word, max_size=3))),
        lineage=draw(
            st.none()
            | st.builds(
                Lineage, text, text, st.integers(), st.dictionaries(text, json_value, max_size=3)
            )
        ),
        repairs=tuple(draw(st.lists(text, max_size=2))),
    )


@settings(max_examples=150)
@given(scenarios(), st.text(printable, max_size=8))
def test_round_trip_is_exact(scenario: Scenario, split: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        with StoreWriter(path) as store:
            store.add(scenario, split)
        (again,) = ScenarioStore(path).scenarios(split)
    assert isinstance(again, Scenario)
    assert again.hash == scenario.hash
    assert again.map.hash == scenario.map.hash
    assert again.repairs == scenario.repairs
    assert again.ego.tobytes() == scenario.ego.tobytes()


@settings(max_examples=300)
@given(st.sampled_from(["store.json", "index.jsonl", "arrays-00000.bin"]), st.data())
def test_one_changed_byte_is_noticed(name: str, data: st.DataObject) -> None:
    """By a typed error or by `validate`; and a reader yields nothing else than was written."""
    path = _whole_store()
    file = path / name
    before = file.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1), label="byte")
    value = data.draw(st.integers(0, 255).filter(lambda v: v != before[at]), label="value")
    try:
        file.write_bytes(before[:at] + bytes([value]) + before[at + 1 :])
        assert _problems(path)
        try:
            for scene in ScenarioStore(path).scenarios():
                assert isinstance(scene, Rejected) or scene.hash in _HASHES
        except DataError:
            pass
    finally:
        file.write_bytes(before)


def _problems(path: Path) -> list[DataError]:
    try:
        return list(validate_store(path))
    except DataError as error:
        return [error]


_FOLDER = tempfile.TemporaryDirectory()
_HASHES = {s.hash for s in scenes() if isinstance(s, Scenario)}


def _whole_store() -> Path:
    path = Path(_FOLDER.name) / "whole"
    return path if path.exists() else write(path)
