"""Damaged files of every format end in admitted scenarios or in typed reasons."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_writers import commonroad, description, record, waymo_scenario
from map_writers import lanelet2_street, opendrive_town
from roadworthy.scenario import Rejected, Scenario
from roadworthy_sources.commonroad import CommonRoad
from roadworthy_sources.lanelet2 import Lanelet2
from roadworthy_sources.opendrive import OpenDrive
from roadworthy_sources.scenarionet import ScenarioNet
from roadworthy_sources.waymo import Waymo

fuzzed = settings(max_examples=60, deadline=None)

FORMATS: dict[str, tuple[Callable[[str], Any], str, bytes]] = {
    "scenarionet": (ScenarioNet, "a.pkl", pickle.dumps(description(steps=30), 4)),
    "commonroad": (CommonRoad, "a.xml", commonroad(30).encode()),
    "lanelet2": (Lanelet2, "a.osm", lanelet2_street()[0].encode()),
    "opendrive": (OpenDrive, "a.xodr", opendrive_town().encode()),
    "waymo": (Waymo, "a.tfrecord", record(waymo_scenario(steps=30))),
}
names = st.sampled_from(sorted(FORMATS))


def check(kind: str, data: bytes) -> None:
    source, name, _ = FORMATS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        for found in source(str(path)).scenarios():
            if isinstance(found, Rejected):
                assert found.error in ("DataError", "ScenarioError")
                assert len(found.reason) > 20
            else:
                assert isinstance(found, Scenario)
                assert np.isfinite(found.ego).all()
                assert np.isfinite(found.agents.state).all()


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_undamaged_ones_load(kind: str) -> None:
    source, name, data = FORMATS[kind]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        assert all(isinstance(s, Scenario) for s in source(folder).scenarios())


@fuzzed
@given(kind=names, share=st.floats(0.0, 1.0))
def test_truncated(kind: str, share: float) -> None:
    data = FORMATS[kind][2]
    check(kind, data[: int(share * len(data))])


@fuzzed
@given(kind=names, content=st.binary(max_size=300))
def test_any_bytes(kind: str, content: bytes) -> None:
    check(kind, content)


@settings(max_examples=150, deadline=None)
@given(
    kind=names,
    damage=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(kind: str, damage: list[tuple[float, int]]) -> None:
    data = bytearray(FORMATS[kind][2])
    for share, value in damage:
        data[min(int(share * len(data)), len(data) - 1)] = value
    check(kind, bytes(data))


@settings(max_examples=150, deadline=None)
@given(damage=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_under_a_right_checksum(damage: list[tuple[float, int]]) -> None:
    data = bytearray(waymo_scenario(steps=30))
    for share, value in damage:
        data[min(int(share * len(data)), len(data) - 1)] = value
    check("waymo", record(bytes(data)))


VALUES = ["", "nan", "-inf", "1e308", "-1", "0", "3.7", "99999999999999999999", "x", "-1e-300"]


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from(["commonroad", "lanelet2", "opendrive"]),
    changes=st.lists(
        st.tuples(st.floats(0.0, 1.0), st.sampled_from(VALUES)), min_size=1, max_size=6
    ),
)
def test_any_value_in_xml(kind: str, changes: list[tuple[float, str]]) -> None:
    text = FORMATS[kind][2].decode()
    for share, value in changes:
        places = list(_values(text))
        begin, end = places[min(int(share * len(places)), len(places) - 1)]
        text = text[:begin] + value + text[end:]
    check(kind, text.encode())


def _values(text: str) -> Iterator[tuple[int, int]]:
    """Where attribute values, and text between tags, begin and end."""
    at = 0
    while True:
        nearest = [(p, mark) for mark in ('="', ">") if (p := text.find(mark, at)) >= 0]
        if not nearest:
            return
        place, mark = min(nearest)
        begin = place + len(mark)
        end = text.find('"' if mark == '="' else "<", begin)
        if end < 0:
            return
        if mark == '="' or end > begin:
            yield begin, end
        at = end + (mark == '="')


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["commonroad", "lanelet2", "opendrive"]),
    spans=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=3),
    twice=st.booleans(),
)
def test_elements_lost_and_doubled(
    kind: str, spans: list[tuple[float, float]], twice: bool
) -> None:
    """Whole elements go, or come twice, so that references dangle and ids repeat."""
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring(FORMATS[kind][2])
    for share, deep in spans:
        parents = [e for e in root.iter() if len(e)]
        parent = parents[min(int(share * len(parents)), len(parents) - 1)]
        child = parent[min(int(deep * len(parent)), len(parent) - 1)]
        if twice:
            parent.append(copy.deepcopy(child))
        else:
            parent.remove(child)
            if not len(root):
                break
    check(kind, ElementTree.tostring(root))


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
    st.dictionaries(st.sampled_from("xyz"), st.floats(), max_size=3),
    st.builds(np.zeros, st.lists(st.integers(0, 4), max_size=3).map(tuple)),
    st.just(np.full(30, np.nan)),
    st.just(np.full((30, 2), np.inf)),
    st.just(np.array(["a"] * 30)),
    st.just(np.array([None, {}], object)),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, item in value.items():
        yield (*path, key)
        if isinstance(item, dict):
            yield from _places(item, (*path, key))


PLACES = list(_places(description(steps=30)))


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=odd)
def test_any_value_in_a_pickle(place: tuple[Any, ...], value: Any) -> None:
    content: Any = copy.deepcopy(description(steps=30))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    check("scenarionet", pickle.dumps(content, 4))
