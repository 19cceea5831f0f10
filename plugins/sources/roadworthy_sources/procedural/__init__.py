"""Scenes made here: small roads, traffic on them, and rare events. Nothing is downloaded."""

from __future__ import annotations

from roadworthy_sources.procedural.source import Procedural

__all__ = ["Procedural"]
