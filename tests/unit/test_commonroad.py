from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from log_writers import SPEED, STEPS, commonroad, obstacle, track
from roadworthy.scenario import (
    NO_DRIVABLE_AREA,
    AgentKind,
    AreaKind,
    LaneKind,
    Rejected,
    Scenario,
    SignalState,
)
from roadworthy.vehicle import EgoIndex
from roadworthy_sources.commonroad import CommonRoad
from roadworthy_sources.reading import xmltree


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "street.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_one(path: Path) -> Scenario:
    (scenario,) = CommonRoad(str(path)).scenarios()
    assert isinstance(scenario, Scenario), scenario
    return scenario


def refused(path: Path) -> str:
    (found,) = CommonRoad(str(path)).scenarios()
    assert isinstance(found, Rejected), "was admitted"
    return found.reason


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return read_one(written(tmp_path_factory.mktemp("cr"), commonroad()))


def test_the_car_nearest_to_the_planning_problem_drives(street: Scenario) -> None:
    assert street.id == "TST_Street-1_1_T-1"
    assert street.agents.id == ("2", "3")
    assert street.agents.kind.tolist() == [AgentKind.VEHICLE, AgentKind.PEDESTRIAN]
    middle = street.ego[:, 0] + street.vehicle.rear_axle_to_centre
    np.testing.assert_allclose(middle, SPEED * 0.1 * np.arange(STEPS), atol=1e-6)
    np.testing.assert_allclose(street.ego[:, EgoIndex.VX], SPEED, atol=1e-6)
    assert any("'1' of the traffic drives as the ego" in note for note in street.repairs)
    assert "real" in street.tags
    assert "ego_from_traffic" in street.tags


def test_map(street: Scenario) -> None:
    index = {name: i for i, name in enumerate(street.map.lane_id)}
    assert sorted(index) == ["100", "101", "102", "200", "201", "202"]
    kinds = {name: street.map.lane_kind[i] for name, i in index.items()}
    assert kinds["101"] == kinds["201"] == LaneKind.CONNECTOR
    assert kinds["100"] == LaneKind.LANE
    assert street.map.lane_left[index["100"]] == index["200"]
    assert street.map.lane_right[index["200"]] == index["100"]
    np.testing.assert_allclose(street.map.lane_speed_limit, 13.5)
    assert (street.map.area_kind == AreaKind.DRIVABLE).sum() == 1
    assert len(street.map.stop_line) == 2
    np.testing.assert_allclose(street.map.stop_line[0][:, 0], 100.0)
    assert NO_DRIVABLE_AREA not in street.tags


def test_a_light_governs_the_ways_through_the_junction(street: Scenario) -> None:
    names = [street.map.lane_id[lane] for lane in street.signals.lane]
    assert names == ["101", "201"]
    state = street.signals.state[0]
    assert (state[:5] == SignalState.GREEN).all()  # the cycle begins at step 5
    assert (state[5:25] == SignalState.RED).all()
    assert (state[25:] == SignalState.GREEN).all()


@pytest.mark.parametrize("marking", ["broad_solid", "solid_solid", "curb"])
def test_solid_lines_are_not_crossed(tmp_path: Path, marking: str) -> None:
    text = commonroad().replace("<lineMarking>dashed", f"<lineMarking>{marking}")
    scenario = read_one(written(tmp_path, text))
    assert (scenario.map.lane_left == -1).all()
    assert (scenario.map.lane_right == -1).all()


def test_recorded_traffic_is_smoothed_and_simulated_is_not(tmp_path: Path) -> None:
    noisy = track(0.0, 0.0)
    noisy[:, 0] += np.random.default_rng(1).normal(0.0, 0.1, STEPS)
    cars = [obstacle(1, noisy)]
    real = read_one(written(tmp_path, commonroad(obstacles=cars)))
    assert any("smoothed" in note for note in real.repairs)
    assert np.abs(real.ego[:, EgoIndex.AX]).max() < 3.0
    made = read_one(written(tmp_path, commonroad(obstacles=cars, tags="<simulated/>")))
    assert "simulated_traffic" in made.tags
    assert "real" not in made.tags
    middle = made.ego[:, 0] + made.vehicle.rear_axle_to_centre
    np.testing.assert_allclose(middle, noisy[:, 0], atol=1e-3)


