from __future__ import annotations

import collections
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from log_writers import SPEED, STEPS, description, write_pickle
from roadworthy.errors import DataError
from roadworthy.scenario import (
    NO_DRIVABLE_AREA,
    AgentKind,
    AreaKind,
    LaneKind,
    Rejected,
    Scenario,
    SignalState,
    StateIndex,
)
from roadworthy.vehicle import EgoIndex
from roadworthy_sources.scenarionet import ScenarioNet, unpickle
from roadworthy_sources.scenarionet.source import ZOE
from roadworthy_sources.scenarionet.unpickle import read_pickle


def read_one(path: Path) -> Scenario:
    (scenario,) = ScenarioNet(str(path)).scenarios()
    assert isinstance(scenario, Scenario), scenario
    return scenario


def refused(path: Path) -> str:
    (found,) = ScenarioNet(str(path)).scenarios()
    assert isinstance(found, Rejected), "was admitted"
    assert found.source == "scenarionet"
    return found.reason


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return read_one(write_pickle(tmp_path_factory.mktemp("sn") / "sd.pkl", description()))


def test_tracks(street: Scenario) -> None:
    assert street.id == "street"
    assert street.steps == STEPS
    assert street.agents.id == ("7", "8", "9")
    assert street.agents.kind.tolist() == [
        AgentKind.VEHICLE,
        AgentKind.PEDESTRIAN,
        AgentKind.TRAFFIC_CONE,
    ]
    np.testing.assert_allclose(street.agents.size[0], [4.4, 1.8, 1.5])
    np.testing.assert_allclose(street.agents.state[0, :, StateIndex.VX], SPEED, atol=1e-6)
    assert street.agents.valid.all()
    np.testing.assert_allclose(street.ego[:, EgoIndex.VX], SPEED, atol=1e-6)


def test_the_ego_is_given_by_its_rear_axle(street: Scenario) -> None:
    middle = street.ego[:, 0] + street.vehicle.rear_axle_to_centre
    np.testing.assert_allclose(middle, SPEED * 0.1 * np.arange(STEPS), atol=1e-9)
    assert street.vehicle.length == pytest.approx(4.6)


def test_map(street: Scenario) -> None:
    road_map = street.map
    index = {name: i for i, name in enumerate(road_map.lane_id)}
    assert set(index) == {"a0", "a1", "a2", "b0", "b1", "b2"}
    assert road_map.lane_kind[index["a1"]] == LaneKind.CONNECTOR
    assert [road_map.lane_id[j] for j in road_map.lane_successors[index["a0"]]] == ["a1"]
    assert road_map.lane_left[index["a0"]] == index["b0"]
    assert road_map.lane_right[index["a0"]] == -1
    np.testing.assert_allclose(road_map.lane_speed_limit, 50.0 / 3.6)
    assert (road_map.area_kind == AreaKind.CROSSWALK).sum() == 1
    assert index["a0"] in street.route.lanes
    assert NO_DRIVABLE_AREA not in street.tags


