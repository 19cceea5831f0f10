"""Writes a case as MCAP, the log format of Foxglove (https://mcap.dev, https://foxglove.dev).

One file holds every planner's drive of one case, in topics of Foxglove's well-known schemas
(https://docs.foxglove.dev/docs/sdk/schemas), as JSON; TITLE is the planner's label:

    /map                  foxglove.SceneUpdate   lanes and drivable areas, once
    /TITLE/scene        foxglove.SceneUpdate   ego, agents, plan and stop signals, at 10 Hz
    /TITLE/tf           foxglove.FrameTransform  world -> TITLE/ego
    /TITLE/log          foxglove.Log           what the metrics found

Time 0 is the start of the drive; the fixed frame is `world`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import RunError, install_hint
from roadworthy.replay import Replay
from roadworthy.report.drawing import Pane
from roadworthy.scenario import RATE_HZ, AgentKind, AreaKind, RoadMap, SignalState
from roadworthy.vehicle import VehicleIndex

__all__ = ["write_mcap"]

Json = dict[str, Any]


def write_mcap(out: Path, drives: Sequence[Pane]) -> None:
    """Write the drives of one case.

    Raises:
        RunError: if the library is not installed.
        OSError: if the file cannot be written.
    """
    try:
        library: Any = importlib.import_module("mcap.writer")
    except ImportError:
        raise RunError(
            f"{out}: writing an .mcap takes the mcap library",
            hint=f"{install_hint('mcap')}, or name a .gif.",
        ) from None
    with out.open("wb") as file:
        writer = library.Writer(file)
        writer.start(profile="", library="roadworthy")
        schemas = {
            name: writer.register_schema(name, "jsonschema", msgspec.json.encode(schema))
            for name, schema in _SCHEMAS.items()
        }
        topics: dict[str, int] = {}
        for time, topic, schema, message in sorted(_messages(drives), key=lambda m: m[:2]):
            if topic not in topics:
                topics[topic] = writer.register_channel(topic, "json", schemas[schema])
            data = msgspec.json.encode(message)
            writer.add_message(topics[topic], log_time=time, publish_time=time, data=data)
        writer.finish()


def _messages(drives: Sequence[Pane]) -> Iterable[tuple[int, str, str, Json]]:
    """(time in ns, topic, schema, message)."""
    first = drives[0]
    yield 0, "/map", "foxglove.SceneUpdate", _update([_map_entity(first.road_map)])
    for drive in drives:
        replay = drive.replay
        for step in range(len(replay.ego)):
            time = _nanoseconds(step)
            yield time, f"/{drive.title}/scene", "foxglove.SceneUpdate", _scene(drive, step)
            yield time, f"/{drive.title}/tf", "foxglove.FrameTransform", _transform(drive, step)
        for reason in drive.reasons:
            at = reason.step if 0 <= reason.step <= drive.steps else drive.steps
            message = {
                "timestamp": _time(at),
                "level": 3 if reason.level == "near" else 4,
                "message": reason.text,
                "name": drive.title,
                "file": "",
                "line": 0,
            }
            yield _nanoseconds(at), f"/{drive.title}/log", "foxglove.Log", message


def _scene(drive: Pane, step: int) -> Json:
    replay = drive.replay
    vehicle, (x, y, yaw) = replay.vehicle, replay.ego[step, :3]
    length = vehicle[VehicleIndex.FRONT] + vehicle[VehicleIndex.REAR]
    ahead = (vehicle[VehicleIndex.FRONT] - vehicle[VehicleIndex.REAR]) / 2
    centre = (x + ahead * np.cos(yaw), y + ahead * np.sin(yaw))
    size = (length, vehicle[VehicleIndex.WIDTH], vehicle[VehicleIndex.HEIGHT])
    ego = _entity("ego", step, cubes=[_cube(*centre, yaw, size, _EGO)])
    cubes = []
    for a in np.flatnonzero(replay.agents_valid[:, step]):
        at_x, at_y, heading = (float(v) for v in replay.agents[a, step, :3])
        kind = int(replay.agents_kind[a])
        cubes.append(_cube(at_x, at_y, heading, replay.agents_size[a], _AGENTS[kind]))
    agents = _entity("agents", step, cubes=cubes)
    return _update([ego, agents, _entity("plan", step, lines=_plan(replay, step)),
                    _entity("signals", step, lines=_signals(drive, step))])  # fmt: skip


def _plan(replay: Replay, step: int) -> list[Json]:
    """The latest plan, as a line in the world."""
    made = np.flatnonzero(replay.plan_step <= step)
    if not len(made):
        return []
    latest = int(made[-1])
    x, y, yaw = replay.ego[int(replay.plan_step[latest]), :3]
    poses = replay.plan_poses[latest]
    poses = poses[np.isfinite(poses).all(axis=1)]
    cos, sin = np.cos(yaw), np.sin(yaw)
    ahead, left = np.vstack([np.zeros((1, 2)), poses[:, :2]]).T
    points = np.column_stack([x + cos * ahead - sin * left, y + sin * ahead + cos * left])
    return [_line(points, _PLAN, thickness=0.4, z=0.15)]


def _signals(drive: Pane, step: int) -> list[Json]:
    """The entry of each signalled lane, in the light's colour."""
    lines = []
    for lane, state in zip(drive.replay.signal_lane, drive.replay.signals[:, step], strict=True):
        if state in _LIGHTS:
            path = drive.road_map.lane_centreline[int(lane)][:, :2]
            lines.append(_line(path[:2], _LIGHTS[state], thickness=1.0, z=0.1))
    return lines


