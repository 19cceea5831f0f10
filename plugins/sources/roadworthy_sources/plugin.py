"""Registers the bundled sources."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_sources() -> Mapping[str, str]:
    return {
        "argoverse2": "roadworthy_sources.argoverse2:Argoverse2",
        "commonroad": "roadworthy_sources.commonroad:CommonRoad",
        "procedural": "roadworthy_sources.procedural:Procedural",
        "towns": "roadworthy_sources.towns:Towns",
        "scenarionet": "roadworthy_sources.scenarionet:ScenarioNet",
        "lanelet2": "roadworthy_sources.lanelet2:Lanelet2",
        "store": "roadworthy_sources.stored:Stored",
        "opendrive": "roadworthy_sources.opendrive:OpenDrive",
        "waymo": "roadworthy_sources.waymo:Waymo",
        "py123d": "roadworthy_sources.py123d:Py123d",
    }
