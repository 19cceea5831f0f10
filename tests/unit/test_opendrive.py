from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import shapely
from map_writers import (
    opendrive_town,
    xodr_geometry,
    xodr_lane,
    xodr_road,
    xodr_two_way,
)
from roadworthy.scenario import AreaKind, LaneKind, Rejected, RoadMap, Scenario
from roadworthy_sources.opendrive import OpenDrive, read_map
from roadworthy_sources.opendrive.reference import Cubic, Piece, cubic_at, reference_at
from scipy.special import fresnel


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "town.xodr"
    path.write_text(text)
    return path


def whole(*roads: str, more: str = "") -> str:
    return f"<OpenDRIVE>{''.join(roads)}{more}</OpenDRIVE>"


def refused(path: Path) -> str:
    (found,) = OpenDrive(str(path)).scenarios()
    assert isinstance(found, Rejected), "was admitted"
    return found.reason


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> RoadMap:
    return read_map(written(tmp_path_factory.mktemp("od"), opendrive_town()))


def names(road_map: RoadMap, rows: object) -> list[str]:
    return [road_map.lane_id[j] for j in rows]  # type: ignore[union-attr]


def test_lanes_and_links(town: RoadMap) -> None:
    index = {name: i for i, name in enumerate(town.lane_id)}
    assert sorted(index) == ["1.0.-1", "1.0.-2", "1.0.1", "2.0.-1", "3.0.-1", "3.0.-2", "3.0.1"]
    assert names(town, town.lane_successors[index["1.0.-1"]]) == ["2.0.-1"]
    assert names(town, town.lane_successors[index["2.0.-1"]]) == ["3.0.-1"]
    assert names(town, town.lane_successors[index["1.0.1"]]) == []
    assert town.lane_kind[index["2.0.-1"]] == LaneKind.CONNECTOR
    assert town.lane_right[index["1.0.-1"]] == index["1.0.-2"]
    assert town.lane_left[index["1.0.-2"]] == index["1.0.-1"]
    assert town.lane_left[index["1.0.-1"]] == -1
    np.testing.assert_allclose(town.lane_speed_limit, 10.0)


def test_geometry(town: RoadMap) -> None:
    index = {name: i for i, name in enumerate(town.lane_id)}
    ahead = town.lane_centreline[index["1.0.-1"]]
    np.testing.assert_allclose(ahead[[0, -1], :2], [[0, -1.75], [60, -1.75]], atol=1e-9)
    back = town.lane_centreline[index["1.0.1"]]
    np.testing.assert_allclose(back[[0, -1], :2], [[60, 1.75], [0, 1.75]], atol=1e-9)
    turn = town.lane_centreline[index["2.0.-1"]]
    np.testing.assert_allclose(np.hypot(turn[:, 0] - 60.0, turn[:, 1] - 20.0), 21.75, atol=1e-6)
    np.testing.assert_allclose(turn[-1, :2], [81.75, 20.0], atol=1e-6)
    for row in town.lane_polygon:
        assert shapely.polygons(row).is_valid


def test_areas(town: RoadMap) -> None:
    area = shapely.union_all(
        [shapely.polygons(ring) for kind, ring in zip(town.area_kind, town.area_polygon,
                                                      strict=True) if kind == AreaKind.DRIVABLE]
    )  # fmt: skip
    assert area.contains(shapely.Point(30.0, -7.5))  # the shoulder
    assert not area.contains(shapely.Point(30.0, -8.5))
    (walk,) = [ring for kind, ring in zip(town.area_kind, town.area_polygon, strict=True)
               if kind == AreaKind.CROSSWALK]  # fmt: skip
    np.testing.assert_allclose(walk.mean(axis=0), [50.0, -2.0], atol=1e-9)
    assert (town.area_kind == AreaKind.INTERSECTION).sum() == 1


def test_scenarios(tmp_path: Path) -> None:
    path = tmp_path / "town.xodr.gz"
    path.write_bytes(gzip.compress(opendrive_town().encode()))
    found = list(OpenDrive(str(path), count=3).scenarios())
    assert [scenario.id for scenario in found] == ["town-0", "town-1", "town-2"]
    first = found[0]
    assert isinstance(first, Scenario)
    assert names(first.map, first.route.lanes)[0].startswith("1.0")
    assert "map_only" in first.tags


def test_clothoids_are_fresnel_integrals() -> None:
    length, rate = 80.0, 0.001
    s = np.linspace(0.0, length, 50)
    found = reference_at([Piece(0, 3, 4, 0.3, length, "spiral", (0.0, rate * length))], s)
    scale = np.sqrt(np.pi / rate)
    y, x = fresnel(s / scale)
    turned = scale * (x + 1j * y) * np.exp(0.3j) + (3 + 4j)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], turned, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], 0.3 + 0.5 * rate * s**2, atol=1e-12)


