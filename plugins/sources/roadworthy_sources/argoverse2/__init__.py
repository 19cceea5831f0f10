"""Argoverse 2 logs: the sensor dataset and the motion forecasting dataset.

Format: Wilson et al., "Argoverse 2: Next Generation Datasets for Self-Driving Perception and
Forecasting", NeurIPS Datasets and Benchmarks 2021, and argoverse/av2-api.
"""

from __future__ import annotations

from roadworthy_sources.argoverse2.source import Argoverse2

__all__ = ["Argoverse2"]