def test_gzip_and_latin_1(tmp_path: Path, street: Scenario) -> None:
    path = tmp_path / "street.xml.gz"
    path.write_bytes(gzip.compress(commonroad().encode()))
    assert read_one(path).hash == street.hash
    text = commonroad().replace('encoding="UTF-8"', 'encoding="ISO-8859-1"')
    text = text.replace("written by hand", "Größe")
    assert read_one(written(tmp_path, text.encode("latin-1"))).hash == street.hash


def test_other_time_steps_are_resampled(tmp_path: Path) -> None:
    cars = [obstacle(1, track(0.0, 0.0, 2.0 * SPEED, 31))]
    scenario = read_one(written(tmp_path, commonroad(obstacles=cars, dt=0.2)))
    assert scenario.steps == 61
    np.testing.assert_allclose(scenario.ego[:, EgoIndex.VX], SPEED, rtol=0.01)


def test_an_ego_that_touches_nobody_is_preferred(tmp_path: Path) -> None:
    cars = [
        obstacle(1, track(0.0, 0.0)),
        obstacle(2, track(1.0, 2.0)),
        obstacle(3, track(3.5, 30.0)),
    ]
    scenario = read_one(written(tmp_path, commonroad(obstacles=cars)))
    assert scenario.agents.id == ("1", "2")
    cars = cars[:2]
    scenario = read_one(written(tmp_path, commonroad(obstacles=cars)))
    assert any("touches another's" in note for note in scenario.repairs)


@pytest.mark.parametrize(
    ("steps", "words"), [(20, "no car is seen for 2.5 s (the longest for 1.9 s"), (25, "2.4 s")]
)
def test_too_short(tmp_path: Path, steps: int, words: str) -> None:
    assert words in refused(written(tmp_path, commonroad(steps)))


def test_short_ones_say_so(tmp_path: Path) -> None:
    scenario = read_one(written(tmp_path, commonroad(30)))
    assert "short" in scenario.tags
    assert scenario.horizon == 14


