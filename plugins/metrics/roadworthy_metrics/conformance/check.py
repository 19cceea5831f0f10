"""The conformance check of the PDM Score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.conformance import ConformanceTable
from roadworthy.dynamics.simulate import sample_plans, simulate_plans, simulate_references
from roadworthy.errors import DataError
from roadworthy.vehicle import Vehicle

from roadworthy_metrics.pdm import totals
from roadworthy_metrics.pdm.collision import overlapping
from roadworthy_metrics.pdm.comfort import extended_comfort, history_states
from roadworthy_metrics.pdm.evaluate import Evaluation, Term, evaluate
from roadworthy_metrics.pdm.reference import forecast, pdm_closed
from roadworthy_metrics.pdm.route import LaneGraph, route_centreline, start_lane
from roadworthy_metrics.pdm.scene import (
    Lights,
    MapAreas,
    PolygonKind,
    Scene,
    pack_agents,
    pack_lights,
    pack_map,
    pack_scene,
)

from .extras import check_interpolation, check_two_stage
from .tally import Tally
from .vectors import Case, list_cases, read_case

__all__ = ["check_pdms"]

_TERMS = {
    "no_at_fault_collisions": ("NC", Term.NC),
    "drivable_area_compliance": ("DAC", Term.DAC),
    "driving_direction_compliance": ("DDC", Term.DDC),
    "traffic_light_compliance": ("TLC", Term.TLC),
    "time_to_collision_within_bound": ("TTC", Term.TTC),
    "lane_keeping": ("LK", Term.LK),
    "comfort": ("C", Term.COMFORT),
    "history_comfort": ("HC", Term.COMFORT),
}
_PDM_ROW = {
    1: (Term.NC, Term.DAC, Term.TTC, Term.COMFORT, Term.DDC),
    2: (Term.NC, Term.DAC, Term.DDC, Term.TLC, None, Term.TTC, Term.LK, Term.COMFORT),
}
_FROM_STATES = 1e-6
_FROM_PLANS = 1e-3
_POSITION_FROM_PLANS = 5e-3
_FIRST_STATIC = 3
_FRAMES_V2 = 41


@dataclass(frozen=True, slots=True)
class _World:
    """What the vectors of one case are scored in."""

    vehicle: Vehicle
    areas: MapAreas
    on_route: NDArray[np.bool_]
    lights: Lights
    scenes: dict[int, Scene]
    rows: dict[int, NDArray[np.int64]]
    history: NDArray[np.float64]


def _ego_overlaps(case: Case, vehicle: Vehicle) -> NDArray[np.bool_]:
    x, y, yaw = case["in_ego0"][:3]
    c, s = np.cos(yaw), np.sin(yaw)
    shift = vehicle.rear_axle_to_centre
    agents = _agents(case, np.arange(len(case["in_ag_type"])), 1)
    hit = np.zeros(len(case["in_ag_type"]), bool)
    half = 0.5 * vehicle.length, 0.5 * vehicle.width
    overlapping(agents, 0, x + shift * c, y + shift * s, c, s, *half, hit)
    return hit


def _agents(case: Case, rows: NDArray[np.int64], frames: int) -> Any:
    return pack_agents(
        case["in_ag_pose"][rows, :frames],
        case["in_ag_vel"][rows, :frames],
        case["in_ag_exist"][rows, :frames],
        case["in_ag_dims"][rows],
        case["in_ag_type"][rows] >= _FIRST_STATIC,
    )


def _world(case: Case) -> _World:
    vehicle = Vehicle(*(float(v) for v in case["in_vehicle"]))
    areas = pack_map(case["in_map_poly"], case["in_map_off"], case["in_map_type"])
    lane = np.isin(case["in_map_type"], (PolygonKind.LANE, PolygonKind.LANE_CONNECTOR))
    on_route = lane & np.isin(case.meta["map_tokens"], case.meta["route_lane_ids"])
    held = np.flatnonzero(np.array(case.meta["tl_on_route"], bool))
    rings = case.ragged("in_tl_poly", "in_tl_off")
    lights = pack_lights(
        case["in_tl_red"][held],
        np.concatenate([np.zeros((0, 2)), *(rings[k] for k in held)]),
        np.cumsum([0, *(len(rings[k]) for k in held)]),
    )
    everyone = np.arange(len(case["in_ag_type"]))
    rows = {1: everyone, 2: everyone[~_ego_overlaps(case, vehicle)]}
    line = case["in_centerline"]
    frames = {1: case["in_ag_exist"].shape[1], 2: _FRAMES_V2}
    scenes = {
        v: pack_scene(areas, on_route, line, _agents(case, rows[v], frames[v]), lights)
        for v in (1, 2)
    }
    history = history_states(case["in_past_ego"], case["in_past_time_us"])
    return _World(vehicle, areas, on_route, lights, scenes, rows, history)


def _metric_columns(
    case: Case, version: int, value: NDArray[np.float64], ep: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float64], float]]:
    """(name, values [P], tolerance) in the order of the vectors' columns."""
    out = []
    for name in case.meta[f"v{version}_metric_names"]:
        if name in _TERMS:
            label, term = _TERMS[name]
            out.append((label, value[:, term], 0.0))
        elif name == "ego_progress":
            out.append(("EP", ep, _FROM_STATES))
        elif name == "score" and version == 1:
            out.append(("score", totals.pdms(value, ep), _FROM_STATES))
        else:
            raise DataError(f"{case.path}: meta_json.v{version}_metric_names has {name!r}")
    return out


