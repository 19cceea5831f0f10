"""Reference vectors as scenarios: simulator, metrics and plan scores give the same numbers.

What a `Scenario` cannot say is left out, and counted here: time stamps that jitter about 10 Hz
(history comfort of such cases is not compared), and the difference between a roadblock and a
drivable area (PDM-Closed's own map has no drivable areas, so its choice may differ).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import simulate_references
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case as Drive
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import (
    HISTORY,
    AreaKind,
    LaneKind,
    Ragged,
    RoadMap,
    Route,
    Scenario,
    Signals,
    SignalState,
    Tracks,
)
from roadworthy.trajectory import TrajectoryBatch
from roadworthy.vehicle import EGO_STATE_SIZE, Vehicle
from roadworthy_metrics.conformance.vectors import Case, list_cases, read_case
from roadworthy_metrics.epdms import EPDMS
from roadworthy_metrics.pdm.comfort import extended_comfort
from roadworthy_metrics.pdm.evaluate import Term, evaluate
from roadworthy_metrics.pdm.scene import PolygonKind
from roadworthy_metrics.pdm.totals import epdms
from roadworthy_metrics.pdms import PDMS
from roadworthy_metrics.plans import Moment, prepare, score_plans, score_states
from roadworthy_simulators.open_loop import OpenLoop

NOW = HISTORY - 1
FRAMES = 51
AREAS = {
    PolygonKind.INTERSECTION: AreaKind.INTERSECTION,
    PolygonKind.CARPARK_AREA: AreaKind.CARPARK,
    PolygonKind.DRIVABLE_AREA: AreaKind.DRIVABLE,
    PolygonKind.ROADBLOCK: AreaKind.DRIVABLE,
}
TERMS = {
    "no_at_fault_collisions": ("nc", Term.NC),
    "drivable_area_compliance": ("dac", Term.DAC),
    "driving_direction_compliance": ("ddc", Term.DDC),
    "traffic_light_compliance": ("tlc", Term.TLC),
    "time_to_collision_within_bound": ("ttc", Term.TTC),
    "lane_keeping": ("lk", Term.LK),
    "comfort": ("comfort", Term.COMFORT),
    "history_comfort": ("hc", Term.COMFORT),
}


def _map(case: Case) -> RoadMap:
    """Lanes in the order of the vectors' graph; those beyond the map's radius have no polygon."""
    graph, names = case.meta["graph"], case.meta["map_tokens"]
    rings = case.ragged("in_map_poly", "in_map_off")
    kinds = case["in_map_type"].tolist()
    row = {name: k for k, name in enumerate(graph["lane_ids"])}
    nothing = np.zeros((0, 2))
    at = {name: rings[k] for k, name in enumerate(names) if kinds[k] not in AREAS}
    areas = [k for k, kind in enumerate(kinds) if kind in AREAS]
    connector = [kind != "lane" for kind in graph["lane_kind"]]
    return RoadMap(
        lane_id=tuple(graph["lane_ids"]),
        lane_kind=np.where(connector, LaneKind.CONNECTOR, LaneKind.LANE).astype(np.int8),
        lane_centreline=Ragged.of(case.ragged("in_graph_base", "in_graph_base_off"), 3),
        lane_polygon=Ragged.of([at.get(name, nothing) for name in row], 2),
        lane_speed_limit=case["in_graph_speed"],
        lane_successors=Ragged.of(
            [[row[name] for name in out if name in row] for out in graph["lane_out"]],
            None,
            np.int64,
        ),
        lane_left=np.full(len(row), -1),
        lane_right=np.full(len(row), -1),
        area_kind=np.array([AREAS[kinds[k]] for k in areas], np.int8),
        area_polygon=Ragged.of([rings[k] for k in areas], 2),
    )


def _ego(case: Case) -> NDArray[np.float64]:
    """The past where it was recorded, and the human's plan; what lies between is not read."""
    ego = np.zeros((NOW + FRAMES, EGO_STATE_SIZE))
    ego[:] = case["in_ego0"]
    ego[NOW - 15 : NOW + 1 : 5] = case["in_past_ego"]
    x, y, yaw = case["in_ego0"][:3]
    c, s = np.cos(yaw), np.sin(yaw)
    human = case["in_human_raw"]
    for k, pose in enumerate(human):
        row = NOW + 5 * (k + 1)
        ego[row, 0], ego[row, 1] = x + c * pose[0] - s * pose[1], y + s * pose[0] + c * pose[1]
        ego[row, 2] = yaw + pose[2]
    return ego


