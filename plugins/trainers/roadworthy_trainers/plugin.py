"""Registers the bundled trainers."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_trainers() -> Mapping[str, str]:
    return {
        "dense-distillation": "roadworthy_trainers.dense_distillation:DenseDistillation",
        "imitation": "roadworthy_trainers.imitation:Imitation",
        "policy-gradient": "roadworthy_trainers.policy_gradient:PolicyGradient",
    }
