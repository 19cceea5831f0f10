"""Where variants come from, and why they are hard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from roadworthy.errors import DataError
from roadworthy.scenario import DT, AgentKind, Scenario
from roadworthy.scenario_store import ScenarioStore
from roadworthy.solvability import read_certificates
from roadworthy.variants.generate import read_trials

__all__ = ["Explained", "explained"]

_WORDS = {
    AgentKind.VEHICLE: "a vehicle",
    AgentKind.PEDESTRIAN: "a pedestrian",
    AgentKind.BICYCLE: "a cyclist",
}


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Where a variant comes from, and why it is hard.

    Attributes:
        scenario: its name.
        parent, generator, seed, parameters: its lineage.
        met: what kind of agent the planner aimed at met as the variant was made, "" for none.
        hazard: whom the base drive would meet, "" for nobody; and when that can first be foreseen
            and would come to contact, seconds after the present.
        onset_s, contact_s: of the hazard.
        manoeuvre: the weakest that survives, or `unsolvable`.
        latest_reaction_s: how late one may begin.
        reference: whether the planner tried survives, by its name.
    """

    scenario: str
    parent: str
    generator: str
    seed: int
    parameters: dict[str, object]
    met: str
    hazard: str
    onset_s: float
    contact_s: float
    manoeuvre: str
    latest_reaction_s: float | None
    reference: dict[str, bool]

    @property
    def sentence(self) -> str:
        """All of it in a few words."""
        attack = self.parameters.get("attack", "variation")
        out = f"{self.scenario}: {attack} by {self.generator}, seed {self.seed}"
        replans = self.parameters.get("replans")
        if isinstance(replans, int) and replans > 0:
            out += f"; its adversary planned anew {replans} {'time' if replans == 1 else 'times'}"
        planner, contact = self.parameters.get("aimed_at"), self.parameters.get("contact")
        if isinstance(planner, str) and isinstance(contact, int):
            meets = f"{self.met} after {contact * DT:.1f} s" if contact >= 0 else "nobody"
            out += f"; {planner} meets {meets}"
        if self.hazard:
            out += (
                f"; who drives on meets {self.hazard!r} after {self.contact_s:.1f} s, to be "
                f"foreseen after {self.onset_s:.1f} s"
            )
        out += f"; weakest manoeuvre {self.manoeuvre}"
        if self.latest_reaction_s is not None:
            out += f", {self.latest_reaction_s:.1f} s after it can be foreseen at the latest"
        for planner, survives in self.reference.items():
            out += f"; {planner} {'survives' if survives else 'fails'}"
        return out


def explained(folder: Path) -> Iterator[Explained]:
    """What is known of every variant in a store, in its order.

    Raises:
        DataError: no store of variants, or one without certificates.
    """
    certificates = read_certificates(folder)
    tried = read_trials(folder)
    for scene in ScenarioStore(folder).scenarios():
        if not isinstance(scene, Scenario) or scene.lineage is None:
            continue
        found = certificates.get(scene.hash)
        if found is None:
            raise DataError(f"{folder}: {scene.id} has no certificate")
        yield Explained(
            scenario=f"{scene.source}/{scene.id}",
            parent=scene.lineage.parent,
            generator=scene.lineage.generator,
            seed=scene.lineage.seed,
            parameters=scene.lineage.parameters,
            met=_met(scene),
            hazard="" if found.contact < 0 else scene.agents.id[found.contact_agent],
            onset_s=round(found.onset * DT, 3),
            contact_s=round(found.contact * DT, 3),
            manoeuvre=found.label,
            latest_reaction_s=found.latest_reaction_s,
            reference=tried.get(scene.hash, {}),
        )


def _met(scene: Scenario) -> str:
    """`Explained.met`."""
    who = scene.lineage.parameters.get("met") if scene.lineage else None
    if not who:
        return ""
    if who not in scene.agents.id:
        return "someone"
    kind = AgentKind(int(scene.agents.kind[scene.agents.id.index(who)]))
    return _WORDS.get(kind, "an object")