def test_arcs_and_full_circles() -> None:
    s = np.linspace(0.0, 200.0 * np.pi, 100)
    found = reference_at([Piece(0, 0, 0, 0, s[-1], "arc", (0.1,))], s)
    np.testing.assert_allclose(np.hypot(found[:, 0], found[:, 1] - 10.0), 10.0, atol=1e-8)


def test_polynomials() -> None:
    s = np.linspace(0.0, 20.0, 40)
    cubic = reference_at([Piece(0, 0, 0, 0, 20, "poly3", (0.0, 0.0, 0.01, 0.0))], s)
    np.testing.assert_allclose(cubic[:, 1], 0.01 * cubic[:, 0] ** 2, atol=1e-3)
    steps = np.hypot(*np.diff(cubic[:, :2], axis=0).T)
    np.testing.assert_allclose(steps, np.diff(s), rtol=1e-3)
    values = (0.0, 20.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 1.0)
    unit = reference_at([Piece(0, 0, 0, 0, 20, "paramPoly3", values)], s)
    np.testing.assert_allclose(unit[:, 1], 4.0 * (s / 20.0) ** 2)
    values = (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0)
    same = reference_at([Piece(0, 0, 0, 0, 20, "paramPoly3", values)], s)
    np.testing.assert_allclose(same, unit, atol=1e-9)


def test_pieces_and_cubics_follow_one_another() -> None:
    pieces = [Piece(0, 0, 0, 0, 10, "line"), Piece(10, 10, 0, 0.5, 10, "line")]
    found = reference_at(pieces, np.array([5.0, 10.0, 15.0, 20.0, 99.0]))
    np.testing.assert_allclose(found[1], [10.0, 0.0, 0.5])
    np.testing.assert_allclose(found[3], found[4])
    cubics = [Cubic(2, 1, 0, 0, 0), Cubic(4, 2, 1, 0, 0)]
    np.testing.assert_allclose(cubic_at(cubics, np.array([0.0, 2, 3, 4, 6])), [0, 1, 1, 2, 4])


def test_sections_and_lane_offsets(tmp_path: Path) -> None:
    """Two sections; at their border the lane offset jumps by a lane, and one lane ends."""
    one = xodr_lane(-1) + xodr_lane(-2, link='<successor id="-1"/>')
    two = xodr_lane(-1, link='<predecessor id="-2"/>')
    road = (
        '<road id="1" length="100" junction="-1"><planView>'
        + xodr_geometry(0, 0, 0, 100)
        + '</planView><lanes><laneOffset s="0" a="3.5" b="0" c="0" d="0"/>'
        '<laneOffset s="50" a="0" b="0" c="0" d="0"/>'
        f'<laneSection s="0"><right>{one}</right></laneSection>'
        f'<laneSection s="50"><right>{two}</right></laneSection></lanes></road>'
    )
    road_map = read_map(written(tmp_path, whole(road)))
    index = {name: i for i, name in enumerate(road_map.lane_id)}
    line = road_map.lane_centreline[index["1.0.-2"]]
    np.testing.assert_allclose(line[:, 1], -1.75, atol=1e-6)
    assert names(road_map, road_map.lane_successors[index["1.0.-2"]]) == ["1.1.-1"]
    assert names(road_map, road_map.lane_successors[index["1.0.-1"]]) == ["1.1.-1"]
    assert np.isnan(road_map.lane_speed_limit).all()


def test_left_hand_traffic(tmp_path: Path) -> None:
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, xodr_two_way())
    road_map = read_map(written(tmp_path, whole(road.replace("<road ", '<road rule="LHT" '))))
    line = road_map.lane_centreline[road_map.lane_id.index("1.0.1")]
    np.testing.assert_allclose(line[[0, -1], :2], [[0, 1.75], [60, 1.75]], atol=1e-9)
    at = road_map.lane_id.index("1.0.-1")
    line = road_map.lane_centreline[at]
    np.testing.assert_allclose(line[[0, -1], :2], [[60, -1.75], [0, -1.75]], atol=1e-9)
    assert road_map.lane_left[at] == road_map.lane_id.index("1.0.-2")


def test_namespaces_and_units_in_capitals(tmp_path: Path, town: RoadMap) -> None:
    """Some tools write a default namespace."""
    text = opendrive_town().replace('unit="km/h"', 'unit="KM/H"')
    for name in ("http://www.opendrive.org", "http://www.opendrive.org/schema/1.6"):
        spaced = text.replace("<OpenDRIVE>", f'<OpenDRIVE xmlns="{name}">')
        assert spaced != text
        assert read_map(written(tmp_path, spaced)).hash == town.hash


