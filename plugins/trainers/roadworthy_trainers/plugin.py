"""Registers the bundled trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_trainers() -> Mapping[str, str]:
    return {
        "awr": "roadworthy_trainers.awr:AWR",
        "camera-distillation": "roadworthy_trainers.by_camera:CameraDistillation",
        "camera-imitation": "roadworthy_trainers.by_camera:CameraImitation",
        "dense-distillation": "roadworthy_trainers.dense_distillation:DenseDistillation",
        "grpo": "roadworthy_trainers.grpo:GRPO",
        "imitation": "roadworthy_trainers.imitation:Imitation",
        "importance-weighted": "roadworthy_trainers.importance_weighted:ImportanceWeighted",
        "iql": "roadworthy_trainers.iql:IQL",
        "policy-gradient": "roadworthy_trainers.policy_gradient:PolicyGradient",
    }


@hookimpl
def roadworthy_hindsight(planner: Any, drives: Any, cache: Any) -> Any:
    """Of planners that propose plans (`roadworthy_trainers.frames.ProposalPlanner`), and need no
    cameras: what those showed is not kept."""
    proposes = hasattr(planner, "propose") and hasattr(planner, "reset_batch")
    if not proposes or hasattr(planner, "eyes"):
        return None
    from roadworthy_trainers.hindsight import look_back

    return look_back(planner, drives, cache)
