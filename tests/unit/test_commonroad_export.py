"""Scenes as CommonRoad XML: the library's own reader and schema take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from roadworthy.scenario import Scenario
from roadworthy.testing.scenes import straight_road_scenario


def test_a_scene_is_read_back_by_the_library_and_by_our_own_source(tmp_path: Path) -> None:
    try:
        commonroad = pytest.importorskip("commonroad.common.file_reader")
    except TypeError:  # protobuf refuses what commonroad-io generated with an older one
        pytest.skip("commonroad-io needs PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python")
    from roadworthy_sources.commonroad import CommonRoad
    from roadworthy_sources.commonroad.export import write_commonroad

    scene = straight_road_scenario()
    path = tmp_path / "scene.xml"
    write_commonroad(scene, path)
    theirs, problems = commonroad.CommonRoadFileReader(str(path)).open()
    assert theirs.dt == pytest.approx(0.1)
    assert len(theirs.lanelet_network.lanelets) == len(scene.map.lane_id)
    here = np.flatnonzero(scene.agents.valid[:, scene.start])
    assert len(theirs.obstacles) == len(here)
    for a in here:
        name = len(scene.map.lane_id) + 1 + int(a)
        obstacle = theirs.obstacle_by_id(name)
        moves = getattr(obstacle, "prediction", None) is not None
        for step in (0, 10, 30) if moves else (0,):
            wanted = scene.agents.state[a, scene.start + step]
            if scene.agents.valid[a, scene.start + step]:
                state = obstacle.state_at_time(step)
                assert np.allclose(state.position, wanted[:2], atol=1e-3)
    (problem,) = problems.planning_problem_dict.values()
    assert np.allclose(problem.initial_state.position, scene.ego[scene.start, :2], atol=1e-3)
    ours = list(CommonRoad(str(tmp_path)).scenarios())
    assert len(ours) == 1
    assert isinstance(ours[0], Scenario), ours[0]
