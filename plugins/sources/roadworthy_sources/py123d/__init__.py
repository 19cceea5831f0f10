"""Logs in the format of py123d: nuPlan, NAVSIM, nuScenes, KITTI-360, PandaSet and others.

An optional extra: `pip install -c constraints.txt ".[py123d]"` in the checkout, and py123d's own
converters to make logs.
"""

from __future__ import annotations

from roadworthy_sources.py123d.source import Py123d

__all__ = ["Py123d"]
