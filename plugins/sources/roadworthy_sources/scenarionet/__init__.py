"""ScenarioNet pickles: nuScenes, nuPlan, Waymo and others, converted.

Format: Li et al., "ScenarioNet: Open-Source Platform for Large-Scale Traffic Scenario
Simulation and Modeling", NeurIPS Datasets and Benchmarks 2023, and MetaDrive's
`ScenarioDescription`.
"""

from __future__ import annotations

from roadworthy_sources.scenarionet.source import ScenarioNet

__all__ = ["ScenarioNet"]
