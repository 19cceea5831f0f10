"""Lanelet2 maps.

Format: Poggenhans et al., "Lanelet2: A High-Definition Map Framework for the Future of
Automated Driving", ITSC 2018, and the documentation in the Lanelet2 repository.
"""

from __future__ import annotations

from roadworthy_sources.lanelet2.road_map import read_map
from roadworthy_sources.lanelet2.source import Lanelet2

__all__ = ["Lanelet2", "read_map"]
