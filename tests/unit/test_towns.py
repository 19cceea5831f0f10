"""Towns: streets that join, people who do not collide, rare events, labels, determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from roadworthy.errors import SuiteError
from roadworthy.geometry.boxes import boxes_intersect
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    AreaKind,
    LaneKind,
    Scenario,
    SignalState,
)
from roadworthy.seeding import generator
from roadworthy.vehicle import EgoIndex
from roadworthy_metrics.success import Success
from roadworthy_planners.pdm_closed import PDMClosed
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_sources.towns import Towns, exact, expert, realism
from roadworthy_sources.towns.curves import arc, bezier, hermite
from roadworthy_sources.towns.expert import REPLAN_HZ, log_expert
from roadworthy_sources.towns.junctions import slip_lanes
from roadworthy_sources.towns.people import Draw
from roadworthy_sources.towns.rare import KINDS
from roadworthy_sources.towns.scenes import FEATURES, MAX_AGENTS, ego_track, on_road
from roadworthy_sources.towns.source import RARE_SHARE
from roadworthy_sources.towns.town import Town, make_town

COMMON, RARE = 40, 21


def drawn(**options: object) -> list[Scenario]:
    made = list(Towns(**options).scenarios())  # type: ignore[arg-type]
    assert all(isinstance(s, Scenario) for s in made)
    return made  # type: ignore[return-value]


@pytest.fixture(scope="module")
def towns() -> list[Town]:
    return [make_town(11, "train", number) for number in range(16)]


@pytest.fixture(scope="module")
def common() -> list[Scenario]:
    return drawn(seed=11, count=COMMON, distribution="common", towns=8)


@pytest.fixture(scope="module")
def rare() -> list[Scenario]:
    return drawn(seed=11, count=RARE, distribution="rare", towns=7)


def contact(scenario: Scenario, steps: slice, only_ego: bool, margin: float = 0.0) -> str:
    """Who meets whom, in words; "" for nobody."""
    car, agents = scenario.vehicle, scenario.agents
    centre = np.concatenate([ego_track(scenario.ego)[None], agents.state])[:, steps]
    there = np.concatenate([np.ones((1, scenario.steps), bool), agents.valid])[:, steps]
    half = np.concatenate([[[car.length, car.width]], agents.size[:, :2]]) / 2.0 + margin
    names = ["ego", *agents.id]
    for i in range(1 if only_ego else len(names)):
        for j in range(i + 1, len(names)):
            gap = np.hypot(*(centre[i, :, :2] - centre[j, :, :2]).T)
            for t in np.flatnonzero((gap < half[i].sum() + half[j].sum()) & there[i] & there[j]):
                (x, y, a), (u, v, b) = centre[i, t, :3], centre[j, t, :3]
                if boxes_intersect(x, y, np.cos(a), np.sin(a), *half[i],
                                   u, v, np.cos(b), np.sin(b), *half[j]):  # fmt: skip
                    return f"{scenario.id}: {names[i]} and {names[j]} at {t}"
    return ""


def test_lanes_join_without_gaps_or_kinks(towns: list[Town]) -> None:
    for town in towns:
        lines = town.map.lane_centreline
        for lane, after in enumerate(town.map.lane_successors):
            for other in after:
                end, start = lines[lane][-1], lines[int(other)][0]
                assert np.hypot(*(end - start)[:2]) < 0.05, (town.name, town.map.lane_id[lane])
                turn = (end[2] - start[2] + np.pi) % (2.0 * np.pi) - np.pi
                assert abs(turn) < np.radians(2.0), (town.name, town.map.lane_id[lane])


def test_every_lane_leads_on_or_out_of_town(towns: list[Town]) -> None:
    for town in towns:
        plan = town.streets.plan
        for lane, name in enumerate(town.map.lane_id):
            if town.map.lane_kind[lane] == LaneKind.CONNECTOR:
                assert len(town.map.lane_successors[lane])
                assert town.graph.predecessors[lane]
            elif not len(town.map.lane_successors[lane]):
                edge = plan.edges[int(name.split("/")[0][1:])]
                node = plan.nodes[edge.b if "/f" in name else edge.a]
                beside = town.graph.neighbours(lane)
                assert node.kind == "exit" or any(len(town.map.lane_successors[j]) for j in beside)


def test_neighbours_are_mutual_and_parallel(towns: list[Town]) -> None:
    for town in towns:
        left, right = town.map.lane_left, town.map.lane_right
        for lane in np.flatnonzero(left >= 0):
            assert right[left[lane]] == lane
            line = town.map.lane_centreline[int(lane)]
            assert abs(town.graph.locate(int(left[lane]), line[0, :2])[1]) == pytest.approx(
                town.streets.plan.lane_width, abs=0.02
            )


def test_drivable_areas_hold_all_lanes_and_have_no_holes(towns: list[Town]) -> None:
    for town in towns:
        m = town.map
        kinds = m.area_kind.tolist()
        rings = [shapely.polygons(m.area_polygon[k]) for k, kind in enumerate(kinds)
                 if kind == AreaKind.DRIVABLE]  # fmt: skip
        assert all(ring.is_valid for ring in rings)
        ground = shapely.union_all(rings).buffer(0.05)
        lanes = shapely.union_all([shapely.make_valid(shapely.polygons(p)) for p in m.lane_polygon])
        assert lanes.difference(ground).area < 0.5, town.name


def test_towns_hold_every_kind_of_place(towns: list[Town]) -> None:
    places = {family for town in towns for family in town.family}
    assert {"straight", "curve", "merge", "four_way", "t_junction", "roundabout", "crosswalk"} <= (
        places
    )
    assert {town.streets.plan.layout for town in towns} == {"grid", "organic", "radial"}
    assert all(town.crossings for town in towns)
    slips = [(town, node, edge) for town in towns for node, edge in town.streets.plan.slips]
    assert len(slips) > 3
    for town, node, edge in slips:
        ramp, onto = (town.index[name] for name in slip_lanes(town.streets, node, edge))
        assert town.map.lane_successors[ramp].tolist() == [onto]
        assert not len(town.map.lane_successors[onto])
        assert len(town.map.lane_successors[int(town.map.lane_left[onto])])
    assert max(len(row) for t in towns for s in t.streets.streets.values() for row in s.lanes) >= 2
    assert any(any(s.parking) for town in towns for s in town.streets.streets.values())


def test_scenarios_are_what_they_promise(common: list[Scenario]) -> None:
    assert len({s.id for s in common}) == COMMON
    assert len({s.hash for s in common}) == COMMON
    for scenario in common:
        assert scenario.steps == HISTORY + 150
        assert scenario.start == HISTORY - 1
        assert scenario.repairs == ()
        assert len(scenario.agents) <= MAX_AGENTS
        words = set(scenario.tags)
        assert {"towns", "common", "split:train"} <= words
        assert words & set(FEATURES)
        assert sum(word.startswith("log:") for word in words) == 1
    assert np.mean([len(s.agents) for s in common]) > 15
    kinds = {k for s in common for k in s.agents.kind.tolist()}
    assert {AgentKind.VEHICLE, AgentKind.PEDESTRIAN} <= kinds


def test_scenarios_of_a_town_share_its_map(common: list[Scenario]) -> None:
    assert len({id(s.map) for s in common}) == 8
    logs = {t for s in common for t in s.tags if t.startswith("log:")}
    assert len(logs) == COMMON // 5


def test_nobody_touches_anybody(common: list[Scenario], rare: list[Scenario]) -> None:
    for scenario in common:
        assert contact(scenario, slice(0, 1), only_ego=False) == ""
        assert contact(scenario, slice(0, None, 2), only_ego=False) == ""
    for scenario in rare:
        assert contact(scenario, slice(0, 1), only_ego=False) == ""
        assert contact(scenario, slice(None), only_ego=True) == ""


def test_experts_stay_on_the_road_and_get_on(common: list[Scenario], rare: list[Scenario]) -> None:
    source = Towns(seed=11, towns=8)
    towns = {source.town(k).map.hash: source.town(k) for k in range(8)}
    for scenario in common + rare:
        assert on_road(towns[scenario.map.hash], scenario.ego), scenario.id
        limit = 4.2 if "common" in scenario.tags else 8.2
        assert scenario.ego[:, EgoIndex.AX].min() >= -limit
        assert np.abs(scenario.ego[:, EgoIndex.AY]).max() < 4.6
    moved = [np.hypot(*(s.ego[-1] - s.ego[0])[:2]) for s in common]
    assert min(moved) > 10.0
    assert np.median(moved) > 50.0


def test_positions_and_velocities_agree(common: list[Scenario]) -> None:
    for scenario in common:
        state, valid = scenario.agents.state, scenario.agents.valid
        both = valid[:, 1:] & valid[:, :-1]
        moved = np.diff(state[..., :2], axis=1)
        led = 0.05 * (state[:, 1:, 3:] + state[:, :-1, 3:])
        assert np.hypot(*(moved - led)[both].T).max() < 0.25, scenario.id


def test_experts_do_not_run_reds(common: list[Scenario]) -> None:
    """Whoever passes the stop line on red stands beyond it, and enters on green."""
    passed = 0
    for scenario in common:
        front = scenario.ego[:, :2] + scenario.vehicle.front * np.stack(
            [np.cos(scenario.ego[:, 2]), np.sin(scenario.ego[:, 2])], axis=1
        )
        chain = [int(k) for k in scenario.route.lanes]
        for lane, states in zip(scenario.signals.lane, scenario.signals.state, strict=True):
            ring = shapely.polygons(scenario.map.lane_polygon[int(lane)])
            heading = scenario.map.lane_centreline[int(lane)][-1, 2]
            inside = shapely.contains_xy(ring, *front.T)
            entered = np.flatnonzero(np.diff(inside.astype(int)) == 1)
            goes = inside.any() and np.cos(scenario.ego[inside, 2][-1] - heading) > 0.9
            if int(lane) in chain and len(entered) and goes:
                start = scenario.map.lane_centreline[int(lane)][0, :2]
                before = np.hypot(*(front[: entered[0] + 1] - start).T) > 4.6
                if before.any():
                    passed += 1
                    at = [states[np.flatnonzero(before)[-1]], states[entered[0] + 1]]
                    assert at != [SignalState.RED] * 2, scenario.id
    assert passed > 3


def test_a_route_leads_on(common: list[Scenario]) -> None:
    for scenario in common:
        line = scenario.route.centreline
        for pose in scenario.ego[::10]:
            assert np.hypot(*(line[:, :2] - pose[:2]).T).min() < 3.6, scenario.id
        assert np.hypot(*np.diff(line[:, :2], axis=0).T).max() < 2.5
        rings = [shapely.polygons(scenario.map.lane_polygon[int(k)]) for k in scenario.route.lanes]
        held = shapely.contains_xy(shapely.union_all(rings).buffer(0.3), *line[:, :2].T)
        assert held.mean() > 0.98


def test_rare_kinds_take_turns_and_bite(rare: list[Scenario]) -> None:
    kinds = {kind: sum(kind in s.tags for s in rare) for kind in KINDS}
    assert all(count >= 1 for count in kinds.values()), kinds
    for scenario in rare:
        words = set(scenario.tags)
        assert "rare" in words
        assert len(words & set(KINDS)) == 1
        assert not scenario.agents.reactive.all()
    hard = [s.ego[s.start :, EgoIndex.AX].min() for s in rare]
    assert np.mean(np.array(hard) < -2.0) > 0.5


def test_rare_logs_are_as_rare_as_on_the_road() -> None:
    source = Towns(seed=11, count=100)
    share = np.mean([source.is_rare(at) for at in range(20_000)])
    assert 0.01 <= share <= 0.02
    assert 0.01 <= RARE_SHARE <= 0.02


def test_labels_hold_when_pdm_closed_drives_again(
    common: list[Scenario], rare: list[Scenario]
) -> None:
    some = common[:10] + rare[:14]
    cases = [Case(scenario, 0, 0) for scenario in some]
    simulator = ClosedLoop(replan_hz=REPLAN_HZ, traffic="idm")
    rollouts = simulator.run(cases, PlannerHost(PDMClosed, 600.0))
    survived = Success().score(rollouts).values["success"] > 0.5
    said = ["pdm-closed:survives" in scenario.tags for scenario in some]
    assert said == survived.tolist()


def test_every_log_is_pdm_closed_s_but_where_it_fails_in_a_rare_scene(
    common: list[Scenario], rare: list[Scenario]
) -> None:
    for scenario in common + rare:
        words = set(scenario.tags)
        assert "solvable" in words
        assert "unsolvable" not in words
        assert len(words & {"pdm-closed:survives", "pdm-closed:fails"}) == 1
        (who,) = (word for word in words if word.startswith("expert:"))
        if who != "expert:pdm-closed":
            assert who == "expert:evasion"
            assert {"rare", "pdm-closed:fails"} <= words
            assert any(word.startswith("evasion:") for word in words)
    evaded = [s for s in rare if "expert:evasion" in s.tags]
    assert 0 < len(evaded) < 0.4 * len(rare)


def test_what_no_manoeuvre_survives_is_called_unsolvable(rare: list[Scenario]) -> None:
    scene = next(s for s in rare if s.ego[s.start, EgoIndex.VX] > 5.0)
    steps, ego = scene.steps, scene.ego[scene.start]
    ahead = ego[:2] + 7.0 * np.array([np.cos(ego[2]), np.sin(ego[2])])
    state = np.tile(np.array([*ahead, ego[2] + np.pi / 2, 0.0, 0.0]), (1, steps, 1))
    wall = replace(
        scene.agents, id=("wall",), kind=np.array([AgentKind.BARRIER], np.int8),
        size=np.array([[60.0, 1.0, 1.0]]), state=state, valid=np.ones((1, steps), bool),
        reactive=np.ones(1, bool),
    )  # fmt: skip
    draft = replace(scene, agents=wall, tags=("towns", "rare"))
    town = make_town(11, "train", 0)
    (judged,) = log_expert(town, [draft], [True], [Draw(np.random.default_rng(0))])
    assert judged is not None
    said = {"pdm-closed:fails", "unsolvable", "evasion:unsolvable", "expert:none"}
    assert said <= set(judged.tags)
    (kept,) = log_expert(
        town, [replace(draft, tags=("towns", "common"))], [True], [Draw(np.random.default_rng(0))]
    )
    assert kept is None


def test_a_hand_errs_by_centimetres_and_begins_where_it_should() -> None:
    t = 0.1 * np.arange(151)
    speed = 8.0 - 4.0 * np.cos(0.3 * t)
    drive = np.stack([np.cumsum(speed) * 0.1, 0.0 * t, 0.0 * t, speed], axis=1)
    rng = Draw(np.random.default_rng(1))
    errors = []
    for _ in range(20):
        hand = (0.3, 0.1, expert._coefficients(rng), expert._coefficients(rng))
        pose = expert._unsteady(drive, hand, 1.0)
        np.testing.assert_allclose(pose[0], drive[0, :3], atol=1e-9)
        np.testing.assert_allclose(np.diff(pose[:3], axis=0), np.diff(drive[:3, :3], axis=0),
                                   atol=0.02)  # fmt: skip
        errors.append(pose[:151, :2] - drive[:, :2])
        assert (np.diff(pose[:, 0]) >= 0.0).all()
    along, across = np.array(errors)[:, 60:].transpose(2, 0, 1)
    assert 0.1 < along.std() < 0.35
    assert 0.03 < across.std() < 0.12
    np.testing.assert_allclose(expert._unsteady(drive, hand, 0.0)[:151], drive[:, :3], atol=6e-3)


def test_splits_have_no_town_in_common() -> None:
    maps: dict[str, str] = {}
    for split in ("train", "validation", "mining", "test"):
        for number in range(3):
            town = make_town(11, split, number)
            assert maps.setdefault(town.map.hash, split) == split
    assert len(maps) == 12
    (one,) = drawn(seed=11, count=1, distribution="common", split="test", towns=2)
    assert "split:test" in one.tags


def test_any_scenario_is_made_without_those_before_it(common: list[Scenario]) -> None:
    source = Towns(seed=11, count=10, distribution="common", towns=8)
    assert source.scenario(37).hash == common[37].hash  # type: ignore[union-attr]
    assert source.scenario(3).hash == common[3].hash  # type: ignore[union-attr]


def test_a_hundred_thousand_scenarios_of_one_seed_are_there_and_differ() -> None:
    source = Towns(seed=11, count=100_000, distribution="common")
    logs = source.count // source.per_log
    first = {
        generator(11, "log", "train", at % source.towns, at // source.towns, 0).random()
        for at in range(logs)
    }
    assert len(first) == logs == 20_000
    far = [source.scenario(index) for index in (4, 33_333, 66_666, 99_999)]
    assert len({s.hash for s in far if isinstance(s, Scenario)}) == len(far)


def test_equal_seeds_give_equal_bytes_in_another_process_and_on_a_lesser_processor(
    common: list[Scenario], rare: list[Scenario]
) -> None:
    code = (
        "from roadworthy_sources.towns import Towns\n"
        "a = Towns(seed=11, count=40, distribution='common', towns=8)\n"
        "b = Towns(seed=11, count=21, distribution='rare', towns=7)\n"
        "print(*[a.scenario(i).hash for i in (0, 7, 36)], b.scenario(8).hash)"
    )
    lesser = {
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
    }
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, **lesser},
    )  # fmt: skip
    expected = [common[0].hash, common[7].hash, common[36].hash, rare[8].hash]
    assert out.stdout.split() == expected
    assert Towns(seed=12, towns=8).scenario(0).hash != expected[0]  # type: ignore[union-attr]


def test_features_are_kept_to() -> None:
    for scenario in drawn(seed=4, count=10, distribution="common", features=["roundabout"]):
        assert "roundabout" in scenario.tags


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"count": 0}, "count is 0"),
        ({"towns": 0}, "towns is 0"),
        ({"split": "tests"}, "'test'"),
        ({"distribution": "rares"}, "'rare'"),
        ({"features": ["roundabouts"]}, "'roundabout'"),
        ({"features": []}, "features is empty"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        Towns(**arguments)  # type: ignore[arg-type]
    assert words in f"{caught.value} {caught.value.hint}"


def test_exact_angles_agree_with_the_library() -> None:
    turn = np.linspace(-60.0, 60.0, 20_001)
    c, s = exact.cos_sin(turn)
    np.testing.assert_allclose(c, np.cos(turn), atol=4e-16)
    np.testing.assert_allclose(s, np.sin(turn), atol=4e-16)
    x, y = np.random.default_rng(0).normal(size=(2, 10_000))
    np.testing.assert_allclose(exact.angle(x, y), np.arctan2(y, x), atol=2e-15)
    assert exact.angle(-1.0, 0.0) == pytest.approx(np.pi)


def test_slope_is_exact_for_quadratics() -> None:
    t = 0.1 * np.arange(30)
    np.testing.assert_allclose(exact.slope(3.0 * t * t - t, 1, 0.1), (6.0 * t - 1.0)[3:-3])
    np.testing.assert_allclose(exact.slope(3.0 * t * t - t, 2, 0.1), np.full(24, 6.0))


def test_curves_keep_their_ends_and_tangents() -> None:
    curve = hermite(np.array([0.0, 0.0]), 0.0, np.array([12.0, 9.0]), np.pi / 2)
    np.testing.assert_allclose(curve.end[0], [12.0, 9.0], atol=1e-4)
    assert curve.yaw[0] == pytest.approx(0.0, abs=1e-4)
    assert curve.yaw[-1] == pytest.approx(np.pi / 2, abs=1e-4)
    np.testing.assert_array_equal(curve.reversed().xy, curve.xy[::-1])
    ring = arc(np.zeros(2), 15.0, 0.0, np.pi)
    assert ring.length == pytest.approx(15.0 * np.pi, rel=1e-2)
    assert bezier(np.array([[0, 0], [10, 0], [20, 0], [30, 0]])).length == pytest.approx(30.0)


def test_divergence_is_zero_for_equals_and_one_for_strangers() -> None:
    assert realism.divergence(np.array([1.0, 3.0]), np.array([2.0, 6.0])) == pytest.approx(0.0)
    assert realism.divergence(np.array([1.0, 0.0]), np.array([0.0, 4.0])) == pytest.approx(1.0)


def real_data() -> Path:
    root = Path(os.environ.get("ROADWORTHY_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "nuscenes_mini_scenarionet").is_dir():
        pytest.skip("needs recorded drives: set ROADWORTHY_DATA")
    return root


@pytest.mark.real_logs
def test_traffic_is_near_recorded_traffic(common: list[Scenario]) -> None:
    real = realism.recorded(real_data())
    made = realism.histograms(drawn(seed=5, count=80, distribution="common"))
    values = realism.compare(real, made)
    assert set(values) == {"speed", "acceleration", "yaw_rate", "nearest", "headway"}
    assert max(values.values()) <= 0.08, values
    assert "| speed" in realism.table(real, made)
