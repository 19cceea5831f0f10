"""Towns made here: connected streets, people who drive and walk as people do, rare events."""

from __future__ import annotations

from roadworthy_sources.towns.source import Towns

__all__ = ["Towns"]
