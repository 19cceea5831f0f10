"""Scenarios out of a store; see `roadworthy.scenario_store`."""

from __future__ import annotations

from roadworthy_sources.stored.source import Stored

__all__ = ["Stored"]
