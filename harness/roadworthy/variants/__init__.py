"""Variants of scenes: what a generator made is checked, certified, and stored with the proof.

A variant is admitted if it lies on its parent's very map, if nobody overlaps at the present or
collides with anyone but the ego later (unless the parent had it so), if whoever was changed moves
as such a thing can, and if it is *solvable* (`roadworthy.solvability`). What is not solvable is
kept apart with the certificate that says so, and is no case to score a planner on.
"""

from __future__ import annotations

from roadworthy.variants.checks import BOUNDS, Bounds, changed_agents, check_variant
from roadworthy.variants.explain import Explained, explained
from roadworthy.variants.generate import (
    MANIFEST,
    SPLIT,
    TRIALS,
    GeneratedSet,
    Trial,
    generate_set,
    read_generated,
    read_trials,
    unsolvable_folder,
)

__all__ = [
    "BOUNDS",
    "MANIFEST",
    "SPLIT",
    "TRIALS",
    "Bounds",
    "Explained",
    "GeneratedSet",
    "Trial",
    "changed_agents",
    "check_variant",
    "explained",
    "generate_set",
    "read_generated",
    "read_trials",
    "unsolvable_folder",
]
