"""roadworthy: finds out whether a driving planner is roadworthy, and makes it more so."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.errors import (
        DataError,
        PlannerError,
        PluginError,
        RoadworthyError,
        ScenarioError,
        SuiteError,
    )
    from roadworthy.frames import read_scores
    from roadworthy.hookspecs import hookimpl
    from roadworthy.observation import Brief, Observation, ObservationBatch
    from roadworthy.protocols import (
        BatchPlanner,
        Generator,
        Metric,
        Planner,
        Simulator,
        Source,
        Trainer,
    )
    from roadworthy.rollout import Case, CaseError, Plans, RolloutBatch, Status
    from roadworthy.scenario import (
        DT,
        HISTORY,
        AgentKind,
        AreaKind,
        LaneKind,
        Lineage,
        Ragged,
        Rejected,
        RoadMap,
        Route,
        Scenario,
        Signals,
        SignalState,
        StateIndex,
        Tracks,
    )
    from roadworthy.score import Column, MetricSpec, Scores
    from roadworthy.trajectory import Trajectory, TrajectoryBatch
    from roadworthy.vehicle import PACIFICA, EgoIndex, Vehicle

__version__ = "0.1.0"

_HOME = {
    "errors": "DataError PlannerError PluginError RoadworthyError ScenarioError SuiteError",
    "frames": "read_scores",
    "hookspecs": "hookimpl",
    "observation": "Brief Observation ObservationBatch",
    "protocols": "BatchPlanner Generator Metric Planner Simulator Source Trainer",
    "rollout": "Case CaseError Plans RolloutBatch Status",
    "scenario": "DT HISTORY AgentKind AreaKind LaneKind Lineage Ragged Rejected RoadMap Route "
    "Scenario Signals SignalState StateIndex Tracks",
    "score": "Column MetricSpec Scores",
    "trajectory": "Trajectory TrajectoryBatch",
    "vehicle": "PACIFICA EgoIndex Vehicle",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "DT",
    "HISTORY",
    "PACIFICA",
    "AgentKind",
    "AreaKind",
    "BatchPlanner",
    "Brief",
    "Case",
    "CaseError",
    "Column",
    "DataError",
    "EgoIndex",
    "Generator",
    "LaneKind",
    "Lineage",
    "Metric",
    "MetricSpec",
    "Observation",
    "ObservationBatch",
    "Planner",
    "PlannerError",
    "Plans",
    "PluginError",
    "Ragged",
    "Rejected",
    "RoadMap",
    "RoadworthyError",
    "RolloutBatch",
    "Route",
    "Scenario",
    "ScenarioError",
    "Scores",
    "SignalState",
    "Signals",
    "Simulator",
    "Source",
    "StateIndex",
    "Status",
    "SuiteError",
    "Tracks",
    "Trainer",
    "Trajectory",
    "TrajectoryBatch",
    "Vehicle",
    "__version__",
    "hookimpl",
    "read_scores",
]


def __getattr__(name: str) -> Any:
    """Imports a public name's module on first use, so that the command line starts fast."""
    if name in _MODULE:
        return getattr(importlib.import_module(f"roadworthy.{_MODULE[name]}"), name)
    raise AttributeError(f"module 'roadworthy' has no attribute {name!r}")
