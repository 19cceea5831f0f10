"""The source: a numbered, seeded sequence of procedural scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError, SuiteError, did_you_mean
from roadworthy.scenario import Lineage, Rejected, Scenario

from roadworthy_sources.procedural.families import FAMILIES
from roadworthy_sources.procedural.scene import moved

__all__ = ["Procedural"]

Distribution = Literal["common", "rare", "both"]

MAX_COUNT = 1_000_000
_ATTEMPTS = 60


class Procedural:
    """Procedural scenarios: equal arguments, equal bytes, on any machine of one kind.

    Scenario i depends on the seed, i, and the order of the families alone, so a longer
    sequence starts with the shorter one. Families take turns; with "both", a family's common
    and rare scenes do; a family's rare kinds do among its rare scenes. A scene in which the
    expert or anyone else collides is thrown away and made again from the next sub-seed.

    Tags are "procedural", the family, "common" or "rare", and for a rare scene its kind:
    "cut_in", "pedestrian_cyclist", "intersection", "hard_brake" or "blocked_lane".

    Args:
        seed: any non-negative number.
        count: how many scenarios.
        families: names out of straight, curve, merge, four_way, crosswalk; default all.
        distribution: "common", "rare" or "both".

    Raises:
        SuiteError: an argument is out of range or a family is unknown.
    """

    def __init__(
        self,
        seed: int = 0,
        count: int = 20,
        families: Sequence[str] | None = None,
        distribution: Distribution = "both",
    ) -> None:
        if not 0 <= seed < 2**64:
            raise SuiteError(f"procedural: seed is {seed}", hint="Give 0 to 2**64 - 1.")
        if not 0 < count <= MAX_COUNT:
            raise SuiteError(f"procedural: count is {count}", hint=f"Give 1 to {MAX_COUNT}.")
        if distribution not in get_args(Distribution):
            raise SuiteError(
                f"procedural: distribution is {distribution!r}",
                hint=did_you_mean(str(distribution), get_args(Distribution)),
            )
        names = tuple(FAMILIES) if families is None else tuple(families)
        for name in names:
            if name not in FAMILIES:
                raise SuiteError(
                    f"procedural: unknown family {name!r}", hint=did_you_mean(name, FAMILIES)
                )
        if not names:
            raise SuiteError("procedural: families is empty", hint=f"Known: {', '.join(FAMILIES)}.")
        self.seed = seed
        self.count = count
        self.families = names
        self.distribution = distribution

    def __len__(self) -> int:
        return self.count

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios in order."""
        for index in range(self.count):
            yield self.scenario(index)

    def scenario(self, index: int) -> Scenario | Rejected:
        """Scenario number `index`, made on its own."""
        family = self.families[index % len(self.families)]
        turn = index // len(self.families)
        rare = ""
        if self.distribution == "rare" or (self.distribution == "both" and turn % 2):
            kinds = FAMILIES[family].rare
            rare = kinds[(turn // 2 if self.distribution == "both" else turn) % len(kinds)]
        name = f"{family}-{rare or 'common'}-{self.seed}-{index:06d}"
        for attempt in range(_ATTEMPTS):
            made = self._attempt(name, family, rare, index, attempt)
            if made is not None:
                return admit(made)
        error = ScenarioError(
            f"scenario {name!r}: the expert survived none of {_ATTEMPTS} attempts",
            hint="Choose another seed.",
        )
        return Rejected(name, "procedural", type(error).__name__, str(error))

    def _attempt(
        self, name: str, family: str, rare: str, index: int, attempt: int
    ) -> Scenario | None:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(index, attempt))
        rng = np.random.Generator(np.random.PCG64(sequence))
        scene = FAMILIES[family].build(rng, rare)
        scene.tags = ["procedural", family, *(["rare", rare] if rare else ["common"])]
        made = scene.realise(name)
        if made is None:
            return None
        x, y = rng.uniform(-2000.0, 2000.0, 2)
        lineage = Lineage("", "procedural", self.seed, {"index": index, "attempt": attempt})
        return replace(moved(made, x, y, rng.uniform(-np.pi, np.pi)), lineage=lineage)