def test_obstacles_without_exact_states_are_left_out(tmp_path: Path) -> None:
    extra = (
        '<dynamicObstacle id="50"><type>car</type><shape><circle><radius>1</radius></circle>'
        "</shape>"
        "<initialState><position><circle><radius>1</radius></circle></position></initialState>"
        "</dynamicObstacle>"
        '<staticObstacle id="51"><type>parkedVehicle</type><shape><polygon><point><x>-2</x>'
        "<y>-1</y>"
        "</point><point><x>2</x><y>-1</y></point><point><x>2</x><y>1</y></point></polygon></shape>"
        "<initialState><position><point><x>30</x><y>-4</y></point></position><orientation>"
        "<exact>0</exact></orientation></initialState></staticObstacle>"
    )
    scenario = read_one(written(tmp_path, commonroad(extra=extra)))
    assert any("'50' dropped: it has no trajectory" in note for note in scenario.repairs)
    parked = scenario.agents.id.index("51")
    assert scenario.agents.valid[parked].all()
    np.testing.assert_allclose(scenario.agents.size[parked, :2], [4.0, 2.0])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<?xml", "<?xml\x00", "not readable XML"),
        ("</commonRoad>", "", "not readable XML"),
        ("commonRoad ", "openRoad ", "not readable XML"),
        ('commonRoadVersion="2020a"', 'commonRoadVersion="2017a"', "commonRoadVersion is '2017a'"),
        ('timeStepSize="0.1"', 'timeStepSize="soon"', "timeStepSize is 'soon'"),
        ('timeStepSize="0.1"', 'timeStepSize="-1"', "timeStepSize is -1"),
        ('<lanelet id="101">', '<lanelet id="100">', "two lanelets have the id '100'"),
        ('<lanelet id="101">', '<lanelet id="">', "attribute 'id'"),
        ("<x>100.0000</x>", "<x>wide</x>", "is 'wide'"),
        ("<x>100.0000</x>", "<x>nan</x>", "is 'nan'"),
        ("<x>100.0000</x>", "<x>1e400</x>", "is '1e400'"),
        ("<time><exact>1</exact>", "<time><exact>999999999</exact>", "time.exact is '999999999'"),
        ("<time><exact>1</exact>", "<time><exact>-1</exact>", "time is -1"),
        ('<dynamicObstacle id="2">', '<dynamicObstacle id="3">', "two tracks have the id '3'"),
        ("<duration>20<", "<duration>x<", "duration"),
    ],
)
def test_damaged_files(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in refused(written(tmp_path, commonroad().replace(old, new)))


def test_entities_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]>'
    file = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    for declaration in (bomb, file):
        text = commonroad().replace("?><commonRoad", f"?>{declaration}<commonRoad")
        assert "declares a document type" in refused(written(tmp_path, text))
    wide = commonroad().replace("?><commonRoad", f"?>{bomb}<commonRoad").encode("utf-16")
    assert "declares a document type" in refused(written(tmp_path, wide))


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmltree, "MAX_BYTES", 1000)
    assert "more than 1000 bytes" in refused(written(tmp_path, commonroad()))
    packed = tmp_path / "bomb.xml.gz"
    packed.write_bytes(gzip.compress(b" " * 1_000_000))
    assert "bytes" in refused(packed)
    packed.write_bytes(gzip.compress(b" " * 100)[:-9])
    assert "gzip" in refused(packed)
    monkeypatch.setattr(xmltree, "MAX_BYTES", 10**8)
    monkeypatch.setattr(xmltree, "MAX_ELEMENTS", 10)
    assert "more than 10 elements" in refused(written(tmp_path, commonroad()))


def test_odd_maps_are_repaired_or_refused(tmp_path: Path) -> None:
    crossing = commonroad().replace("<y>5.2500</y>", "<y>-5.2500</y>", 1)
    assert any("crossed itself" in n for n in read_one(written(tmp_path, crossing)).repairs)
    alone = commonroad().replace("<successor", "<nothing")
    scenario = read_one(written(tmp_path, alone))
    assert all(len(row) == 0 for row in scenario.map.lane_successors)
    assert "no lane for cars" in refused(
        written(tmp_path, commonroad().replace(">urban<", ">sidewalk<"))
    )
    cars = [obstacle(1, track(500.0, 0.0))]
    assert "drives on a lane" in refused(written(tmp_path, commonroad(obstacles=cars)))
    assert "no car is seen" in refused(written(tmp_path, commonroad(obstacles=[])))


@pytest.mark.real_logs
def test_every_recorded_file_loads(data_dir: Path) -> None:
    found = list(CommonRoad(str(data_dir / "ngsim_commonroad")).scenarios())
    assert len(found) == 69
    for scenario in found:
        assert isinstance(scenario, Scenario), scenario
        assert "real" in scenario.tags
        assert scenario.horizon >= 40
        assert np.abs(scenario.ego[:, EgoIndex.AX]).max() < 8.0


@pytest.mark.real_logs
def test_simulated_traffic_on_real_streets(data_dir: Path) -> None:
    found = list(CommonRoad(str(data_dir / "osm_map_scenarios")).scenarios())
    assert len(found) == 31
    bad = [scene for scene in found if isinstance(scene, Rejected)]
    assert [scene.id for scene in bad] == ["DEU_BadEssen-3_1_T-1"]
    assert "turns" in bad[0].reason
    assert all("simulated_traffic" in s.tags for s in found if isinstance(s, Scenario))


