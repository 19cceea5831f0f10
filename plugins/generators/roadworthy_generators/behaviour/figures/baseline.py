"""What `perturb`, which aims at nobody, makes of the same scenes."""

from __future__ import annotations

from roadworthy.scenario import Scenario
from roadworthy.seeding import generator
from roadworthy.trial import drive_with

from roadworthy_generators.behaviour.figures.measure import SHIPPED
from roadworthy_generators.behaviour.generator import Behaviour
from roadworthy_generators.perturb import Perturb

__all__ = ["baseline"]


def baseline(maker: Behaviour, scene: Scenario, seed: int) -> dict[str, int]:
    """How many variants `perturb` made (`perturbed`), and in how many of them the planner aimed at
    fails; they last as long as the scene does."""
    draws = generator(seed, "figures of perturb", scene.hash)
    variants = list(Perturb().generate(scene, SHIPPED, draws))
    driven = drive_with(maker.planner, variants)
    return {"perturbed": len(variants), "perturbed_fails": sum(d.contact >= 0 for d in driven)}
