"""Waymo Open Motion Dataset: `Scenario` protocol buffers in TFRecord files.

Format: Ettinger et al., "Large Scale Interactive Motion Forecasting for Autonomous Driving:
The Waymo Open Motion Dataset", ICCV 2021, and `scenario.proto` and `map.proto` of
waymo-research/waymo-open-dataset.
"""

from __future__ import annotations

from roadworthy_sources.waymo.source import Waymo

__all__ = ["Waymo"]