@pytest.mark.real_logs
def test_maps_are_as_commonroad_io_reads_them(data_dir: Path, tmp_path: Path) -> None:
    try:
        reader = pytest.importorskip("commonroad.common.file_reader", reason="needs commonroad-io")
    except TypeError:  # protobuf refuses what commonroad-io generated with an older one
        pytest.skip("commonroad-io needs protobuf 3.20")
    for name in ("ngsim_commonroad/USA_Lanker-2_10_T-1", "osm_map_scenarios/DEU_Moabit-5_2_T-1"):
        packed = data_dir / f"{name}.xml.gz"
        plain = tmp_path / "plain.xml"
        plain.write_bytes(gzip.decompress(packed.read_bytes()))
        theirs, _ = reader.CommonRoadFileReader(str(plain)).open()
        ours = read_one(packed)
        lanelets = {str(x.lanelet_id): x for x in theirs.lanelet_network.lanelets}
        assert set(ours.map.lane_id) == set(lanelets)
        index = {key: i for i, key in enumerate(ours.map.lane_id)}
        for key, lanelet in lanelets.items():
            i = index[key]
            got = {ours.map.lane_id[j] for j in ours.map.lane_successors[i]}
            assert got == {str(j) for j in lanelet.successor}
            area = abs(lanelet.polygon.shapely_object.area)
            ring = ours.map.lane_polygon[i]
            x, y = ring.T
            mine = 0.5 * abs(x @ np.roll(y, 1) - y @ np.roll(x, 1))
            assert mine == pytest.approx(area, rel=1e-3, abs=0.05)
        assert len(theirs.dynamic_obstacles) == len(ours.agents) + 1


def test_uncertain_times_and_shapes_off_centre(tmp_path: Path) -> None:
    """Set-based predictions have intervals of time; shapes may be off the reference point."""
    vague = obstacle(50, track(3.5, 60.0)).replace(
        "<time><exact>5</exact></time>",
        "<time><intervalStart>5</intervalStart><intervalEnd>6</intervalEnd></time>",
    )
    round_one = obstacle(51, track(3.5, 90.0))
    box = round_one[round_one.index("<rectangle>") : round_one.index("</shape>")]
    disc = "<circle><radius>1</radius><center><x>2</x><y>0.5</y></center></circle>"
    scenario = read_one(written(tmp_path, commonroad(extra=vague + round_one.replace(box, disc))))
    assert any("'50' dropped: it has no trajectory" in note for note in scenario.repairs)
    at = scenario.agents.id.index("51")
    np.testing.assert_allclose(scenario.agents.state[at, 0, :2], [92.0, 4.0], atol=0.01)


@pytest.mark.parametrize("sign", ["274", "R2-1", "3.24", "B31", "R15", "\u03a1-32"])
def test_speed_signs_of_other_countries(tmp_path: Path, sign: str) -> None:
    scenario = read_one(written(tmp_path, commonroad().replace(">274<", f">{sign}<")))
    np.testing.assert_allclose(scenario.map.lane_speed_limit, 13.5)


def test_format_2018b(tmp_path: Path, street: Scenario) -> None:
    """Obstacles are `<obstacle>` with a role; the speed limit is the lanelet's own."""
    text = commonroad(version="2018b").replace('<trafficSignRef ref="800"/>', "")
    text = text.replace("<laneletType>", "<speedLimit>13.5</speedLimit><laneletType>")
    for old, new in (("<dynamicObstacle", "<obstacle"), ("</dynamicObstacle", "</obstacle")):
        text = text.replace(old, new)
    text = text.replace("<type>", "<role>dynamic</role><type>")
    scenario = read_one(written(tmp_path, text))
    np.testing.assert_array_equal(scenario.ego, street.ego)
    np.testing.assert_allclose(scenario.map.lane_speed_limit, 13.5)


