from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import shapely
from map_writers import ORIGIN, OsmWriter, lanelet2_street
from roadworthy.errors import DataError
from roadworthy.scenario import AreaKind, LaneKind, Rejected, RoadMap, Scenario
from roadworthy_sources.lanelet2 import Lanelet2, read_map
from roadworthy_sources.lanelet2.osm import local_metres


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.osm"
    path.write_text(text)
    return path


def lane(road_map: RoadMap, name: object) -> int:
    return road_map.lane_id.index(str(name))


def refused(path: Path) -> str:
    (found,) = Lanelet2(str(path)).scenarios()
    assert isinstance(found, Rejected), "was admitted"
    return found.reason


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RoadMap, dict[str, int]]:
    text, names = lanelet2_street()
    path = written(tmp_path_factory.mktemp("l2"), text)
    return path, read_map(path), names


def test_lanes(street: tuple[Path, RoadMap, dict[str, int]]) -> None:
    _, road_map, names = street
    assert len(road_map.lane_id) == 4
    a0, a1, b0, b1 = (lane(road_map, names[n]) for n in ("a0", "a1", "b0", "b1"))
    assert list(road_map.lane_successors[a0]) == [a1]
    assert list(road_map.lane_successors[b0]) == [b1]
    assert len(road_map.lane_successors[a1]) == 0
    assert road_map.lane_left[a0] == b0
    assert road_map.lane_right[b1] == a1
    assert road_map.lane_left[b0] == -1
    assert road_map.lane_speed_limit[a0] == pytest.approx(30.0 / 3.6)
    assert np.isnan(road_map.lane_speed_limit[b0])
    for row in road_map.lane_centreline:
        np.testing.assert_allclose(row[:, 2], 0.0, atol=1e-4)
    assert shapely.polygons(road_map.lane_polygon[a0]).area == pytest.approx(80 * 3.5, rel=0.01)


def test_areas_and_stop_lines(street: tuple[Path, RoadMap, dict[str, int]]) -> None:
    _, road_map, names = street
    kinds = road_map.area_kind.tolist()
    assert kinds == [AreaKind.DRIVABLE, AreaKind.CROSSWALK]
    assert road_map.stop_line_lane.tolist() == [lane(road_map, names["a0"])]
    assert np.ptp(road_map.stop_line[0][:, 1]) == pytest.approx(3.5, rel=0.01)


def test_an_expert_drives_alone(street: tuple[Path, RoadMap, dict[str, int]]) -> None:
    found = list(Lanelet2(str(street[0]), count=2).scenarios())
    assert [scenario.id for scenario in found] == ["map-0", "map-1"]
    for scenario in found:
        assert isinstance(scenario, Scenario)
        assert len(scenario.agents) == 0
        assert "map_only" in scenario.tags
        assert "expert_drive" in scenario.tags
        assert "no_drivable_area" not in scenario.tags
        assert any("without traffic" in note for note in scenario.repairs)
        assert np.abs(scenario.ego[:, 5]).max() < 2.0
    assert found[0].map is found[1].map


def _pair(osm: OsmWriter, y: float, x: tuple[float, float] = (0.0, 60.0), **tags: str) -> int:
    left = osm.way([(x[0], y + 1.75), (x[1], y + 1.75)])
    right = osm.way([(x[0], y - 1.75), (x[1], y - 1.75)])
    return osm.lanelet(left, right, **tags)


def test_both_ways(tmp_path: Path) -> None:
    osm = OsmWriter()
    name = _pair(osm, 0.0, one_way="no")
    road_map = read_map(written(tmp_path, osm.text()))
    assert road_map.lane_id == (str(name), f"-{name}")
    there, back = road_map.lane_centreline
    np.testing.assert_allclose(there[::-1, :2], back[:, :2], atol=1e-9)
    assert not any(len(row) for row in road_map.lane_successors)


def test_who_may_drive(tmp_path: Path) -> None:
    osm = OsmWriter()
    road = _pair(osm, 0.0)
    bikes = _pair(osm, 10.0, subtype="bicycle_lane")
    _pair(osm, 20.0, subtype="walkway")
    _pair(osm, 30.0, participant__pedestrian="yes", participant__bicycle="yes")
    private = _pair(osm, 40.0, subtype="walkway", participant__vehicle="yes")
    road_map = read_map(written(tmp_path, osm.text()))
    assert road_map.lane_id == (str(road), str(bikes), str(private))
    assert road_map.lane_kind.tolist() == [LaneKind.LANE, LaneKind.BIKE, LaneKind.LANE]


def test_connectors(tmp_path: Path) -> None:
    osm = OsmWriter()
    across = _pair(osm, 0.0)
    left = osm.way([(28.25, -30.0), (28.25, 30.0)])
    right = osm.way([(31.75, -30.0), (31.75, 30.0)])
    along = osm.lanelet(left, right)
    turning = _pair(osm, 40.0, turn_direction="left")
    plain = _pair(osm, 60.0)
    road_map = read_map(written(tmp_path, osm.text()))
    for name in (across, along, turning):
        assert road_map.lane_kind[lane(road_map, name)] == LaneKind.CONNECTOR
    assert road_map.lane_kind[lane(road_map, plain)] == LaneKind.LANE
    assert (road_map.area_kind == AreaKind.INTERSECTION).sum() == 2


