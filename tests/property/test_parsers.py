"""Damaged logs are rejected with a reason; nothing else ever comes out of a reader."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av2_writer import map_archive, sensor_tables, write_forecasting, write_sensor_log
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.scenario import Ragged, Rejected, Scenario
from roadworthy_sources.argoverse2 import Argoverse2
from roadworthy_sources.procedural import Procedural

FILES = ("annotations.feather", "city_SE3_egovehicle.feather", "map/log_map_archive_log.json")
slow = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("av2")
    write_sensor_log(folder / "log")
    write_forecasting(folder / "mf")
    return folder


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(shutil.copytree(folder, Path(name) / folder.name))


def check(path: Path) -> None:
    """Reading ends in admitted scenarios or reasons."""
    for found in Argoverse2(str(path)).scenarios():
        if isinstance(found, Rejected):
            assert found.error in ("DataError", "ScenarioError")
            assert len(found.reason) > 20
        else:
            assert isinstance(found, Scenario)
            assert np.isfinite(found.ego).all()
            assert np.isfinite(found.agents.state).all()


@slow
@given(name=st.sampled_from(FILES), share=st.floats(0.0, 1.0))
def test_truncated_files(pristine: Path, name: str, share: float) -> None:
    with copied(pristine / "log") as log:
        data = (log / name).read_bytes()
        (log / name).write_bytes(data[: int(share * len(data))])
        check(log)


@slow
@given(
    name=st.sampled_from(FILES),
    damage=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_flipped_bytes(pristine: Path, name: str, damage: list[tuple[float, int]]) -> None:
    with copied(pristine / "log") as log:
        data = bytearray((log / name).read_bytes())
        for share, value in damage:
            data[min(int(share * len(data)), len(data) - 1)] = value
        (log / name).write_bytes(bytes(data))
        check(log)


@slow
@given(
    tail=st.booleans(),
    damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_flipped_bytes_of_parquet(
    pristine: Path, tail: bool, damage: list[tuple[int, int]]
) -> None:
    with copied(pristine / "mf") as log:
        file = next(log.glob("*.parquet"))
        data = bytearray(file.read_bytes())
        for at, value in damage:
            data[-1 - at if tail else at] = value
        file.write_bytes(bytes(data))
        check(log)


@slow
@given(content=st.binary(max_size=300), name=st.sampled_from(FILES))
def test_any_bytes(pristine: Path, content: bytes, name: str) -> None:
    with copied(pristine / "log") as log:
        (log / name).write_bytes(content)
        check(log)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("xyz"), st.floats(), max_size=3),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from _places(item, (*path, key))


PLACES = list(_places(map_archive()))


@slow
@given(place=st.sampled_from(PLACES), value=odd)
def test_any_value_in_a_map(pristine: Path, place: tuple[Any, ...], value: Any) -> None:
    archive: Any = copy.deepcopy(map_archive())
    inner = archive
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with copied(pristine / "log") as log:
        (log / FILES[2]).write_text(json.dumps(archive))
        check(log)


@slow
@given(
    column=st.sampled_from(sorted(sensor_tables(1)[0])),
    value=odd,
    row=st.integers(0, 479),
    whole=st.booleans(),
)
def test_any_value_in_the_annotations(column: str, value: Any, row: int, whole: bool) -> None:
    boxes, _ = sensor_tables()
    if whole:
        boxes[column] = [value] * len(boxes[column])
    else:
        boxes[column][row] = value
    with tempfile.TemporaryDirectory() as name:
        try:
            log = write_sensor_log(Path(name) / "log", boxes=boxes)
        except (TypeError, ValueError, OverflowError):
            return  # no feather file can hold this
        check(log)


BASE = Procedural(seed=1, count=4).scenario(3)
NUMBERS = st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e9, 0.0, -1.0, 1e5])


def _mangle(array: np.ndarray, data: st.DataObject) -> np.ndarray:
    what = data.draw(st.sampled_from(["value", "cut", "type", "flat"]))
    if what == "value" and array.size:
        out = array.copy()
        at = data.draw(st.integers(0, array.size - 1))
        value = data.draw(NUMBERS)
        whole = array.dtype.kind != "f"
        out.reshape(-1)[at] = data.draw(st.integers(-128, 127)) if whole else value
        return out
    if what == "cut":
        return array[: data.draw(st.integers(0, max(len(array) - 1, 0)))]
    return array.astype(complex) if what == "type" else array.reshape(-1)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_scenario(data: st.DataObject) -> None:
    assert isinstance(BASE, Scenario)
    part = data.draw(st.sampled_from(["ego", "map", "agents", "route", "signals"]))
    try:
        if part == "ego":
            scenario = replace(BASE, ego=_mangle(BASE.ego, data))
        else:
            whole: Any = getattr(BASE, part)
            name = data.draw(
                st.sampled_from([f.name for f in fields(whole) if not f.name.endswith("id")])
            )
            old = getattr(whole, name)
            if isinstance(old, Ragged):
                inner = data.draw(st.sampled_from(["values", "offsets"]))
                new: Any = replace(old, **{inner: _mangle(getattr(old, inner), data)})
            else:
                new = _mangle(old, data)
            scenario = replace(BASE, **{part: replace(whole, **{name: new})})
    except ValueError:
        return  # refused already by Scenario itself
    try:
        admitted = admit(scenario)
    except ScenarioError as error:
        refusal = error
        assert "scenario" in refusal.message
        assert refusal.hint
    else:
        assert np.isfinite(admitted.ego).all()
        assert np.isfinite(admitted.agents.state).all()
        assert admitted.map.lane_successors.values.max(initial=-1) < len(admitted.map.lane_id)