def test_configurations_of_one_place_are_one_cluster(data_dir: Path) -> None:
    """They overlap in time, so statistics must not count them as independent."""
    folder = data_dir / "ngsim_commonroad"
    files = sorted(folder.glob("USA_Peach-4_*"))[:2]
    tags = [set(scene.tags) for file in files for scene in CommonRoad(str(file)).scenarios()]
    assert len(tags) == 2
    assert all("log:USA_Peach-4" in words for words in tags)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    sets = (
        '<dynamicObstacle id="50"><type>car</type><shape><rectangle><length>4</length><width>2'
        "</width></rectangle></shape><initialState><position><point><x>9</x><y>0</y></point>"
        "</position><orientation><exact>0</exact></orientation><time><exact>0</exact></time>"
        "</initialState><occupancySet/></dynamicObstacle>"
    )
    extra = (
        '<phantomObstacle id="60"/><phantomObstacle id="61"/><environmentObstacle id="62"/>'
        '<trafficSign id="801"><trafficSignElement><trafficSignID>206</trafficSignID>'
        '</trafficSignElement></trafficSign><trafficLight id="901"><active>false</active>'
        '</trafficLight><planningProblem id="1001"/>'
    )
    cars = [
        obstacle(1, track(0.0, 0.0)),
        obstacle(2, track(3.5, 30.0), "hovercraft").replace("<trajectory>",
                                                          "<signalSeries/><trajectory>"),
        sets,
    ]  # fmt: skip
    scenario = read_one(written(tmp_path, commonroad(obstacles=cars, extra=extra)))
    said = " ".join(scenario.repairs)
    for words in (
        "2 <phantomObstacle> not read",
        "1 <environmentObstacle> not read",
        "1 traffic signs that set no speed",
        "1 traffic lights without a cycle",
        "of 2 planning problems",
        "agents '50' dropped",
        "agents: 1 <signalSeries> not read",
        "unknown type 'hovercraft'",
    ):
        assert words in said, words
    assert scenario.agents.id == ("2",)


def test_ways_out_instead_of_successors(tmp_path: Path, street: Scenario) -> None:
    """What commonroad-io reads since 2023: `outgoingStraight` and the like."""
    text = commonroad().replace("successorsStraight", "outgoingStraight")
    assert read_one(written(tmp_path, text)).hash == street.hash


def test_of_two_states_at_one_step_the_last_counts(tmp_path: Path, street: Scenario) -> None:
    text = commonroad()
    state = text[text.index("<state>") : text.index("</state>") + len("</state>")]
    wrong = state.replace("<x>0.8000", "<x>0.9000")
    assert wrong != state
    scenario = read_one(written(tmp_path, text.replace(state, wrong + state, 1)))
    assert scenario.hash == street.hash
    assert "agents: obstacle 1: of two states at step 1 the last." in scenario.repairs


def test_shapes_of_parts_are_boxed(tmp_path: Path) -> None:
    trailer = "<rectangle><length>8</length><width>2.4</width><center><x>-7</x><y>0</y></center>"
    lorry = obstacle(2, track(3.5, 30.0)).replace("</rectangle>", f"</rectangle>{trailer}"
                                                  "</rectangle>")  # fmt: skip
    cars = [obstacle(1, track(0.0, 0.0)), lorry]
    scenario = read_one(written(tmp_path, commonroad(obstacles=cars, tags="<simulated/>")))
    np.testing.assert_allclose(scenario.agents.size[0, :2], [2.25 + 11.0, 2.4])
    np.testing.assert_allclose(scenario.agents.state[0, 0, 0], 30.0 + 0.5 * (2.25 - 11.0))


def test_other_spellings_of_one_file(tmp_path: Path, street: Scenario) -> None:
    loose = commonroad().replace(">", ">\r\n")
    for data in (
        b"\xef\xbb\xbf" + loose.encode(),
        loose.replace("UTF-8", "UTF-16").encode("utf-16"),
    ):
        assert read_one(written(tmp_path, data)).hash == street.hash
    assert "UTF-8" in refused(written(tmp_path, b"\xff\xfe<\x00c"))