@pytest.mark.parametrize(
    ("tags", "to_left", "to_right"),
    [
        ({"type": "line_thin", "subtype": "dashed"}, True, True),
        ({"type": "line_thin", "subtype": "solid"}, False, False),
        ({"type": "line_thick", "subtype": "dashed_solid"}, False, True),
        ({"type": "line_thick", "subtype": "solid_dashed"}, True, False),
        ({"type": "curbstone", "subtype": "low"}, False, False),
        ({"type": "virtual", "lane_change": "yes"}, True, True),
        ({"type": "line_thin", "subtype": "dashed", "lane_change": "no"}, False, False),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_lane_changes(
    tmp_path: Path, tags: dict[str, str], to_left: bool, to_right: bool, backwards: bool
) -> None:
    osm = OsmWriter()
    points = [(0.0, 0.0), (60.0, 0.0)]
    if backwards:
        points.reverse()
        if tags.get("subtype") in ("dashed_solid", "solid_dashed"):
            to_left, to_right = to_right, to_left
    between = osm.way(points, **tags)
    left = osm.lanelet(osm.way([(0.0, 3.5), (60.0, 3.5)]), between)
    right = osm.lanelet(between, osm.way([(0.0, -3.5), (60.0, -3.5)]))
    road_map = read_map(written(tmp_path, osm.text()))
    left_at, right_at = lane(road_map, left), lane(road_map, right)
    assert road_map.lane_right[left_at] == (right_at if to_right else -1)
    assert road_map.lane_left[right_at] == (left_at if to_left else -1)


def test_metres() -> None:
    """Against GeographicLib's LocalCartesian, which the Lanelet2 library uses."""
    degrees = np.array([[48.99, 8.39], [49.01, 8.41], [49.005, 8.395]])
    expected = [[-731.8644, -1112.0482], [731.5714, 1112.1465], [-365.8223, 556.061]]
    np.testing.assert_allclose(local_metres(degrees), expected, atol=1e-3)
    assert ORIGIN == (49.0, 8.4)


def test_local_coordinates_are_preferred(tmp_path: Path) -> None:
    node = (
        '<node id="{0}" lat="0" lon="0"><tag k="local_x" v="{1}"/><tag k="local_y" v="{2}"/></node>'
    )
    points = [(1, 0, 1.75), (2, 60, 1.75), (3, 0, -1.75), (4, 60, -1.75)]
    nodes = "".join(node.format(*p) for p in points)
    ways = "".join(f'<way id="{w}"><nd ref="{a}"/><nd ref="{b}"/></way>'
                   for w, a, b in ((11, 1, 2), (12, 3, 4)))  # fmt: skip
    relation = (
        '<relation id="20"><member type="way" role="left" ref="11"/><member type="way" '
        'role="right" ref="12"/><tag k="type" v="lanelet"/><tag k="subtype" v="road"/></relation>'
    )
    road_map = read_map(written(tmp_path, f"<osm>{nodes}{ways}{relation}</osm>"))
    np.testing.assert_allclose(road_map.lane_centreline[0][[0, -1], :2], [[0, 0], [60, 0]])
    nowhere = nodes.replace('lat="0" lon="0"', 'lat="" lon=""') + '<node id="9" lat="" lon=""/>'
    again = read_map(written(tmp_path, f"<osm>{nowhere}{ways}{relation}</osm>"))
    assert again.hash == road_map.hash
    astray = ways.replace('<nd ref="2"/>', '<nd ref="2"/><nd ref="9"/>')
    path = written(tmp_path, f"<osm>{nowhere}{astray}{relation}</osm>")
    assert "node 1: lat is ''" in refused(path)


def test_what_is_damaged_is_refused_or_left_out(tmp_path: Path) -> None:
    text, names = lanelet2_street()
    for old, new, words in (
        ('lat="49', 'lat="4x9', "lat is"),
        ('lat="49', 'lat="149', "Latitudes lie"),
        ('<way id="', '<way id="" x="', "attribute 'id'"),
        ("<osm", "<map", "not readable XML"),
        ('<node id="2"', '<node id="3"', "two nodes have the id '3'"),
        ("?><osm", '?><!DOCTYPE x [<!ENTITY a "b">]><osm', "document type"),
    ):
        assert words in refused(written(tmp_path, text.replace(old, new, 1))), old
    assert "0 nodes" in refused(written(tmp_path, "<osm></osm>"))
    lost = text.replace('role="right"', 'role="wrong"', 1)
    scenario = next(iter(Lanelet2(str(written(tmp_path, lost))).scenarios()))
    assert isinstance(scenario, Scenario)
    assert any(f"'{names['a0']}' dropped" in note for note in scenario.repairs)
    osm = OsmWriter()
    _pair(osm, 0.0, (0.0, 10.0))
    assert "40 m long" in refused(written(tmp_path, osm.text()))


def test_bounds_that_cross(tmp_path: Path) -> None:
    osm = OsmWriter()
    left = osm.way([(0.0, 1.75), (40.0, 1.75), (80.0, -1.0)])
    right = osm.way([(0.0, -1.75), (40.0, -1.75), (80.0, 1.0)])
    osm.lanelet(left, right)
    (scenario,) = Lanelet2(str(written(tmp_path, osm.text()))).scenarios()
    assert isinstance(scenario, Scenario)
    assert any("crossed itself" in note for note in scenario.repairs)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    osm = OsmWriter()
    _pair(osm, 0.0)
    _pair(osm, 20.0, subtype="walkway")
    rule = '<relation id="{}"><tag k="type" v="{}"/><tag k="subtype" v="{}"/></relation>'
    more = [("71", "regulatory_element", "right_of_way"), ("72", "multipolygon", "building"),
            ("73", "route", "bus"), ("74", "regulatory_element", "speed_limit")]  # fmt: skip
    text = osm.text().replace("</osm>", "".join(rule.format(*row) for row in more) + "</osm>")
    first = text.index("<nd ref=")
    text = text[:first] + '<nd ref="987654321"/>' + text[first:]
    scenario = next(iter(Lanelet2(str(written(tmp_path, text))).scenarios()))
    assert isinstance(scenario, Scenario), scenario
    said = " ".join(scenario.repairs)
    for words in (
        "rules of subtype 'right_of_way'",
        "areas of subtype 'building'",
        "type 'route'",
        "1 lanelets of subtype 'walkway' for neither",
        "1 references of ways to nodes",
    ):
        assert words in said, words
    assert "speed_limit" not in said


def test_names_below_zero(tmp_path: Path) -> None:
    """JOSM numbers what it has not uploaded with negative numbers."""
    text, _ = lanelet2_street()
    below = re.sub(r'(id|ref)=(["\'])(\d+)', r"\1=\2-\3", text)
    path = tmp_path / "below.osm"
    path.write_text(below)
    plain, other = read_map(written(tmp_path, text)), read_map(path)
    assert other.lane_id == tuple(f"-{name}" for name in plain.lane_id)
    np.testing.assert_array_equal(other.stop_line_lane, plain.stop_line_lane)
    assert other.lane_successors.values.tolist() == plain.lane_successors.values.tolist()


@pytest.mark.real_logs
def test_every_real_map_loads(data_dir: Path) -> None:
    found = list(Lanelet2(str(data_dir / "lanelet2_maps")).scenarios())
    assert len(found) == 8
    assert all(isinstance(scenario, Scenario) for scenario in found)
    with pytest.raises(DataError, match="holds no"):
        Lanelet2(str(data_dir / "ngsim_commonroad"))


@pytest.mark.real_logs
@pytest.mark.parametrize("name", ["karlsruhe_mapping_example", "kashiwanoha_lanelet2_map"])
def test_maps_are_as_the_lanelet2_library_reads_them(data_dir: Path, name: str) -> None:
    lanelet2 = pytest.importorskip("lanelet2", reason="needs the lanelet2 library")
    path = data_dir / "lanelet2_maps" / f"{name}.osm"
    ours = read_map(path)
    rules = lanelet2.traffic_rules.create(
        lanelet2.traffic_rules.Locations.Germany, lanelet2.traffic_rules.Participants.Vehicle
    )
    node = ElementTree.parse(path).getroot().find("node")
    origin = lanelet2.io.Origin(float(node.get("lat")), float(node.get("lon")))
    theirs = lanelet2.io.load(str(path), lanelet2.projection.LocalCartesianProjector(origin))
    graph = lanelet2.routing.RoutingGraph(theirs, rules)
    lanes = {}
    for one in theirs.laneletLayer:
        both = [one] if rules.isOneWay(one) else [one, one.invert()]
        lanes |= {_name(lanelet): lanelet for lanelet in both if rules.canPass(lanelet)}
    cars = {n for n, kind in zip(ours.lane_id, ours.lane_kind, strict=True)
            if kind != LaneKind.BIKE}  # fmt: skip
    assert cars == set(lanes)
    index = {n: i for i, n in enumerate(ours.lane_id)}
    for key, lanelet in lanes.items():
        i = index[key]
        after = {ours.lane_id[j] for j in ours.lane_successors[i]}
        assert after == {_name(f) for f in graph.following(lanelet)}
        for side, found in ((ours.lane_left, graph.left), (ours.lane_right, graph.right)):
            other = found(lanelet)
            assert (ours.lane_id[side[i]] if side[i] >= 0 else None) == (
                None if other is None else _name(other)
            )
        ring = [(p.x, p.y) for p in lanelet.leftBound] + [
            (p.x, p.y) for p in reversed(list(lanelet.rightBound))
        ]
        area = shapely.polygons(ours.lane_polygon[i]).area
        assert area == pytest.approx(shapely.Polygon(ring).area, rel=1e-3)


def _name(lanelet: object) -> str:
    return ("-" if lanelet.inverted() else "") + str(lanelet.id)  # type: ignore[attr-defined]
