"""Writes small synthetic logs in the Argoverse 2 formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

START_NS = 315_000_000_000_000_000
SPEED = 8.0
TURN = 0.4
"""Heading of the road in the city frame [rad]."""

ORIGIN = np.array([1500.0, -300.0, 20.0])


def city(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Road coordinates (along, left of the ego's lane) in the city frame."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    c, s = np.cos(TURN), np.sin(TURN)
    return ORIGIN[0] + c * x - s * y, ORIGIN[1] + s * x + c * y


def _points(rows: list[tuple[float, float]]) -> list[dict[str, float]]:
    xs, ys = city(*np.array(rows).T)
    return [{"x": float(x), "y": float(y), "z": 20.0} for x, y in zip(xs, ys, strict=True)]


def map_archive() -> dict[str, Any]:
    """A street: two lanes ahead, one back, a junction of connectors, a bike lane."""
    lanes: dict[str, Any] = {}

    def lane(key: int, x: tuple[float, float], y: float, **more: Any) -> None:
        a, b = x
        lanes[str(key)] = {
            "id": key,
            "is_intersection": False,
            "lane_type": "VEHICLE",
            "left_lane_boundary": _points([(a, y + 1.75), ((a + b) / 2, y + 1.75), (b, y + 1.75)]),
            "right_lane_boundary": _points([(a, y - 1.75), (b, y - 1.75)]),
            "left_lane_mark_type": "DASHED_WHITE",
            "right_lane_mark_type": "DASHED_WHITE",
            "successors": [],
            "predecessors": [],
            "left_neighbor_id": None,
            "right_neighbor_id": None,
        } | more

    for k, (a, b) in enumerate(((-60.0, 40.0), (40.0, 60.0), (60.0, 260.0))):
        after = {"successors": [100 + k + 1] if k < 2 else [999]}
        inside = {"is_intersection": k == 1}
        lane(100 + k, (a, b), 0.0, left_neighbor_id=200 + k, right_neighbor_id=400 + k,
             **after, **inside)  # fmt: skip
        lane(200 + k, (a, b), 3.5, right_neighbor_id=100 + k, left_neighbor_id=300 + k,
             successors=[200 + k + 1] if k < 2 else [], **inside)  # fmt: skip
        lane(300 + k, (b, a), 7.0, left_neighbor_id=200 + k,
             left_lane_mark_type="SOLID_YELLOW", **inside)  # fmt: skip
        lane(400 + k, (a, b), -2.75, lane_type="BIKE", successors=[400 + k + 1] if k < 2 else [])
    edge = [(-60.0, -4.0), (260.0, -4.0), (260.0, 9.0), (-60.0, 9.0)]
    return {
        "lane_segments": lanes,
        "drivable_areas": {"1": {"id": 1, "area_boundary": _points([*edge, edge[0]])}},
        "pedestrian_crossings": {
            "7": {
                "id": 7,
                "edge1": _points([(36.0, -4.0), (36.0, 9.0)]),
                "edge2": _points([(39.0, -4.0), (39.0, 9.0)]),
            }
        },
    }


def sensor_tables(frames: int = 60) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Columns of the annotations and of the ego poses of a drive at 8 m/s."""
    steps = np.arange(frames)
    poses: dict[str, list[Any]] = {n: [] for n in ("timestamp_ns", "qw", "qx", "qy", "qz",
                                                   "tx_m", "ty_m", "tz_m")}  # fmt: skip
    for k in range(-5, frames * 20 + 5):
        x, y = city(SPEED * k * 0.005, 0.0)
        values = (START_NS + k * 5_000_000, np.cos(TURN / 2), 0.0, 0.0, np.sin(TURN / 2),
                  float(x), float(y), 20.0)  # fmt: skip
        for name, value in zip(poses, values, strict=True):
            poses[name].append(value)
    names = ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m",
             "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m", "num_interior_pts")  # fmt: skip
    boxes: dict[str, list[Any]] = {n: [] for n in names}
    for k in steps:
        ego = SPEED * k * 0.1
        tracks = (
            ("car", "REGULAR_VEHICLE", (4.5, 1.9, 1.6), ego + 20.0, 3.5),
            ("parked", "BOX_TRUCK", (7.0, 2.2, 3.0), 30.0, -6.0),
            ("walker", "PEDESTRIAN", (0.7, 0.7, 1.8), 1.2 * k * 0.1, 12.0),
            ("bike", "BICYCLE", (1.7, 0.5, 1.1), 10.0 + 4.0 * k * 0.1, -2.9),
            ("rider", "BICYCLIST", (0.9, 0.7, 1.8), 10.1 + 4.0 * k * 0.1, -2.9),
            ("cone", "CONSTRUCTION_CONE", (0.3, 0.3, 0.7), 50.0, -5.0),
            ("odd", "HOVERCRAFT", (3.0, 2.0, 1.0), 55.0, 14.0),
            ("self", "EGO_VEHICLE", (4.877, 2.0, 1.473), ego, 0.0),
        )
        for track, category, size, x, y in tracks:
            row = (START_NS + int(k) * 100_000_000, track, category, *size, 1.0, 0.0, 0.0, 0.0,
                   x - ego, y, 0.5, 10)  # fmt: skip
            for name, value in zip(names, row, strict=True):
                boxes[name].append(value)
    return boxes, poses


def write_sensor_log(
    folder: Path,
    *,
    boxes: dict[str, list[Any]] | None = None,
    poses: dict[str, list[Any]] | None = None,
    archive: Any = None,
) -> Path:
    """Write a sensor log; parts that are given take the place of good ones."""
    good_boxes, good_poses = sensor_tables()
    (folder / "map").mkdir(parents=True)
    feather.write_feather(
        pa.table(good_boxes if boxes is None else boxes), folder / "annotations.feather"
    )
    feather.write_feather(
        pa.table(good_poses if poses is None else poses), folder / "city_SE3_egovehicle.feather"
    )
    (folder / "map" / f"log_map_archive_{folder.name}.json").write_text(
        json.dumps(map_archive() if archive is None else archive)
    )
    return folder


def forecasting_table() -> dict[str, list[Any]]:
    """Columns of a motion forecasting scenario with the ego, a car and a cyclist."""
    names = ("track_id", "object_type", "timestep", "position_x", "position_y", "heading",
             "velocity_x", "velocity_y")  # fmt: skip
    table: dict[str, list[Any]] = {n: [] for n in names}
    for k in range(110):
        for track, word, x, y, v in (
            ("AV", "vehicle", SPEED * k * 0.1, 0.0, SPEED),
            ("1", "vehicle", 25.0 + SPEED * k * 0.1, 3.5, SPEED),
            ("2", "cyclist", 12.0 + 3.0 * k * 0.1, -2.9, 3.0),
            ("3", "static", 70.0, -6.0, 0.0),
        ):
            if track == "1" and not 20 <= k < 90:
                continue
            cx, cy = city(x, y)
            row = (track, word, k, float(cx), float(cy), TURN,
                   v * np.cos(TURN), v * np.sin(TURN))  # fmt: skip
            for name, value in zip(names, row, strict=True):
                table[name].append(value)
    return table


def write_forecasting(folder: Path, table: dict[str, list[Any]] | None = None) -> Path:
    """Write a motion forecasting scenario."""
    folder.mkdir(parents=True)
    columns = pa.table(forecasting_table() if table is None else table)
    pq.write_table(columns, folder / f"scenario_{folder.name}.parquet")
    path = folder / f"log_map_archive_{folder.name}.json"
    path.write_text(json.dumps(map_archive()))
    return folder
