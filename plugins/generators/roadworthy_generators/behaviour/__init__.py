"""A diffusion model of traffic, and hard variants of scenes made with it."""

from __future__ import annotations

from roadworthy_generators.behaviour.generator import Behaviour

__all__ = ["Behaviour"]
