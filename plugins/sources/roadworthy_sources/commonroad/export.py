"""Scenes as CommonRoad XML (2020a), written by commonroad-io and checked against its schema.

    python -m roadworthy_sources.commonroad.export STORE --out DIR

Lanes become lanelets of the width of their polygons, agents obstacles with their logged motion
from the present on, the ego's start and the end of its log the planning problem. Lights and areas
are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.errors import DataError, install_hint
from roadworthy.scenario import DT, AgentKind, RoadMap, Scenario, StateIndex
from roadworthy.vehicle import EgoIndex

from roadworthy_sources.exporting import export_scenes
from roadworthy_sources.reading.widths import half_width

__all__ = ["write_commonroad"]

_GOAL_M = 5.0
_TYPES = {
    AgentKind.VEHICLE: "CAR",
    AgentKind.PEDESTRIAN: "PEDESTRIAN",
    AgentKind.BICYCLE: "BICYCLE",
}


def write_commonroad(scenario: Scenario, path: Path) -> None:
    """Write one scene.

    Args:
        scenario: admitted.
        path: of the file to write.

    Raises:
        DataError: commonroad-io is missing, or its schema refuses the file.
    """
    try:
        from commonroad.common.file_writer import CommonRoadFileWriter, OverwriteExistingFile
        from commonroad.common.util import FileFormat
        from commonroad.planning.planning_problem import PlanningProblemSet
        from commonroad.scenario.scenario import Scenario as CommonRoadScenario
        from commonroad.scenario.scenario import ScenarioID, Tag
    except (ImportError, TypeError) as error:  # protobuf raises TypeError for old generated code
        raise DataError(
            f"{path}: commonroad-io cannot be used ({error})",
            hint=f"{install_hint('commonroad')}, and set "
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python if protobuf is newer than 3.20.",
        ) from error
    out = CommonRoadScenario(DT, ScenarioID(country_id="ZAM", map_name="Roadworthy", map_id=1))
    lanes = len(scenario.map.lane_id)
    out.add_objects(_lanelets(scenario.map))
    for a in np.flatnonzero(scenario.agents.valid[:, scenario.start]):
        out.add_objects(_obstacle(scenario, int(a), lanes + 1 + int(a)))
    problem = _problem(scenario, lanes + len(scenario.agents) + 1)
    writer = CommonRoadFileWriter(
        out,
        PlanningProblemSet([problem]),
        "roadworthy",
        "",
        scenario.source,
        {Tag.SIMULATED},
        file_format=FileFormat.XML,
    )
    writer.write_to_file(str(path), OverwriteExistingFile.ALWAYS, check_validity=False)
    if not writer.check_validity_of_commonroad_file(path.read_bytes()):
        raise DataError(f"{path}: the CommonRoad schema refuses {scenario.id}")


def _lanelets(road_map: RoadMap) -> list[Any]:
    from commonroad.scenario.lanelet import Lanelet, LaneletType

    before: list[list[int]] = [[] for _ in road_map.lane_id]
    for lane, after in enumerate(road_map.lane_successors):
        for k in after:
            before[int(k)].append(lane + 1)
    out = []
    for lane, line in enumerate(road_map.lane_centreline):
        half = half_width(road_map, lane)
        aside = half * np.stack([-np.sin(line[:, 2]), np.cos(line[:, 2])], -1)
        left, right = int(road_map.lane_left[lane]), int(road_map.lane_right[lane])
        out.append(
            Lanelet(
                line[:, :2] + aside,
                line[:, :2],
                line[:, :2] - aside,
                lane + 1,
                lanelet_type={LaneletType.URBAN},
                predecessor=before[lane],
                successor=[int(k) + 1 for k in road_map.lane_successors[lane]],
                adjacent_left=left + 1 if left >= 0 else None,
                adjacent_left_same_direction=True if left >= 0 else None,
                adjacent_right=right + 1 if right >= 0 else None,
                adjacent_right_same_direction=True if right >= 0 else None,
            )
        )
    return out


def _state(kind: type, step: int, state: NDArray[np.float64], **more: float) -> Any:
    yaw = float(np.angle(np.exp(1j * state[2])))
    return kind(
        time_step=step, position=state[:2].copy(), orientation=yaw, velocity=float(state[3]), **more
    )


def _obstacle(scenario: Scenario, agent: int, name: int) -> Any:
    from commonroad.geometry.obstacle_shapes.rect_obstacle_shape import RectObstacleShape
    from commonroad.prediction.prediction import TrajectoryPrediction
    from commonroad.scenario.obstacle import DynamicObstacle, ObstacleType, StaticObstacle
    from commonroad.scenario.state import InitialState, KSState
    from commonroad.scenario.trajectory import Trajectory

    tracks, now = scenario.agents, scenario.start
    state = tracks.state[agent, now:]
    valid = np.logical_and.accumulate(tracks.valid[agent, now:])
    yaw = state[:, StateIndex.YAW]
    speed = state[:, StateIndex.VX] * np.cos(yaw) + state[:, StateIndex.VY] * np.sin(yaw)
    rows = np.column_stack([state[:, :3], speed])[valid]
    length, width = tracks.size[agent, :2].tolist()
    shape = RectObstacleShape(width=width, length=length)
    start = _state(InitialState, 0, rows[0], yaw_rate=0.0, slip_angle=0.0, acceleration=0.0)
    kind = AgentKind(int(tracks.kind[agent]))
    if kind not in _TYPES:
        return StaticObstacle(name, ObstacleType.CONSTRUCTION_ZONE, shape, start)
    if len(rows) < 2:
        return StaticObstacle(name, ObstacleType.PARKED_VEHICLE, shape, start)
    path = [_state(KSState, k, row, steering_angle=0.0) for k, row in enumerate(rows) if k]
    prediction = TrajectoryPrediction(Trajectory(1, path), shape)
    return DynamicObstacle(name, ObstacleType[_TYPES[kind]], shape, start, prediction)


def _problem(scenario: Scenario, name: int) -> Any:
    from commonroad.common.util import Interval
    from commonroad.geometry.occupancy.circle_occupancy import CircleOccupancy
    from commonroad.planning.goal import GoalRegion
    from commonroad.planning.planning_problem import PlanningProblem
    from commonroad.scenario.state import CustomState, InitialState

    columns = [EgoIndex.X, EgoIndex.Y, EgoIndex.YAW, EgoIndex.VX]
    ego = scenario.ego[scenario.start :, columns]
    start = _state(InitialState, 0, ego[0], yaw_rate=0.0, slip_angle=0.0, acceleration=0.0)
    goal = CustomState(
        time_step=Interval(1, len(ego) - 1),
        position=CircleOccupancy(_GOAL_M, shapely.Point(ego[-1, :2])),
    )
    return PlanningProblem(name, start, GoalRegion([goal]))


def main() -> None:
    """Write every scene of a store."""
    export_scenes("Scenes as CommonRoad XML.", _write)


def _write(scenario: Scenario, folder: Path, name: str) -> Path:
    path = folder / f"{name}.xml"
    write_commonroad(scenario, path)
    return path


if __name__ == "__main__":
    main()
