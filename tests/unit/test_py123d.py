"""The adapter, on objects shaped as py123d 0.7's `SceneAPI`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace as Bag
from typing import Any

import numpy as np
import pytest
import shapely
from log_writers import CUTS, LANES, SPEED, lane_line, track
from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario import AgentKind, AreaKind, LaneKind, SignalState, StateIndex
from roadworthy_sources.py123d import Py123d
from roadworthy_sources.py123d.scene import scenario_of

STEPS, DT = 31, 0.2


def _pose(row: np.ndarray) -> Bag:
    return Bag(x=float(row[0]), y=float(row[1]), yaw=float(row[2]))


def _surface(ring: list[list[float]]) -> dict[str, Any]:
    return {"outline_2d": Bag(array=np.array(ring)), "shapely_polygon": shapely.Polygon(ring)}


def _lanes() -> list[Bag]:
    found = []
    for base, (name, y) in enumerate(LANES.items()):
        for k in range(3):
            x0, x1 = CUTS[k], CUTS[k + 1]
            ring = [[x0, y - 1.75], [x1, y - 1.75], [x1, y + 1.75], [x0, y + 1.75]]
            found.append(
                Bag(
                    object_id=10 * base + k,
                    centerline_2d=Bag(array=lane_line(x0, x1, y)),
                    lane_group=Bag(intersection_id=5 if k == 1 else None),
                    lane_type=Bag(name="SURFACE_STREET"),
                    speed_limit_mps=13.9 if name == "a" else None,
                    left_lane_id=10 + k if base == 0 else 99,
                    right_lane_id=k if base == 1 else None,
                    successor_ids=[10 * base + k + 1],
                    **_surface(ring),
                )
            )
    return found


class Scene:
    """A street at 5 Hz, with 3 iterations of history."""

    def __init__(self) -> None:
        self.rows = track(0.0, 0.0, SPEED, 2 * STEPS)[::2]
        self.layers: dict[str, list[Bag]] = {
            "lane": _lanes(),
            "crosswalk": [Bag(**_surface([[90, -2], [94, -2], [94, 6], [90, 6]]))],
            "intersection": [Bag(**_surface([[100, -2], [120, -2], [120, 6], [100, 6]]))],
        }
        self.boxes = {"7": ("VEHICLE", track(3.5, 20.0, SPEED, 2 * STEPS)[::2])}
        self.meta = Bag(length=4.9, width=2.0, height=1.6, wheel_base=2.8,
                        rear_axle_to_center_longitudinal=1.4)  # fmt: skip

    def get_all_iteration_timestamps(self, include_history: bool) -> list[Bag]:
        assert include_history
        return [Bag(time_us=10**15 + round(k * DT * 1e6)) for k in range(STEPS)]

    def get_scene_metadata(self) -> Bag:
        return Bag(num_history_iterations=3)

    def get_log_metadata(self) -> Bag:
        return Bag(dataset="nuplan")

    def get_ego_state_se3_at_iteration(self, iteration: int) -> Bag:
        return Bag(rear_axle_se2=_pose(self.rows[iteration + 3]), metadata=self.meta)

    def get_box_detections_se3_at_iteration(self, iteration: int) -> list[Bag]:
        return [
            Bag(
                attributes=Bag(track_token=name, default_label=Bag(name=label)),
                center_se2=_pose(rows[iteration + 3]),
                bounding_box_se3=Bag(length=4.5, width=1.9, height=1.5),
            )
            for name, (label, rows) in self.boxes.items()
        ]

    def get_traffic_light_detections_at_iteration(self, iteration: int) -> list[Bag] | None:
        return [Bag(lane_id=1, status=Bag(name="RED"))] if iteration > 5 else None

    def get_map_api(self) -> Any:
        return Bag(
            get_available_map_layers=lambda: [Bag(name=n.upper()) for n in self.layers],
            get_all_map_objects_in_layer=lambda layer: iter(self.layers[layer]),
        )


def test_a_scene() -> None:
    scenario = admit(scenario_of(Scene(), "log-0"))
    assert scenario.steps == 2 * STEPS - 1
    np.testing.assert_allclose(scenario.ego[:, 0], SPEED * 0.1 * np.arange(61), atol=1e-6)
    assert scenario.vehicle.rear_axle_to_centre == pytest.approx(1.4)
    assert scenario.agents.kind.tolist() == [AgentKind.VEHICLE]
    np.testing.assert_allclose(scenario.agents.state[0, :, StateIndex.VX], SPEED, atol=1e-6)
    index = {name: i for i, name in enumerate(scenario.map.lane_id)}
    assert scenario.map.lane_kind[index["1"]] == LaneKind.CONNECTOR
    assert scenario.map.lane_left[index["0"]] == index["10"]
    assert scenario.map.lane_left[index["10"]] == -1
    assert list(scenario.map.lane_successors[index["0"]]) == [index["1"]]
    assert set(scenario.map.area_kind) == {
        AreaKind.DRIVABLE,
        AreaKind.INTERSECTION,
        AreaKind.CROSSWALK,
    }
    (row,) = scenario.signals.state
    assert (row[:17] == SignalState.UNKNOWN).all()
    assert (row[19:] == SignalState.RED).all()
    assert scenario.tags == ("real", "py123d", "nuplan")


def test_what_is_missing() -> None:
    scene = Scene()
    scene.get_map_api = lambda: None  # type: ignore[method-assign]
    with pytest.raises(DataError, match="no map"):
        scenario_of(scene, "a")
    scene = Scene()
    scene.layers["lane"] = []
    with pytest.raises(DataError, match="no lane"):
        scenario_of(scene, "a")
    scene = Scene()
    scene.rows[20] += 50.0
    with pytest.raises(DataError, match="moves by"):
        scenario_of(scene, "a")
    scene = Scene()
    scene.meta.length = 0.0
    with pytest.raises(DataError, match="dimensions"):
        scenario_of(scene, "a")


def test_without_the_library(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder `logs`"):
        Py123d(str(tmp_path))
    (tmp_path / "logs").mkdir()
    assert not Py123d.recognises(tmp_path)
    (tmp_path / "maps").mkdir()
    assert Py123d.recognises(tmp_path) == (importlib.util.find_spec("py123d") is not None)
    if importlib.util.find_spec("py123d") is None:
        with pytest.raises(DataError, match=r"pip install -c constraints.txt \"\.\[py123d\]\""):
            Py123d(str(tmp_path))
    else:
        assert list(Py123d(str(tmp_path)).scenarios()) == []