def scenario_of(case: Case) -> Scenario:
    """One vector as a scenario."""
    road = _map(case)
    row = {name: k for k, name in enumerate(road.lane_id)}
    count = len(case["in_ag_type"])
    state, valid = np.zeros((count, NOW + FRAMES, 5)), np.zeros((count, NOW + FRAMES), bool)
    valid[:, NOW:] = case["in_ag_exist"][:, :FRAMES]
    state[:, NOW:, :3] = np.where(valid[:, NOW:, None], case["in_ag_pose"][:, :FRAMES], 0.0)
    state[:, NOW:, 3:] = np.where(valid[:, NOW:, None], case["in_ag_vel"][:, :FRAMES], 0.0)
    lights = [row[name] for name in case.meta["tl_connector_ids"]]
    red = np.zeros((len(lights), NOW + FRAMES), bool)
    red[:, NOW : NOW + 41] = case["in_tl_red"]
    return Scenario(
        id=case.id,
        source="conformance",
        map=road,
        ego=_ego(case),
        agents=Tracks(
            tuple(case.meta["agent_tokens"]),
            case["in_ag_type"].astype(np.int8),
            case["in_ag_dims"],
            state,
            valid,
        ),
        route=Route(
            np.array([row[n] for n in case.meta["route_lane_ids"] if n in row], np.int64),
            case["in_centerline"],
        ),
        signals=Signals(
            np.array(lights, np.int64),
            np.where(red, SignalState.RED, SignalState.GREEN).astype(np.int8),
        ),
        start=NOW,
        vehicle=Vehicle(*(float(v) for v in case["in_vehicle"])),
    )


@dataclass(frozen=True)
class Vector:
    """A case, and its scenario."""

    case: Case
    scenario: Scenario

    @property
    def jittered(self) -> bool:
        return bool(self.case.meta["timestamps_jittered"])

    def moment(self, version: int, human_filter: bool = True) -> Moment:
        """Prepared, with the reference that the vectors were scored against."""
        own = prepare(self.scenario, version, human_filter=human_filter)
        given = self.case[f"in_pdm_ref_v{version}"][None]
        states = simulate_references(own.ego, given, own.vehicle)
        terms = evaluate(own.scene, states, own.vehicle, version, own.history)
        return replace(own, reference_terms=terms)

    def table(self, key: str, version: int) -> dict[str, NDArray[np.float64]]:
        """Columns of an output of the vectors, by the names of our metrics."""
        names = self.case.meta[f"v{version}_metric_names"]
        short = {"ego_progress": "ep", "score": "pdms"}
        return {
            short.get(name) or TERMS[name][0]: self.case[key][:, k] for k, name in enumerate(names)
        }


@pytest.fixture(scope="module")
def given(pdms_vectors: Path) -> list[Vector]:
    cases = [read_case(path, digest) for path, digest in list_cases(pdms_vectors)[0]]
    assert cases
    return [Vector(case, scenario_of(case)) for case in cases]


def _wrong(got: Any, want: Any, tolerance: float) -> int:
    return int((np.abs(np.asarray(got) - want) > tolerance).sum())


@pytest.mark.parametrize("version", [1, 2])
def test_prepared_moments_score_the_vectors_states(given: list[Vector], version: int) -> None:
    wrong, compared = [], 0
    for vector in given:
        scores = score_states(vector.moment(version, human_filter=False), vector.case["out_sim"])
        for name, want in vector.table(f"v{version}_metrics", version).items():
            if name == "hc" and vector.jittered:
                continue
            term = next((term for short, term in TERMS.values() if short == name), None)
            got = scores.ep if name == "ep" else scores.total
            if term is not None:
                got = scores.value[:, term]
            compared += len(want)
            if bad := _wrong(got, want, 0.0 if term is not None else 1e-6):
                wrong.append((vector.case.id, name, bad))
    assert compared > 5000
    assert not wrong


