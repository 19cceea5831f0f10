from __future__ import annotations

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
import shapely
from roadworthy.errors import SuiteError
from roadworthy.rings import union_rings
from roadworthy.routing import LaneGraph
from roadworthy.scenario import HISTORY, AgentKind, AreaKind, LaneKind, Scenario, SignalState
from roadworthy.vehicle import PACIFICA, EgoIndex
from roadworthy_sources.procedural import Procedural
from roadworthy_sources.procedural.families import FAMILIES
from roadworthy_sources.procedural.following import overlaps
from roadworthy_sources.procedural.roads import RoadBuilder, arc, offset, straight
from roadworthy_sources.procedural.scene import STEPS
from roadworthy_sources.procedural.traffic import Actor, run_traffic, speed_script

COUNT = 60
NO_SIGNALS = np.zeros((0, STEPS), np.int8)


@pytest.fixture(scope="module")
def scenes() -> list[Scenario]:
    found = list(Procedural(seed=11, count=COUNT).scenarios())
    assert all(isinstance(s, Scenario) for s in found)
    return found  # type: ignore[return-value]


def boxes_of(scenario: Scenario) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres [1 + A, T, 3], validity and half sizes, the ego first."""
    ego = scenario.ego[None, :, :3].copy()
    ahead = scenario.vehicle.rear_axle_to_centre
    ego[..., 0] += ahead * np.cos(ego[..., 2])
    ego[..., 1] += ahead * np.sin(ego[..., 2])
    centre = np.concatenate([ego, scenario.agents.state[..., :3]])
    valid = np.concatenate([np.ones((1, scenario.steps), bool), scenario.agents.valid])
    own = [[0.5 * scenario.vehicle.length, 0.5 * scenario.vehicle.width]]
    return centre, valid, np.concatenate([own, 0.5 * scenario.agents.size[:, :2]])


def blind_crash(scenario: Scenario) -> bool:
    """Whether an ego that goes straight on at its present speed hits someone or leaves the road."""
    centre, valid, half = boxes_of(scenario)
    now = scenario.start
    time_ahead = 0.1 * np.arange(scenario.steps - now)
    speed, yaw = scenario.ego[now, EgoIndex.VX], scenario.ego[now, EgoIndex.YAW]
    centre, valid = centre[:, now:].copy(), valid[:, now:]
    centre[0, :, 0] = centre[0, 0, 0] + speed * time_ahead * np.cos(yaw)
    centre[0, :, 1] = centre[0, 0, 1] + speed * time_ahead * np.sin(yaw)
    centre[0, :, 2] = yaw
    for a in range(1, len(centre)):
        if overlaps(centre[[0, a]], valid[[0, a]], half[[0, a]])[0] >= 0:
            return True
    return not shapely.contains_xy(surface(scenario), *centre[0, :, :2].T).all()


def surface(scenario: Scenario) -> shapely.Geometry:
    m = scenario.map
    rings = [p for k, p in zip(m.area_kind, m.area_polygon, strict=True) if k == AreaKind.DRIVABLE]
    return shapely.union_all([shapely.polygons(r) for r in rings])


def test_lengths_tags_and_names(scenes: list[Scenario]) -> None:
    assert len({s.id for s in scenes}) == COUNT
    for scenario in scenes:
        assert scenario.steps == STEPS == HISTORY + 150
        assert scenario.start == HISTORY - 1
        words = set(scenario.tags)
        assert ("common" in words) != ("rare" in words)
        (family,) = words & set(FAMILIES)
        if "rare" in words:
            assert words & set(FAMILIES[family].rare)
        assert scenario.lineage is not None
    rare = {t for s in scenes if "rare" in s.tags for t in s.tags}
    assert {"cut_in", "pedestrian_cyclist", "intersection", "hard_brake", "blocked_lane"} <= rare


def test_nothing_is_repaired(scenes: list[Scenario]) -> None:
    assert [s.repairs for s in scenes if s.repairs] == []


def test_nobody_touches_anybody(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        assert overlaps(*boxes_of(scenario)) == (-1, -1, -1), scenario.id


def test_the_expert_stays_on_the_road_and_brakes_within_reason(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        ground = surface(scenario)
        centre, _, half = boxes_of(scenario)
        x, y, yaw = centre[0].T
        for a in (half[0, 0], -half[0, 0]):
            for b in (half[0, 1], -half[0, 1]):
                cx = x + a * np.cos(yaw) - b * np.sin(yaw)
                cy = y + a * np.sin(yaw) + b * np.cos(yaw)
                assert shapely.contains_xy(ground, cx, cy).all(), scenario.id
        limit = 3.8 if "common" in scenario.tags else 7.5
        assert scenario.ego[:, EgoIndex.AX].min() >= -limit
        assert scenario.ego[:, EgoIndex.AX].max() <= 2.4
        assert np.abs(scenario.ego[:, EgoIndex.AY]).max() < 4.0


def test_the_expert_stops_for_red(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        if "four_way" not in scenario.tags:
            continue
        graph = LaneGraph(scenario.map)
        chain = graph.match(scenario.ego[:, :3])
        for lane, states in zip(scenario.signals.lane, scenario.signals.state, strict=True):
            if lane not in chain:
                continue
            ring = scenario.map.lane_polygon[lane]
            front = scenario.ego[:, :2] + scenario.vehicle.front * np.stack(
                [np.cos(scenario.ego[:, 2]), np.sin(scenario.ego[:, 2])], 1
            )
            inside = shapely.contains_xy(shapely.polygons(ring), *front.T)
            entered = np.flatnonzero(np.diff(inside.astype(int)) == 1)
            assert not len(entered) or states[entered[0]] != SignalState.RED, scenario.id


def test_positions_and_velocities_agree(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        state, valid = scenario.agents.state, scenario.agents.valid
        both = valid[:, 1:] & valid[:, :-1]
        moved = np.diff(state[..., :2], axis=1)
        led = 0.05 * (state[:, 1:, 3:] + state[:, :-1, 3:])
        assert np.hypot(*(moved - led)[both].T).max() < 0.15, scenario.id
        speed = np.hypot(*state[..., 3:].transpose(2, 0, 1))
        assert speed[valid].max() < 20.0
        walkers = scenario.agents.kind == AgentKind.PEDESTRIAN
        assert speed[walkers].max(initial=0.0) < 2.0
        things = scenario.agents.kind >= AgentKind.TRAFFIC_CONE
        assert not speed[things].any()


def test_cars_in_lanes_face_the_way_of_the_lane(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        now = scenario.start
        graph = LaneGraph(scenario.map)
        rings = [shapely.polygons(r) for r in scenario.map.lane_polygon]
        speed = np.hypot(*scenario.agents.state[:, now, 3:].T)
        for a in np.flatnonzero(scenario.agents.valid[:, now] & (speed > 3.0)):
            if scenario.agents.kind[a] != AgentKind.VEHICLE:
                continue
            x, y, yaw = scenario.agents.state[a, now, :3]
            on = [i for i, ring in enumerate(rings) if shapely.contains_xy(ring, x, y)]
            turns = [yaw - graph.locate(i, np.array([x, y]))[2] for i in on]
            assert turns, (scenario.id, scenario.agents.id[a])
            assert max(np.cos(turns)) > 0.9


def test_scenes_are_peopled(scenes: list[Scenario]) -> None:
    counts = [len(s.agents) for s in scenes]
    assert min(counts) >= 5
    assert 15 <= np.median(counts) <= 40
    kinds = {k for s in scenes for k in s.agents.kind.tolist()}
    assert kinds == set(AgentKind)


def test_a_route_leads_on(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        line = scenario.route.centreline
        apart = np.hypot(*(line[:, :2] - scenario.ego[-1, :2]).T)
        assert apart.min() < 1.0
        assert len(line) - apart.argmin() > 20
        behind = np.hypot(*(line[:, :2] - scenario.ego[0, :2]).T).argmin()
        assert behind >= 15
        rings = [shapely.polygons(scenario.map.lane_polygon[i]) for i in scenario.route.lanes]
        assert shapely.contains_xy(shapely.union_all(rings).buffer(0.05), *line[:, :2].T).all()


def test_rare_scenes_punish_driving_on_blindly(scenes: list[Scenario]) -> None:
    rare = [blind_crash(s) for s in scenes if "rare" in s.tags]
    assert np.mean(rare) >= 0.8


def test_drivable_areas_cover_all_lanes(scenes: list[Scenario]) -> None:
    for scenario in scenes:
        lanes = shapely.union_all([shapely.polygons(r) for r in scenario.map.lane_polygon])
        assert lanes.difference(surface(scenario).buffer(0.02)).area < 0.1, scenario.id


def test_equal_seeds_give_equal_bytes_in_another_process() -> None:
    code = (
        "from roadworthy_sources.procedural import Procedural\n"
        "print(*[s.hash for s in Procedural(seed=3, count=5).scenarios()])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [s.hash for s in Procedural(seed=3, count=5).scenarios()]  # type: ignore[union-attr]
    assert out.stdout.split() == here
    assert here[0] != Procedural(seed=4, count=1).scenario(0).hash  # type: ignore[union-attr]


def test_a_longer_sequence_starts_with_the_shorter_one() -> None:
    short = [s.hash for s in Procedural(seed=5, count=3).scenarios()]  # type: ignore[union-attr]
    longer = Procedural(seed=5, count=30)
    assert [longer.scenario(i).hash for i in range(3)] == short  # type: ignore[union-attr]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("distribution", ["common", "rare"])
def test_families_by_name(family: str, distribution: str) -> None:
    made = Procedural(seed=2, count=4, families=[family], distribution=distribution).scenarios()  # type: ignore[arg-type]
    for scenario in made:
        assert isinstance(scenario, Scenario)
        assert {family, distribution} <= set(scenario.tags)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"count": 0}, "count is 0"),
        ({"families": ["strait"]}, "'straight'"),
        ({"families": []}, "families is empty"),
        ({"distribution": "rares"}, "'rare'"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SuiteError, match=words) as caught:
        Procedural(**arguments)  # type: ignore[arg-type]
    assert caught.value.hint


def test_a_hundred_scenarios_take_seconds() -> None:
    list(Procedural(seed=0, count=5).scenarios())
    begin = time.process_time()
    list(Procedural(seed=0, count=50).scenarios())
    assert time.process_time() - begin < 15.0


def test_offset_keeps_its_distance_on_an_arc() -> None:
    curve = arc((0.0, 0.0), 0.0, 40.0, 60.0)
    moved = offset(curve, 3.5)
    np.testing.assert_allclose(np.hypot(moved[1:-1, 0], moved[1:-1, 1] - 40.0), 36.5, atol=1e-3)


def test_roads_join_both_ways_and_neighbours_mirror() -> None:
    roads = RoadBuilder()
    line = straight((0.0, 0.0), 0.0, 100.0)
    parts = [roads.road("a", line[:51], 2, 1, 13.9), roads.road("b", line[50:], 2, 1, 13.9)]
    roads.chain(parts)
    built = roads.build()
    at = {name: i for i, name in enumerate(built.lane_id)}
    assert built.lane_successors[at["a/f0"]].tolist() == [at["b/f0"]]
    assert built.lane_successors[at["b/b0"]].tolist() == [at["a/b0"]]
    assert built.lane_right[at["a/f0"]] == at["a/f1"]
    assert built.lane_left[at["a/f1"]] == at["a/f0"]
    assert built.lane_right[at["a/f1"]] == -1
    assert (built.lane_kind == LaneKind.LANE).all()
    (ring,) = [p for k, p in zip(built.area_kind, built.area_polygon, strict=True) if k == 0]
    assert shapely.polygons(ring).area == pytest.approx(3 * 3.5 * 100.0, rel=1e-3)
    with pytest.raises(ValueError, match="there already"):
        roads.lane("a/f0", line, 13.9)


def car(name: str, station: float, speed: float, desired: float) -> Actor:
    path = straight((0.0, 0.0), 0.0, 500.0)
    size = (4.5, 1.9, 1.6)
    return Actor(name, AgentKind.VEHICLE, size, path, station, speed, desired)


def test_followers_keep_their_distance_and_stop_behind_a_standing_car() -> None:
    flow = run_traffic([car("a", 20, 12, 14), car("b", 150, 0, 0)], NO_SIGNALS, STEPS)
    gap = flow.station[1] - flow.station[0] - 4.5
    assert gap.min() > 1.0
    assert flow.speed[0, -1] < 0.5


def test_a_free_car_reaches_the_speed_it_wants() -> None:
    flow = run_traffic([car("a", 20, 8, 13)], NO_SIGNALS, STEPS)
    assert flow.speed[0, -1] == pytest.approx(13.0, abs=0.8)
    assert flow.speed.max() <= 13.001


def test_red_stops_and_green_does_not() -> None:
    state = np.full((1, STEPS), SignalState.RED, np.int8)
    actor = car("a", 20, 12, 12)
    actor.stops = [(120.0, 0)]
    stopped = run_traffic([actor], state, STEPS)
    assert stopped.station[0, -1] + 2.25 < 120.5
    state[:] = SignalState.GREEN
    assert run_traffic([actor], state, STEPS).station[0, -1] > 180.0


def test_speed_script_integrates_its_knots() -> None:
    station = speed_script(STEPS, 5.0, [(2.0, 10.0), (4.0, 0.0)])
    assert station[0] == 5.0
    assert station[-1] == pytest.approx(5.0 + 20.0 + 10.0, abs=1e-6)


def test_the_vehicle_is_that_of_the_score(scenes: list[Scenario]) -> None:
    assert all(s.vehicle == PACIFICA for s in scenes)


def test_sections_of_a_road_meet_without_a_notch() -> None:
    found = Procedural(seed=3, count=40, families=["curve"], distribution="common").scenarios()
    for scenario in itertools.islice(found, 20, 40):
        rings = zip(scenario.map.area_kind, scenario.map.area_polygon, strict=True)
        ground = shapely.union_all([shapely.polygons(r) for k, r in rings if k == 0])
        closed = ground.buffer(0.1, join_style="mitre").buffer(-0.1, join_style="mitre")
        assert closed.difference(ground).area < 0.01, scenario.id


def test_unions_of_rings_that_touch_themselves_do_not_fail() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        rings = [rng.uniform(0.0, 12.0, (int(rng.integers(3, 12)), 2)) for _ in range(8)]
        for ring in union_rings(rings, 0.3):
            assert shapely.polygons(ring).is_valid
