"""Registers the bundled planners."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_planners() -> Mapping[str, str]:
    return {
        "anchor": "roadworthy_planners.anchor.planner:Anchor",
        "anchor-camera": "roadworthy_planners.anchor.camera:AnchorCamera",
        "constant-velocity": "roadworthy_planners.constant_velocity:ConstantVelocity",
        "idm": "roadworthy_planners.idm:IDM",
        "log-replay": "roadworthy_planners.log_replay:LogReplay",
        "pdm-closed": "roadworthy_planners.pdm_closed:PDMClosed",
    }