def test_the_human_filter_and_totals_are_the_vectors(given: list[Vector]) -> None:
    wrong = []
    for vector in given:
        if vector.jittered:
            continue
        case, strict = vector.case, vector.moment(2, human_filter=False)
        kind = vector.moment(2)
        delta = 1e-6 * float(case["in_ego0_time_us"] - case["in_prev_time_us"])
        ec, _ = extended_comfort(case["out_sim"], case["out_prev_sim"], delta)
        for key, moment in (("v2_", strict), ("v2_f_", kind)):
            scores = score_states(moment, case["out_sim"])
            if _wrong(scores.total, case[key + "score_no_ec"], 1e-6):
                wrong.append((case.id, key + "score_no_ec"))
            if _wrong(epdms(scores.value, scores.ep, ec), case[key + "score"], 1e-6):
                wrong.append((case.id, key + "score"))
    assert not wrong


def test_plans_are_scored_from_their_poses(given: list[Vector]) -> None:
    wrong = []
    for vector in given:
        case = vector.case
        scores = score_plans(vector.moment(1), case["in_raw"], case.meta["raw_interval_s"])
        want = vector.table("v1_metrics", 1)["pdms"]
        if _wrong(scores.total, want, 1e-3):
            wrong.append(case.id)
    assert not wrong


def _same_reference(vector: Vector, version: int) -> bool:
    """Whether PDM-Closed chose as recorded; its record passed through whole microseconds."""
    own = prepare(vector.scenario, version, human_filter=False).reference.poses
    return not _wrong(own[:, :2], vector.case[f"in_pdm_ref_v{version}"][:, :2], 1e-3)


def test_the_reference_is_the_vectors(given: list[Vector]) -> None:
    """Wherever the map has no drivable areas, which PDM-Closed does not see."""
    plain = [v for v in given if not (v.case["in_map_type"] == PolygonKind.DRIVABLE_AREA).any()]
    assert len(plain) >= 100
    wrong = [(v.case.id, n) for v in plain for n in (1, 2) if not _same_reference(v, n)]
    assert not wrong


class _Given:
    """Plans what it was made with, one plan per row of the batch."""

    def __init__(self, poses: NDArray[np.float64], dt: float) -> None:
        self._plans = TrajectoryBatch(poses, dt)

    def reset_batch(self, briefs: Any) -> None:
        """Nothing to do."""

    def plan_batch(self, observations: Any) -> TrajectoryBatch:
        return TrajectoryBatch(self._plans.poses[observations.rows], self._plans.dt)


def _driven(vector: Vector) -> RolloutBatch:
    poses, dt = vector.case["in_raw"], float(vector.case.meta["raw_interval_s"])
    host = PlannerHost(lambda: _Given(poses, dt))
    cases = [Drive(vector.scenario, k, k) for k in range(len(poses))]
    rollouts = OpenLoop().run(cases, host)
    assert not any(rollouts.errors)
    return rollouts


def test_the_simulator_and_the_metrics_reproduce_the_vectors(given: list[Vector]) -> None:
    """The whole way: planner, simulator, rollout, metric. Every third case is enough."""
    wrong, compared = [], 0
    for vector in given[::3]:
        rollouts = _driven(vector)
        assert rollouts.open_loop
        assert rollouts.select([0, 1]).open_loop
        for version, metric in ((1, PDMS()), (2, EPDMS())):
            same = _same_reference(vector, version)
            values = metric.score(rollouts).values
            assert (values["official"] == 1.0).all()
            want = vector.table("v1_metrics" if version == 1 else "v2_f_metrics", version)
            if version == 2:
                assert np.isnan(values["ec"]).all()
                want["epdms"] = vector.case["v2_f_score_no_ec"]
            for name, column in want.items():
                if name in ("ep", "pdms", "epdms") and not same:
                    continue
                if name in ("hc", "epdms") and vector.jittered:
                    continue
                compared += len(column)
                tolerance = 1e-3 if name in ("ep", "pdms", "epdms") else 0.0
                if bad := _wrong(values[name], column, tolerance):
                    wrong.append((vector.case.id, version, name, bad))
    assert compared > 5000
    assert not wrong
