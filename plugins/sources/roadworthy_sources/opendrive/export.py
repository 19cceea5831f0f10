"""Scenes as OpenSCENARIO XML 1.2 with their roads as OpenDRIVE 1.7, written by scenariogeneration.

    python -m roadworthy_sources.opendrive.export STORE --out DIR

Every lane becomes a road of one lane beside its reference line, with the lane's width and its
links; agents and the ego follow their logged motion from the present on. Both files are checked
against the ASAM schemas that come with scenariogeneration. Lights and areas are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError, install_hint
from roadworthy.scenario import DT, AgentKind, RoadMap, Scenario, StateIndex
from roadworthy.vehicle import EgoIndex

from roadworthy_sources.exporting import export_scenes
from roadworthy_sources.reading.widths import half_width

__all__ = ["write_openscenario"]

Array = NDArray[np.float64]

_MINOR = 2
_DATE = datetime(2000, 1, 1, tzinfo=UTC)


def write_openscenario(scenario: Scenario, folder: Path, name: str) -> Path:
    """Write `name.xosc` and, beside it, `name.xodr`; equal scenes give equal bytes.

    Args:
        scenario: admitted.
        folder: that exists.
        name: of both files, without their endings.

    Returns:
        The path of the `.xosc`.

    Raises:
        DataError: scenariogeneration is missing, or a schema refuses a file.
    """
    try:
        import scenariogeneration as generation
        import xmlschema
    except ImportError as error:
        raise DataError(
            f"{folder / name}: scenariogeneration cannot be used ({error})",
            hint=f"{install_hint('openscenario')}.",
        ) from error
    schemas = Path(generation.__file__).parents[1] / "schemas"
    roads = _roads(scenario.map)
    story = _story(scenario, f"{name}.xodr")
    for element, suffix, schema in (
        (roads, "xodr", "opendrive_17_core.xsd"),
        (story, "xosc", f"OpenSCENARIO_1_{_MINOR}.xsd"),
    ):
        path = folder / f"{name}.{suffix}"
        ElementTree.indent(element)
        path.write_bytes(ElementTree.tostring(element, "utf-8", xml_declaration=True))
        problem = next(xmlschema.XMLSchema(schemas / schema).iter_errors(str(path)), None)
        if problem is not None:
            raise DataError(f"{path}: {schema} refuses {problem.path}: {problem.reason}")
    return folder / f"{name}.xosc"


def _roads(road_map: RoadMap) -> ElementTree.Element:
    from scenariogeneration import xodr

    before: list[list[int]] = [[] for _ in road_map.lane_id]
    for lane, after in enumerate(road_map.lane_successors):
        for k in after:
            before[int(k)].append(lane)
    out = xodr.OpenDrive("roadworthy")
    for lane, line in enumerate(road_map.lane_centreline):
        width = 2.0 * half_width(road_map, lane)
        # The lane lies to the right of its reference line: in OpenDRIVE, lane -1.
        left = line[:, :2] + 0.5 * width * np.stack([-np.sin(line[:, 2]), np.cos(line[:, 2])], -1)
        hop = np.diff(left, axis=0)
        long = np.hypot(hop[:, 0], hop[:, 1])
        view, s = xodr.PlanView(), 0.0
        for k in np.flatnonzero(long > 1e-3):
            heading = float(np.arctan2(hop[k, 1], hop[k, 0]))
            view.add_fixed_geometry(xodr.Line(float(long[k])), *left[k].tolist(), heading, s)
            s += float(long[k])
        if s == 0.0:
            raise DataError(f"lane {road_map.lane_id[lane]!r} has no length")
        driven = xodr.Lane(a=width)
        section = xodr.LaneSection(0.0, xodr.standard_lane())
        section.add_right_lane(driven)
        lanes = xodr.Lanes()
        lanes.add_lanesection(section)
        road = xodr.Road(lane, view, lanes, name=road_map.lane_id[lane])
        # A road's link names one road; where there are more, a junction would, which is left out.
        after = road_map.lane_successors[lane]
        if len(after) == 1:
            road.add_successor(xodr.ElementType.road, int(after[0]), xodr.ContactPoint.start)
            driven.add_link("successor", -1)
        if len(before[lane]) == 1:
            road.add_predecessor(xodr.ElementType.road, before[lane][0], xodr.ContactPoint.end)
            driven.add_link("predecessor", -1)
        out.add_road(road)
    element = out.get_element()
    header = element.find("header")
    assert header is not None
    header.set("date", _DATE.isoformat())
    return element


def _entity(kind: AgentKind, name: str, size: Array, middle: float) -> Any:
    """An entity whose box has its middle so far ahead of its reference point [m]."""
    from scenariogeneration import xosc

    length, width, height = size.tolist()
    box = xosc.BoundingBox(width, length, height, middle, 0.0, 0.5 * height)
    if kind == AgentKind.PEDESTRIAN:
        return xosc.Pedestrian(name, 75.0, xosc.PedestrianCategory.pedestrian, box)
    if kind in (AgentKind.VEHICLE, AgentKind.BICYCLE):
        category = xosc.VehicleCategory.car
        if kind == AgentKind.BICYCLE:
            category = xosc.VehicleCategory.bicycle
        front = xosc.Axle(0.6, 0.6, 0.8 * width, 0.6 * length, 0.3)
        rear = xosc.Axle(0.0, 0.6, 0.8 * width, 0.0, 0.3)
        return xosc.Vehicle(name, category, box, front, rear, 70.0, 5.0, 10.0)
    return xosc.MiscObject(name, 100.0, xosc.MiscObjectCategory.obstacle, box)


def _story(scenario: Scenario, roads: str) -> ElementTree.Element:
    from scenariogeneration import xosc

    car, now, tracks = scenario.vehicle, scenario.start, scenario.agents
    size = np.array([car.length, car.width, 1.6])
    columns = [EgoIndex.X, EgoIndex.Y, EgoIndex.YAW, EgoIndex.VX]
    entities, init = xosc.Entities(), xosc.Init()
    paths = {"ego": scenario.ego[now:, columns]}
    entities.add_scenario_object(
        "ego", _entity(AgentKind.VEHICLE, "ego", size, car.rear_axle_to_centre)
    )
    for a in np.flatnonzero(tracks.valid[:, now]):
        name = f"agent {a}: {tracks.id[a]}"
        valid = np.logical_and.accumulate(tracks.valid[a, now:])
        state = tracks.state[a, now:][valid]
        yaw = state[:, StateIndex.YAW]
        speed = state[:, StateIndex.VX] * np.cos(yaw) + state[:, StateIndex.VY] * np.sin(yaw)
        paths[name] = np.column_stack([state[:, :3], speed])
        kind = AgentKind(int(tracks.kind[a]))
        entities.add_scenario_object(name, _entity(kind, name, tracks.size[a], 0.0))
    act = xosc.Act("drives", xosc.ValueTrigger(
        "from the start", 0.0, xosc.ConditionEdge.none,
        xosc.SimulationTimeCondition(0.0, xosc.Rule.greaterOrEqual),
    ))  # fmt: skip
    for name, path in paths.items():
        init.add_init_action(name, xosc.TeleportAction(_position(path[0])))
        init.add_init_action(
            name,
            xosc.AbsoluteSpeedAction(
                float(path[0, 3]),
                xosc.TransitionDynamics(xosc.DynamicsShapes.step, xosc.DynamicsDimension.time, 0.0),
            ),
        )
        if len(path) > 1 and np.ptp(path[:, :2], axis=0).max() > 0.01:
            act.add_maneuver_group(_follows(name, path))
    story = xosc.Story("log")
    story.add_act(act)
    board = xosc.StoryBoard(init, xosc.ValueTrigger(
        "end of the log", 0.0, xosc.ConditionEdge.none,
        xosc.SimulationTimeCondition(scenario.horizon * DT, xosc.Rule.greaterOrEqual), "stop",
    ))  # fmt: skip
    board.add_story(story)
    element = xosc.Scenario(
        scenario.id, "roadworthy", xosc.ParameterDeclarations(), entities, board,
        xosc.RoadNetwork(roads), xosc.Catalog(), osc_minor_version=_MINOR, creation_date=_DATE,
    ).get_element()  # fmt: skip
    assert isinstance(element, ElementTree.Element)
    return element


def _position(state: Array) -> Any:
    from scenariogeneration import xosc

    x, y = state[:2].tolist()
    return xosc.WorldPosition(x, y, h=float(np.angle(np.exp(1j * state[2]))))


def _follows(name: str, path: Array) -> Any:
    """`name` follows its path [N, 4] at 10 Hz."""
    from scenariogeneration import xosc

    trajectory = xosc.Trajectory("log", closed=False)
    trajectory.add_shape(
        xosc.Polyline([round(k * DT, 3) for k in range(len(path))], [_position(p) for p in path])
    )
    event = xosc.Event("follows", xosc.Priority.override)
    event.add_action(
        "follows",
        xosc.FollowTrajectoryAction(
            trajectory, xosc.FollowingMode.position, xosc.ReferenceContext.absolute, 1.0, 0.0
        ),
    )
    event.add_trigger(xosc.ValueTrigger(
        "from the start", 0.0, xosc.ConditionEdge.none,
        xosc.SimulationTimeCondition(0.0, xosc.Rule.greaterOrEqual),
    ))  # fmt: skip
    manoeuvre = xosc.Maneuver("log")
    manoeuvre.add_event(event)
    group = xosc.ManeuverGroup(f"{name} as logged")
    group.add_actor(name)
    group.add_maneuver(manoeuvre)
    return group


def main() -> None:
    """Write every scene of a store."""
    export_scenes("Scenes as OpenSCENARIO XML and OpenDRIVE.", write_openscenario)


if __name__ == "__main__":
    main()