def test_signals(street: Scenario) -> None:
    (row,) = street.signals.state
    assert street.map.lane_id[street.signals.lane[0]] == "a1"
    assert (row[: STEPS // 2] == SignalState.GREEN).all()
    assert (row[STEPS // 2 :] == SignalState.RED).all()


@pytest.mark.parametrize("dt", [0.05, 0.2, 0.5])
def test_other_rates_are_resampled_to_10_hz(tmp_path: Path, dt: float) -> None:
    content = description(steps=int(6.0 / dt) + 1, dt=dt)
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert scenario.steps == 61
    np.testing.assert_allclose(scenario.ego[:, EgoIndex.VX], SPEED, rtol=0.02)
    assert scenario.agents.valid[0].all()


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(tmp_path: Path, street: Scenario, protocol: int) -> None:
    content = description()
    content["metadata"]["number"] = np.float64(3.5)
    content["metadata"]["word"] = np.str_("x")
    content["metadata"]["text"] = np.array(["ab", "c"])
    content["metadata"]["objects"] = np.array(["ab", 3, None], object)
    content["metadata"]["kinds"] = {"a", "b"}
    content["metadata"]["order"] = collections.OrderedDict(a=1)
    content["metadata"]["many"] = collections.defaultdict(list, a=[1])
    content["metadata"]["big"] = np.arange(6, dtype=">i4").reshape(2, 3, order="F")
    path = write_pickle(tmp_path / "a.pkl", content, protocol)
    read = read_pickle(path)["metadata"]
    assert read["number"] == 3.5
    assert read["word"] == "x"
    assert read["text"].tolist() == ["ab", "c"]
    assert read["objects"] == ["ab", 3, None]
    assert sorted(read["kinds"]) == ["a", "b"]
    assert read["order"] == {"a": 1}
    assert read["many"] == {"a": [1]}
    assert read["big"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert read_one(path).hash == street.hash


def test_numpy_1_names(tmp_path: Path, street: Scenario) -> None:
    data = pickle.dumps(description(), 2)
    assert b"numpy._core.multiarray" in data
    (tmp_path / "a.pkl").write_bytes(data.replace(b"numpy._core.", b"numpy.core."))
    assert read_one(tmp_path / "a.pkl").hash == street.hash


class Evil:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("touch {marker}",), "system"),
        (eval, ("open('{marker}', 'w')",), ".eval'"),
        (exec, ("open('{marker}', 'w')",), ".exec'"),
        (open, ("{marker}", "w"), "open"),
        (getattr, ("", "format"), "getattr"),
        (np.load, ("{marker}",), "load"),
        (np.zeros, ((10**12,),), "zeros"),
        (bytearray, (10**12,), "bytearray"),
        (np.ndarray, ((10**12,),), "a call of 'numpy.ndarray'"),
        (collections.Counter, ("ab",), "Counter"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_is_refused_by_name(
    tmp_path: Path, function: Any, args: tuple[Any, ...], name: str, protocol: int
) -> None:
    marker = tmp_path / "marker"
    args = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in args)
    content = description()
    content["metadata"]["x"] = Evil(function, *args)
    reason = refused(write_pickle(tmp_path / "a.pkl", content, protocol))
    assert name in reason
    assert "byte" in reason
    assert not marker.exists()


def test_objects_of_classes_are_refused(tmp_path: Path) -> None:
    for value in (Path("x"), Evil, np.random.default_rng(1), struct.Struct("i"), sys.flags):
        try:
            path = write_pickle(tmp_path / "a.pkl", {"x": value}, 2)
        except (TypeError, pickle.PicklingError):
            continue  # cannot be pickled at all
        with pytest.raises(DataError, match="the name"):
            read_pickle(path)


def _stored_as(array: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """A pickle of an array whose state claims another shape."""
    function, args, state = array.__reduce__()  # type: ignore[misc]

    class Liar:
        def __reduce__(self) -> Any:
            return function, args, (state[0], shape, *state[2:])

    return pickle.dumps({"x": Liar()})


@pytest.mark.parametrize("shape", [(10**12,), (2**40, 2**40), (-1,), (4,), (1,) * 9])
def test_arrays_that_lie_about_their_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.pkl").write_bytes(_stored_as(np.arange(3.0), shape))
    with pytest.raises(DataError, match="shape"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x04r\xff\xff\xff\xff", "on the stack"),  # LONG_BINPUT 2^32 - 1: memo bomb
        (b"\x80\x04}r\xff\xff\xff\x7f.", None),  # a huge memo index is just a key here
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40), "not a whole pickle"),  # BINBYTES8
        (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.", None),  # FRAME of 4 EiB
        (b"\x80\x04]" + b"2" * 1000 + b".", "holds a list"),
        (b"(" * 100_000 + b"l" * 100_000 + b".", "nested"),
        (b"]q\x00h\x00a.", "holds itself"),
        (b"cos\nsystem\n(S'true'\ntR.", "'os.system'"),
        (b"(ios\nsystem\n.", "INST"),
        (b"}\x80\x04.", None),
        (b"h\x05.", "memo 5"),
        (b"}N}u.", "without a mark"),
        (b"}(Nu.", "no value"),
        (b"}(NNu.", "key that is a NoneType"),
        (b"}(]Nu.", "key that is a list"),
        (b"I" + b"9" * 10_000 + b"\n.", "not a whole pickle"),
        (b"Pname\n.", "PERSID"),
        (b"\x82\x01.", "EXT1"),
        (b"", "empty"),
        (b"garbage", "pickle"),
        (b"N.", "NoneType"),
    ],
)
def test_odd_pickles(tmp_path: Path, data: bytes, words: str | None) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    if words is None:
        assert read_pickle(tmp_path / "a.pkl") == {}
        return
    with pytest.raises(DataError, match=words):
        read_pickle(tmp_path / "a.pkl")


def test_shared_lists_do_not_multiply(tmp_path: Path) -> None:
    laughs: Any = ["lol"]
    for _ in range(20):
        laughs = [laughs] * 10
    content = description() | {"laughs": laughs}
    assert read_one(write_pickle(tmp_path / "a.pkl", content)).id == "street"
    content = description()
    row = [1.0] * 1000
    content["map_features"]["b2"]["polyline"] = [row] * 100_000
    scenario = read_one(write_pickle(tmp_path / "b.pkl", content))
    assert any("'b2' dropped: it has no centreline" in note for note in scenario.repairs)
    content = description()
    content["tracks"]["7"]["state"]["position"] = [row] * STEPS
    assert "too large" in refused(write_pickle(tmp_path / "c.pkl", content))


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pickle(tmp_path / "a.pkl", description())
    monkeypatch.setattr(unpickle, "MAX_OPCODES", 100)
    assert "100 opcodes" in refused(path)
    monkeypatch.setattr(unpickle, "MAX_BYTES", 100)
    assert "more than 100 bytes" in refused(path)


def _set(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    inner = content
    *parents, last = path.split("/")
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("metadata", None, "metadata is missing"),
        ("metadata/sdc_id", "nobody", "sdc_id is 'nobody'"),
        ("metadata/ts", None, "ts is missing"),
        ("metadata/ts", np.zeros(STEPS), "ts runs from"),
        ("metadata/ts", np.arange(STEPS) * 1e5, "ts runs from"),
        ("length", "many", "length is many"),
        ("length", 10**9, "length is"),
        ("tracks", [], "tracks is not a dictionary"),
        ("tracks/7/state", None, "tracks['7'].state is missing"),
        ("tracks/7/state/position", np.zeros((3, 2)), "shape"),
        ("tracks/7/state/heading", "north", "no array of numbers"),
        ("tracks/ego/state/valid", np.eye(1, STEPS)[0], "1 of 60 steps"),
        ("tracks/ego/state/length", np.zeros(STEPS), "the ego's size"),
        ("map_features", {}, "no lane"),
        ("map_features", None, "map_features is not"),
        ("dynamic_map_states", 3, "dynamic_map_states is not"),
    ],
)
def test_damaged_scenarios(tmp_path: Path, path: str, value: Any, words: str) -> None:
    content = _set(description(), path, value)
    assert words in refused(write_pickle(tmp_path / "a.pkl", content))


def test_tracks_of_one_step_and_of_none(tmp_path: Path) -> None:
    content = description()
    content["tracks"]["7"]["state"]["valid"] = np.eye(1, STEPS, 20)[0]
    content["tracks"]["8"]["state"]["valid"] = np.zeros(STEPS)
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert scenario.agents.id == ("7", "9")
    assert scenario.agents.valid[0].sum() == 1


def test_outlines_that_cross_themselves_and_lanes_without_successors(tmp_path: Path) -> None:
    content = description()
    features = content["map_features"]
    features["b2"]["polygon"] = features["b2"]["polygon"][[0, 2, 1, 3]]
    features["a1"]["exit_lanes"] = ["gone", "a1x"]
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert any("crossed itself" in note for note in scenario.repairs)
    assert all(shapely.polygons(ring).is_valid for ring in scenario.map.lane_polygon)
    lane = scenario.map.lane_id.index("a1")
    assert len(scenario.map.lane_successors[lane]) == 0


def test_links_are_made_where_the_file_has_none(tmp_path: Path, street: Scenario) -> None:
    content = description()
    for value in content["map_features"].values():
        for key in ("exit_lanes", "left_neighbor", "right_neighbor"):
            value.pop(key, None)
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert [list(row) for row in scenario.map.lane_successors] == [
        list(row) for row in street.map.lane_successors
    ]
    index = {name: i for i, name in enumerate(scenario.map.lane_id)}
    assert scenario.map.lane_left[index["a0"]] == index["b0"]
    assert scenario.map.lane_right[index["b2"]] == index["a2"]
    content["map_features"]["line"]["polyline"] = np.array([[-40.0, 1.75], [300.0, 1.75]])
    scenario = read_one(write_pickle(tmp_path / "b.pkl", content))
    assert (scenario.map.lane_left == -1).all()


def _crossed(content: dict[str, Any]) -> dict[str, Any]:
    """With a lane across the junction."""
    lane = content["map_features"]["a1"]
    line = np.array([[110.0, -30.0], [110.0, 30.0]])
    ring = np.array([[108.0, -30.0], [112.0, -30.0], [112.0, 30.0], [108.0, 30.0]])
    across = lane | {"polyline": line, "polygon": ring, "exit_lanes": []}
    content["map_features"]["across"] = across | {"left_neighbor": [], "right_neighbor": []}
    return content


@pytest.mark.parametrize("dataset", ["nuplan", "av2"])
def test_junctions_where_no_lane_or_every_lane_is_marked(tmp_path: Path, dataset: str) -> None:
    """As ScenarioNet's converters of nuPlan and Argoverse 2 write them."""
    content = _crossed(description(dataset))
    for feature in content["map_features"].values():
        if feature["type"].startswith("LANE_"):
            feature["type"] = "LANE_SURFACE_STREET"
            feature["speed_limit_mph"] = 85.0
            del feature["speed_limit_kmh"]
            if dataset == "av2":
                feature["interpolating"] = True
    scenario = read_one(write_pickle(tmp_path / "sd.pkl", content))
    kinds = dict(zip(scenario.map.lane_id, scenario.map.lane_kind, strict=True))
    assert {name for name, kind in kinds.items() if kind == LaneKind.CONNECTOR} == {
        "a1", "b1", "across",
    }  # fmt: skip
    assert (scenario.map.area_kind == AreaKind.INTERSECTION).sum() == 1
    assert np.isnan(scenario.map.lane_speed_limit).all() == (dataset == "av2")


def test_exports_of_metadrive(tmp_path: Path, street: Scenario) -> None:
    """Tracks may lack sizes, and lanes are named by tuples."""
    content = description("metadrive")
    for track in content["tracks"].values():
        for field in ("length", "width", "height"):
            del track["state"][field]
    features = content["map_features"]
    for k in range(3):
        features[f"('a', {k})"] = features.pop(f"a{k}") | {"exit_lanes": [("a", k + 1)][: 2 - k]}
    scenario = read_one(write_pickle(tmp_path / "sd.pkl", content))
    assert any("'ego': no length, width, height" in note for note in scenario.repairs)
    assert (scenario.agents.size > 0.0).all()
    first = scenario.map.lane_id.index("('a', 0)")
    (after,) = scenario.map.lane_successors[first]
    assert scenario.map.lane_id[after] == "('a', 1)"
    assert len(scenario.agents) == len(street.agents)


def test_lights_that_waymo_does_not_see(tmp_path: Path) -> None:
    content = description("waymo")
    words = [None] * 30 + ["LANE_STATE_STOP"] * 15 + ["LANE_STATE_FLASHING_STOP"] * 15
    content["dynamic_map_states"]["a1"]["state"]["object_state"] = words
    scenario = read_one(write_pickle(tmp_path / "sd.pkl", content))
    assert scenario.signals.state[0, [0, 35, 55]].tolist() == [
        SignalState.UNKNOWN, SignalState.RED, SignalState.UNKNOWN,
    ]  # fmt: skip


def _as_nuscenes(content: dict[str, Any]) -> dict[str, Any]:
    """As the nuScenes converter writes: connectors without outline, area outlines as lines."""
    content["metadata"]["dataset"] = "nuscenes"
    for name in ("a1", "b1"):
        del content["map_features"][name]["polygon"]
    area = [[-40.0, -3], [300, -3], [300, 7], [-40, 7], [-40, -3]]
    hole = [[150.0, 5.5], [160, 5.5], [160, 6.5], [150, 6.5], [150, 5.5]]
    for k, ring in enumerate((area, hole)):
        content["map_features"][f"boundary_{k}"] = {
            "type": "ROAD_LINE_SOLID_SINGLE_WHITE",
            "polyline": np.array(ring),
        }
    return content


def test_nuscenes_outlines_close_the_junctions(tmp_path: Path) -> None:
    scenario = read_one(write_pickle(tmp_path / "a.pkl", _as_nuscenes(description())))
    assert scenario.vehicle is ZOE
    assert NO_DRIVABLE_AREA not in scenario.tags
    assert any("boundary_" in note for note in scenario.repairs)
    rings = [
        shapely.polygons(ring)
        for kind, ring in zip(scenario.map.area_kind, scenario.map.area_polygon, strict=True)
        if kind == AreaKind.DRIVABLE
    ]
    area = shapely.union_all(rings)
    assert area.contains(shapely.Point(110.0, -2.5))
    assert not area.contains(shapely.Point(155.0, 6.0))
    assert area.area == pytest.approx(340 * 10 - 10, rel=1e-3)
    lane = scenario.map.lane_id.index("a1")
    assert scenario.map.lane_kind[lane] == LaneKind.CONNECTOR
    assert shapely.polygons(scenario.map.lane_polygon[lane]).area == pytest.approx(70.0, rel=0.01)
    assert np.isnan(scenario.map.lane_speed_limit).all()


def test_maps_without_an_outline_are_not_scored_for_drivable_area(tmp_path: Path) -> None:
    content = description()
    for value in content["map_features"].values():
        if value["type"].startswith("LANE"):
            del value["polygon"]
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert NO_DRIVABLE_AREA in scenario.tags
    assert any(NO_DRIVABLE_AREA in note for note in scenario.repairs)
    content = description()
    del content["map_features"]["a1"]["polygon"]
    assert NO_DRIVABLE_AREA in read_one(write_pickle(tmp_path / "b.pkl", content)).tags


def test_a_last_pose_that_jumps_back_is_cut_off(tmp_path: Path) -> None:
    content = description()
    content["tracks"]["ego"]["state"]["position"][-2:, 0] -= 2.0
    scenario = read_one(write_pickle(tmp_path / "a.pkl", content))
    assert scenario.steps == STEPS - 2
    assert any("last 2 steps cut off" in note for note in scenario.repairs)


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        ScenarioNet(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="holds no"):
        ScenarioNet(str(tmp_path))
    (tmp_path / "deep").mkdir()
    write_pickle(tmp_path / "deep" / "b.pkl", description())
    write_pickle(tmp_path / "a.pkl", description())
    write_pickle(tmp_path / "dataset_summary.pkl", {})
    assert len(ScenarioNet(str(tmp_path))) == 2
    assert len(ScenarioNet(str(tmp_path), limit=1)) == 1


@pytest.mark.real_logs
def test_every_real_scene_loads(data_dir: Path) -> None:
    found = list(ScenarioNet(str(data_dir / "nuscenes_mini_scenarionet")).scenarios())
    assert len(found) == 7
    for scenario in found:
        assert isinstance(scenario, Scenario), scenario
        assert scenario.steps > 180
        assert len(scenario.agents) > 20
        assert NO_DRIVABLE_AREA not in scenario.tags
        assert (scenario.map.lane_kind == LaneKind.CONNECTOR).sum() > 100


def test_times_that_span_years_cost_no_memory(tmp_path: Path) -> None:
    content = description()
    content["metadata"]["ts"] = np.append(np.arange(STEPS - 1) * 0.1, 1e9)
    assert "tracks over" in refused(write_pickle(tmp_path / "a.pkl", content))


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    content = description()
    content["map_features"]["bump"] = {"type": "SPEED_BUMP", "polygon": np.zeros((4, 2))}
    content["tracks"]["8"]["type"] = "UNICORN"
    content["tracks"]["9"]["state"]["valid"] = np.zeros(60)
    light = content["dynamic_map_states"]["a1"]
    content["dynamic_map_states"]["x"] = light | {"lane": "nowhere"}
    content["map_features"]["a0"]["exit_lanes"] = ["a1", "beyond"]
    (scenario,) = ScenarioNet(str(write_pickle(tmp_path / "a.pkl", content))).scenarios()
    assert isinstance(scenario, Scenario), scenario
    said = " ".join(scenario.repairs)
    for words in (
        "1 SPEED_BUMP not read",
        "unknown type 'UNICORN'",
        "signals: 1 that govern no lane",
        "agents: 1 that are never there",
        "1 links to what is no lane",
    ):
        assert words in said, words
