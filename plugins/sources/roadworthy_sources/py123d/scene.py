"""One 123D scene as a scenario. Its objects are only asked for values; nothing is imported."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import ego_states_from_poses, track_velocities
from roadworthy.rings import ring_of, union_rings
from roadworthy.routing import LaneGraph
from roadworthy.scenario import (
    HISTORY,
    AgentKind,
    AreaKind,
    LaneKind,
    RoadMap,
    Scenario,
    Signals,
    SignalState,
    StateIndex,
)
from roadworthy.vehicle import Vehicle

from roadworthy_sources.reading.cars import jumps
from roadworthy_sources.reading.drafts import LaneDraft, junction_rings, put_together
from roadworthy_sources.reading.fitness import area_verdict, share_on_area
from roadworthy_sources.reading.lines import distinct
from roadworthy_sources.reading.tracks import Track, grid_of, on_grid, tracks_of

__all__ = ["scenario_of"]

_AROUND = 200.0
_SEAM = 0.15
_COG_SHARE = 0.54
_LAYERS = ("lane", "intersection", "crosswalk", "carpark", "generic_drivable")
_IMPLIED = ("lane_group", "road_edge", "road_line")
"""Layers that say again what lanes say."""
_AREA = {
    "intersection": AreaKind.INTERSECTION,
    "crosswalk": AreaKind.CROSSWALK,
    "carpark": AreaKind.CARPARK,
    "generic_drivable": AreaKind.DRIVABLE,
}
_KIND = {
    "VEHICLE": AgentKind.VEHICLE,
    "TRAIN": AgentKind.VEHICLE,
    "TWO_WHEELER": AgentKind.BICYCLE,
    "PERSON": AgentKind.PEDESTRIAN,
    "TRAFFIC_CONE": AgentKind.TRAFFIC_CONE,
    "BARRIER": AgentKind.BARRIER,
    "TRAFFIC_SIGN": AgentKind.CZONE_SIGN,
}
_SIGNAL = {
    "GREEN": SignalState.GREEN,
    "YELLOW": SignalState.YELLOW,
    "RED": SignalState.RED,
}


def scenario_of(scene: Any, name: str) -> Scenario:
    """The scenario of a `py123d.api.SceneAPI`.

    Times are those of the scene's iterations, history included; all is interpolated to 10 Hz.
    The map is what lies within 200 m of the drive.

    Raises:
        DataError: the scene has no map, no ego or no lane near it, or is too short.
    """
    where = f"123D log {name}"
    stamps = scene.get_all_iteration_timestamps(include_history=True)
    times = np.array([stamp.time_us for stamp in stamps], np.int64)
    times = (times - times[:1]) * 1e-6
    if len(times) < 2 or not (np.diff(times) > 0.0).all():
        raise DataError(
            f"{where}: its {len(times)} times do not increase", hint="Convert it again."
        )
    grid = grid_of(where, times)
    steps = len(grid)
    if steps < HISTORY + 1:
        raise DataError(f"{where}: {steps} steps of 0.1 s", hint=f"Wanted: {HISTORY + 1} or more.")
    first = -int(scene.get_scene_metadata().num_history_iterations)
    poses, vehicle = _ego(scene, where, first, times, grid)
    if found := jumps(poses):
        raise DataError(f"{where}: the ego {found}", hint="Cut the log there.")
    notes: list[str] = []
    road_map, index = _road_map(scene, where, poses, notes)
    route = LaneGraph(road_map).route(poses)
    if route is None:
        raise DataError(f"{where}: the ego drives near no lane", hint="Convert the map again.")
    states = ego_states_from_poses(poses, vehicle)
    tags, sentences = area_verdict(share_on_area(road_map, states, vehicle))
    return Scenario(
        id=name,
        source="py123d",
        map=road_map,
        ego=states,
        agents=tracks_of(where, _agents(scene, first, times, grid), steps),
        route=route,
        signals=_signals(scene, first, times, grid, index),
        start=HISTORY - 1,
        vehicle=vehicle,
        tags=("real", "py123d", str(scene.get_log_metadata().dataset), *tags),
        repairs=(*notes, *sentences),
    )


def _ego(
    scene: Any, where: str, first: int, times: NDArray[np.float64], grid: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Vehicle]:
    """Rear-axle poses [T, 3] on the grid, and the car."""
    raw = np.zeros((len(times), 5))
    seen = np.zeros(len(times), bool)
    meta = None
    for k in range(len(times)):
        state = scene.get_ego_state_se3_at_iteration(first + k)
        if state is not None:
            pose = state.rear_axle_se2
            raw[k, :3] = pose.x, pose.y, pose.yaw
            seen[k], meta = True, state.metadata
    placed, held = on_grid(times, raw, seen, grid)
    if meta is None or not held.all():
        raise DataError(f"{where}: the ego is not there at every step", hint="Convert it again.")
    ahead = float(meta.rear_axle_to_center_longitudinal)
    try:
        vehicle = Vehicle(
            width=float(meta.width),
            front=0.5 * float(meta.length) + ahead,
            rear=0.5 * float(meta.length) - ahead,
            wheelbase=float(meta.wheel_base),
            cog=_COG_SHARE * float(meta.wheel_base),
            height=float(meta.height),
        )
    except ValueError as error:
        raise DataError(f"{where}: the ego's dimensions", hint=str(error)) from error
    return placed[:, : StateIndex.YAW + 1], vehicle


def _agents(
    scene: Any, first: int, times: NDArray[np.float64], grid: NDArray[np.float64]
) -> list[Track]:
    rows: dict[str, list[tuple[int, Any]]] = {}
    for k in range(len(times)):
        for box in scene.get_box_detections_se3_at_iteration(first + k) or ():
            rows.setdefault(str(box.attributes.track_token), []).append((k, box))
    tracks = []
    for name, found in sorted(rows.items()):
        label = found[0][1].attributes.default_label.name
        if label == "EGO":
            continue
        raw = np.zeros((len(times), 5))
        seen = np.zeros(len(times), bool)
        for k, box in found:
            pose = box.center_se2
            raw[k, :3] = pose.x, pose.y, pose.yaw
            seen[k] = True
        sizes = [(b.bounding_box_se3.length, b.bounding_box_se3.width, b.bounding_box_se3.height)
                 for _, b in found]  # fmt: skip
        placed, held = on_grid(times, raw, seen, grid)
        kind = _KIND.get(label, AgentKind.GENERIC_OBJECT)
        if kind < AgentKind.TRAFFIC_CONE:
            placed[:, StateIndex.VX :] = track_velocities(placed[:, :2], held)
        tracks.append(Track(name, kind, np.median(np.array(sizes), axis=0), placed, held))
    return tracks


def _road_map(
    scene: Any, where: str, poses: NDArray[np.float64], notes: list[str]
) -> tuple[RoadMap, dict[str, int]]:
    """The map around the drive, and the index of each lane by its id."""
    api = scene.get_map_api()
    if api is None:
        raise DataError(f"{where}: the log has no map", hint="Convert its map with py123d.")
    low, high = poses[:, :2].min(axis=0) - _AROUND, poses[:, :2].max(axis=0) + _AROUND
    known = {layer.name.lower() for layer in api.get_available_map_layers()}
    objects = {
        layer: [
            found
            for found in api.get_all_map_objects_in_layer(layer)
            if (found.outline_2d.array.min(axis=0) < high).all()
            and (found.outline_2d.array.max(axis=0) > low).all()
        ]
        for layer in _LAYERS
        if layer in known
    }
    if unread := sorted(known - {*_LAYERS, *_IMPLIED}):
        notes.append(f"map: layers {', '.join(unread)} not read.")
    lanes = [_lane(lane) for lane in objects.get("lane", [])]
    if points := sum(len(lane.centreline) < 2 for lane in lanes):
        notes.append(f"map: {points} lanes whose centreline has no length dropped.")
    lanes = [lane for lane in lanes if len(lane.centreline) > 1]
    _check_sides(lanes)
    rings = [lane.polygon for lane in lanes]
    areas = [
        (_AREA[layer], ring_of(found.shapely_polygon))
        for layer in objects
        if layer != "lane"
        for found in objects[layer]
    ]
    areas += [(AreaKind.DRIVABLE, ring) for ring in union_rings(rings, _SEAM)]
    if "intersection" not in objects:
        areas += [(AreaKind.INTERSECTION, ring) for ring in junction_rings(lanes)]
    road_map = put_together(where, lanes, areas, notes=notes)
    return road_map, {name: i for i, name in enumerate(road_map.lane_id)}


def _lane(lane: Any) -> LaneDraft:
    group, limit = lane.lane_group, lane.speed_limit_mps
    inside = group is not None and group.intersection_id is not None
    bike = lane.lane_type is not None and lane.lane_type.name == "BIKE_LANE"
    sides = [None if i is None else str(i) for i in (lane.left_lane_id, lane.right_lane_id)]
    return LaneDraft(
        id=str(lane.object_id),
        centreline=distinct(np.array(lane.centerline_2d.array[:, :2], np.float64)),
        polygon=ring_of(lane.shapely_polygon),
        kind=LaneKind.BIKE if bike else LaneKind.CONNECTOR if inside else LaneKind.LANE,
        speed_limit=math.nan if limit is None or not 0.0 < limit < 100.0 else float(limit),
        successors=[str(i) for i in lane.successor_ids],
        left=None if bike else sides[0],
        right=None if bike else sides[1],
    )


def _check_sides(lanes: list[LaneDraft]) -> None:
    """Forget neighbours that run the other way, or are for bicycles."""
    known = {lane.id: lane for lane in lanes if lane.kind != LaneKind.BIKE}

    def same_way(lane: LaneDraft, name: str | None) -> str | None:
        other = known.get(name or "")
        if other is None:
            return None
        ways = [line[-1] - line[0] for line in (lane.centreline, other.centreline)]
        return name if float(ways[0] @ ways[1]) > 0.0 else None

    for lane in lanes:
        lane.left, lane.right = same_way(lane, lane.left), same_way(lane, lane.right)


def _signals(
    scene: Any,
    first: int,
    times: NDArray[np.float64],
    grid: NDArray[np.float64],
    index: dict[str, int],
) -> Signals:
    rows: dict[int, NDArray[np.int8]] = {}
    for k in range(len(times)):
        for light in scene.get_traffic_light_detections_at_iteration(first + k) or ():
            lane = index.get(str(light.lane_id))
            if lane is not None:
                row = rows.setdefault(lane, np.zeros(len(times), np.int8))
                row[k] = _SIGNAL.get(light.status.name, SignalState.UNKNOWN)
    if not rows:
        return Signals.none(len(grid))
    at = np.clip(np.searchsorted(times, grid + 1e-3, "right") - 1, 0, len(times) - 1)
    lanes = sorted(rows)
    return Signals(np.array(lanes, np.int64), np.stack([rows[lane][at] for lane in lanes]))
