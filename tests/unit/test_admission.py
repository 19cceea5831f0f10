from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError
from roadworthy.kinematics import (
    ego_states_from_poses,
    fill_gaps,
    smooth_derivative,
    track_velocities,
)
from roadworthy.rings import rings_of, union_rings
from roadworthy.routing import LaneGraph
from roadworthy.scenario import (
    AgentKind,
    AreaKind,
    LaneKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    Tracks,
)
from roadworthy.vehicle import PACIFICA, EgoIndex

STEPS = 40
SPEED = 10.0
NAN = float("nan")


def line(x0: float, x1: float, y: float) -> np.ndarray:
    x = np.linspace(x0, x1, 21)
    return np.column_stack([x, np.full(21, y), np.zeros(21)])


def box(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def street() -> RoadMap:
    """Lanes 0 -> 1 -> 2 along x, lane 3 beside lane 0."""
    spans = [(-50.0, 0.0, 0.0), (0.0, 100.0, 0.0), (100.0, 200.0, 0.0), (-50.0, 0.0, 3.5)]
    return RoadMap(
        lane_id=("a", "b", "c", "d"),
        lane_kind=np.array([LaneKind.LANE] * 4, np.int8),
        lane_centreline=Ragged.of([line(*s) for s in spans], 3),
        lane_polygon=Ragged.of([box(a, b, y - 1.75, y + 1.75) for a, b, y in spans], 2),
        lane_speed_limit=np.array([13.9, NAN, 13.9, 13.9]),
        lane_successors=Ragged.of([[1], [2], [], []], None, np.int64),
        lane_left=np.array([3, -1, -1, -1]),
        lane_right=np.array([-1, -1, -1, 0]),
        area_kind=np.array([AreaKind.DRIVABLE], np.int8),
        area_polygon=Ragged.of([box(-50.0, 200.0, -2.0, 5.5)], 2),
        stop_line=np.array([[[100.0, -1.75], [100.0, 1.75]]]),
        stop_line_lane=np.array([1]),
    )


def good() -> Scenario:
    x = SPEED * 0.1 * np.arange(STEPS)
    poses = np.column_stack([x, np.zeros(STEPS), np.zeros(STEPS)])
    state = np.zeros((2, STEPS, 5))
    state[0, :, 0] = x + 20.0
    state[0, :, 3] = SPEED
    state[1, :, 1] = 8.0
    return Scenario(
        id="demo",
        source="test",
        map=street(),
        ego=ego_states_from_poses(poses, PACIFICA),
        agents=Tracks(
            ("car", "walker"),
            np.array([AgentKind.VEHICLE, AgentKind.PEDESTRIAN], np.int8),
            np.array([[4.5, 1.9, 1.6], [0.6, 0.6, 1.8]]),
            state,
            np.ones((2, STEPS), bool),
        ),
        route=Route(np.array([0, 1]), np.concatenate([line(-50, 0, 0), line(0, 100, 0)])),
        signals=Signals(np.array([1]), np.ones((1, STEPS), np.int8)),
        start=15,
    )


def changed(array: np.ndarray, index: Any, value: Any) -> np.ndarray:
    out = array.copy()
    out[index] = value
    return out


def with_map(**fields: Any) -> Scenario:
    scenario = good()
    return replace(scenario, map=replace(scenario.map, **fields))


def with_agents(**fields: Any) -> Scenario:
    scenario = good()
    return replace(scenario, agents=replace(scenario.agents, **fields))


def rows(ragged: Ragged, at: int, row: Any, width: int | None) -> Ragged:
    listed = [np.asarray(r) for r in ragged]
    listed[at] = np.asarray(row)
    return Ragged.of(listed, width, ragged.values.dtype)


def arrays(scenario: Scenario) -> list[np.ndarray]:
    m, a = scenario.map, scenario.agents
    ragged = [m.lane_centreline, m.lane_polygon, m.lane_successors, m.area_polygon]
    return [
        *(x for r in ragged for x in (r.values, r.offsets)),
        *(m.lane_kind, m.lane_speed_limit, m.lane_left, m.lane_right, m.area_kind),
        *(m.stop_line, m.stop_line_lane, scenario.ego, a.kind, a.size, a.state, a.valid),
        *(scenario.route.lanes, scenario.route.centreline),
        *(scenario.signals.lane, scenario.signals.state),
    ]


def test_what_is_admitted_is_frozen_and_nothing_was_repaired_but_the_route_joint() -> None:
    scenario = admit(good())
    assert scenario.repairs == ("route.centreline: 1 consecutive duplicate points removed.",)
    for array in arrays(scenario):
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert scenario.ego.dtype == np.float64


def test_the_input_is_left_as_it_was() -> None:
    scenario = good()
    admit(scenario)
    assert all(array.flags.writeable for array in arrays(scenario))


def test_admitting_twice_changes_nothing() -> None:
    once = admit(good())
    twice = admit(once)
    assert twice.hash == once.hash
    assert twice.repairs == once.repairs
    assert twice.map is once.map


def test_scenarios_of_one_map_share_the_admitted_map() -> None:
    first = good()
    second = replace(good(), id="other", map=first.map)
    assert admit(first).map is admit(second).map


def errors() -> dict[str, tuple[Scenario, str]]:
    s = good()
    m, a = s.map, s.agents
    return {
        "empty id": (replace(s, id=""), "id is ''"),
        "control characters": (replace(s, id="a\nb"), "printable"),
        "tags": (replace(s, tags=("rare", "")), r"tags\[1\]"),
        "too short": (replace(s, ego=s.ego[:10]), "10 steps"),
        "start early": (replace(s, start=14), r"start is 14"),
        "start late": (replace(s, start=STEPS - 1), rf"\[15, {STEPS - 2}\]"),
        "start fraction": (replace(s, start=15.5), "start is 15.5"),  # type: ignore[arg-type]
        "ego nan": (replace(s, ego=changed(s.ego, (7, 3), NAN)), r"ego\[7, 3\] is nan"),
        "ego far": (replace(s, ego=changed(s.ego, (0, 0), 1e12)), r"ego\[0, 0\]"),
        "ego type": (replace(s, ego=s.ego.astype(complex)), "of type complex"),
        "ego teleports": (replace(s, ego=changed(s.ego, (20, 0), 60.0)), r"ego\[20\].*teleports"),
        "ego jumps": (replace(s, ego=changed(s.ego, (20, 1), 2.0)), r"ego\[20\].*velocity"),
        "ego spins": (replace(s, ego=changed(s.ego, (20, 2), 2.0)), r"turned by|velocity leads"),
        "ego off the map": (replace(s, ego=s.ego + np.eye(11)[1] * 500.0), "never on the map"),
        "agents shape": (with_agents(state=a.state[:, :, :4]), r"agents.state is of shape"),
        "agents steps": (with_agents(valid=a.valid[:, :5]), r"agents.valid .*\[2, 40\]"),
        "agents valid type": (with_agents(valid=a.valid.astype(float)), "agents.valid is of type"),
        "agents kind": (with_agents(kind=np.array([0, 9])), r"agents.kind\[1\] is 9"),
        "agents ids": (with_agents(id=("x", "x")), r"agents.id\[1\] is 'x'"),
        "agents id type": (with_agents(id=["x", "y"]), "tuple of strings"),
        "lane ids": (with_map(lane_id=("a", "b", "b", "d")), r"lane_id\[2\] is 'b'"),
        "no lanes": (with_map(lane_id=()), "0 lanes"),
        "lane kind": (with_map(lane_kind=np.array([0, 0, 7, 0])), r"lane_kind\[2\] is 7"),
        "lane kind fraction": (with_map(lane_kind=np.full(4, 0.5)), "of type float64"),
        "speed limit": (with_map(lane_speed_limit=np.array([1.0, 0.0, 1, 1])), r"limit\[1\] is 0"),
        "successor": (
            with_map(lane_successors=rows(m.lane_successors, 2, [4], None)),
            r"lane_successors\[2\] is 4",
        ),
        "neighbour": (with_map(lane_left=np.array([3, -2, -1, -1])), r"lane_left\[1\] is -2"),
        "own neighbour": (with_map(lane_left=np.array([0, -1, -1, -1])), r"lane_left\[0\] is 0"),
        "rows": (with_map(lane_polygon=Ragged.of([box(0, 1, 0, 1)], 2)), "1 rows"),
        "offsets": (
            with_map(lane_polygon=replace(m.lane_polygon, offsets=np.array([0, 8, 4, 12, 16]))),
            r"offsets\[2\] is 4",
        ),
        "offsets end": (
            with_map(lane_polygon=replace(m.lane_polygon, offsets=np.array([0, 4, 8, 12, 13]))),
            "Run from 0 to 16",
        ),
        "areas": (with_map(area_kind=np.array([0, 0], np.int8)), "1 rows"),
        "stop line lane": (with_map(stop_line_lane=np.array([9])), r"stop_line_lane\[0\] is 9"),
        "stop line": (with_map(stop_line=np.full((1, 2, 2), NAN)), "stop_line"),
        "route lane": (
            replace(s, route=replace(s.route, lanes=np.array([0, 4]))),
            r"route.lanes\[1\] is 4",
        ),
        "no route": (
            replace(s, route=replace(s.route, lanes=np.zeros(0, int))),
            "route.lanes is empty",
        ),
        "route line": (
            replace(s, route=replace(s.route, centreline=np.zeros((5, 3)))),
            "1 distinct points",
        ),
        "route line nan": (
            replace(s, route=replace(s.route, centreline=np.full((5, 3), NAN))),
            r"route.centreline\[0, 0\] is nan",
        ),
        "route on a bad lane": (
            with_map(lane_centreline=rows(m.lane_centreline, 1, [[0, 0, 0]], 3)),
            r"route.lanes\[1\] is 1",
        ),
        "signal shape": (
            replace(s, signals=Signals(np.array([1]), np.ones((2, STEPS), np.int8))),
            "signals.state is of shape",
        ),
        "signal state": (
            replace(s, signals=Signals(np.array([1]), np.full((1, STEPS), 4))),
            r"signals.state\[0, 0\] is 4",
        ),
        "signal lane": (
            replace(s, signals=Signals(np.array([-1]), np.ones((1, STEPS), np.int8))),
            r"signals.lane\[0\] is -1",
        ),
        "two signals": (
            replace(s, signals=Signals(np.array([1, 1]), np.ones((2, STEPS), np.int8))),
            "Two signals",
        ),
        "no map": (replace(s, map=None), "map is NoneType"),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("case", errors())
def test_unfit_scenes_are_refused_with_reasons(case: str) -> None:
    scenario, words = errors()[case]
    with pytest.raises(ScenarioError, match=f"(?s){words}") as caught:
        admit(scenario)
    assert caught.value.hint
    assert repr(scenario.id) in caught.value.message


def repairs() -> dict[str, tuple[Scenario, str, int]]:
    """Scenario, words of the repair, and how many agents are left."""
    a = good().agents
    return {
        "size zero": (with_agents(size=changed(a.size, (0, 1), 0.0)), "'car' dropped: its size", 1),
        "size nan": (with_agents(size=changed(a.size, (0, 1), NAN)), "'car' dropped: its size", 1),
        "size huge": (with_agents(size=changed(a.size, (1, 0), 1e3)), "'walker' dropped", 1),
        "teleports": (with_agents(state=changed(a.state, (0, 25, 0), 400.0)), "teleports", 1),
        "too fast": (with_agents(state=changed(a.state, (0, 25, 3), 400.0)), "400 m/s", 1),
        "never there": (with_agents(valid=changed(a.valid, 1, False)), "valid at no step", 1),
        "one nan": (with_agents(state=changed(a.state, (1, 5, 2), NAN)), "1 steps with values", 2),
        "all nan": (with_agents(state=changed(a.state, 1, NAN)), "valid at no step", 1),
    }


@pytest.mark.parametrize("case", repairs())
def test_tracks_are_mended_or_dropped_and_it_is_said(case: str) -> None:
    scenario, words, left = repairs()[case]
    admitted = admit(scenario)
    assert any(words in sentence for sentence in admitted.repairs), admitted.repairs
    assert len(admitted.agents) == left
    assert np.isfinite(admitted.agents.state).all()


def test_a_nan_in_a_valid_step_invalidates_that_step_alone() -> None:
    a = good().agents
    admitted = admit(with_agents(state=changed(a.state, (1, 5, 2), NAN)))
    assert np.flatnonzero(~admitted.agents.valid[1]).tolist() == [5]


def test_nan_where_not_valid_is_no_repair() -> None:
    a = good().agents
    scenario = with_agents(
        state=changed(a.state, (1, 5), NAN), valid=changed(a.valid, (1, 5), False)
    )
    admitted = admit(scenario)
    assert len(admitted.repairs) == 1
    assert np.isfinite(admitted.agents.state).all()


@pytest.mark.parametrize("points", [[[100.0, 0, 0]], [[100.0, 0, 0]] * 3, [[NAN, 0, 0]] * 3])
def test_a_lane_without_length_goes_and_the_topology_follows(points: Any) -> None:
    m = street()
    # The bad lane is put first, so that every index shifts.
    order = [2, 0, 1, 3]
    moved = replace(
        m,
        lane_id=tuple(m.lane_id[i] for i in order),
        lane_centreline=Ragged.of([points, *(m.lane_centreline[i] for i in order[1:])], 3),
        lane_polygon=Ragged.of([m.lane_polygon[i] for i in order], 2),
        lane_speed_limit=m.lane_speed_limit[order],
        lane_successors=Ragged.of([[], [2], [0], []], None, np.int64),
        lane_left=np.array([-1, 3, -1, -1]),
        lane_right=np.array([-1, -1, -1, 1]),
        stop_line_lane=np.array([2]),
    )
    base = good()
    scenario = replace(
        base,
        map=moved,
        route=replace(base.route, lanes=np.array([1, 2])),
        signals=Signals(np.array([2, 0]), np.ones((2, STEPS), np.int8)),
    )
    admitted = admit(scenario)
    now = admitted.map
    assert now.lane_id == ("a", "b", "d")
    assert [row.tolist() for row in now.lane_successors] == [[1], [], []]
    assert now.lane_left.tolist() == [2, -1, -1]
    assert now.lane_right.tolist() == [-1, -1, 0]
    assert now.stop_line_lane.tolist() == [1]
    assert admitted.route.lanes.tolist() == [0, 1]
    assert admitted.signals.lane.tolist() == [1]
    assert any("'c' dropped" in s for s in admitted.repairs)
    assert any("signals: 1 dropped" in s for s in admitted.repairs)


def test_repeated_centreline_points_are_removed() -> None:
    m = street()
    doubled = np.repeat(m.lane_centreline[2], 2, axis=0)
    admitted = admit(with_map(lane_centreline=rows(m.lane_centreline, 2, doubled, 3)))
    np.testing.assert_array_equal(admitted.map.lane_centreline[2], m.lane_centreline[2])
    assert any("20 " in s or "21 " in s for s in admitted.repairs)


def test_a_lane_polygon_that_crosses_itself_keeps_its_largest_part() -> None:
    m = street()
    bow = [[100.0, -2], [180.0, 2], [180.0, -2], [100.0, 1.0]]
    admitted = admit(with_map(lane_polygon=rows(m.lane_polygon, 2, bow, 2)))
    ring = shapely.polygons(admitted.map.lane_polygon[2])
    assert ring.is_valid
    assert ring.area > 0.5 * shapely.make_valid(shapely.polygons(bow)).area
    assert any("crossed itself" in s for s in admitted.repairs)


def test_an_area_that_crosses_itself_is_split_and_no_ground_is_lost() -> None:
    m = street()
    bow = np.array([[-50.0, -20], [200, 20], [200, -20], [-50, 20]])
    admitted = admit(
        with_map(
            area_kind=np.array([0, 0], np.int8),
            area_polygon=Ragged.of([*m.area_polygon, bow], 2),
        )
    )
    assert admitted.map.area_kind.tolist() == [0, 0, 0]
    parts = [shapely.polygons(p) for p in list(admitted.map.area_polygon)[1:]]
    assert all(p.is_valid for p in parts)
    total = shapely.make_valid(shapely.polygons(bow)).area
    assert sum(p.area for p in parts) == pytest.approx(total)


@pytest.mark.parametrize(
    "ring", [[[0.0, 0], [1, 1]], [[0.0, 0]] * 5, [[0.0, NAN]] * 4, [], [[1e300, 0], [0, 0], [1, 1]]]
)
def test_areas_that_are_none_are_dropped(ring: Any) -> None:
    m = street()
    scenario = with_map(
        area_kind=np.array([0, 3], np.int8),
        area_polygon=Ragged.of([*m.area_polygon, ring], 2),
    )
    admitted = admit(scenario)
    assert len(admitted.map.area_polygon) == 1
    assert any("area_polygon[1] dropped" in s for s in admitted.repairs)


def test_rings_of_a_polygon_with_holes_cover_it_and_have_none() -> None:
    outer = shapely.box(0, 0, 30, 20)
    holes = [shapely.box(x, y, x + 3, y + 3) for x in (2, 12, 22) for y in (2, 12)]
    polygon = outer.difference(shapely.union_all(holes))
    pieces = [shapely.polygons(r) for r in rings_of(polygon)]
    assert sum(p.area for p in pieces) == pytest.approx(polygon.area)
    assert shapely.union_all(pieces).symmetric_difference(polygon).area < 1e-9
    assert all(p.is_valid and len(p.interiors) == 0 for p in pieces)


def test_union_closes_seams() -> None:
    (ring,) = union_rings([box(0, 10, 0, 3), box(10.01, 20, 0, 3)], 0.02)
    assert shapely.polygons(ring).area == pytest.approx(60.0, rel=1e-3)


def test_derivatives_of_a_parabola_are_exact_to_the_ends() -> None:
    t = 0.1 * np.arange(30)
    values = 1e6 + 3.0 * t + 0.5 * t**2
    np.testing.assert_allclose(smooth_derivative(values, 1), 3.0 + t, atol=1e-6)
    np.testing.assert_allclose(smooth_derivative(values, 2), 1.0, atol=1e-5)
    np.testing.assert_allclose(smooth_derivative(values, 0), values)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_derivatives_of_short_series(n: int) -> None:
    slope = smooth_derivative(2.0 * 0.1 * np.arange(n), 1)
    np.testing.assert_allclose(slope, 0.0 if n == 1 else 2.0, atol=1e-9)


def test_ego_states_on_a_circle() -> None:
    radius, speed = 20.0, 8.0
    angle = speed / radius * 0.1 * np.arange(60)
    poses = np.column_stack(
        [
            radius * np.sin(angle),
            radius * (1 - np.cos(angle)),
            (angle + np.pi) % (2 * np.pi) - np.pi,
        ]
    )
    states = ego_states_from_poses(poses, PACIFICA)
    middle = states[5:-5]
    np.testing.assert_allclose(middle[:, EgoIndex.VX], speed, rtol=5e-3)
    np.testing.assert_allclose(middle[:, EgoIndex.VY], 0.0, atol=0.05)
    np.testing.assert_allclose(middle[:, EgoIndex.AY], speed**2 / radius, rtol=1e-2)
    np.testing.assert_allclose(middle[:, EgoIndex.YAW_RATE], speed / radius, rtol=1e-6)
    wanted = np.arctan(PACIFICA.wheelbase / radius)
    np.testing.assert_allclose(middle[:, EgoIndex.STEER], wanted, rtol=1e-2)
    assert np.abs(np.diff(states[:, EgoIndex.YAW])).max() < 0.1


def test_a_standing_ego_has_no_steering_of_its_own() -> None:
    states = ego_states_from_poses(np.zeros((30, 3)), PACIFICA)
    assert not states.any()


def test_track_velocities_run_by_run() -> None:
    x = np.concatenate([np.arange(20) * 0.5, 100.0 + np.arange(20) * -0.3])
    valid = np.ones(40, bool)
    valid[20] = False
    out = track_velocities(np.column_stack([x, np.zeros(40)]), valid)
    np.testing.assert_allclose(out[:20, 0], 5.0)
    assert not out[20].any()
    np.testing.assert_allclose(out[21:, 0], -3.0)


def test_gaps_are_filled_the_short_way_round() -> None:
    state = np.zeros((6, 5))
    state[0, 2], state[3, 2], state[3, 0] = 3.1, -3.1, 3.0
    valid = np.array([True, False, False, True, False, False])
    filled, now = fill_gaps(state, valid, 2)
    assert now.tolist() == [True] * 4 + [False] * 2
    assert np.abs(filled[1:3, 2]).min() > 3.0
    np.testing.assert_allclose(filled[1:3, 0], [1.0, 2.0])


def test_matching_follows_a_lane_change() -> None:
    graph = LaneGraph(street())
    x = np.linspace(-48, 60, 80)
    y = np.interp(x, [-35, -15], [3.5, 0.0])
    assert graph.match(np.column_stack([x, y, np.zeros(80)])) == [3, 0, 1]


def test_route_crosses_over_where_the_drive_did() -> None:
    graph = LaneGraph(street())
    x = np.linspace(-48, 60, 120)
    y = np.interp(x, [-35, -15], [3.5, 0.0])
    route = graph.route(np.column_stack([x, y, np.zeros(120)]), ahead=100.0)
    assert route is not None
    assert route.lanes.tolist() == [0, 1, 2, 3]
    at = np.interp([-47.0, -5.0, 30.0, 150.0], route.centreline[:, 0], route.centreline[:, 1])
    np.testing.assert_allclose(at, [3.5, 0.0, 0.0, 0.0], atol=0.4)
    assert route.centreline[-1, 0] == pytest.approx(160.0, abs=2.0)
    assert np.hypot(*np.diff(route.centreline[:, :2], axis=0).T).max() < 1.2


def test_no_route_far_from_any_lane_or_against_the_traffic() -> None:
    graph = LaneGraph(street())
    poses = np.column_stack([np.arange(30.0), np.full(30, 40.0), np.zeros(30)])
    assert graph.route(poses) is None
    poses = np.column_stack([np.arange(30.0, 0, -1), np.zeros(30), np.full(30, np.pi)])
    assert graph.route(poses) is None


def test_a_ring_road_is_not_followed_for_ever() -> None:
    m = replace(street(), lane_successors=Ragged.of([[1], [2], [0], []], None, np.int64))
    assert LaneGraph(m).extend([1], 1e6, 1e6) == [1, 2, 0]