def _map_entity(road_map: RoadMap) -> Json:
    lines = [_line(path[:, :2], _LANE, thickness=0.1) for path in road_map.lane_centreline]
    for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True):
        colour = _CROSSWALK if kind == AreaKind.CROSSWALK else _EDGE
        lines.append(_line(ring, colour, thickness=0.15, closed=True))
    return _entity("map", 0, lines=lines)


def _transform(drive: Pane, step: int) -> Json:
    x, y, yaw = (float(v) for v in drive.replay.ego[step, :3])
    return {
        "timestamp": _time(step),
        "parent_frame_id": "world",
        "child_frame_id": f"{drive.title}/ego",
        "translation": {"x": x, "y": y, "z": 0.0},
        "rotation": _turn(yaw),
    }


def _update(entities: list[Json]) -> Json:
    return {"deletions": [], "entities": entities}


def _entity(name: str, step: int, **shown: list[Json]) -> Json:
    return {
        "timestamp": _time(step),
        "frame_id": "world",
        "id": name,
        "lifetime": {"sec": 0, "nsec": 0},
        "frame_locked": False,
        "metadata": [],
    } | {kind: shown.get(kind, []) for kind in _PRIMITIVES}


def _cube(x: float, y: float, yaw: float, size: Any, colour: Json) -> Json:
    length, width, height = (float(v) for v in size)
    position = {"x": float(x), "y": float(y), "z": height / 2}
    return {
        "pose": {"position": position, "orientation": _turn(float(yaw))},
        "size": {"x": length, "y": width, "z": height},
        "color": colour,
    }


def _line(
    points: NDArray[Any], colour: Json, thickness: float, z: float = 0.0, closed: bool = False
) -> Json:
    return {
        "type": 1 if closed else 0,
        "pose": {"position": {"x": 0.0, "y": 0.0, "z": z}, "orientation": _turn(0.0)},
        "thickness": thickness,
        "scale_invariant": False,
        "points": [{"x": float(x), "y": float(y), "z": 0.0} for x, y in points],
        "color": colour,
        "colors": [],
        "indices": [],
    }


def _turn(yaw: float) -> Json:
    return {"x": 0.0, "y": 0.0, "z": float(np.sin(yaw / 2)), "w": float(np.cos(yaw / 2))}


def _nanoseconds(step: int) -> int:
    return step * (1_000_000_000 // RATE_HZ)


def _time(step: int) -> Json:
    seconds, rest = divmod(_nanoseconds(step), 1_000_000_000)
    return {"sec": seconds, "nsec": rest}


def _colour(red: float, green: float, blue: float, alpha: float = 1.0) -> Json:
    return {"r": red, "g": green, "b": blue, "a": alpha}


_EGO, _PLAN = _colour(0.13, 0.55, 0.95), _colour(0.13, 0.55, 0.95, 0.6)
_LANE, _EDGE, _CROSSWALK = _colour(0.6, 0.6, 0.6), _colour(0.85, 0.85, 0.85), _colour(0.9, 0.8, 0.3)
_AGENTS = {kind.value: _colour(0.95, 0.6, 0.2) for kind in AgentKind} | {
    AgentKind.VEHICLE.value: _colour(0.55, 0.6, 0.68),
    AgentKind.PEDESTRIAN.value: _colour(0.9, 0.3, 0.5),
    AgentKind.BICYCLE.value: _colour(0.6, 0.4, 0.85),
}
_LIGHTS = {
    SignalState.GREEN: _colour(0.1, 0.75, 0.3),
    SignalState.YELLOW: _colour(0.95, 0.8, 0.1),
    SignalState.RED: _colour(0.9, 0.1, 0.1),
}
_PRIMITIVES = "arrows cubes spheres cylinders lines triangles texts models".split()


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


_NUMBER, _WHOLE, _TEXT, _FLAG = ({"type": t} for t in ("number", "integer", "string", "boolean"))
_MOMENT = _object(sec=_WHOLE, nsec=_WHOLE)
_VECTOR = _object(x=_NUMBER, y=_NUMBER, z=_NUMBER)
_ROTATION = _object(x=_NUMBER, y=_NUMBER, z=_NUMBER, w=_NUMBER)
_POSE = _object(position=_VECTOR, orientation=_ROTATION)
_COLOUR = _object(r=_NUMBER, g=_NUMBER, b=_NUMBER, a=_NUMBER)
_CUBE = _object(pose=_POSE, size=_VECTOR, color=_COLOUR)
_LINE = _object(
    type=_WHOLE,
    pose=_POSE,
    thickness=_NUMBER,
    scale_invariant=_FLAG,
    points=_list(_VECTOR),
    color=_COLOUR,
    colors=_list(_COLOUR),
    indices=_list(_WHOLE),
)
_ENTITY = _object(
    timestamp=_MOMENT,
    frame_id=_TEXT,
    id=_TEXT,
    lifetime=_MOMENT,
    frame_locked=_FLAG,
    metadata=_list(_object(key=_TEXT, value=_TEXT)),
    **{kind: _list({"type": "object"}) for kind in _PRIMITIVES}
    | {"cubes": _list(_CUBE), "lines": _list(_LINE)},
)
_SCHEMAS: dict[str, Json] = {
    "foxglove.SceneUpdate": _object(
        deletions=_list(_object(timestamp=_MOMENT, type=_WHOLE, id=_TEXT)),
        entities=_list(_ENTITY),
    ),
    "foxglove.FrameTransform": _object(
        timestamp=_MOMENT,
        parent_frame_id=_TEXT,
        child_frame_id=_TEXT,
        translation=_VECTOR,
        rotation=_ROTATION,
    ),
    "foxglove.Log": _object(
        timestamp=_MOMENT, level=_WHOLE, message=_TEXT, name=_TEXT, file=_TEXT, line=_WHOLE
    ),
}
"""The part of Foxglove's schemas that is written here; it knows the rest by their names."""
