"""Scenes as OpenSCENARIO XML and OpenDRIVE: the ASAM schemas and our own reader take them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from roadworthy.scenario import Scenario
from roadworthy.testing.scenes import straight_road_scenario
from roadworthy_sources.opendrive import OpenDrive
from roadworthy_sources.opendrive.road_map import read_map_and_notes
from roadworthy_sources.towns import Towns

pytest.importorskip("scenariogeneration")

from roadworthy_sources.opendrive.export import write_openscenario


def _scenes() -> list[Scenario]:
    towns = Towns(seed=5, count=1, split="validation", towns=1).scenarios()
    return [straight_road_scenario(), *(s for s in towns if isinstance(s, Scenario))]


def test_motion_is_read_back_and_lanes_are_where_they_were(tmp_path: Path) -> None:
    scenes = _scenes()
    assert len(scenes) == 2
    for k, scene in enumerate(scenes):
        path = write_openscenario(scene, tmp_path, f"scene-{k}")
        root = ElementTree.parse(path).getroot()
        assert root.find("RoadNetwork/LogicFile").get("filepath") == f"scene-{k}.xodr"  # type: ignore[union-attr]
        groups = {
            actor.get("entityRef"): group
            for group in root.iter("ManeuverGroup")
            for actor in group.iter("EntityRef")
        }
        here = np.flatnonzero(scene.agents.valid[:, scene.start])
        assert len(root.findall("Entities/ScenarioObject")) == len(here) + 1
        for a in here:
            group = groups.get(f"agent {a}: {scene.agents.id[a]}")
            if group is None:
                continue
            for vertex in list(group.iter("Vertex"))[::10]:
                step = round(float(vertex.get("time", "nan")) / 0.1)
                at = vertex.find("Position/WorldPosition")
                assert at is not None
                found = [float(at.get(c, "nan")) for c in ("x", "y")]
                wanted = scene.agents.state[a, scene.start + step, :2]
                assert np.allclose(found, wanted, atol=1e-6)
        assert "ego" in groups
        ours, _ = read_map_and_notes(path.with_suffix(".xodr"))
        assert len(ours.lane_id) == len(scene.map.lane_id)
        points = ours.lane_centreline.values[:, :2]
        for line in scene.map.lane_centreline:
            for point in line[[0, len(line) // 2, -1], :2]:
                assert np.hypot(*(points - point).T).min() < 1.5
    assert OpenDrive.recognises(tmp_path / "scene-0.xodr")


def test_equal_scenes_give_equal_bytes(tmp_path: Path) -> None:
    scene = straight_road_scenario()
    one, two = (write_openscenario(scene, tmp_path, "scene").read_bytes() for _ in range(2))
    assert one == two
