"""CommonRoad scenarios, XML formats 2018b and 2020a.

Format: Althoff, Koschi and Manzinger, "CommonRoad: Composable Benchmarks for Motion Planning
on Roads", IV 2017, and its XML documentation.
"""

from __future__ import annotations

from roadworthy_sources.commonroad.source import CommonRoad

__all__ = ["CommonRoad"]
