"""Every hook that a plugin can implement. The docstrings are the contract.

A plugin is a module (or object) registered under the entry-point group `roadworthy`:

    [project.entry-points.roadworthy]
    acme = "acme_planner.plugin"

The `roadworthy_<kind>s` hooks return a mapping from names, in kebab case, to a factory or
to its address `"module:attribute"`. Addresses are imported when the name is used, so that
listing plugins stays fast. Options written beside a name in a suite are passed to the
factory as keyword arguments, checked against its signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

__all__ = ["GROUP", "hookimpl", "hookspec"]

GROUP = "roadworthy"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

Factories = Mapping[str, "str | Callable[..., Any]"]


@hookspec
def roadworthy_sources() -> Factories:  # type: ignore[empty-body]
    """Scenario sources: name -> factory of `roadworthy.Source`."""


@hookspec
def roadworthy_simulators() -> Factories:  # type: ignore[empty-body]
    """Simulators: name -> factory of `roadworthy.Simulator`."""


@hookspec
def roadworthy_planners() -> Factories:  # type: ignore[empty-body]
    """Planners: name -> factory of `roadworthy.Planner` or `roadworthy.BatchPlanner`."""


@hookspec
def roadworthy_generators() -> Factories:  # type: ignore[empty-body]
    """Generators of scenario variants: name -> factory of `roadworthy.Generator`."""


@hookspec
def roadworthy_metrics() -> Factories:  # type: ignore[empty-body]
    """Metrics: name -> factory of `roadworthy.Metric`."""


@hookspec
def roadworthy_trainers() -> Factories:  # type: ignore[empty-body]
    """Trainers: name -> factory of `roadworthy.Trainer`."""


@hookspec
def roadworthy_conformance() -> Factories:  # type: ignore[empty-body]
    """Conformance checks: name -> function of a folder of reference vectors, returning a
    `roadworthy.conformance.ConformanceTable`. Keyword arguments are its options.
    `roadworthy conformance NAME DIR` runs it."""


@hookspec
def roadworthy_renderers() -> Factories:  # type: ignore[empty-body]
    """Renderers of scenes: name -> function (scene folder, cameras file, folder for pictures,
    traversal or "") that writes a PNG for each camera and returns how many it wrote.
    `roadworthy render SCENE --cameras FILE --out DIR` runs it."""


@hookspec
def roadworthy_reconstructors() -> Factories:  # type: ignore[empty-body]
    """Makers of scenes from recordings: name -> function (recording, folder of the scene, width of
    the images or None, whether to resume, settings by name as text) that writes the scene folder
    and returns figures of its quality as a JSON-ready dict.
    `roadworthy reconstruct RECORDING --out SCENE` runs it."""


@hookspec
def roadworthy_viewers() -> Factories:  # type: ignore[empty-body]
    """Viewers in three dimensions: name -> function (scene folder or run directory; name of the
    case, planner, and traversal, each "" for the first; port; function that is told the address)
    that serves until it is interrupted. `roadworthy view SCENE` and `roadworthy view RUN --3d`
    run it."""


@hookspec
def roadworthy_case_end(run: Any, record: Any) -> None:
    """Called in the parent process after each case has been recorded.

    Args:
        run: the `roadworthy.store.RunDirectory` being written.
        record: the `roadworthy.store.CaseRecord` just appended.
    """


@hookspec
def roadworthy_hindsight(planner: Any, drives: Any, cache: Any) -> Any:
    """What a planner could have chosen before each of some failures; None if the plugin does not
    know such a planner. The first answer counts, for the before/after report of a flywheel.

    Args:
        planner: as its factory makes it.
        drives: (scenario, step) pairs: what it drove, as the scenario's log, and the step after the
            present at which it failed.
        cache: folder of the flywheel in which trainers keep what they compute of scenes.

    Returns:
        Per drive a `roadworthy.flywheel.hindsight.Hindsight`, or None.
    """


@hookspec
def roadworthy_report_sections(runs: Any) -> list[tuple[str, str]]:  # type: ignore[empty-body]
    """More sections for the HTML report: (title, trusted HTML fragment) pairs.

    Args:
        runs: the list of `roadworthy.store.Run` shown.
    """
