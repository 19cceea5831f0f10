"""The conformance kit: what a plugin's author runs before anyone relies on the plugin.

    from roadworthy.testing import check_planner

    def test_conformance():
        check_planner(MyPlanner).assert_ok()

`roadworthy plugins check NAME` prints the same review.
"""

from __future__ import annotations

from roadworthy.testing.metric import check_metric
from roadworthy.testing.planner import check_planner
from roadworthy.testing.report import Finding, Outcome, Report
from roadworthy.testing.scenes import (
    brief_of,
    logged_rollouts,
    moved,
    observe,
    straight_road_scenario,
)

__all__ = [
    "Finding",
    "Outcome",
    "Report",
    "brief_of",
    "check_metric",
    "check_planner",
    "logged_rollouts",
    "moved",
    "observe",
    "straight_road_scenario",
]