def _check_simulation(tally: Tally, case: Case, world: _World) -> NDArray[np.float64]:
    """Sections 1 and 2. Returns the states simulated from the raw plans."""
    ego, interval, vehicle = case["in_ego0"], case.meta["raw_interval_s"], world.vehicle
    references = sample_plans(ego, case["in_raw"], interval)
    states = simulate_references(ego, references, vehicle)
    if "out_ref" in case:
        want = case["out_ref"]
        tally.compare("reference poses", case.id, references, want, _FROM_PLANS, angle=2)
        if "out_sim" in case:
            got = simulate_references(ego, want, vehicle)
            tally.compare(
                "simulation from reference", case.id, got, case["out_sim"], _FROM_STATES, angle=2
            )

    def positions(metric: str, key: str, got: NDArray[np.float64]) -> None:
        if key in case:
            want = case[key][..., :2]
            tally.compare(metric, case.id, got[..., :2], want, _POSITION_FROM_PLANS)

    positions("simulation from plans", "out_sim", states)
    before = simulate_plans(case["in_prev_ego"], case["in_prev_raw"], interval, vehicle)
    positions("previous simulation from plans", "out_prev_sim", before)
    human = simulate_plans(ego, case["in_human_raw"][None], 0.5, vehicle)[0]
    positions("human simulation from plan", "out_human_sim", human)
    for v in (1, 2):
        if f"v{v}_pdm_sim" in case:
            got = simulate_references(ego, case[f"in_pdm_ref_v{v}"][None], vehicle)[0]
            want = case[f"v{v}_pdm_sim"]
            tally.compare(f"v{v} PDM-Closed simulation", case.id, got, want, _FROM_STATES, angle=2)
    return states


def _steps(found: Evaluation, term: Term) -> NDArray[np.float64]:
    first = found.first_step[:, term].astype(np.float64)
    return np.where(first < 0, np.inf, first)


def _check_scores(
    tally: Tally, case: Case, world: _World, version: int, simulated: NDArray[np.float64]
) -> None:
    """Sections 4 to 6, from the vectors' own states and from the raw plans."""
    v = version
    if "out_sim" not in case:
        return
    history = world.history if v == 2 else None
    scene = world.scenes[v]
    best = simulate_references(case["in_ego0"], case[f"in_pdm_ref_v{v}"][None], world.vehicle)
    if f"v{v}_pdm_sim" in case:
        best = case[f"v{v}_pdm_sim"][None]
    states = np.concatenate([best, case["out_sim"]])
    stable = case[f"v{v}_stable"].astype(bool) if f"v{v}_stable" in case else slice(None)
    whole = np.concatenate([[True], stable]) if f"v{v}_stable" in case else slice(None)
    found = evaluate(scene, states, world.vehicle, v, history, events=True)
    reference = evaluate(scene, states[:1], world.vehicle, v, history)
    value = found.value[1:]
    proposals = evaluate(scene, states[1:], world.vehicle, v, history)
    ep = totals.progress_in_pairs(reference, proposals, v)
    columns = _metric_columns(case, v, value, ep)

    def compare(name: str, key: str, got: Any, tolerance: float = 0.0, rows: Any = None) -> None:
        if key in case:
            keep = slice(None) if rows is None else rows
            tally.compare(
                f"v{v} {name}", case.id, np.asarray(got)[keep], case[key][keep], tolerance
            )

    if v == 1 and "out_area" in case:
        area = proposals.area & 7
        tally.compare("area flags", case.id, area[stable], case["out_area"][stable])
    if f"v{v}_metrics" in case:
        for k, (label, got, tolerance) in enumerate(columns):
            want = case[f"v{v}_metrics"][:, k]
            tally.compare(f"v{v} {label}", case.id, got[stable], want[stable], tolerance)
    batch = totals.progress_in_batch(found.progress, totals.multiplier(found.value, v), v)
    total = totals.pdms if v == 1 else totals.epdms
    row = [batch[0] if term is None else reference.value[0, term] for term in _PDM_ROW[v]]
    if f"v{v}_pdm_row" in case:
        want = case[f"v{v}_pdm_row"]
        tally.compare(f"v{v} PDM-Closed row", case.id, row, want, _FROM_STATES)
    compare("raw progress", f"v{v}_raw_progress", found.progress, _FROM_STATES)
    compare("comfort checks", f"v{v}_comfort6", found.comfort_checks, 0.0, whole)
    compare("first at-fault step", f"v{v}_t_col", _steps(found, Term.NC), 0.0, whole)
    compare("first TTC step", f"v{v}_t_ttc", _steps(found, Term.TTC), 0.0, whole)
    if f"v{v}_events" in case:
        events = found.events.astype(np.int64)
        events[:, 2] = world.rows[v][events[:, 2]]
        tally.compare_rows(f"v{v} collision events", case.id, events, case[f"v{v}_events"])
    compare("EP in one batch", f"v{v}_batch_ep", batch, _FROM_STATES)
    compare("score in one batch", f"v{v}_batch_score", total(found.value, batch), _FROM_STATES)
    if v == 2:
        _check_version_2(tally, case, world, value, ep, columns, stable)
    _check_from_plans(tally, case, world, v, simulated, best, stable)


