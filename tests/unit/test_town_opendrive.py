"""Towns written as OpenDRIVE: read back as the same streets, and checked by ASAM's checker."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from roadworthy.scenario import (
    LaneKind,
    RoadMap,
)
from roadworthy_sources.opendrive import read_map
from roadworthy_sources.towns.opendrive_export import write_opendrive
from roadworthy_sources.towns.town import Town, make_town


@pytest.fixture(scope="module")
def towns() -> list[Town]:
    return [make_town(11, "train", number) for number in range(16)]


def test_opendrive_lists_every_way_through_town(towns: list[Town], tmp_path: Path) -> None:
    for town in towns:
        write_opendrive(town, tmp_path / "town.xodr")
        root = ET.parse(tmp_path / "town.xodr").getroot()
        roads = {road.get("id"): road for road in root.iter("road")}
        streets = [road for road in roads.values() if road.get("junction") == "-1"]
        slips = [road for road in streets if road.get("name", "").startswith("x")]
        assert len(slips) == len(town.streets.plan.slips)
        assert len(streets) == len(town.streets.streets) + len(slips)
        for road in streets:
            if road in slips:
                continue
            lane = town.index[f"e{road.get('id')}/f0"]
            middle = town.streets.streets[int(road.get("id", ""))].curve
            assert float(road.get("length", "")) == pytest.approx(middle.length, rel=0.02)
            assert town.map.lane_speed_limit[lane] == pytest.approx(
                float(road.find("type/speed").get("max")),
                abs=1e-3,  # type: ignore[union-attr, arg-type]
            )
        for connection in root.iter("connection"):
            assert connection.get("incomingRoad") in roads
            if connection.get("linkedRoad") is not None:
                assert connection.get("linkedRoad") in roads
                continue
            assert roads[connection.get("connectingRoad")].get("junction") != "-1"


def ways(road_map: RoadMap) -> dict[int, set[int]]:
    """Per lane of a street the lanes of streets that follow it, behind connectors."""
    out: dict[int, set[int]] = {}
    for lane in np.flatnonzero(road_map.lane_kind == LaneKind.LANE):
        found: set[int] = set()
        seen: set[int] = set()
        todo = road_map.lane_successors[int(lane)].tolist()
        while todo:
            after = todo.pop()
            if after not in seen:
                seen.add(after)
                through = road_map.lane_kind[after] == LaneKind.CONNECTOR
                todo += road_map.lane_successors[after].tolist() if through else []
                found |= set() if through else {after}
        out[int(lane)] = found
    return out


def test_opendrive_is_read_back_as_the_same_streets(towns: list[Town], tmp_path: Path) -> None:
    def ends(road_map: RoadMap, lane: int) -> np.ndarray:
        line = road_map.lane_centreline[lane]
        return np.concatenate([line[0, :2], line[-1, :2]])

    for town in [towns[0], *(town for town in towns if town.streets.plan.slips)][:3]:
        write_opendrive(town, tmp_path / "town.xodr")
        read = read_map(tmp_path / "town.xodr")
        mine, theirs = ways(town.map), ways(read)
        assert len(mine) == len(theirs)
        there = np.array([ends(read, lane) for lane in theirs])
        twin = {}
        for lane in mine:
            far = np.abs(there - ends(town.map, lane)).max(axis=1)
            assert far.min() < 0.05
            twin[lane] = list(theirs)[int(far.argmin())]
        for lane, after in mine.items():
            assert {twin[k] for k in after} == theirs[twin[lane]], town.map.lane_id[lane]


def test_opendrive_passes_the_checker_of_asam(towns: list[Town], tmp_path: Path) -> None:
    checker = shutil.which(os.environ.get("QC_OPENDRIVE", "qc_opendrive"))
    if checker is None:
        pytest.skip("needs the command qc_opendrive: `nox -s opendrive-check` has it")
    slips = [town for town in towns[3:] if town.streets.plan.slips]
    for town in towns[:3] + slips[:2]:
        write_opendrive(town, tmp_path / "town.xodr")
        (tmp_path / "config.xml").write_text(
            f'<Config><Param name="InputFile" value="{tmp_path}/town.xodr"/>'
            '<CheckerBundle application="xodrBundle">'
            f'<Param name="resultFile" value="{tmp_path}/result.xqar"/></CheckerBundle></Config>'
        )
        subprocess.run([checker, "-c", tmp_path / "config.xml"], check=True, capture_output=True)
        root = ET.parse(tmp_path / "result.xqar").getroot()
        assert [issue.attrib for issue in root.iter("Issue")] == []
        done = [c.get("status") for c in root.iter("Checker")]
        assert done.count("completed") >= 20
