from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from av2_writer import (
    ORIGIN,
    SPEED,
    START_NS,
    TURN,
    city,
    forecasting_table,
    map_archive,
    sensor_tables,
    write_forecasting,
    write_sensor_log,
)
from roadworthy.errors import DataError
from roadworthy.geometry.boxes import box_corners, boxes_intersect
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    AreaKind,
    LaneKind,
    Rejected,
    Scenario,
    StateIndex,
)
from roadworthy.vehicle import EgoIndex
from roadworthy_sources.argoverse2 import Argoverse2, files
from roadworthy_sources.argoverse2.vehicle import FUSION


def read_one(path: Path) -> Scenario:
    (scenario,) = Argoverse2(str(path)).scenarios()
    assert isinstance(scenario, Scenario), scenario
    return scenario


def rejected(path: Path) -> Rejected:
    (found,) = Argoverse2(str(path)).scenarios()
    assert isinstance(found, Rejected), "was admitted"
    assert found.source == "argoverse2"
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return read_one(write_sensor_log(tmp_path_factory.mktemp("av2") / "log"))


def test_ego_states_follow_the_poses(log: Scenario) -> None:
    assert log.id == "log"
    assert log.ego.shape == (60, 11)
    assert log.start == HISTORY - 1
    assert "real" in log.tags
    x, y = city(SPEED * 0.1 * np.arange(60), 0.0)
    np.testing.assert_allclose(log.ego[:, :2], np.stack([x, y], 1), atol=1e-6)
    np.testing.assert_allclose(log.ego[:, EgoIndex.YAW], TURN, atol=1e-9)
    np.testing.assert_allclose(log.ego[:, EgoIndex.VX], SPEED, atol=1e-6)
    np.testing.assert_allclose(log.ego[:, EgoIndex.VY :], 0.0, atol=1e-5)


def test_boxes_come_into_the_city_frame(log: Scenario) -> None:
    car = log.agents.id.index("car")
    x, y = city(20.0 + SPEED * 0.1 * np.arange(60), 3.5)
    np.testing.assert_allclose(log.agents.state[car, :, :2], np.stack([x, y], 1), atol=1e-6)
    np.testing.assert_allclose(log.agents.state[car, :, StateIndex.YAW], TURN, atol=1e-9)
    wanted = SPEED * np.array([np.cos(TURN), np.sin(TURN)])
    moving = log.agents.state[car, :, StateIndex.VX :] - wanted
    np.testing.assert_allclose(moving, 0.0, atol=1e-6)
    np.testing.assert_allclose(log.agents.size[car], [4.5, 1.9, 1.6])
    assert log.agents.valid[car].all()


def test_kinds_and_dropped_tracks(log: Scenario) -> None:
    kinds = dict(zip(log.agents.id, log.agents.kind.tolist(), strict=True))
    assert kinds == {
        "car": AgentKind.VEHICLE,
        "parked": AgentKind.VEHICLE,
        "walker": AgentKind.PEDESTRIAN,
        "bike": AgentKind.BICYCLE,
        "cone": AgentKind.TRAFFIC_CONE,
        "odd": AgentKind.GENERIC_OBJECT,
    }
    assert any("'rider'" in s and "'bike'" in s for s in log.repairs)
    assert any("HOVERCRAFT" in s for s in log.repairs)
    bike = log.agents.size[log.agents.id.index("bike")]
    np.testing.assert_allclose(bike, [1.7, 0.7, 1.8])


def test_standing_tracks_have_no_velocity(log: Scenario) -> None:
    assert not log.agents.state[log.agents.id.index("parked"), :, StateIndex.VX :].any()


def test_map_topology(log: Scenario) -> None:
    m = log.map
    at = {name: i for i, name in enumerate(m.lane_id)}
    assert m.lane_kind[at["101"]] == LaneKind.CONNECTOR
    assert m.lane_kind[at["400"]] == LaneKind.BIKE
    assert m.lane_successors[at["100"]].tolist() == [at["101"]]
    assert m.lane_successors[at["102"]].tolist() == []
    assert "map: 1 successors that are not in the archive left out." in log.repairs
    assert m.lane_left[at["100"]] == at["200"]
    assert m.lane_right[at["100"]] == -1, "a bike lane is no lane to change to"
    assert m.lane_left[at["200"]] == -1, "nor is one of the other direction"
    assert m.lane_left[at["300"]] == -1
    assert np.isnan(m.lane_speed_limit).all()
    line = m.lane_centreline[at["100"]]
    np.testing.assert_allclose(line[:, 2], TURN, atol=1e-9)
    assert np.hypot(*np.diff(line[:, :2], axis=0).T).max() < 1.01