def _check_version_2(
    tally: Tally,
    case: Case,
    world: _World,
    value: NDArray[np.float64],
    ep: NDArray[np.float64],
    columns: list[tuple[str, NDArray[np.float64], float]],
    stable: Any,
) -> None:
    """EC, the human filter, history, deleted agents, and the totals."""

    def compare(name: str, key: str, got: Any, tolerance: float = 0.0) -> None:
        if key in case:
            want = case[key]
            tally.compare(f"v2 {name}", case.id, np.asarray(got)[stable], want[stable], tolerance)

    if "v2_removed_agents" in case:
        gone = np.setdiff1d(np.arange(len(case["in_ag_type"])), world.rows[2])
        tally.compare_rows(
            "v2 agents deleted at t = 0", case.id, gone[:, None], case["v2_removed_agents"][:, None]
        )
    if "v2_hist_states" in case:
        want = case["v2_hist_states"]
        tally.compare("v2 history", case.id, world.history, want, _FROM_STATES, angle=2)
    ec = None
    if "out_prev_sim" in case:
        delta = float(case["in_ego0_time_us"] - case["in_prev_time_us"]) * 1e-6
        ec, rms = extended_comfort(case["out_sim"], case["out_prev_sim"], delta)
        compare("EC", "v2_ec", ec)
        compare("EC differences", "v2_ec_rms", rms, _FROM_STATES)
        compare("score", "v2_score", totals.epdms(value, ep, ec), _FROM_STATES)
    compare("multiplier", "v2_multi", totals.multiplier(value, 2))
    compare("score without EC", "v2_score_no_ec", totals.epdms(value, ep), _FROM_STATES)
    if "out_human_sim" not in case:
        return
    human = evaluate(world.scenes[2], case["out_human_sim"][None], world.vehicle, 2).value[0]
    if "v2_human_row" in case:
        one = np.ones(1)
        terms = [c[1][0] for c in _metric_columns(case, 2, human[None], one)]
        tally.compare("v2 human row", case.id, terms, case["v2_human_row"])
    filtered = totals.filter_by_human(value, human)
    if "v2_f_metrics" in case:
        for k, (label, got, tolerance) in enumerate(_metric_columns(case, 2, filtered, ep)):
            want = case["v2_f_metrics"][:, k]
            tally.compare(f"v2 filtered {label}", case.id, got[stable], want[stable], tolerance)
    compare("filtered multiplier", "v2_f_multi", totals.multiplier(filtered, 2))
    compare(
        "filtered score without EC", "v2_f_score_no_ec", totals.epdms(filtered, ep), _FROM_STATES
    )
    if ec is not None:
        got = totals.epdms(filtered, ep, ec)
        compare("filtered score", "v2_f_score", got, _FROM_STATES)


def _check_from_plans(
    tally: Tally,
    case: Case,
    world: _World,
    version: int,
    states: NDArray[np.float64],
    best: NDArray[np.float64],
    stable: Any,
) -> None:
    """The whole way from raw plans to scores."""
    if f"v{version}_metrics" not in case:
        return
    history = world.history if version == 2 else None
    scene = world.scenes[version]
    found = evaluate(scene, states, world.vehicle, version, history)
    reference = evaluate(scene, best, world.vehicle, version, history)
    ep = totals.progress_in_pairs(reference, found, version)
    for k, (label, got, tolerance) in enumerate(_metric_columns(case, version, found.value, ep)):
        tally.compare(
            f"v{version} {label} from plans",
            case.id,
            got[stable],
            case[f"v{version}_metrics"][stable, k],
            _FROM_PLANS if tolerance else 0.0,
        )


