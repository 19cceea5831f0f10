"""OpenDRIVE maps (`.xodr`).

Format: ASAM OpenDRIVE 1.4 to 1.8.
"""

from __future__ import annotations

from roadworthy_sources.opendrive.road_map import read_map
from roadworthy_sources.opendrive.source import OpenDrive

__all__ = ["OpenDrive", "read_map"]
