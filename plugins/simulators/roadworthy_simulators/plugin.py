"""Registers the bundled simulators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_simulators() -> Mapping[str, str]:
    return {
        "open-loop": "roadworthy_simulators.open_loop:OpenLoop",
        "closed-loop": "roadworthy_simulators.closed_loop:ClosedLoop",
        "splat": "roadworthy_simulators.splat.simulator:Splat",
    }


@hookimpl
def roadworthy_conformance() -> Mapping[str, str]:
    return {"render": "roadworthy_simulators.splat.conformance:check_render"}


@hookimpl
def roadworthy_renderers() -> Mapping[str, str]:
    return {"splat": "roadworthy_simulators.splat.pictures:render_pictures"}


@hookimpl
def roadworthy_reconstructors() -> Mapping[str, str]:
    return {"splat": "roadworthy_simulators.splat.reconstruct.run:reconstruct_command"}


@hookimpl
def roadworthy_viewers() -> Mapping[str, str]:
    return {"splat": "roadworthy_simulators.splat.viewer:view_command"}


@hookimpl
def roadworthy_report_sections(runs: Any) -> list[tuple[str, str]]:
    if all(run.manifest.protocol.get("simulator") != "splat" for run in runs):
        return []  # says so without importing the renderer
    from roadworthy_simulators.splat.films import camera_sections

    return camera_sections(runs)