def _check_reference(tally: Tally, case: Case, world: _World) -> None:
    """Section 8: PDM-Closed's proposals, and (informative) what it makes of them."""
    if "pdmc_proposals" not in case:
        return
    ids, graph = case.meta["graph"]["lane_ids"], case.meta["graph"]
    row = {name: k for k, name in enumerate(ids)}
    polygon = {name: k for k, name in enumerate(case.meta["map_tokens"])}
    lanes = LaneGraph(
        baselines=tuple(case.ragged("in_graph_base", "in_graph_base_off")),
        speed_limit=case["in_graph_speed"],
        successors=tuple(tuple(row[n] for n in out if n in row) for out in graph["lane_out"]),
        roadblock=tuple(graph["lane_roadblock"]),
        polygon=np.array([polygon.get(name, -1) for name in ids], np.int64),
        on_route=np.isin(ids, case.meta["route_lane_ids"]),
    )
    ego, line = case["in_ego0"], case["in_centerline"]
    start = start_lane(lanes, world.areas, ego, world.vehicle)
    if graph["route_roadblock_ids"]:
        found = route_centreline(lanes, start, graph["route_roadblock_ids"][-1])
        tally.compare(
            "PDM-Closed centreline", case.id, found, line, _FROM_STATES, angle=2, informative=True
        )
    now = case["in_ag_exist"][:, 0]
    agents, _ = forecast(
        ego,
        case["in_ag_pose"][now, 0],
        case["in_ag_vel"][now, 0],
        case["in_ag_dims"][now],
        np.minimum(case["in_ag_type"][now], _FIRST_STATIC),
        world.vehicle,
    )
    # The planner builds its own map, which has no layer of this kind (section 3).
    kept = np.flatnonzero(case["in_map_type"] != PolygonKind.DRIVABLE_AREA)
    rings = case.ragged("in_map_poly", "in_map_off")
    areas = world.areas
    if len(kept) < len(rings):
        areas = pack_map(
            np.concatenate([np.zeros((0, 2)), *(rings[k] for k in kept)]),
            np.cumsum([0, *(len(rings[k]) for k in kept)]),
            case["in_map_type"][kept],
        )
    chosen = pdm_closed(
        ego,
        areas,
        world.on_route[kept],
        line,
        float(lanes.speed_limit[start]),
        agents,
        world.lights,
        world.vehicle,
        (1, 2),
    )
    ties = chosen[1].ties
    cause = f"{ties} choices among leaders at distance 0, which the specification leaves open"
    tally.compare(
        "PDM-Closed proposals",
        case.id,
        chosen[1].proposals,
        case["pdmc_proposals"],
        _FROM_STATES,
        angle=2,
        exception=cause if ties else "",
    )
    for v in (1, 2):
        if f"pdmc_scores_v{v}" in case:
            tally.compare(
                f"v{v} PDM-Closed scores",
                case.id,
                chosen[v].scores,
                case[f"pdmc_scores_v{v}"],
                _FROM_STATES,
                informative=True,
            )
    if "pdmc_best" in case:
        best = [chosen[1].best, chosen[2].best]
        tally.compare("PDM-Closed choice", case.id, best, case["pdmc_best"], informative=True)


def check_pdms(directory: Path) -> ConformanceTable:
    """Compare this package with reference vectors of the format "pdms-conformance-1".

    Cases are the NPZ files in `cases/` and those that `index.json` lists, whose SHA-256 must
    then match; `interp_v1.npz`, `interp_v2.npz` and `two_stage.json` are used where present.

    Args:
        directory: the folder that holds them.

    Returns:
        One row per kind of value. Discrete values must be equal, others lie within the
        tolerances of the format. Proposals marked unstable are left out of discrete rows.

    Raises:
        DataError: a vector is malformed; names the file, the field and the value.
    """
    directory = Path(directory)
    tally = Tally()
    cases, missing = list_cases(directory)
    if missing:
        wanted = len(cases) + missing
        tally.compare(
            "files listed in index.json", "index.json", len(cases), wanted, informative=True
        )
    for path, digest in cases:
        case = read_case(path, digest)
        try:
            world = _world(case)
            states = _check_simulation(tally, case, world)
            for version in (1, 2):
                _check_scores(tally, case, world, version, states)
            _check_reference(tally, case, world)
        except (ValueError, IndexError, KeyError) as error:
            raise DataError(f"{path}: {error}") from error
    check_interpolation(tally, directory)
    check_two_stage(tally, directory)
    return ConformanceTable("pdms", str(directory), tally.rows())