def test_an_odd_lane_mark_is_no_obstacle(tmp_path: Path) -> None:
    archive = map_archive()
    archive["lane_segments"]["100"]["left_lane_mark_type"] = [1]
    scenario = read_one(write_sensor_log(tmp_path / "log", archive=archive))
    assert scenario.map.lane_left[0] >= 0


def test_areas(log: Scenario) -> None:
    kinds = log.map.area_kind.tolist()
    assert sorted(kinds) == [AreaKind.DRIVABLE, AreaKind.INTERSECTION, AreaKind.CROSSWALK]
    polygons = {k: shapely.polygons(p) for k, p in zip(kinds, log.map.area_polygon, strict=True)}
    assert polygons[AreaKind.DRIVABLE].area == pytest.approx(320 * 13)
    assert polygons[AreaKind.CROSSWALK].area == pytest.approx(3 * 13)
    assert polygons[AreaKind.INTERSECTION].area == pytest.approx(20 * 10.5, rel=0.02)


def test_route_reaches_ahead_and_behind(log: Scenario) -> None:
    names = {log.map.lane_id[i] for i in log.route.lanes}
    assert names == {"100", "101", "102", "200", "201", "202"}
    line = log.route.centreline
    along = (line[:, :2] - ORIGIN[:2]) @ [np.cos(TURN), np.sin(TURN)]
    assert along[0] == pytest.approx(-30.0, abs=2.0)
    assert along[-1] > SPEED * 5.9 + 100.0
    assert np.all(np.diff(along) > 0.0)


def test_short_gaps_are_bridged_and_long_ones_are_not(tmp_path: Path) -> None:
    boxes, _ = sensor_tables()
    gone = [
        i
        for i, (name, t) in enumerate(zip(boxes["track_uuid"], boxes["timestamp_ns"], strict=True))
        if name == "car" and (t - START_NS) // 100_000_000 in (20, 21, *range(30, 36))
    ]
    kept = {n: [v for i, v in enumerate(col) if i not in gone] for n, col in boxes.items()}
    scenario = read_one(write_sensor_log(tmp_path / "log", boxes=kept))
    valid = scenario.agents.valid[scenario.agents.id.index("car")]
    assert valid[20:22].all()
    assert not valid[30:36].any()


def test_a_missing_sweep_leaves_a_step_on_the_grid(tmp_path: Path) -> None:
    boxes, _ = sensor_tables()
    lost = START_NS + 10 * 100_000_000
    rows = [i for i, t in enumerate(boxes["timestamp_ns"]) if t != lost]
    scenario = read_one(
        write_sensor_log(
            tmp_path / "log", boxes={n: [c[i] for i in rows] for n, c in boxes.items()}
        )
    )
    assert scenario.steps == 60
    np.testing.assert_allclose(scenario.ego[:, EgoIndex.VX], SPEED, atol=1e-5)


def test_forecasting_scenario(tmp_path: Path) -> None:
    scenario = read_one(write_forecasting(tmp_path / "abc"))
    assert scenario.id == "abc"
    assert scenario.start == 49
    assert scenario.steps == 110
    assert scenario.agents.id == ("1", "2", "3")
    assert scenario.agents.valid[0].sum() == 70
    assert scenario.agents.kind.tolist() == [
        AgentKind.VEHICLE,
        AgentKind.BICYCLE,
        AgentKind.GENERIC_OBJECT,
    ]
    np.testing.assert_allclose(scenario.ego[:, EgoIndex.VX], SPEED, atol=1e-6)


def test_logs_are_read_in_order_and_bad_ones_do_not_stop_it(tmp_path: Path) -> None:
    write_sensor_log(tmp_path / "train" / "c")
    write_forecasting(tmp_path / "motion" / "val" / "a")
    bad = write_sensor_log(tmp_path / "train" / "b")
    (bad / "annotations.feather").write_bytes(b"")
    found = list(Argoverse2(str(tmp_path)).scenarios())
    assert [type(f).__name__ for f in found] == ["Scenario", "Rejected", "Scenario"]
    assert [f.id for f in found] == ["a", "b", "c"]
    assert len(Argoverse2(str(tmp_path), limit=2)) == 2