def test_lanes_against_their_side(tmp_path: Path) -> None:
    """OpenDRIVE 1.8: `direction` = reversed."""
    lanes = xodr_lane(-1) + xodr_lane(-2).replace("<lane ", '<lane direction="reversed" ')
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, f"<right>{lanes}</right>")
    road_map = read_map(written(tmp_path, whole(road)))
    np.testing.assert_allclose(road_map.lane_centreline[0][[0, -1], 0], [0, 60], atol=1e-9)
    np.testing.assert_allclose(road_map.lane_centreline[1][[0, -1], 0], [60, 0], atol=1e-9)
    assert road_map.lane_left.tolist() == road_map.lane_right.tolist() == [-1, -1]


def test_maps_too_short_for_their_speed_are_refused(tmp_path: Path) -> None:
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, f"<right>{xodr_lane(-1)}</right>")
    fast = road.replace('max="36" unit="km/h"', 'max="50" unit="m/s"')
    assert "2.6 s to drive" in refused(written(tmp_path, whole(fast)))


@pytest.mark.parametrize(
    ("mark", "change", "legal"),
    [
        ("broken", "", True),
        ("none", "", True),
        ("solid", "", False),
        ("solid", "both", True),
        ("broken", "none", False),
        ("broken", "decrease", True),
        ("broken", "increase", False),
    ],
)
def test_lane_changes(tmp_path: Path, mark: str, change: str, legal: bool) -> None:
    text = f'type="{mark}"' + (f' laneChange="{change}"' if change else "")
    lanes = xodr_lane(-1).replace('type="broken"', text) + xodr_lane(-2)
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, f"<right>{lanes}</right>")
    road_map = read_map(written(tmp_path, whole(road)))
    assert (road_map.lane_right[0] == 1) == legal


def test_borders_instead_of_widths(tmp_path: Path) -> None:
    lane = (
        '<lane id="-1" type="driving"><border sOffset="0" a="-4" b="0" c="0" d="0"/></lane>'
        '<lane id="-2" type="sidewalk"><border sOffset="0" a="-6" b="0" c="0" d="0"/></lane>'
    )
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, f"<right>{lane}</right>")
    road_map = read_map(written(tmp_path, whole(road)))
    assert road_map.lane_id == ("1.0.-1",)
    np.testing.assert_allclose(road_map.lane_centreline[0][:, 1], -2.0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</OpenDRIVE>", "", "not readable XML"),
        ("OpenDRIVE>", "OpenDrive>", "Wanted: <OpenDRIVE>"),
        ('curvature="0.05"', 'curvature="round"', "curvature is 'round'"),
        ('curvature="0.05"', 'curvature="inf"', "curvature is 'inf'"),
        ("<arc ", "<bow ", "no known shape"),
        ('road id="3"', 'road id="1"', "two roads have the id '1'"),
        ('road id="3"', "road", "attribute 'id'"),
        ('length="60.0"', 'length="1e7"', "length is 10000000.0"),
        ('lane id="-2"', 'lane id="-1"', "lane -1 twice"),
        ('lane id="-2"', 'lane id="-2.5"', "is -2.5"),
        ('from="-1"', 'from="x"', "laneLink is 'x'"),
        ('max="36"', 'max="fast"', "speed.max is 'fast'"),
    ],
)
def test_damaged_files(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = opendrive_town()
    assert old in text
    assert words in refused(written(tmp_path, text.replace(old, new)))


def test_huge_maps_are_refused(tmp_path: Path) -> None:
    lanes = "".join(xodr_lane(-k) for k in range(1, 1000))
    road = xodr_road("1", xodr_geometry(0, 0, 0, 6000), 6000.0, f"<right>{lanes}</right>")
    assert "m of lanes" in refused(written(tmp_path, whole(road)))


def test_roads_without_geometry_or_lanes(tmp_path: Path) -> None:
    empty = xodr_road("7", "", 50.0, xodr_two_way())
    bare = '<road id="8" length="10"/>'
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, xodr_two_way(),
                     '<successor elementType="road" elementId="7" contactPoint="start"/>'
                     '<predecessor elementType="road" elementId="gone"/>')  # fmt: skip
    found = list(OpenDrive(str(written(tmp_path, whole(road, empty, bare)))).scenarios())
    assert all(isinstance(scenario, Scenario) for scenario in found)
    assert sum("dropped" in note for note in found[0].repairs) == 2  # type: ignore[union-attr]
    assert "no lane" in refused(written(tmp_path, whole(empty)))
    assert "no lane" in refused(written(tmp_path, whole()))


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    heights = '<elevationProfile><elevation s="0" a="0" b="0.02" c="0" d="0"/></elevationProfile>'
    things = (
        '<objects><object id="1" type="building"/><bridge id="2"/></objects>'
        '<signals><signal id="3"/><signal id="4"/></signals><railroad/>'
    )
    lanes = xodr_two_way() + f"<right>{xodr_lane(-4, 'sidewalk', 2.0)}</right>"
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, lanes, more=heights + things)
    temporary = '<lanes layer="temporary"><laneSection s="0"><center><lane id="0"/></center>'
    road = road.replace("</road>", f"{temporary}</laneSection></lanes></road>")
    scenario = next(
        iter(OpenDrive(str(written(tmp_path, whole(road, more="<controller/>")))).scenarios())
    )
    assert isinstance(scenario, Scenario), scenario
    said = " ".join(scenario.repairs)
    for words in ("1 <object>", "1 <bridge>", "2 <signal>", "1 <railroad>", "1 <controller>",
                  "as if it were flat", "temporary lanes of 1 roads",
                  "1 lanes of type 'sidewalk'"):  # fmt: skip
        assert words in said, words
    assert len(scenario.map.lane_id) == 3


