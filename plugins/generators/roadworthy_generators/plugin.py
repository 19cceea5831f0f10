"""Registers the bundled generators."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.hookspecs import hookimpl


@hookimpl
def roadworthy_generators() -> Mapping[str, str]:
    return {
        "perturb": "roadworthy_generators.perturb:Perturb",
        "behaviour": "roadworthy_generators.behaviour:Behaviour",
    }


@hookimpl
def roadworthy_trainers() -> Mapping[str, str]:
    return {"behaviour": "roadworthy_generators.behaviour.training:BehaviourTrainer"}
