"""Plain variations of a scene: who drives how fast, how near, when, and what size it is."""

from __future__ import annotations

from roadworthy_generators.perturb.generator import Perturb

__all__ = ["Perturb"]