def test_reading_twice_gives_the_same_hash(tmp_path: Path) -> None:
    write_sensor_log(tmp_path / "c")
    assert read_one(tmp_path).hash == read_one(tmp_path).hash


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_folders_without_logs(path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a folder|holds no Argoverse 2 log"):
        Argoverse2(str(tmp_path / path))


def _set(column: str, row: int, value: Any) -> Callable[[dict[str, list[Any]]], None]:
    def change(table: dict[str, list[Any]]) -> None:
        table[column][row] = value

    return change


def _drop(column: str) -> Callable[[dict[str, list[Any]]], None]:
    def change(table: dict[str, list[Any]]) -> None:
        del table[column]

    return change


def _cut(rows: int) -> Callable[[dict[str, list[Any]]], None]:
    def change(table: dict[str, list[Any]]) -> None:
        for name in table:
            table[name] = table[name][:rows]

    return change


BAD_BOXES = {
    "column missing": (_drop("qz"), "'qz' is missing"),
    "not a number": (_set("tx_m", 5, float("nan")), r"'tx_m', row 5 is nan"),
    "infinite size": (_set("length_m", 0, float("inf")), r"'length_m', row 0 is inf"),
    "null": (_set("category", 3, None), r"'category' has 1 nulls"),
    "quaternion": (_set("qw", 7, 0.5), r"row 7, quaternion .* norm 0.5"),
    "too short": (_cut(8 * 10), r"spans 10 steps"),
    "no rows": (_cut(0), r"0 rows"),
    "outside the poses": (_set("timestamp_ns", 8 * 59, START_NS + 10**10), "no ego pose near"),
    "too close in time": (_set("timestamp_ns", 9, START_NS + 1_000_000), "too soon"),
}


@pytest.mark.parametrize("case", BAD_BOXES)
def test_bad_annotations(case: str, tmp_path: Path) -> None:
    change, words = BAD_BOXES[case]
    boxes, _ = sensor_tables()
    change(boxes)
    found = rejected(write_sensor_log(tmp_path / "log", boxes=boxes))
    assert found.error == "DataError"
    assert _matches(words, found.reason), found.reason
    assert "feather" in found.reason


BAD_POSES = {
    "backwards": (_set("timestamp_ns", 10, START_NS - 10**9), r"row 10 is .* not after"),
    "twice": (_set("timestamp_ns", 10, START_NS + 4 * 5_000_000), "row 10 is"),
    "quaternion": (_set("qz", 3, 2.0), "row 3, quaternion"),
    "not a number": (_set("ty_m", 3, float("nan")), "'ty_m', row 3"),
    "column missing": (_drop("tx_m"), "'tx_m' is missing"),
    "text in a number's place": (lambda t: t.update(tx_m=["a"] * len(t["tx_m"])), "of type string"),
    "ends early": (_cut(400), "no ego pose near"),
    "teleports": (_set("tx_m", 5 + 20 * 20, 9e3), "teleports"),
    "elsewhere": (lambda t: t.update(tx_m=[v + 5e4 for v in t["tx_m"]]), "near no lane"),
}


@pytest.mark.parametrize("case", BAD_POSES)
def test_bad_poses(case: str, tmp_path: Path) -> None:
    change, words = BAD_POSES[case]
    _, poses = sensor_tables()
    change(poses)
    found = rejected(write_sensor_log(tmp_path / "log", poses=poses))
    assert _matches(words, found.reason), found.reason


def _lane(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(archive: dict[str, Any]) -> None:
        archive["lane_segments"]["100"][field] = value

    return change


BAD_MAPS = {
    "no lanes": (lambda m: m.pop("lane_segments"), "lane_segments is not an object"),
    "empty lanes": (lambda m: m.update(lane_segments={}), "lane_segments is empty"),
    "boundary missing": (
        lambda m: m["lane_segments"]["100"].pop("left_lane_boundary"),
        r"lane_segments\[100\].left_lane_boundary is",
    ),
    "one point": (_lane("right_lane_boundary", [{"x": 0, "y": 0}]), "1 distinct points"),
    "no points": (_lane("right_lane_boundary", []), "0 distinct points"),
    "point without y": (_lane("right_lane_boundary", [{"x": 0}]), "not a list of points"),
    "infinite": (_lane("left_lane_boundary", [{"x": 1e999, "y": 0}] * 2), "must be finite"),
    "beyond any city": (_lane("left_lane_boundary", [{"x": -7e104, "y": 0}] * 2), "below 1e"),
    "endless": (
        _lane("left_lane_boundary", [{"x": 1500.0, "y": 0}, {"x": 4e6, "y": 0}]),
        r"left_lane_boundary is \d+ m long",
    ),
    "lane type": (_lane("lane_type", "CANAL"), "'CANAL'"),
    "is_intersection": (_lane("is_intersection", "yes"), "is_intersection is 'yes'"),
    "successors": (_lane("successors", None), "successors is 'None'"),
    "drivable areas": (lambda m: m.update(drivable_areas=[1]), "drivable_areas is not"),
}


@pytest.mark.parametrize("case", BAD_MAPS)
def test_bad_maps(case: str, tmp_path: Path) -> None:
    change, words = BAD_MAPS[case]
    archive = map_archive()
    change(archive)
    found = rejected(write_sensor_log(tmp_path / "log", archive=archive))
    assert _matches(words, found.reason), found.reason
    assert "log_map_archive_log.json" in found.reason


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("annotations.feather", b"", "empty"),
        ("annotations.feather", b"FEA1" + b"\0" * 64, "feather version 2"),
        ("city_SE3_egovehicle.feather", b"PAR1 something else", "feather version 2"),
        ("city_SE3_egovehicle.feather", None, "cannot be read"),
        ("map/log_map_archive_log.json", b'{"lane_segments": ', "not readable JSON"),
        ("map/log_map_archive_log.json", b"[1, 2]", "holds a list"),
        ("map/log_map_archive_log.json", b"[" * 100_000, "not readable JSON"),
        ("map/log_map_archive_log.json", b"\xff\xfe\x00", "not readable JSON"),
        ("map/log_map_archive_log.json", None, "no map/log_map_archive"),
    ],
)
def test_bad_files(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    folder = write_sensor_log(tmp_path / "log")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert words in rejected(folder).reason


@pytest.mark.parametrize("limit", ["MAX_JSON_BYTES", "MAX_TABLE_BYTES", "MAX_ROWS"])
def test_files_are_bounded(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, limit, 10)
    reason = rejected(write_sensor_log(tmp_path / "log")).reason
    assert re.search(r"At most 10 bytes|1 to 10 rows", reason), reason


BAD_FORECASTS = {
    "no ego": (
        lambda t: t.update(track_id=["9" if i == "AV" else i for i in t["track_id"]]),
        "'AV' has 0 rows",
    ),
    "step out of range": (_set("timestep", 0, 110), "row 0 is 110"),
    "not a number": (_set("heading", 2, float("nan")), "'heading', row 2"),
    "column missing": (_drop("object_type"), "'object_type' is missing"),
}


@pytest.mark.parametrize("case", BAD_FORECASTS)
def test_bad_forecasts(case: str, tmp_path: Path) -> None:
    change, words = BAD_FORECASTS[case]
    table = forecasting_table()
    change(table)
    found = rejected(write_forecasting(tmp_path / "abc", table))
    assert _matches(words, found.reason), found.reason


def _matches(words: str, reason: str) -> bool:
    return re.search(words, reason) is not None


@pytest.mark.real_logs
def test_log_replay_of_real_logs_is_free_of_collisions_and_on_the_road(data_dir: Path) -> None:
    path = data_dir / "av2_logs"
    if not path.is_dir():
        pytest.skip(f"no Argoverse 2 logs in {data_dir}")
    found = list(Argoverse2(str(path)).scenarios())
    assert len(found) >= 1
    for scenario in found:
        assert isinstance(scenario, Scenario), scenario
        surface = shapely.union_all(
            [
                shapely.polygons(ring)
                for kind, ring in zip(
                    scenario.map.area_kind, scenario.map.area_polygon, strict=True
                )
                if kind == AreaKind.DRIVABLE
            ]
        )
        ahead = FUSION.rear_axle_to_centre
        corners = np.empty((4, 2))
        for t, ego in enumerate(scenario.ego):
            c, s = np.cos(ego[2]), np.sin(ego[2])
            box = (
                ego[0] + ahead * c,
                ego[1] + ahead * s,
                c,
                s,
                FUSION.length / 2,
                FUSION.width / 2,
            )
            box_corners(*box, corners)
            assert shapely.contains_xy(surface, *corners.T).all(), (scenario.id, t)
            for a in np.flatnonzero(scenario.agents.valid[:, t]):
                x, y, yaw = scenario.agents.state[a, t, :3]
                half = 0.5 * scenario.agents.size[a, :2]
                other = (x, y, np.cos(yaw), np.sin(yaw), half[0], half[1])
                assert not boxes_intersect(*box, *other), (scenario.id, t, scenario.agents.id[a])
        rest = scenario.route.centreline[:, :2] - scenario.ego[-1, :2]
        assert len(rest) - int(np.argmin((rest**2).sum(axis=1))) >= 100