def test_sections_of_one_side_leave_the_other_going_on(tmp_path: Path) -> None:
    first = f'<laneSection s="0">{xodr_two_way()}</laneSection>'
    wider = xodr_lane(-1, width=4.5, link='<predecessor id="-1"/>')
    second = (
        '<laneSection s="30" singleSide="true"><center><lane id="0"/></center>'
        f"<right>{wider}</right></laneSection>"
    )
    road = xodr_road("1", xodr_geometry(0, 0, 0, 60), 60.0, xodr_two_way())
    head, tail = road.split("<laneSection", 1)
    road = head + first + second + tail.split("</laneSection>", 1)[1]
    road_map = read_map(written(tmp_path, whole(road)))
    index = {name: i for i, name in enumerate(road_map.lane_id)}
    assert set(index) == {"1.0.1", "1.0.-1", "1.0.-2", "1.1.1", "1.1.-1"}
    assert names(road_map, road_map.lane_successors[index["1.1.1"]]) == ["1.0.1"]
    line = road_map.lane_centreline[index["1.1.1"]]
    np.testing.assert_allclose(line[[0, -1], :2], [[60.0, 1.75], [30.0, 1.75]], atol=1e-6)
    assert names(road_map, road_map.lane_successors[index["1.0.-1"]]) == ["1.1.-1"]


def test_junctions_without_lane_links_follow_the_lanes_own(tmp_path: Path, town: RoadMap) -> None:
    text = opendrive_town().replace('<laneLink from="-1" to="-1"/>', "")
    assert "laneLink" not in text
    found = read_map(written(tmp_path, text))
    assert found.hash == town.hash


@pytest.mark.parametrize(
    "shape",
    [
        "<line/>",
        '<arc curvature="-0.02"/>',
        '<spiral curvStart="0.01" curvEnd="-0.03"/>',
        '<poly3 a="0" b="0" c="0.004" d="-0.00002"/>',
        '<paramPoly3 aU="0" bU="80" cU="0" dU="0" aV="0" bV="0" cV="12" dV="-4" '
        'pRange="normalized"/>',
        '<paramPoly3 aU="0" bU="1" cU="0" dU="0" aV="0" bV="0" cV="0.002" dV="0" '
        'pRange="arcLength"/>',
    ],
)
def test_lanes_lie_where_pyxodr_has_them(tmp_path: Path, shape: str) -> None:
    network = pytest.importorskip("pyxodr.road_objects.network", reason="needs pyxodr (MIT)")
    road = xodr_road("1", xodr_geometry(3, 2, 0.4, 80.0, shape), 80.0, xodr_two_way())
    path = written(tmp_path, whole(road))
    ours = read_map(path)
    (theirs,) = network.RoadNetwork(str(path), resolution=0.5).get_roads()
    lanes = {f"1.0.{lane.id}": lane for lane in theirs.lane_sections[0].lanes}
    for name, line in zip(ours.lane_id, ours.lane_centreline, strict=True):
        there = shapely.linestrings(np.asarray(lanes[name].traffic_flow_line)[:, :2])
        here = shapely.linestrings(line[:, :2])
        assert shapely.hausdorff_distance(there, here) < 0.06
        np.testing.assert_allclose(here.coords[0], there.coords[0], atol=0.06)
