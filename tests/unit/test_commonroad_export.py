"""Scenes as CommonRoad XML: the library's own reader and schema take them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import StoreWriter
from roadworthy.testing.scenes import straight_road_scenario
from roadworthy_sources.commonroad import CommonRoad

_READ = """
import json, sys
from commonroad.common.file_reader import CommonRoadFileReader
scene, problems = CommonRoadFileReader(sys.argv[1]).open()
(problem,) = problems.planning_problem_dict.values()
def at(obstacle, step):
    state = obstacle.state_at_time(step)
    return None if state is None else list(map(float, state.position))
print(json.dumps({
    "dt": scene.dt, "lanes": len(scene.lanelet_network.lanelets),
    "start": list(map(float, problem.initial_state.position)),
    "obstacles": {o.obstacle_id: [at(o, k) for k in (0, 10, 30)] for o in scene.obstacles},
    "moves": [o.obstacle_id for o in scene.dynamic_obstacles],
}))
"""


def _python(*command: str) -> str:
    """In a process of its own: what protobuf was loaded here does not matter there."""
    env = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as store:
        store.add(straight_road_scenario(), split="test")
    module = "roadworthy_sources.commonroad.export"
    script = f"import runpy, sys; sys.modules['commonroad'] = None; runpy.run_module({module!r}, "
    command = [sys.executable, "-c", script + "run_name='__main__')"]
    done = subprocess.run(
        [*command, str(tmp_path / "store"), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert 'pip install -c constraints.txt ".[commonroad]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_spec("commonroad") is None, reason="commonroad-io is not installed")
def test_a_scene_is_read_back_by_the_library_and_by_our_own_source(tmp_path: Path) -> None:
    scene = straight_road_scenario()
    with StoreWriter(tmp_path / "store") as store:
        store.add(scene, split="test")
    out = tmp_path / "out"
    module = "roadworthy_sources.commonroad.export"
    path = _python("-m", module, str(tmp_path / "store"), "--out", str(out)).strip()
    theirs = json.loads(_python("-c", _READ, path).splitlines()[-1])
    assert theirs["dt"] == pytest.approx(0.1)
    assert theirs["lanes"] == len(scene.map.lane_id)
    here = np.flatnonzero(scene.agents.valid[:, scene.start])
    assert len(theirs["obstacles"]) == len(here)
    for a in here:
        name = len(scene.map.lane_id) + 1 + int(a)
        found = theirs["obstacles"][str(name)]
        for step, position in zip((0, 10, 30), found, strict=True):
            if (step == 0 or name in theirs["moves"]) and scene.agents.valid[a, scene.start + step]:
                wanted = scene.agents.state[a, scene.start + step, :2]
                assert np.allclose(position, wanted, atol=1e-3)
    assert np.allclose(theirs["start"], scene.ego[scene.start, :2], atol=1e-3)
    ours = list(CommonRoad(str(out)).scenarios())
    assert len(ours) == 1
    assert isinstance(ours[0], Scenario), ours[0]
