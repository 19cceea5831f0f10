"""PDMS and EPDMS of hand-made rollouts with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from metric_scenes import NOSE, NOW, Box, rollout, straight_ego, turned
from roadworthy.rollout import CaseError, Plans, Status
from roadworthy.scenario import AgentKind, Route, Signals, SignalState
from roadworthy.vehicle import PACIFICA
from roadworthy_metrics.epdms import EPDMS
from roadworthy_metrics.pdms import PDMS

STEPS = 100


def values(metric, batch):
    scores = metric.score(batch)
    assert set(scores.values) == {c.name for c in metric.spec.columns}
    return {name: float(v[0]) for name, v in scores.values.items()}, scores


@pytest.mark.parametrize("metric", [PDMS(), EPDMS()])
def test_undisturbed_driving_is_perfect(metric):
    got, scores = values(metric, rollout(straight_ego(10.0, STEPS)))
    assert got.pop("official") == 0.0
    assert {v for v in got.values() if not np.isnan(v)} == {1.0}
    assert scores.events == ([],)
    assert scores.per_step["off_road"].shape == (1, STEPS + 1)
    assert not scores.per_step["off_road"].any()


def test_a_head_on_collision_fails_nc_and_ttc_first():
    gap = 39.9
    batch = rollout(straight_ego(10.0, STEPS), (Box(x=NOSE + 2.3 + gap, y=0.0, speed=0.0),))
    got, scores = values(PDMS(), batch)
    assert (got["nc"], got["ttc"], got["pdms"]) == (0.0, 0.0, 0.0)
    steps = {e["kind"]: e["step"] for e in scores.events[0]}
    assert steps["collision"] == 40
    assert steps["ttc"] == 31  # 0.9 s ahead, 10 m/s: 9 m short of contact
    hit = next(e for e in scores.events[0] if e["kind"] == "collision")
    assert hit["agent"] == 0
    assert hit["how"] == "stopped_track"


def test_a_cone_costs_half():
    cone = Box(x=60.0, y=0.0, size=(0.4, 0.4, 1.0), kind=AgentKind.TRAFFIC_CONE)
    got, _ = values(PDMS(), rollout(straight_ego(10.0, STEPS), (cone,)))
    assert got["nc"] == 0.5


def test_being_hit_from_behind_is_not_at_fault():
    chaser = Box(x=-30.0, y=0.0, speed=16.0)
    got, scores = values(PDMS(), rollout(straight_ego(8.0, STEPS), (chaser,)))
    assert got["nc"] == 1.0
    assert not [e for e in scores.events[0] if e["kind"] == "collision"]


def test_leaving_the_road_fails_dac_from_that_step():
    batch = rollout(straight_ego(10.0, STEPS, y=10.0, yaw=0.3))
    got, scores = values(PDMS(), batch)
    assert got["dac"] == 0.0
    first = next(e["step"] for e in scores.events[0] if e["kind"] == "off_road")
    off = scores.per_step["off_road"][0]
    assert off[first] == 1.0
    assert not off[:first].any()


def test_driving_off_the_route_fails_ddc():
    batch = rollout(straight_ego(10.0, STEPS))
    case = batch.cases[0]
    left = replace(case.scenario, route=Route(np.array([1]), case.scenario.route.centreline))
    got, _ = values(EPDMS(), replace(batch, cases=(replace(case, scenario=left),)))
    assert got["ddc"] == 0.0
    assert got["epdms"] == 0.0


def test_progress_is_measured_against_the_log():
    batch = rollout(straight_ego(5.0, STEPS), log=straight_ego(10.0, STEPS))
    assert values(PDMS(), batch)[0]["ep"] == pytest.approx(0.5)
    assert values(PDMS(), batch)[0]["pdms"] == pytest.approx((2.5 + 5 + 2) / 12)
    standing = rollout(straight_ego(0.0, STEPS), log=straight_ego(0.2, STEPS))
    assert values(PDMS(), standing)[0]["ep"] == 1.0


def test_lane_keeping_fails_after_two_seconds_beside_the_centreline():
    got, scores = values(EPDMS(), rollout(straight_ego(10.0, STEPS, y=0.6)))
    assert got["lk"] == 0.0
    assert next(e["step"] for e in scores.events[0] if e["kind"] == "off_centreline") == 19
    assert values(EPDMS(), rollout(straight_ego(10.0, STEPS, y=0.4)))[0]["lk"] == 1.0


@pytest.mark.parametrize(("red_until", "tlc"), [(20, 1.0), (60, 0.0)])
def test_a_red_light_counts_while_it_is_red(red_until, tlc):
    batch = rollout(straight_ego(10.0, STEPS))
    case = batch.cases[0]
    rows = batch.ego.shape[1]
    road = case.scenario.map
    rings = road.lane_polygon.values.copy()
    rings[:4, 0] = [30.0, 60.0, 60.0, 30.0]
    road = replace(road, lane_polygon=replace(road.lane_polygon, values=rings))
    state = np.full((1, rows), SignalState.GREEN, np.int8)
    state[0, : NOW + red_until] = SignalState.RED
    scenario = replace(case.scenario, map=road, signals=Signals(np.array([0]), state))
    batch = replace(batch, cases=(replace(case, scenario=scenario),), signals=state[None])
    got, scores = values(EPDMS(), batch)
    assert got["tlc"] == tlc
    red = [e["step"] for e in scores.events[0] if e["kind"] == "red_light"]
    assert red == ([] if tlc else [26])  # nose at 30 m: (30 - 4.049) / 10 s


def test_hard_braking_is_uncomfortable():
    ego = straight_ego(12.0, STEPS)
    ego[NOW + 20 :, 5] = -6.0
    got, scores = values(EPDMS(), rollout(ego))
    assert got["hc"] == 0.0
    step = next(e["step"] for e in scores.events[0] if e["kind"] == "uncomfortable")
    assert 12 <= step <= 20


def _plans(offsets):
    n = len(offsets)
    poses = np.zeros((n, 8, 3))
    poses[:, :, 0] = 5.0 * np.arange(1, 9)
    poses[:, :, 1] = np.array(offsets)[:, None] * np.linspace(0.1, 1.0, 8)
    return Plans(5 * np.arange(n), poses, 0.5)


def test_plans_that_agree_are_extended_comfort():
    ego = straight_ego(10.0, STEPS)
    assert values(EPDMS(), rollout(ego, plans=_plans([0.0] * 6)))[0]["ec"] == 1.0
    got, _ = values(EPDMS(), rollout(ego, plans=_plans([0.0, 0.0, 8.0, 8.0, 8.0])))
    assert 0.0 < got["ec"] < 1.0
    assert np.isnan(values(EPDMS(), rollout(ego))[0]["ec"])


@pytest.mark.parametrize("metric", [PDMS(), EPDMS()])
def test_where_on_earth_does_not_matter(metric):
    boxes = (Box(x=45.0, y=1.0, speed=3.0), Box(x=20.0, y=4.0, yaw=0.1, speed=8.0))
    batch = rollout(straight_ego(9.0, STEPS, y=0.6), boxes, plans=_plans([0.0] * 4))
    here, scores = values(metric, batch)
    there, moved = values(metric, turned(batch, 2.1, 365_000.0, 3_900_000.0))
    assert there == pytest.approx(here, abs=1e-6)
    assert moved.events == scores.events


@pytest.mark.parametrize("metric", [PDMS(), EPDMS()])
def test_padding_does_not_matter(metric):
    boxes = (Box(x=45.0, y=0.0, speed=3.0),)
    plain = values(metric, rollout(straight_ego(9.0, STEPS), boxes))[0]
    padded = rollout(straight_ego(9.0, STEPS), boxes, spare_agents=3, spare_steps=20)
    got, scores = values(metric, padded)
    assert got == pytest.approx(plain, nan_ok=True)
    assert np.isnan(scores.per_step["off_road"][0, STEPS + 1 :]).all()


@pytest.mark.parametrize("metric", [PDMS(), EPDMS()])
def test_a_failed_case_has_no_score(metric):
    batch = rollout(straight_ego(9.0, STEPS))
    error = CaseError(Status.PLANNER_ERROR, "ValueError", "no plan", 7)
    got, scores = values(metric, replace(batch, errors=(error,)))
    assert all(np.isnan(v) for v in got.values())
    assert scores.events == ([],)


@pytest.mark.parametrize("metric", [PDMS(), EPDMS()])
@pytest.mark.parametrize("steps", [1, 2, 5, 40, 150])
def test_any_length_is_scored(metric, steps):
    got, _ = values(metric, rollout(straight_ego(9.0, steps)))
    assert got[metric.spec.name] == 1.0


def test_the_ego_is_the_scenarios_vehicle():
    batch = rollout(straight_ego(10.0, STEPS), (Box(x=30.0, y=2.0),))
    assert values(PDMS(), batch)[0]["nc"] == 0.0
    case = batch.cases[0]
    thin = replace(case.scenario, vehicle=replace(PACIFICA, width=1.2))
    assert values(PDMS(), replace(batch, cases=(replace(case, scenario=thin),)))[0]["nc"] == 1.0
